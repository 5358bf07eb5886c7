package name

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
)

// Scopes is a set of OAuth scopes (RFC 6749, section 3.3) in sorted order
// without duplicates. The zero value is the empty set.
type Scopes struct{ s []string }

// NewScopes returns the set of the given scopes. It returns a fault of kind
// Invalid for one that is not a scope-token of RFC 6749, appendix A.4, and for
// more than 200.
func NewScopes(scopes ...string) (Scopes, error) {
	if len(scopes) > 200 {
		return Scopes{}, fault.New(fault.Invalid, "scope_invalid", "%d scopes are too many", len(scopes)).WithFix("ask for at most 200")
	}
	for _, s := range scopes {
		if !scopeToken(s) {
			return Scopes{}, fault.New(fault.Invalid, "scope_invalid", "scope %q is not valid", Clip(s, 80)).
				WithFix("a scope is 1 to 255 printable ASCII characters without space, '\"' and '\\'")
		}
	}
	set := slices.Clone(scopes)
	slices.Sort(set)
	return Scopes{slices.Compact(set)}, nil
}

// ParseScopes splits a scope parameter at spaces; see [NewScopes].
func ParseScopes(param string) (Scopes, error) { return NewScopes(strings.Fields(param)...) }

func scopeToken(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// List returns the scopes in sorted order; the caller owns the slice. It is
// never nil, so that it is an empty array in JSON.
func (s Scopes) List() []string { return append([]string{}, s.s...) }

// Len returns the number of scopes.
func (s Scopes) Len() int { return len(s.s) }

// String returns the scopes separated by spaces.
func (s Scopes) String() string { return strings.Join(s.s, " ") }

// Has reports whether scope is in s.
func (s Scopes) Has(scope string) bool {
	_, ok := slices.BinarySearch(s.s, scope)
	return ok
}

// Covers reports whether every scope of t is in s.
func (s Scopes) Covers(t Scopes) bool { return s.Missing(t).Len() == 0 }

// Missing returns the scopes of t that are not in s.
func (s Scopes) Missing(t Scopes) Scopes {
	var m []string
	for _, x := range t.s {
		if !s.Has(x) {
			m = append(m, x)
		}
	}
	return Scopes{m}
}

// Union returns the scopes that are in s or in t.
func (s Scopes) Union(t Scopes) Scopes {
	u := append(slices.Clone(s.s), t.s...)
	slices.Sort(u)
	return Scopes{slices.Compact(u)}
}

// Intersect returns the scopes that are in both s and t.
func (s Scopes) Intersect(t Scopes) Scopes {
	var in []string
	for _, x := range s.s {
		if t.Has(x) {
			in = append(in, x)
		}
	}
	return Scopes{in}
}

// MarshalJSON writes an array of strings.
func (s Scopes) MarshalJSON() ([]byte, error) { return json.Marshal(s.List()) }

// UnmarshalJSON reads an array of strings; see [NewScopes].
func (s *Scopes) UnmarshalJSON(b []byte) error {
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	set, err := NewScopes(list...)
	if err == nil {
		*s = set
	}
	return err
}
