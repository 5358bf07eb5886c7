package server_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

// typescript returns the folder of the TypeScript SDK, built.
func typescript(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../sdk/typescript")
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "typescript", "package.json")); err != nil {
		why := "the tools of the TypeScript SDK are not installed; run: npm ci --prefix sdk/typescript"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return dir
}

// npm runs an npm script of the SDK.
func npm(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "npm", "run", "--silent", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm run %s: %v\n%s", script, err, out)
	}
}

// TestTypeScript runs the tests of the TypeScript SDK, and then launches the
// example that is written with it and plays a consent in the middle of an answer.
func TestTypeScript(t *testing.T) {
	sdk := typescript(t)
	npm(t, sdk, "test")

	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	dir := t.TempDir()
	program, err := os.ReadFile("../../examples/typescript-agent/agent.mjs")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "agent.mjs"), program, 0o700)) //nolint:gosec // a program is executable
	must(t, os.MkdirAll(filepath.Join(dir, "node_modules", "@deputy-id"), 0o700))
	must(t, os.Symlink(sdk, filepath.Join(dir, "node_modules", "@deputy-id", "sdk")))
	w.deploy("typescript-agent", dir, "agent.mjs", "custom_jwt", map[string]string{"FEISHU_API_BASE": w.party.URL, "FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth"})

	bearer := "Bearer " + zhangsan.accessToken()
	prompt := fmt.Sprintf(`{"prompt":"How does https://acme.feishu.cn/docx/%s begin?"}`, feishu.DefaultDocuments()[0].ID)
	want := "It begins: " + feishu.DefaultDocuments()[0].Title
	// Asked while the answer is under way: the stream is read line by line.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.ingress+"/agents/default/typescript-agent/invoke", strings.NewReader(prompt))
	must(t, err)
	r.Header.Set("Authorization", bearer)
	res, err := noRedirects.Do(r)
	must(t, err)
	defer func() { _ = res.Body.Close() }() // read to its end
	link := regexp.MustCompile(`"authUri":"([^"]+)"`)
	var told strings.Builder
	asked := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		told.WriteString(lines.Text() + "\n")
		if found := link.FindStringSubmatch(lines.Text()); found != nil {
			asked++
			zhangsan.authorize(found[1])
		}
	}
	if asked != 1 || !strings.Contains(told.String(), want) {
		t.Fatalf("asked %d times:\n%s", asked, told.String())
	}
	if a := w.invoke("typescript-agent", prompt, http.Header{"Authorization": {bearer}}); strings.Contains(a.body, "authUri") || !strings.Contains(a.body, want) {
		t.Fatalf("the second question: %d\n%s", a.status, a.body)
	}
	if token := w.ask(w.wat("typescript-agent", "zhangsan"), "feishu_oauth").Credential.AccessToken; strings.Contains(w.log.String(), token) || strings.Contains(told.String(), token) {
		t.Error("the token is in a log or in the answer")
	}
}
