package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// python returns the interpreter for an agent: that of its language_version, if
// this machine has it, and else python3.
func python(a agent.Agent) (string, error) {
	if v := a.Definition.LanguageVersion; v != "" && strings.Trim(v, "0123456789.") == "" {
		if path, err := exec.LookPath("python" + v); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("python3")
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "python_missing", "the agent is written in Python, and there is no python3 command").
			WithFix("install Python 3 and start Deputy again with it in PATH")
	}
	return path, nil
}

// interpreter returns the program that runs the agent: the interpreter of its
// virtual environment, or the machine's if it needs nothing but the standard
// library. built tells whether it is there.
func (d *Driver) interpreter(a agent.Agent) (path string, built bool, err error) {
	base, err := python(a)
	if err != nil {
		return "", false, err
	}
	needs, err := a.Definition.Requirements(a.Directory)
	if err != nil || needs == nil {
		return base, true, err
	}
	sum := sha256.New()
	// An interpreter that was replaced by another version has no packages for it.
	resolved, err := filepath.EvalSymlinks(base)
	if err != nil {
		return "", false, fault.Wrap(err, fault.Unavailable, "python_missing", "python3 cannot be found")
	}
	for _, part := range [][]byte{[]byte(resolved), {0}, needs} {
		sum.Write(part)
	}
	venv := d.home(a.Workload(), "venv", hex.EncodeToString(sum.Sum(nil)[:16]))
	_, err = os.Stat(filepath.Join(venv, complete))
	return filepath.Join(venv, "bin", "python"), err == nil, nil
}

// complete marks a virtual environment whose packages are all there. It cannot be
// made aside and renamed: its scripts know where they are.
const complete = ".complete"

// keptVenvs is how many are kept: one may serve while the next is made.
const keptVenvs = 3

// buildPython makes the agent's virtual environment, unless it is there: agents
// that need the same share none, so that none can change another one's.
func (d *Driver) buildPython(ctx context.Context, a agent.Agent) error {
	program, built, err := d.interpreter(a)
	if err != nil {
		return err
	}
	venv := filepath.Dir(filepath.Dir(program))
	own := d.home(a.Workload(), "venv")
	if built && filepath.Dir(venv) == own { // not the machine's Python
		now := time.Now()
		err = os.Chtimes(venv, now, now) // it is in use
	}
	if err != nil {
		return unwritable(err)
	}
	if built {
		return nil
	}
	if err := os.RemoveAll(venv); err != nil { // one that was cut short
		return unwritable(err)
	}
	if err := os.MkdirAll(own, 0o700); err != nil {
		return unwritable(err)
	}
	base, err := python(a)
	if err != nil {
		return err
	}
	if err := d.runBuilder(ctx, a, []string{base, "-m", "venv", venv}, nil); err != nil {
		return pythonFix(err, "install Python's venv module (on Debian: apt install python3-venv)")
	}
	file := filepath.Join(a.Directory, filepath.FromSlash(a.Definition.DependenciesFile))
	install := []string{program, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--requirement", file}
	if err := d.runBuilder(ctx, a, install, pipEnvironment()); err != nil {
		return pythonFix(err, "pip asks the package index of its own configuration (PIP_INDEX_URL, pip.conf): see that it is reachable from here and has what %s names", a.Definition.DependenciesFile)
	}
	if err := os.WriteFile(filepath.Join(venv, complete), nil, 0o600); err != nil {
		return unwritable(err)
	}
	d.dropUnused(own, keptVenvs)
	return nil
}

// pythonFix adds to a failed build what is to be done about it.
func pythonFix(err error, format string, args ...any) error {
	if !fault.HasCode(err, "agent_build_failed") {
		return err
	}
	return fault.As(err).WithFix(format, args...)
}

// pipEnvironment returns pip's own settings, one by one as in buildEnvironment.
func pipEnvironment() []string {
	return inherited(`PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_CONFIG_FILE PIP_CERT PIP_PROXY PIP_CACHE_DIR PIP_NO_INDEX PIP_FIND_LINKS REQUESTS_CA_BUNDLE`)
}
