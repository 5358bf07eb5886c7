package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
// example that is written with it.
func TestTypeScript(t *testing.T) {
	sdk := typescript(t)
	npm(t, sdk, "test")

	w := newWorld(t, nil)
	dir := t.TempDir()
	program, err := os.ReadFile("../../examples/typescript-agent/agent.mjs")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "agent.mjs"), program, 0o700)) //nolint:gosec // a program is executable
	must(t, os.MkdirAll(filepath.Join(dir, "node_modules", "@deputy-id"), 0o700))
	must(t, os.Symlink(sdk, filepath.Join(dir, "node_modules", "@deputy-id", "sdk")))
	w.deploy("typescript-agent", dir, "agent.mjs", map[string]string{"FEISHU_API_BASE": w.party.URL, "FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth"})

	w.consentInBetween("typescript-agent")
}
