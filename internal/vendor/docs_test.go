package vendor_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the catalogue into docs/vendors.md")

const (
	docsPath = "../../docs/vendors.md"
	docsMark = "<!-- vendors: written by go test ./internal/vendor -run TestDocs -update -->\n"
)

// TestDocs holds that the page of the vendors is about the catalogue as it is.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	prose, have, ok := strings.Cut(string(page), docsMark)
	if !ok {
		t.Fatalf("%s has lost the line %q", docsPath, docsMark)
	}
	want := catalogueTable(t)
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not about the catalogue as it is; run: go test ./internal/vendor -run TestDocs -update", docsPath)
	}
	if err := os.WriteFile(docsPath, []byte(prose+docsMark+want), 0o644); err != nil { //nolint:gosec // a page for everybody
		t.Fatal(err)
	}
}

func catalogueTable(t *testing.T) string {
	t.Helper()
	c, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	var s, scopes strings.Builder
	s.WriteString("\n| id | name | base | PKCE | rotation | grants | revocation |\n|---|---|---|---|---|---|---|\n")
	for _, id := range c.IDs() {
		e := lookup(t, id)
		base, pkce, revocation := e.Endpoints.Base, "S256", string(e.Revocation.Which)
		if base == "" && strings.HasPrefix(e.Endpoints.Token, "{base}") {
			base = "–"
		}
		if e.Authorize.PKCE == "none" {
			pkce = "no"
		}
		grants := string(e.Grants)
		if e.Cumulative {
			grants += ", cumulative"
		}
		switch {
		case e.Endpoints.Revocation == "":
			revocation = "no"
		case e.Revocation.All:
			revocation += ", ends all"
		}
		fmt.Fprintf(&s, "| `%s` | [%s](%s) | %s | %s | %s | %s | %s |\n", id, e.Name.EN, e.Docs, base, pkce, e.Rotation, grants, revocation)
		if len(e.Scopes)+len(e.RefusedScopes) == 0 {
			continue
		}
		fmt.Fprintf(&scopes, "\n### %s\n\n", id)
		for _, known := range e.Scopes {
			fmt.Fprintf(&scopes, "- `%s`: %s\n", known.Scope, known.What.EN)
		}
		if e.RefreshScope != "" {
			fmt.Fprintf(&scopes, "- without `%s` there is no refresh token\n", e.RefreshScope)
		}
		for _, scope := range slices.Sorted(maps.Keys(e.Includes)) {
			fmt.Fprintf(&scopes, "- `%s` includes `%s`\n", scope, strings.Join(e.Includes[scope], "`, `"))
		}
		for _, r := range e.RefusedScopes {
			fmt.Fprintf(&scopes, "- never `%s`: %s\n", r.Scope, strings.ReplaceAll(r.Why.EN, "{vendor}", e.Name.EN))
		}
	}
	return s.String() + "\n## Scopes that people commonly need\n\nOthers are sent as they are; vendors add some without notice.\n" + scopes.String()
}
