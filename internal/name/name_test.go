package name_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	for s, ok := range map[string]bool{
		"default": true, "feishu_oauth": true, "a": true, "Doc-Agent.v2": true, strings.Repeat("x", 63): true,
		"": false, "-a": false, ".": false, "a/b": false, "a b": false, "ä": false, "a\x00": false, "a\n": false, strings.Repeat("x", 64): false,
	} {
		err := name.Check("workload", s)
		if (err == nil) != ok {
			t.Errorf("Check(%q) = %v, want ok %v", s, err, ok)
		}
		if err != nil && !fault.HasCode(err, "name_invalid") {
			t.Errorf("Check(%q): code of %v", s, err)
		}
	}
}

func FuzzSPIFFEID(f *testing.F) {
	f.Add("spiffe://deputy.local/default/agent")
	f.Add("spiffe://deputy.local/default/agent/x")
	f.Add("spiffe://deputy.local//")
	f.Fuzz(func(t *testing.T, id string) {
		w, err := name.ParseSPIFFEID("deputy.local", id)
		if err == nil && w.SPIFFEID("deputy.local") != id {
			t.Errorf("%q parses to %v, which is %q", id, w, w.SPIFFEID("deputy.local"))
		}
	})
}

func FuzzScopes(f *testing.F) {
	f.Add("docs:document.content:read docx:document:readonly")
	f.Add("  a a b\t")
	f.Fuzz(func(t *testing.T, param string) {
		s, err := name.ParseScopes(param)
		if err != nil {
			return
		}
		again, err := name.ParseScopes(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q: %q, then %q, %v", param, s, again, err)
		}
	})
}

func TestScopeSets(t *testing.T) {
	must := func(p string) name.Scopes {
		s, err := name.ParseScopes(p)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := must("z x y x"), must("y w")
	if a.String() != "x y z" {
		t.Errorf("got %q", a)
	}
	if got := a.Union(b).String(); got != "w x y z" {
		t.Errorf("union %q", got)
	}
	if got := a.Missing(b).String(); got != "w" {
		t.Errorf("missing %q", got)
	}
	if got := a.Intersect(b).String(); got != "y" {
		t.Errorf("intersect %q", got)
	}
	if a.Covers(b) || !a.Covers(must("x z")) || !a.Covers(name.Scopes{}) {
		t.Error("covers")
	}
	j, _ := json.Marshal(struct{ S name.Scopes }{})
	if string(j) != `{"S":[]}` {
		t.Errorf("json of the empty set: %s", j)
	}
	var back struct{ S name.Scopes }
	if err := json.Unmarshal([]byte(`{"S":["b","a"]}`), &back); err != nil || back.S.String() != "a b" {
		t.Errorf("json: %v %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"S":["a b"]}`), &back); !fault.HasCode(err, "scope_invalid") {
		t.Errorf("a scope with a space was accepted: %v", err)
	}
}

func TestNear(t *testing.T) {
	have := []string{"feishu_oauth", "github", "google"}
	for s, want := range map[string][]string{
		"feishu_oath": {"feishu_oauth"}, "feishu": {"feishu_oauth"}, "GitHub": {"github"}, "slack": nil, "": nil, strings.Repeat("feishu", 4000): nil,
	} {
		if got := name.Near(s, have); len(got) != len(want) || (len(want) > 0 && !cmp.Equal(got, want)) {
			t.Errorf("Near(%.20q) = %v, want %v", s, got, want)
		}
	}
}

func TestIDsAreUniqueAndPrefixed(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := name.NewID("usr")
		if seen[id] || !strings.HasPrefix(id, "usr_") || len(id) != len("usr_")+26 {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}
