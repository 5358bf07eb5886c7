package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxSentences = 500 // of a document that are weighed; more take the square of the time
	damping      = 0.85
	tooAlike     = 0.6 // cosine of two sentences that say the same
)

// summary is the best of a document, in the document's own words and order.
type summary struct {
	title    string
	overview []string
	points   []point
	runes    int // length of the document
}

// point is one sentence worth a line of its own.
type point struct{ heading, text string }

// summarize chooses sentences. wish are the terms of what the user asked for;
// sentences about them come first. It understands nothing and so obeys nothing
// that stands in the text.
func summarize(text string, wish map[string]float64) summary {
	a := takeApart(text)
	s := summary{title: a.title, runes: a.runes}
	all := distinct(a.sentences)
	if len(all) > maxSentences {
		all = all[:maxSentences]
	}
	if len(all) <= 4 {
		for _, x := range all {
			s.overview = append(s.overview, x.text)
		}
		return s
	}
	scores := score(all, termsOf(a.title), wish)
	lead := choose(all, scores, min(3, 1+len(all)/6), nil, func(x sentence) bool { return !x.bullet && len(x.terms) > 2 })
	for i, x := range all {
		scores[i] += 0.5 * factual(x.text)
	}
	points := choose(all, scores, max(3, min(6, len(all)/3)), lead, func(x sentence) bool { return len(x.terms) > 1 })
	for _, i := range lead {
		s.overview = append(s.overview, all[i].text)
	}
	for _, i := range points {
		s.points = append(s.points, point{all[i].heading, all[i].text})
	}
	return s
}

