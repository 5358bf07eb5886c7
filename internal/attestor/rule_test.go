package attestor

import (
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	for _, c := range []struct{ pattern, to, subject, workload string }{
		{"agents/doc", "doc", "agents/doc", "doc"},
		{"agents/doc", "doc", "agents/docs", ""},
		{"agents/doc", "doc", "agents/doc/x", ""},
		{"agents/doc", "doc", "agents", ""},
		{"agents/*", "*", "agents/mail", "mail"},
		{"*/agent", "*", "team-a/agent", "team-a"},
		{"*/*", "any", "team-a/agent", "any"},
		{"/ns/*/sa/doc", "*", "/ns/prod/sa/doc", "prod"},
		{"/ns/*/sa/doc", "*", "/ns/prod/x/sa/doc", ""},
		{"/ns/*", "*", "/ns/-no-name", ""}, // which can be no workload
		{"/ns/*", "*", "/ns/", ""},
	} {
		if got, ok := (Rule{c.pattern, c.to}).match(c.subject); ok != (c.workload != "") || ok && got != c.workload {
			t.Errorf("%s is %q by %s = %s, want %q", c.subject, got, c.pattern, c.to, c.workload)
		}
	}
}

// FuzzRules: of rules that could be saved together, one at most is about a subject.
func FuzzRules(f *testing.F) {
	f.Add("agents/*", "*/doc", "agents/doc")
	f.Add("/a/*/c", "/a/b/*", "/a/b/c")
	f.Add("a/b", "a/c", "a/b")
	f.Fuzz(func(t *testing.T, one, other, subject string) {
		s := Settings{Kind: Kubernetes, Rules: []Rule{{one, "first"}, {other, "second"}}}
		if strings.HasPrefix(one, "/") {
			s.Kind = SPIFFE
		}
		if s.checkRules() != nil {
			return
		}
		_, first := s.Rules[0].match(subject)
		_, second := s.Rules[1].match(subject)
		if first && second {
			t.Errorf("%q is one of %q and of %q", subject, one, other)
		}
	})
}
