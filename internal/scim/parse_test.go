package scim

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/userpool"
)

func TestParsePath(t *testing.T) {
	for text, want := range map[string]target{
		"userName":                       {attribute: "username"},
		"name.givenName":                 {attribute: "name", sub: "givenname"},
		userSchema + ":name.familyName":  {attribute: "name", sub: "familyname"},
		enterpriseSchema + ":department": {attribute: strings.ToLower(enterpriseSchema), sub: "department"},
		enterpriseSchema:                 {attribute: strings.ToLower(enterpriseSchema)},
		`members[value eq "a]b"]`:        {attribute: "members", filter: []term{{"value", "a]b"}}},
		`emails[type eq "work" and primary eq true].value`: {attribute: "emails", filter: []term{{"type", "work"}, {"primary", "true"}}, sub: "value"},
	} {
		got, err := parsePath(text)
		if d := cmp.Diff(want, got, cmp.AllowUnexported(target{}, term{})); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", text, err, d)
		}
	}
	for _, text := range []string{"", "a b", "emails[", "emails[]", "[x eq 1]", `a[b eq "c"]d`, `a[b eq "c"].`, `a.b[c eq "d"]`, strings.Repeat("a", 2000)} {
		if got, err := parsePath(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// FuzzParseFilter holds that what is understood means the same when written anew.
func FuzzParseFilter(f *testing.F) {
	f.Add(`userName eq "a" and active eq true`)
	f.Add(`emails.value  EQ "é\"" AND  x eq false`)
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := parseFilter(text)
		if err != nil {
			return
		}
		var again []string
		for _, term := range terms {
			b, err := json.Marshal(term.value)
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, term.attribute+" eq "+string(b))
		}
		written := strings.Join(again, " and ")
		if len(written) > maxFilter {
			return
		}
		got, err := parseFilter(written)
		if d := cmp.Diff(terms, got, cmp.AllowUnexported(term{})); err != nil || d != "" {
			t.Fatalf("%q, anew %q: %v\n%s", text, written, err, d)
		}
	})
}

// FuzzPatch holds that a patch makes a user who may be stored, or an error.
func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"Operations":[{"op":"Replace","path":"active","value":"False"},{"op":"add","path":"emails[type eq \"work\"].value","value":"a@example.com"}]}`))
	f.Add([]byte(`{"Operations":[{"op":"add","value":{"name.givenName":"x","phoneNumbers":[{"value":"123"}]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in patchRequest
		if json.Unmarshal(b, &in) != nil {
			return
		}
		was := userpool.User{ID: "usr_1", Pool: "people", UserName: "zhang", Email: "z@example.com"}
		d, err := documentOf(was)
		if err != nil {
			t.Fatal(err)
		}
		if in.each(d.apply) != nil {
			return
		}
		u, _, err := d.user(was)
		if err == nil && (u.ID != was.ID || u.Pool != was.Pool || u.Check() != nil) {
			t.Fatalf("patched to %+v", u)
		}
	})
}
