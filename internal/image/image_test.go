package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	reference "github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/image"
)

// world is a registry, and a builder that knows it.
type world struct {
	t        *testing.T
	registry string // host/path
	builder  image.Builder
	said     bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	w := &world{t: t, registry: strings.TrimPrefix(server.URL, "http://") + "/agents"}
	w.builder = image.Builder{Output: &w.said, Keychain: authn.NewMultiKeychain(), Authorities: w.write(t.TempDir(), "roots.pem", "roots", 0o644)}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v (cause: %v)\n%s", err, errors.Unwrap(err), w.said.String())
	}
}

func (w *world) write(dir, file, content string, mode os.FileMode) string {
	w.t.Helper()
	at := filepath.Join(dir, file)
	w.must(os.MkdirAll(filepath.Dir(at), 0o755))
	w.must(os.WriteFile(at, []byte(content), mode))
	w.must(os.Chtimes(at, time.Now(), time.Now().Add(-time.Duration(len(content))*time.Hour)))
	return at
}

func (w *world) build(dir string, d agent.Definition) image.Image {
	w.t.Helper()
	i, err := w.builder.Build(w.t.Context(), dir, d)
	w.must(err)
	w.t.Cleanup(func() { w.must(i.Close()) })
	return i
}

func (w *world) digest(i image.Image) string {
	w.t.Helper()
	h, err := i.Digest()
	w.must(err)
	return h.String()
}

// pushBase puts an image into the registry, with an environment.
func (w *world) pushBase() string {
	w.t.Helper()
	base, err := random.Image(64, 1)
	w.must(err)
	at, err := reference.NewTag(strings.TrimSuffix(w.registry, "/agents") + "/base:1")
	w.must(err)
	w.must(remote.Write(at, base))
	return at.Name()
}

// entry is what a test reads of a file in an image.
type entry struct {
	Mode       int64
	Link, Text string
}

// unpack returns the files of an image's last layers, and fails for one that says
// when or by whom it was made.
func (w *world) unpack(i v1.Image, last int) map[string]entry {
	w.t.Helper()
	layers, err := i.Layers()
	w.must(err)
	found := map[string]entry{}
	for _, layer := range layers[len(layers)-last:] {
		content, err := layer.Uncompressed()
		w.must(err)
		for r := tar.NewReader(content); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			w.must(err)
			text, err := io.ReadAll(r)
			w.must(err)
			if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
				w.t.Errorf("%s has a time or an owner: %+v", h.Name, h)
			}
			if h.Typeflag == tar.TypeReg && len(text) > 100 {
				text = text[:4]
			}
			found[h.Name] = entry{h.Mode, h.Linkname, string(text)}
		}
		content.Close()
	}
	return found
}

const hello = "package main\n\nfunc main() {}\n"

// The same folder gives the same image, wherever it lies and whenever it was
// written; another program another one. It is in the registry under its digest.
func TestGoAgent(t *testing.T) {
	w := newWorld(t)
	d := agent.Definition{Name: "Doc_Agent", EntryPoint: "main.go", Language: agent.Golang}
	var digests []string
	for _, program := range []string{hello, hello, strings.Replace(hello, "{}", "{ println() }", 1)} {
		dir := t.TempDir()
		w.write(dir, "go.mod", "module doc\n\ngo 1.26\n", 0o644)
		w.write(dir, "main.go", program, 0o600)
		w.write(dir, ".env", "SECRET=1", 0o600)
		digests = append(digests, w.digest(w.build(dir, d)))
	}
	if digests[0] != digests[1] || digests[0] == digests[2] {
		t.Errorf("digests of the same, the same and another program: %q", digests)
	}

	dir := t.TempDir()
	w.write(dir, "go.mod", "module doc\n\ngo 1.26\n", 0o644)
	w.write(dir, "main.go", hello, 0o644)
	i := w.build(dir, d)
	ref, err := i.Reference(w.registry, d.Name)
	w.must(err)
	if want := w.registry + "/doc-agent@" + digests[0]; ref != want {
		t.Errorf("it is called %s, want %s", ref, want)
	}
	w.must(w.builder.Push(t.Context(), i, ref))
	w.must(w.builder.Push(t.Context(), i, ref)) // what is there is not sent again, nor refused
	at, err := reference.NewDigest(ref)
	w.must(err)
	pulled, err := remote.Image(at)
	w.must(err)
	files := w.unpack(pulled, 2)
	want := map[string]entry{
		"etc/": {Mode: 0o755}, "etc/ssl/": {Mode: 0o755}, "etc/ssl/certs/": {Mode: 0o755}, "etc/ssl/certs/ca-certificates.crt": {Mode: 0o644, Text: "roots"},
		"agent": {Mode: 0o755, Text: "\x7fELF"},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	config, err := pulled.ConfigFile()
	w.must(err)
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/agent"}) || config.Architecture != "amd64" || !config.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("configuration %+v", config)
	}
	d.Image.Platform = "linux/arm64"
	config, err = w.build(dir, d).ConfigFile()
	w.must(err)
	if config.Architecture != "arm64" {
		t.Errorf("for arm64 it is for %s", config.Architecture)
	}
}

