package internal_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/deputy-id/deputy"

var update = flag.Bool("update", false, "write the map into README.md")

// row is one package: the floor that it stands on, and the third-party modules
// that it may import. A package imports only packages on lower floors.
type row struct {
	pkg     string
	floor   int
	modules string
}

// The map, from the bottom up: words, tools, nouns, verbs, edges, whole.
var table = []row{
	{"internal/secret", 0, ""},
	{"internal/fault", 1, ""},
	{"internal/name", 2, ""},

	{"internal/dotenv", 10, ""},
	{"internal/freeport", 10, ""},
	{"internal/measure", 10, ""},
	{"internal/wire", 10, ""},
	{"internal/outbound", 11, ""},
	{"internal/outbox", 11, ""},
	{"internal/spool", 11, ""},
	{"internal/oauth", 12, ""},
	{"internal/reqsign", 12, ""},
	{"internal/jwt", 12, "github.com/go-jose/go-jose/v4 github.com/maypok86/otter/v2 golang.org/x/sync"},
	{"internal/audit", 13, ""},
	{"internal/mail", 13, "github.com/wneessen/go-mail"},
	{"internal/mail/mailtest", 14, "github.com/emersion/go-sasl github.com/emersion/go-smtp"},
	{"internal/kube", 13, "go.yaml.in/yaml/v3"},
	{"internal/kube/kubetest", 14, "k8s.io/api"},
	{"internal/policy", 14, ""},
	{"internal/visitor", 14, ""},
	{"internal/vendor", 14, "go.yaml.in/yaml/v3"},
	{"internal/browser", 15, ""},
	{"internal/discovery", 15, ""},
	{"internal/attest", 15, ""},
	{"internal/guard", 16, ""},
	{"internal/keys", 17, ""},
	{"internal/kms", 18, "github.com/aws/aws-sdk-go-v2 github.com/aws/smithy-go golang.org/x/oauth2"},
	{"internal/kms/kmstest", 19, ""},

	{"internal/operator", 20, ""},
	{"internal/operator/operatortest", 21, ""},
	{"internal/userpool", 20, "golang.org/x/crypto"},
	{"internal/workload", 20, ""},
	{"internal/attestor", 20, ""},
	{"internal/accesskey", 20, ""},
	{"internal/provider", 20, ""},
	{"internal/vault", 20, "golang.org/x/sync"},
	{"internal/agent", 20, "go.yaml.in/yaml/v3"},
	{"internal/idp", 20, ""},
	{"internal/factor", 20, "github.com/go-webauthn/webauthn rsc.io/qr"},
	{"internal/contract", 20, "github.com/google/go-cmp"},
	{"internal/workload/workloadtest", 21, ""},
	{"internal/attestor/attestortest", 21, ""},
	{"internal/accesskey/accesskeytest", 21, ""},
	{"internal/userpool/userpooltest", 21, "github.com/google/go-cmp"},
	{"internal/agent/agenttest", 21, "github.com/google/go-cmp"},
	{"internal/factor/factortest", 21, "github.com/descope/virtualwebauthn"},
	{"internal/idp/idptest", 21, ""},
	{"internal/vendortest", 15, ""},

	{"internal/backchannel", 30, ""},
	{"internal/signin", 30, ""},
	{"internal/roster", 30, ""},
	{"internal/federation", 30, ""},
	{"internal/consent", 30, ""},
	{"internal/obtain", 30, "github.com/maypok86/otter/v2 golang.org/x/sync"},
	{"internal/fleet", 30, ""},
	{"internal/image", 30, "github.com/google/go-containerregistry"},
	{"internal/trial", 30, ""},
	{"internal/assertion", 30, ""},
	{"internal/usertoken", 30, ""},
	{"internal/exchange", 31, ""},
	{"internal/recovery", 31, ""},
	{"internal/broker", 31, ""},
	{"internal/signin/signintest", 31, "github.com/google/go-cmp"},
	{"internal/registration", 31, ""},
	{"internal/notice", 32, ""},

	{"internal/store", 40, "github.com/maypok86/otter/v2 github.com/jackc/pgx/v5 github.com/pressly/goose/v3 modernc.org/sqlite"},
	{"internal/poolpage", 39, ""},
	{"internal/login", 40, ""},
	{"internal/account", 41, ""},
	{"internal/idppage", 41, ""},
	{"internal/op", 41, ""},
	{"internal/callback", 40, ""},
	{"internal/scim", 40, ""},
	{"internal/api/rest", 40, "github.com/danielgtaylor/huma/v2"},
	{"internal/ingress", 40, ""},
	{"internal/talk", 41, ""},
	{"internal/fleet/process", 40, "golang.org/x/sys"},
	{"internal/fleet/kubernetes", 40, ""},
	{"internal/fleet/attached", 40, ""},
	{"internal/store/storetest", 41, "github.com/google/go-cmp"},

	{"internal/server", 50, ""},
	{"internal/server/servertest", 51, ""},
	{"internal/apiclient", 50, ""},
	{"internal/doctor", 51, ""},
	{"internal/scaffold", 51, ""},
	{"internal/demo", 51, ""},
	{"internal/dev", 51, ""},
	{"internal/logintest", 51, "github.com/coreos/go-oidc/v3 golang.org/x/oauth2"},
	{"internal/e2e", 53, ""},
	{"internal/peers", 53, ""},
	{"internal/cli", 52, "github.com/alecthomas/kong go.yaml.in/yaml/v3"},
	{"cmd/deputy", 60, ""},

	// Outside: written as other people would, on nothing of ours but what is public.
	{"sdk", 0, ""},
	{"sdk/deputytest", 1, ""},
	{"sandbox/party", 0, ""},
	{"sandbox/feishu", 1, ""},
	{"sandbox/party/partytest", 1, ""},
	{"sandbox/github", 1, ""},
	{"sandbox/google", 1, ""},
	{"sandbox/notion", 1, ""},
	{"sandbox/slack", 1, ""},
	{"sandbox/depot", 1, ""},
	{"examples/feishu-doc-agent", 1, ""},
	{"examples/agent-to-agent", 1, ""},
	{"examples/github-agent", 1, ""},
	{"examples/calendar-agent", 1, ""},
	{"examples/notion-agent", 1, ""},
	{"examples/slack-agent", 1, ""},
	{"examples/m2m-agent", 1, ""},
	{"examples/chat", 1, "github.com/coreos/go-oidc/v3 golang.org/x/oauth2"},
}

