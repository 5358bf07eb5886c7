package browser

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Language is one that pages speak.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// languageParam is the query parameter, and the cookie, with the user's choice.
const languageParam = "lang"

// Text is what people read, in every language. Edges keep theirs in one file
// each; a text that lacks a language does not compile into the page unseen,
// because both stand side by side.
type Text struct{ EN, ZH string }

// Textf returns a Text with both formats filled from the same arguments; use
// indexes (%[2]s) where the order differs.
func Textf(en, zh string, args ...any) Text {
	return Text{fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)}
}

// In returns the text in a language.
func (t Text) In(l Language) string {
	if l == Chinese {
		return t.ZH
	}
	return t.EN
}

// IsZero reports whether there is no text.
func (t Text) IsZero() bool { return t == Text{} }

// Language returns the language for a request: what the user chose by ?lang=,
// now or before (a cookie remembers it), else what the browser prefers
// (Accept-Language), else English.
func (s *Site) Language(r *http.Request) Language {
	for _, chosen := range []string{r.URL.Query().Get(languageParam), s.Cookie(r, languageParam)} {
		if l, ok := parseLanguage(chosen); ok {
			return l
		}
	}
	return preferred(r.Header.Get("Accept-Language"))
}

// remember keeps a choice made by ?lang= in a cookie.
func (s *Site) remember(w http.ResponseWriter, r *http.Request) {
	if l, ok := parseLanguage(r.URL.Query().Get(languageParam)); ok && s.Cookie(r, languageParam) != string(l) {
		s.SetCookie(w, languageParam, string(l), 365*24*time.Hour)
	}
}

func parseLanguage(tag string) (Language, bool) {
	primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
	switch l := Language(primary); l {
	case English, Chinese:
		return l, true
	default:
		return English, false
	}
}

// preferred returns the language of greatest weight in an Accept-Language
// header (RFC 9110, section 12.5.4); of equals, the first.
func preferred(header string) Language {
	best, weight := English, 0.0
	for item := range strings.SplitSeq(header[:min(len(header), 1000)], ",") {
		tag, params, _ := strings.Cut(item, ";")
		l, ok := parseLanguage(tag)
		if !ok {
			continue
		}
		q := 1.0
		if v, found := strings.CutPrefix(strings.TrimSpace(params), "q="); found {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		if q > weight {
			best, weight = l, q
		}
	}
	return best
}
