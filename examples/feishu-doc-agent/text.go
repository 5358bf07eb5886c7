package main

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean removes what a reader cannot see but a screen or a model may act upon:
// control characters, zero-width characters, and marks that turn the direction
// of writing.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r', r == '\u2028', r == '\u2029', r == '\v', r == '\f':
			return '\n'
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError:
			return -1
		}
		return r
	}, strings.ReplaceAll(s, "\r\n", "\n"))
}

// sentence is one sentence of a document.
type sentence struct {
	text    string
	heading string // the heading it stands under; may be empty
	opens   bool   // it begins a paragraph
	bullet  bool   // it is an item of a list
	terms   map[string]float64
}

// article is a document taken apart.
type article struct {
	title     string
	sentences []sentence
	runes     int // of text, without space
}

var (
	bulletMark  = regexp.MustCompile(`^(?:[•·●○▪◦]\s*|[-*+–—]\s+|\[[ xX]?\]\s*|[(（]?(?:\d{1,2}|[a-zA-Z])[)）]\s*)`)
	numberMark  = regexp.MustCompile(`^(?:#{1,6}\s+|\d{1,2}(?:\.\d{1,2})*[.、]\s+|\d{1,2}(?:\.\d{1,2})+\s+|\d{1,2}、|[(（]?[一二三四五六七八九十]{1,3}[)）、.．]\s*|第[一二三四五六七八九十\d]{1,3}[章节部分]+\s*)`)
	sentenceEnd = "。！？；!?"
	closers     = "”’」』）)】》\"'"
)

// takeApart splits a document into its title and its sentences. Feishu gives
// plain text, one block a line, so headings and lists are recognized by their
// form.
func takeApart(text string) article {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	var (
		a       article
		heading string
	)
	for _, line := range lines {
		a.runes += utf8.RuneCountInString(strings.ReplaceAll(line, " ", ""))
	}
	if len(lines) > 1 && isShort(lines[0], 80) && !endsSentence(lines[0]) {
		a.title, lines = strings.TrimSpace(numberMark.ReplaceAllString(lines[0], "")), lines[1:]
	}
	for i, line := range lines {
		mark := bulletMark.FindString(line)
		line = line[len(mark):]
		if mark == "" && isHeading(lines, i) {
			heading = strings.TrimRight(strings.TrimSpace(numberMark.ReplaceAllString(line, "")), ":：")
			continue
		}
		number := numberMark.FindString(line)
		bullet := mark != "" || number != ""
		for j, s := range splitSentences(line[len(number):]) {
			a.sentences = append(a.sentences, sentence{text: s, heading: heading, opens: j == 0, bullet: bullet, terms: termsOf(s)})
		}
	}
	return a
}

// isHeading reports whether a line without a list mark is a heading: short,
// without an end mark, and followed by something that is longer or ends a
// sentence.
func isHeading(lines []string, i int) bool {
	line := lines[i]
	if i+1 >= len(lines) || endsSentence(line) || !isShort(line, 40) || strings.ContainsAny(strings.TrimRight(line, ":：,，"), ":：,，、") && numberMark.FindString(line) == "" {
		return false
	}
	next := lines[i+1]
	return endsSentence(next) || bulletMark.MatchString(next) || utf8.RuneCountInString(next) > 2*utf8.RuneCountInString(line)
}

// isShort reports whether a line has at most n Latin letters' worth of width; a
// Chinese character counts as two.
func isShort(line string, n int) bool {
	width := 0
	for _, r := range line {
		if width++; unicode.Is(unicode.Han, r) {
			width++
		}
	}
	return width <= n
}

func endsSentence(line string) bool {
	line = strings.TrimRight(line, closers)
	r, _ := utf8.DecodeLastRuneInString(line)
	return strings.ContainsRune(sentenceEnd+".…", r)
}

// abbreviations end with a point that ends no sentence.
var abbreviations = map[string]bool{
	"mr": true, "mrs": true, "ms": true, "dr": true, "prof": true, "sr": true, "jr": true, "st": true, "vs": true, "etc": true,
	"e.g": true, "i.e": true, "cf": true, "al": true, "fig": true, "no": true, "vol": true, "approx": true, "inc": true, "ltd": true, "co": true,
	"u.s": true, "u.k": true, "a.m": true, "p.m": true, "jan": true, "feb": true, "mar": true, "apr": true, "jun": true, "jul": true,
	"aug": true, "sep": true, "sept": true, "oct": true, "nov": true, "dec": true,
}

