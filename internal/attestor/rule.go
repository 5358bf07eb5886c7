package attestor

import (
	"strings"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// anyPart stands for one whole part of a subject, and in place of a workload for what
// it stood for there.
const anyPart = "*"

// The bounds of rules.
const (
	maxRules   = 200
	maxSubject = 500 // bytes
)

// Rule says which subjects are which workload of the attestor's pool.
//
// A subject is written "namespace/name" for a service account, and as the path of a
// SPIFFE ID ("/ns/agents/sa/doc"). In place of a part, the text between slashes,
// may stand "*", which is any one part. If there is one in the subject, the
// workload may be "*" too: it has the name of that part then.
type Rule struct {
	Subject  string `json:"subject"`
	Workload string `json:"workload"`
}

// parts returns what is between the slashes; that before the first one of a path is
// nothing.
func parts(subject string) []string { return strings.Split(strings.TrimPrefix(subject, "/"), "/") }

// match returns the name of the workload that a subject is by this rule.
func (r Rule) match(subject string) (workload string, ok bool) {
	pattern, said := parts(r.Subject), parts(subject)
	if len(pattern) != len(said) {
		return "", false
	}
	stood := ""
	for i, p := range pattern {
		switch {
		case p == anyPart:
			stood = said[i]
		case p != said[i]:
			return "", false
		}
	}
	if r.Workload != anyPart {
		return r.Workload, true
	}
	return stood, name.Check("workload", stood) == nil
}

// overlaps reports whether a subject could be a workload by both rules.
func (r Rule) overlaps(o Rule) bool {
	one, other := parts(r.Subject), parts(o.Subject)
	if len(one) != len(other) {
		return false
	}
	for i := range one {
		if one[i] != other[i] && one[i] != anyPart && other[i] != anyPart {
			return false
		}
	}
	return true
}

// workload returns which workload a subject is. Rules that are saved do not overlap,
// so that there is one answer or none.
func (s Settings) workload(subject string) (string, bool) {
	for _, r := range s.Rules {
		if w, ok := r.match(subject); ok {
			return w, true
		}
	}
	return "", false
}

func (r Rule) check(k Kind) error {
	wrong := func(format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "rule_invalid", format, args...).WithSource("rules")
	}
	all, stars := parts(r.Subject), 0
	for _, p := range all {
		if p == anyPart {
			stars++
			continue
		}
		if k == SPIFFE && !attest.IsPathSegment(p) || k == Kubernetes && !attest.IsObjectName(p) {
			return wrong("%q is not a subject", name.Clip(r.Subject, 200)).WithFix("%s", r.howTo(k))
		}
	}
	switch {
	case len(r.Subject) > maxSubject, k == Kubernetes && len(all) != 2, strings.HasPrefix(r.Subject, "/") != (k == SPIFFE):
		return wrong("%q is not a subject", name.Clip(r.Subject, 200)).WithFix("%s", r.howTo(k))
	case r.Workload == anyPart && stars == 1:
		return nil
	case r.Workload == anyPart:
		return wrong("the workload of %q would be that of %d parts", name.Clip(r.Subject, 200), stars).WithFix(`write "*" once in the subject, or the name of a workload`)
	}
	if err := name.Check("workload", r.Workload); err != nil {
		return fault.As(err).WithSource("rules")
	}
	return nil
}

func (Rule) howTo(k Kind) string {
	if k == SPIFFE {
		return `write the path of a SPIFFE ID, such as "/ns/agents/sa/doc"; "*" stands for one part`
	}
	return `write namespace and service account, such as "agents/doc"; "*" stands for one part`
}

// checkRules refuses rules of which two could be about one subject: which of them
// were to win would be a matter of order.
func (s Settings) checkRules() error {
	if len(s.Rules) == 0 || len(s.Rules) > maxRules {
		return fault.New(fault.Invalid, "rule_invalid", "there are %d rules", len(s.Rules)).WithSource("rules").WithFix("say which subjects are which workloads, in 1 to %d rules", maxRules)
	}
	for i, r := range s.Rules {
		if err := r.check(s.Kind); err != nil {
			return err
		}
		for _, o := range s.Rules[:i] {
			if r.overlaps(o) {
				return fault.New(fault.Invalid, "rules_overlap", "%q and %q can be about one subject, and it could not be said which workload that is", name.Clip(o.Subject, 200), name.Clip(r.Subject, 200)).
					WithSource("rules").WithFix("make them tell subjects apart, or leave one out")
			}
		}
	}
	return nil
}
