package process_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
)

// pythonAgent is an agent of these files, which says at its end what it found.
func pythonAgent(t *testing.T, files map[string]string) agent.Agent {
	t.Helper()
	a := define("", "agent.py", agent.Python, nil)
	a.Directory = t.TempDir()
	a.Definition.DependenciesFile = "requirements.txt"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(a.Directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// wheel makes a Python package, as an index would hand it out, and returns where
// it lies.
func wheel(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "greeting-"+version+"-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	info := "greeting-" + version + ".dist-info/"
	for name, text := range map[string]string{
		"greeting.py":     "text = 'hello from " + version + "'\n",
		info + "METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: " + version + "\n",
		info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "RECORD":   "greeting.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n",
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPython: one that needs nothing runs without an environment of its own, one
// with dependencies gets them, and gets others when they change.
func TestPython(t *testing.T) {
	d := newDriver(t)
	version := int64(0)
	says := func(a agent.Agent) string {
		t.Helper()
		version++
		a.Version = version
		i := start(t, d, fleet.Run{Agent: a})
		await(t, "the end of the agent", i.Done())
		return i.Reason()
	}
	plain := map[string]string{"agent.py": "import sys, neighbour\nprint(neighbour.name, sys.prefix == sys.base_prefix)\n", "neighbour.py": "name = 'next door'\n"}
	for what, requirements := range map[string]string{"no file": "", "nothing in it": "# nothing\n\n"} {
		a := pythonAgent(t, plain)
		if requirements != "" {
			if err := os.WriteFile(filepath.Join(a.Directory, "requirements.txt"), []byte(requirements), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := says(a); !strings.Contains(got, "next door True") {
			t.Errorf("%s: %s", what, got)
		}
	}
	for _, version := range []string{"1.0", "2.0", "3.0", "4.0"} {
		a := pythonAgent(t, map[string]string{
			"agent.py": "import sys, greeting\nprint(greeting.text, sys.prefix)\n", "requirements.txt": "--no-index\n--find-links " + wheel(t, version) + "\ngreeting\n",
		})
		if got := says(a); !strings.Contains(got, "hello from "+version) || !strings.Contains(got, d.Dir) {
			t.Errorf("with dependencies: %s", got)
		}
	}
	// Those of versions that may still serve are left, and not all that ever were.
	left, err := filepath.Glob(filepath.Join(d.Dir, "*", "*", "venv", "*"))
	if err != nil || len(left) != 3 {
		t.Errorf("environments: %v, %v", left, err)
	}
}

func TestPythonThatCannotBeBuilt(t *testing.T) {
	empty := t.TempDir()
	for what, c := range map[string]struct {
		file, requirements, code, says string
	}{
		"an unreachable package": {"requirements.txt", "--no-index\n--find-links " + empty + "\ngreeting\n", "agent_build_failed", "greeting"},
		"no such file":           {"needs.txt", "", "agent_dependencies", "needs.txt"},
		"too large":              {"requirements.txt", strings.Repeat("#", 1<<20) + "\n", "agent_dependencies", "megabyte"},
	} {
		t.Run(what, func(t *testing.T) {
			a := pythonAgent(t, map[string]string{"agent.py": "", "requirements.txt": c.requirements})
			a.Definition.DependenciesFile = c.file
			d := newDriver(t)
			for range 2 { // what was cut short is not taken for complete
				if err := d.Build(t.Context(), a); !fault.HasCode(err, c.code) || !strings.Contains(err.Error(), c.says) || fault.As(err).Kind != fault.Invalid {
					t.Error(err)
				}
			}
		})
	}
	t.Setenv("PATH", empty)
	a := pythonAgent(t, map[string]string{"agent.py": ""})
	if err := newDriver(t).Build(t.Context(), a); !fault.HasCode(err, "python_missing") {
		t.Error(err)
	}
}