// distinct drops sentences that are there already.
func distinct(in []sentence) []sentence {
	seen := map[string]bool{}
	var out []sentence
	for _, s := range in {
		key := strings.Map(func(r rune) rune {
			if isWord(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, s.text)
		if key != "" && !seen[key] {
			seen[key] = true
			out = append(out, s)
		}
	}
	return out
}

// score weighs sentences: how central each is (TextRank: a sentence counts as
// much as those that it resembles), where it stands, what it states, and how
// well it fits the title and the wish.
func score(all []sentence, title, wish map[string]float64) []float64 {
	vectors := vectorize(all)
	scores := textRank(vectors)
	for i, s := range all {
		switch {
		case i == 0:
			scores[i] += 0.4
		case i == len(all)-1 && !s.bullet:
			scores[i] += 0.25 // where conclusions stand
		case s.opens:
			scores[i] += 0.15
		}
		scores[i] += 0.25*factual(s.text) + 0.3*cue(s.text) + 0.3*overlap(title, s.terms) + 1.2*overlap(wish, s.terms)
		switch n := utf8.RuneCountInString(s.text); {
		case len(s.terms) < 4:
			scores[i] *= 0.5 // too short to stand alone
		case n > 300:
			scores[i] *= 0.6
		}
		if strings.HasSuffix(s.text, "?") || strings.HasSuffix(s.text, "？") {
			scores[i] *= 0.6 // a question tells nothing
		}
	}
	return scores
}

// vectorize gives each sentence a unit vector of its terms, the rarer the
// heavier.
func vectorize(all []sentence) []map[string]float64 {
	in := map[string]float64{}
	for _, s := range all {
		for t := range s.terms {
			in[t]++
		}
	}
	vectors := make([]map[string]float64, len(all))
	for i, s := range all {
		v, norm := make(map[string]float64, len(s.terms)), 0.0
		for t, n := range s.terms {
			v[t] = (1 + math.Log(n)) * math.Log(1+float64(len(all))/in[t])
			norm += v[t] * v[t]
		}
		for t := range v {
			v[t] /= math.Sqrt(norm)
		}
		vectors[i] = v
	}
	return vectors
}

func cosine(a, b map[string]float64) float64 {
	if len(b) < len(a) {
		a, b = b, a
	}
	sum := 0.0
	for t, x := range a {
		sum += x * b[t]
	}
	return sum
}

// textRank returns each sentence's centrality, from 0 to 1 for the most central.
func textRank(vectors []map[string]float64) []float64 {
	n := len(vectors)
	alike := make([][]float64, n)
	total := make([]float64, n)
	for i := range alike {
		alike[i] = make([]float64, n)
	}
	for i := range vectors {
		for j := range i {
			c := cosine(vectors[i], vectors[j])
			alike[i][j], alike[j][i] = c, c
			total[i] += c
			total[j] += c
		}
	}
	rank := make([]float64, n)
	for i := range rank {
		rank[i] = 1
	}
	for range 20 { // enough for three digits
		next := make([]float64, n)
		for i := range next {
			next[i] = 1 - damping
			for j := range alike[i] {
				if total[j] > 0 {
					next[i] += damping * rank[j] * alike[i][j] / total[j]
				}
			}
		}
		rank = next
	}
	if top := slices.Max(rank); top > 0 {
		for i := range rank {
			rank[i] /= top
		}
	}
	return rank
}

// concludes recognizes a sentence that sums up the document itself.
var concludes = regexp.MustCompile(`(?i)^(?:总之|总的来说|总体来看|总体而言|综上|结论|in summary|in conclusion|to sum up|overall|in short)`)

var (
	datePattern   = regexp.MustCompile(`(?i)\d{4}\s*[-/.年]\s*\d{1,2}|\d{1,2}\s*月\s*\d{1,2}|\d{1,2}\s*月底|Q[1-4]\b|第[一二三四]季度|\b(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.? \d{1,2}|\b\d{1,2} (?:january|february|march|april|may|june|july|august|september|october|november|december)|周[一二三四五六日]|\b(?:mon|tues|wednes|thurs|fri)day\b`)
	amountPattern = regexp.MustCompile(`\d[\d,.]*\s*(?:%|％|万|亿|元|人|天|小时|分钟|倍|个|次|ms|MB|GB|k\b|million|billion|percent|people|users|days|hours|weeks|months)|[$€£¥]\s*\d`)
	digitPattern  = regexp.MustCompile(`\d`)
	cuePattern    = regexp.MustCompile(`(?i)决定|结论|目标|因此|总之|综上|必须|需要|截止|负责|计划|风险|建议|关键|重要|问题|原因|结果|下一步|上线|发布|完成|decid|decision|conclu|in summary|therefore|as a result|goal|must\b|deadline|due\b|responsible|owner|plan to|risk|recommend|key\b|important|next step|launch|ship|result`)
)

// factual says how much a sentence states: dates and amounts more than mere
// digits.
func factual(s string) float64 {
	f := 0.0
	if datePattern.MatchString(s) {
		f += 0.6
	}
	if amountPattern.MatchString(s) {
		f += 0.6
	}
	if f == 0 && digitPattern.MatchString(s) {
		f = 0.3
	}
	return min(f, 1)
}

func cue(s string) float64 {
	if concludes.MatchString(s) {
		return 2
	}
	return min(float64(len(cuePattern.FindAllString(s, 2)))/2, 1)
}

// overlap is the share of wanted terms that are there.
func overlap(wanted, there map[string]float64) float64 {
	if len(wanted) == 0 {
		return 0
	}
	n := 0.0
	for t := range wanted {
		if there[t] > 0 {
			n++
		}
	}
	return n / float64(len(wanted))
}

// choose takes the n best sentences that fit, none much like another or like one
// that was taken before, and returns their places in the order of the text.
func choose(all []sentence, scores []float64, n int, taken []int, fits func(sentence) bool) []int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	vectors := vectorize(all)
	var chosen []int
	for _, i := range order {
		if len(chosen) == n {
			break
		}
		alike := func(j int) bool { return i == j || cosine(vectors[i], vectors[j]) > tooAlike }
		if fits(all[i]) && !slices.ContainsFunc(chosen, alike) && !slices.ContainsFunc(taken, alike) {
			chosen = append(chosen, i)
		}
	}
	slices.Sort(chosen)
	return chosen
}

// maxQuote bounds one quoted sentence, in characters.
const maxQuote = 280

// render writes a summary, framed in l. The sentences stay in their own
// language.
func (s summary) render(l language) string {
	if len(s.overview) == 0 && len(s.points) == 0 {
		if s.title == "" {
			return l.pick("这篇文档是空的，没有可以总结的内容。", "This document is empty; there is nothing to sum up.")
		}
		return fmt.Sprintf(l.pick("这篇文档只有标题：%s", "This document has only a title: %s"), s.title)
	}
	var b strings.Builder
	if s.title != "" {
		fmt.Fprintf(&b, l.pick("《%s》的内容摘要\n\n", "Summary of “%s”\n\n"), shorten(s.title))
	} else {
		b.WriteString(l.pick("文档内容摘要\n\n", "Summary of the document\n\n"))
	}
	for i, text := range s.overview {
		if i > 0 && !endsInHanMark(s.overview[i-1]) {
			b.WriteByte(' ')
		}
		b.WriteString(shorten(text))
	}
	b.WriteByte('\n')
	if len(s.points) > 0 {
		b.WriteString(l.pick("\n要点：\n", "\nKey points:\n"))
	}
	for _, p := range s.points {
		b.WriteString("- ")
		if p.heading != "" && !concludes.MatchString(p.text) {
			b.WriteString(shorten(p.heading))
			b.WriteString(l.pick("：", ": "))
		}
		b.WriteString(shorten(p.text))
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, l.pick("\n（以上句子摘自原文，原文约 %d 字。）", "\n(These are the document's own sentences, chosen out of about %d characters.)"), s.runes)
	return b.String()
}

func endsInHanMark(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return strings.ContainsRune("。！？；”」』）", r)
}

func shorten(s string) string {
	r := []rune(s)
	if len(r) <= maxQuote {
		return s
	}
	cut := maxQuote
	for i := maxQuote; i > maxQuote/2; i-- { // rather between two clauses than within a word
		if strings.ContainsRune("，,、；; ", r[i]) {
			cut = i
			break
		}
	}
	return string(r[:cut]) + "…"
}