// pack is a package as found in the tree.
type pack struct {
	purpose string // first sentence of the package comment
	imports map[string]bool
	lines   int // of production code
}

func TestMap(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	found := packages(t, root)
	floors := map[string]int{}
	for _, r := range table {
		floors[r.pkg] = r.floor
		if found[r.pkg] == nil {
			t.Errorf("%s is in the table and not in the tree", r.pkg)
		}
	}
	var readme strings.Builder
	for _, r := range table {
		p := found[r.pkg]
		if p == nil {
			continue
		}
		if p.purpose == "" {
			t.Errorf("%s has no package comment that begins with its purpose", r.pkg)
		}
		fmt.Fprintf(&readme, "%-32s %s\n", strings.TrimPrefix(r.pkg, "internal/"), p.purpose)
		checkImports(t, r, p, floors)
		t.Logf("%2d %-32s %5d lines", r.floor, r.pkg, p.lines)
	}
	for pkg := range found {
		if _, ok := floors[pkg]; !ok {
			t.Errorf("%s is in the tree and not in the table: give it a floor", pkg)
		}
	}
	checkReadme(t, filepath.Join(root, "README.md"), readme.String())
}

func checkImports(t *testing.T, r row, p *pack, floors map[string]int) {
	allowed := strings.Fields(r.modules)
	for _, imported := range slices.Sorted(maps.Keys(p.imports)) {
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
			if floor, known := floors[ours]; known && floor >= r.floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", r.pkg, r.floor, ours, floor)
			}
			outside := r.pkg == "sdk" || strings.HasPrefix(r.pkg, "sdk/") || strings.HasPrefix(r.pkg, "sandbox/") || strings.HasPrefix(r.pkg, "examples/")
			shared := strings.HasPrefix(r.pkg, "sandbox/") && ours == "sandbox/party" // what third parties share is outside too
			if outside && ours != "sdk" && !shared {
				t.Errorf("%s stands outside and imports %s", r.pkg, ours)
			}
			continue
		}
		if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
			continue // standard library
		}
		if !slices.ContainsFunc(allowed, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }) {
			t.Errorf("%s imports %s, which its row does not allow", r.pkg, imported)
		}
	}
}

func packages(t *testing.T, root string) map[string]*pack {
	found := map[string]*pack{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); file != root && (n == "testdata" || n == "node_modules" || strings.HasPrefix(n, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		pkg := path.Clean(filepath.ToSlash(dir))
		if found[pkg] == nil {
			found[pkg] = &pack{imports: map[string]bool{}}
		}
		p := found[pkg]
		p.lines += strings.Count(string(text), "\n")
		p.add(parsed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (p *pack) add(f *ast.File) {
	for _, i := range f.Imports {
		if imported, err := strconv.Unquote(i.Path.Value); err == nil {
			p.imports[imported] = true
		}
	}
	if f.Doc == nil {
		return
	}
	sentence, _, _ := strings.Cut(strings.ReplaceAll(f.Doc.Text(), "\n", " ")+" ", ". ")
	for _, begin := range []string{"Package " + f.Name.Name + " ", "Command deputy "} {
		if purpose, ok := strings.CutPrefix(sentence, begin); ok {
			p.purpose = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(purpose), "."))
		}
	}
}

// checkReadme compares the map in README.md, between its two marks, with want.
func checkReadme(t *testing.T, file, want string) {
	const begin, end = "<!-- map -->\n```\n", "```\n<!-- /map -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no map between %q and %q", file, begin, end)
	}
	if got == want {
		return
	}
	if !*update {
		t.Errorf("the map in README.md is not the one of the tree; run: go test ./internal -run TestMap -update\n%s", want)
		return
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