// splitSentences splits a line at 。！？； and at . ! ? where these end an
// English sentence.
func splitSentences(line string) []string {
	var (
		out   []string
		runes = []rune(line)
		start = 0
	)
	cut := func(end int) {
		if s := strings.TrimSpace(string(runes[start:end])); s != "" {
			out = append(out, s)
		}
		start = end
	}
	for i := 0; i < len(runes); i++ {
		if !endsAt(runes, start, i) {
			continue
		}
		for i+1 < len(runes) && strings.ContainsRune(sentenceEnd+closers, runes[i+1]) {
			i++ // “……！”) belongs to the sentence that it closes
		}
		cut(i + 1)
	}
	cut(len(runes))
	return out
}

// endsAt reports whether the rune at i ends the sentence that began at start.
func endsAt(runes []rune, start, i int) bool {
	switch r := runes[i]; {
	case strings.ContainsRune("。！？；", r):
		return true
	case r == '!' || r == '?':
		return i+1 == len(runes) || !isWord(runes[i+1]) && runes[i+1] != '='
	case r == '.':
		next := i + 1
		for next < len(runes) && strings.ContainsRune(closers, runes[next]) {
			next++
		}
		if next == len(runes) {
			return true
		}
		if runes[next] != ' ' || next+1 < len(runes) && unicode.IsLower(runes[next+1]) {
			return false // 3.14, example.com, v1.2, "approx. half"
		}
		word := i
		for word > start && runes[word-1] != ' ' && runes[word-1] != '(' {
			word--
		}
		last := strings.ToLower(string(runes[word:i]))
		return !abbreviations[last] && !(len(last) == 1 && unicode.IsLetter(runes[word])) // "J. Smith"
	}
	return false
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// englishStop are words that say nothing about a text.
var englishStop = wordSet(`a about above after again all also am an and any are as at be because been before being between both but by can
could did do does doing down during each few for from further had has have having he her here hers him his how i if in into is it its itself
just may me might more most must my no nor not now of off on once only or other our ours out over own per same she should so some such than that the
their them then there these they this those through to too under until up upon us very was we were what when where which while who whom why will with
would you your yours shall however therefore thus within without via`)

// chineseStop are characters of which no word that says something is made.
const chineseStop = "的了是在和与也就都而及或一个这那有为以于对其之被把将让并等我你他她它们您请吗呢吧啊很更最会可能要不没上下中里后前从到由向所如果因为但且则即又还只已"

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// termsOf counts what a sentence is about: stems of English words, numbers, and
// pairs of neighbouring Chinese characters, which is how Chinese is searched
// without a dictionary.
func termsOf(s string) map[string]float64 {
	terms := map[string]float64{}
	var (
		word []rune
		prev rune
	)
	flush := func() {
		if w := stem(strings.ToLower(string(word))); len(w) > 1 && !englishStop[w] {
			terms[w]++
		}
		word = word[:0]
	}
	for _, r := range s {
		if unicode.Is(unicode.Han, r) {
			flush()
			if strings.ContainsRune(chineseStop, r) {
				r = 0
			} else if prev != 0 {
				terms[string([]rune{prev, r})]++
			}
			prev = r
			continue
		}
		prev = 0
		if isWord(r) {
			word = append(word, r)
			continue
		}
		flush()
	}
	flush()
	return terms
}

// stem takes the commonest English endings off, so that "deploys", "deployed"
// and "deploying" are one term.
func stem(w string) string {
	if englishStop[w] {
		return w
	}
	for _, rule := range []struct{ end, with string }{
		{"ations", "ate"}, {"ation", "ate"}, {"ies", "y"}, {"ings", ""}, {"ing", ""}, {"edly", ""}, {"ed", ""}, {"sses", "ss"}, {"ss", "ss"}, {"us", "us"}, {"es", "e"}, {"s", ""}, {"e", "e"},
	} {
		if strings.HasSuffix(w, rule.end) {
			if len(w)-len(rule.end) >= 3 {
				w = w[:len(w)-len(rule.end)] + rule.with
			}
			break
		}
	}
	return strings.TrimSuffix(w, "e")
}