// Files that are run as they are, on a base image: all but secrets and what is made
// again.
func TestFilesOnABase(t *testing.T) {
	w := newWorld(t)
	base := w.pushBase()
	dir := t.TempDir()
	w.write(dir, "agent.mjs", "#!/usr/bin/env node\n", 0o700)
	w.write(dir, "lib/tool.mjs", "tool", 0o600)
	w.write(dir, "lib/__pycache__/x.pyc", "x", 0o600)
	for _, secret := range []string{".env", ".env.local", "lib/.env", ".git/config", "agentkit.yaml"} {
		w.write(dir, secret, "secret", 0o600)
	}
	w.must(os.Symlink("lib/tool.mjs", filepath.Join(dir, "tool.mjs")))
	i := w.build(dir, agent.Definition{Name: "a", EntryPoint: "agent.mjs", Image: agent.Image{Base: base}})
	want := map[string]entry{
		"app/": {Mode: 0o755}, "app/agent.mjs": {Mode: 0o755, Text: "#!/usr/bin/env node\n"}, "app/lib/": {Mode: 0o755}, "app/lib/tool.mjs": {Mode: 0o644, Text: "tool"},
		"app/tool.mjs": {Mode: 0o777, Link: "lib/tool.mjs"},
	}
	if diff := cmp.Diff(want, w.unpack(i, 1)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	layers, err := i.Layers()
	w.must(err)
	if len(layers) != 2 {
		t.Errorf("%d layers; want the base's and one", len(layers))
	}
	config, err := i.ConfigFile()
	w.must(err)
	if !slices.Equal(config.Config.Entrypoint, []string{"/app/agent.mjs"}) || config.Config.Cmd != nil {
		t.Errorf("it runs %v %v", config.Config.Entrypoint, config.Config.Cmd)
	}
	ref, err := i.Reference(w.registry, "a")
	w.must(err)
	w.must(w.builder.Push(t.Context(), i, ref))
}

func TestPython(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.write(dir, "agent.py", "print()", 0o644)
	w.write(dir, "requirements.txt", "# nothing\n", 0o644)
	d := agent.Definition{Name: "a", EntryPoint: "agent.py", Language: agent.Python, DependenciesFile: "requirements.txt", Image: agent.Image{Base: w.pushBase()}}
	config, err := w.build(dir, d).ConfigFile()
	w.must(err)
	if !slices.Equal(config.Config.Entrypoint, []string{"python3", "-u", "/app/agent.py"}) {
		t.Errorf("it runs %v", config.Config.Entrypoint)
	}
}

// Wheels of a package index are a layer of their own.
func TestPythonPackages(t *testing.T) {
	w := newWorld(t)
	wheels := t.TempDir()
	wheel(t, filepath.Join(wheels, "greeting-1.0-py3-none-any.whl"))
	for variable, value := range map[string]string{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels} {
		t.Setenv(variable, value)
	}
	dir := t.TempDir()
	w.write(dir, "agent.py", "import greeting", 0o644)
	w.write(dir, "requirements.txt", "greeting==1.0\n", 0o644)
	d := agent.Definition{Name: "a", EntryPoint: "agent.py", DependenciesFile: "requirements.txt", Image: agent.Image{Base: w.pushBase()}}
	first, second := w.build(dir, d), w.build(dir, d)
	if w.digest(first) != w.digest(second) {
		t.Error("two builds have two digests")
	}
	if got := w.unpack(first, 2)["packages/greeting.py"]; got.Text != "word = 'hello'\n" {
		t.Errorf("the package is %+v", got)
	}
	config, err := first.ConfigFile()
	w.must(err)
	if !slices.Contains(config.Config.Env, "PYTHONPATH=/packages") {
		t.Errorf("environment %v", config.Config.Env)
	}
	w.write(dir, "requirements.txt", "nowhere==1.0\n", 0o644)
	if _, err := w.builder.Build(t.Context(), dir, d); !fault.HasCode(err, "agent_build_failed") || !strings.Contains(err.Error(), "wheels") {
		t.Errorf("a package that is nowhere: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	base := w.pushBase()
	for name, test := range map[string]struct {
		prepare func(dir string)
		d       agent.Definition
		code    string
	}{
		"no entry point":     {func(string) {}, agent.Definition{EntryPoint: "agent.py"}, "agent_entry_point"},
		"no Go file":         {func(string) {}, agent.Definition{EntryPoint: "main.go"}, "agent_entry_point"},
		"not executable":     {func(dir string) { w.write(dir, "run", "x", 0o644) }, agent.Definition{EntryPoint: "run", Image: agent.Image{Base: base}}, "agent_entry_point"},
		"no base":            {func(dir string) { w.write(dir, "run", "x", 0o755) }, agent.Definition{EntryPoint: "run"}, "image_base_missing"},
		"base is nowhere":    {func(dir string) { w.write(dir, "run", "x", 0o755) }, agent.Definition{EntryPoint: "run", Image: agent.Image{Base: base + "0"}}, "image_base"},
		"does not compile":   {func(dir string) { w.write(dir, "main.go", "package main\nfunc", 0o644) }, agent.Definition{EntryPoint: "main.go"}, "agent_build_failed"},
		"builds nothing":     {func(dir string) { w.write(dir, "b.sh", "true", 0o644) }, agent.Definition{EntryPoint: "b.sh", Language: agent.Golang}, "agent_build_failed"},
		"link out of folder": {func(dir string) { w.write(dir, "run", "x", 0o755); w.must(os.Symlink("../x", filepath.Join(dir, "x"))) }, agent.Definition{EntryPoint: "run", Image: agent.Image{Base: base}}, "image_link"},
		"absolute link": {func(dir string) {
			w.write(dir, "run", "x", 0o755)
			w.must(os.Symlink("/etc/shadow", filepath.Join(dir, "x")))
		}, agent.Definition{EntryPoint: "run", Image: agent.Image{Base: base}}, "image_link"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.prepare(dir)
			if _, err := w.builder.Build(t.Context(), dir, test.d); !fault.HasCode(err, test.code) {
				t.Errorf("error %v; want %s", err, test.code)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "deputy-image-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	dir := t.TempDir()
	w.write(dir, "run", "x", 0o755)
	i := w.build(dir, agent.Definition{EntryPoint: "run", Image: agent.Image{Base: base}})
	for _, registry := range []string{"http://host", "UPPER/case", "host:port/x"} {
		if _, err := i.Reference(registry, "a"); !fault.HasCode(err, "image_registry") {
			t.Errorf("registry %q: %v", registry, err)
		}
	}
	if err := w.builder.Push(t.Context(), i, "127.0.0.1:1/a@"+w.digest(i)); !fault.HasCode(err, "image_push") {
		t.Errorf("a registry that is not there: %v", err)
	}
}
