package server_test

import (
	"encoding/json"
	"io"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func reader(s string) io.Reader { return strings.NewReader(s) }
func trim(s string) string      { return strings.TrimSpace(s) }

var pageCode = regexp.MustCompile(`<p class="code">[^<]*<code>([a-z_0-9]+)</code>`)

// code returns the stable code of an answer, in whichever way its edge tells it;
// of a redirect, the error parameter.
func code(a answer) string {
	if to, err := url.Parse(a.header.Get("Location")); err == nil && a.status/100 == 3 {
		return to.Query().Get("error")
	}
	if m := pageCode.FindStringSubmatch(a.body); m != nil {
		return m[1]
	}
	var problem struct {
		Code  string
		Error json.RawMessage
	}
	if json.Unmarshal([]byte(a.body), &problem) != nil {
		return ""
	}
	if problem.Code != "" {
		return problem.Code
	}
	var word string
	if json.Unmarshal(problem.Error, &word) == nil {
		return word
	}
	var ingress struct{ Code string }
	if json.Unmarshal(problem.Error, &ingress) != nil {
		return ""
	}
	return ingress.Code
}

// inside are traces of our inside that no answer may show.
var inside = regexp.MustCompile(`(?i)goroutine|\.go:\d|sqlite|sqlstate|pgconn|jackc|panic|dial tcp|connection refused|internal/|unmarshal|no rows|/tmp/|[a-z]+\.[A-Z][a-z]+\{`)

// ids are random, and may spell anything.
var ids = regexp.MustCompile(`[a-z]+_[0-9a-hjkmnp-z]{26,}`)

// leaks fails the test if an answer shows our inside, or a secret that its asker
// did not send himself.
func leaks(t testing.TB, a answer, secrets ...string) {
	t.Helper()
	if m := inside.FindString(ids.ReplaceAllString(a.body, "id")); m != "" {
		t.Errorf("the answer shows %q:\n%s", m, a.body)
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(a.body, s) {
			t.Errorf("the answer shows a secret:\n%s", a.body)
		}
	}
}
