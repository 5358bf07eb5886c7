package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
)

func vendorsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vendors.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestVendorsOfTheOperator has a person authorize at a vendor that the operator
// added, and whose callback has the code under a name of its own.
func TestVendorsOfTheOperator(t *testing.T) {
	path := vendorsFile(t, "vendors:\n  forge:\n    extends: feishu\n    name: {en: Forge, zh: 代码库}\n    authorize: {codeParam: forgeCode}\n")
	w := newWorld(t, func(c *server.Config) { c.Vendors = path })
	w.make("/workload-pools/default/providers", strings.Replace(w.provider("forge", readDoc), `"vendor":"feishu"`, `"vendor":"forge"`, 1), nil)
	z, token := w.person("zhangsan").logIn(), w.wat("a", "zhangsan")
	asks := w.ask(token, "forge", readDoc)
	back := z.decide(z.begin(asks.Authorization.URL), "allow")
	if shown := z.finish(strings.Replace(back, "code=", "forgeCode=", 1)); shown.status != http.StatusOK || !strings.Contains(shown.body, "Authorized") {
		t.Fatalf("result: %d\n%s", shown.status, shown.body)
	}
	if got := w.ask(token, "forge", readDoc); got.Status != "ready" {
		t.Errorf("got %+v", got)
	}
}

func TestAWrongFileOfVendorsStopsTheStart(t *testing.T) {
	for what, c := range map[string]struct{ path, code, place string }{
		"no file":  {filepath.Join(t.TempDir(), "vendors.yaml"), "vendors_unreadable", "vendors.yaml"},
		"a typo":   {vendorsFile(t, "vendors:\n  forge:\n    extends: feishu\n    rotatoin: none\n"), "vendor_catalogue_invalid", "line 4"},
		"too much": {vendorsFile(t, strings.Repeat("#", 1<<20+1)), "vendor_catalogue_invalid", "vendors.yaml"},
	} {
		err := built(t, server.Config{Data: servertest.DataDir(t), Vendors: c.path})
		if f := fault.As(err); err == nil || f.Code != c.code || f.Source != "--vendors" || !strings.Contains(f.Message, c.place) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
