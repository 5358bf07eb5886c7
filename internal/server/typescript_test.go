package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// command runs a command there.
func command(t *testing.T, dir string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// TestTypeScript runs the tests of the TypeScript SDK, and then launches the
// example that is written with it.
func TestTypeScript(t *testing.T) {
	sdk := typescript(t)
	command(t, sdk, "npm", "run", "--silent", "test")
	packed(t, sdk)

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

// packed packs the SDK as for the registry, and uses it from an empty folder: by
// the compiler and by Node, through what the package exports and nothing else.
func packed(t *testing.T, sdk string) {
	t.Helper()
	dir := t.TempDir()
	command(t, sdk, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", dir)
	tarballs, err := filepath.Glob(filepath.Join(dir, "deputy-id-sdk-*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("%q, %v", tarballs, err)
	}
	has := map[string]bool{}
	for _, name := range filesOf(t, tarballs[0]) {
		has[name] = true
		if folder, _, _ := strings.Cut(strings.TrimPrefix(name, "package/"), "/"); !slices.Contains([]string{"dist", "src", "README.md", "LICENSE", "package.json"}, folder) {
			t.Errorf("the package has %s", name)
		}
	}
	for _, name := range []string{"dist/index.js", "dist/index.d.ts", "dist/testing.js", "dist/testing.d.ts", "src/index.ts", "LICENSE"} {
		if !has["package/"+name] {
			t.Errorf("the package lacks %s", name)
		}
	}

	ours, err := os.ReadFile("../../LICENSE")
	must(t, err)
	if theirs, err := os.ReadFile(filepath.Join(sdk, "LICENSE")); err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("the package has another license: %v", err)
	}

	must(t, os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module","private":true}`), 0o600))
	command(t, dir, "npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", tarballs[0])
	const program = `import { Agent, oauth2, type Turn } from "@deputy-id/sdk";
import { FakeDeputy } from "@deputy-id/sdk/testing";

const deputy = await FakeDeputy.start();
new Agent({ name: "x", deputy: deputy.client(), respond: (turn: Turn) => turn.say(oauth2("calendar").provider) }).handler();
await deputy.close();
`
	must(t, os.WriteFile(filepath.Join(dir, "program.ts"), []byte(program), 0o600))
	tools := filepath.Join(sdk, "node_modules")
	command(t, dir, filepath.Join(tools, ".bin", "tsc"), "--strict", "--target", "es2022", "--module", "nodenext", "--typeRoots", filepath.Join(tools, "@types"), "--types", "node", "program.ts")
	command(t, dir, "node", "program.js")
}

// filesOf lists what a package holds.
func filesOf(t *testing.T, tarball string) []string {
	t.Helper()
	f, err := os.Open(tarball)
	must(t, err)
	defer f.Close()
	plain, err := gzip.NewReader(f)
	must(t, err)
	var names []string
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		must(t, err)
		names = append(names, header.Name)
	}
}
