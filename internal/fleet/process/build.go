package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

const maxBuildOutput = 6 << 10 // bytes of a compiler's output that are shown

// Build implements fleet.Driver. Agents written in Go are compiled once for each
// build; of others the files are kept, and it checks that the entry point is there.
func (d *Driver) Build(ctx context.Context, a agent.Agent) error {
	kept, err := d.isKept(a)
	if err != nil {
		return err
	}
	kind := a.Definition.Kind()
	if !kept {
		if err := d.make(ctx, a, kind); err != nil {
			return err
		}
	}
	if kind == agent.PythonScript {
		return d.buildPython(ctx, d.ofKept(a))
	}
	return nil
}

// ofKept is the agent with the directory in which its files are kept.
func (d *Driver) ofKept(a agent.Agent) agent.Agent {
	a.Directory = d.kept(a)
	return a
}

func (d *Driver) make(ctx context.Context, a agent.Agent, kind agent.Kind) error {
	if info, err := os.Stat(a.Directory); err != nil || !info.IsDir() {
		return fault.Wrap(err, fault.Invalid, "agent_directory", "there is no directory %s", a.Directory).WithFix("deploy the agent again from where it is")
	}
	entry := filepath.Join(a.Directory, filepath.FromSlash(a.Definition.EntryPoint))
	info, err := os.Stat(entry)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_entry_point", "there is no entry point %s in %s", a.Definition.EntryPoint, a.Directory).
			WithSource("agentkit.yaml: common.entry_point")
	}
	switch kind {
	case agent.BuiltGo, agent.BuiltScript:
		return d.keep(a, func(work string) error { return d.compile(ctx, a, kind, info.IsDir(), work) })
	case agent.Executable:
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return fault.New(fault.Invalid, "agent_entry_point", "entry point %s is not an executable file", a.Definition.EntryPoint).
				WithSource("agentkit.yaml: common.entry_point").WithFix("chmod +x it, or set common.language")
		}
	}
	return d.keepFiles(ctx, a)
}

func (d *Driver) compile(ctx context.Context, a agent.Agent, kind agent.Kind, isDir bool, work string) error {
	var err error
	if kind == agent.BuiltGo {
		err = d.goBuild(ctx, a, isDir, filepath.Join(work, a.Name))
	} else {
		err = d.runBuilder(ctx, a, []string{"/bin/sh", a.Definition.EntryPoint}, []string{"BUILD_OUTPUT_DIR=" + work, "BUILD_BINARY_NAME=" + a.Name})
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(work, a.Name)); err != nil || info.Mode()&0o111 == 0 {
		return fault.Wrap(err, fault.Invalid, "agent_build_failed", "the build of %s left no program at $BUILD_OUTPUT_DIR/$BUILD_BINARY_NAME", a.Definition.EntryPoint)
	}
	return nil
}

func (d *Driver) goBuild(ctx context.Context, a agent.Agent, isDir bool, target string) error {
	command := d.Go
	if command == "" {
		command = "go"
	}
	path, err := exec.LookPath(command)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "go_missing", "the agent is written in Go, and there is no go command").
			WithFix("install Go from https://go.dev/dl and start Deputy again with it in PATH")
	}
	return d.runBuilder(ctx, a, []string{path, "build", "-o", target, a.Definition.GoPackage(isDir)}, nil)
}

// runBuilder runs a build command in the agent's directory.
func (d *Driver) runBuilder(ctx context.Context, a agent.Agent, command, env []string) error {
	limit := d.BuildTimeout
	if limit <= 0 {
		limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = a.Directory, append(buildEnvironment(), env...)
	out := &head{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second // a child that keeps the output open must not keep us
	ownGroup(cmd, 0)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	d.Log.Info("building", "agent", a.Workload().String(), "version", a.Version)
	start := time.Now()
	err := runLocked(cmd)
	switch {
	case err == nil:
		d.Log.Info("built", slog.String("agent", a.Workload().String()), slog.Int64("version", a.Version), slog.Duration("took", time.Since(start)))
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Wrap(err, fault.Unavailable, "agent_build_timeout", "the build took more than %v and was stopped", limit)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fault.Wrap(err, fault.Unavailable, "agent_build_failed", "the build could not be started")
	default:
		return fault.Wrap(err, fault.Invalid, "agent_build_failed", "the build of %s failed (%v):\n%s", a.Definition.EntryPoint, err, out)
	}
}

// buildEnvironment returns what compilers need of Deputy's environment: where
// they find caches and modules. Variables are named one by one, because a prefix
// like GO would let GOOGLE_API_KEY in.
func buildEnvironment() []string {
	return inherited(`PATH HOME LANG TZ TMPDIR XDG_CACHE_HOME XDG_CONFIG_HOME
		GOPATH GOCACHE GOMODCACHE GOENV GOFLAGS GOPROXY GOSUMDB GONOSUMDB GONOPROXY GOPRIVATE GOINSECURE GOROOT GOTOOLCHAIN GOWORK GOVCS CGO_ENABLED CC CXX
		HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR`)
}

// inherited returns those of the named variables that Deputy's environment has.
func inherited(names string) []string {
	var env []string
	for variable := range strings.FieldsSeq(names) {
		if v, ok := os.LookupEnv(variable); ok {
			env = append(env, variable+"="+v)
		}
	}
	return env
}

// head keeps the first bytes that are written to it: a compiler's first
// complaints are the causes of the later ones.
type head struct {
	kept    []byte
	dropped int
}

func (h *head) Write(b []byte) (int, error) {
	n := min(len(b), maxBuildOutput-len(h.kept))
	h.kept = append(h.kept, b[:n]...)
	h.dropped += len(b) - n
	return len(b), nil
}

func (h *head) String() string {
	lines := strings.Split(strings.TrimRight(string(h.kept), "\n"), "\n")
	for i, line := range lines {
		lines[i] = printable([]byte(line))
	}
	text := strings.Join(lines, "\n")
	if h.dropped > 0 {
		text += fmt.Sprintf("\n… (%d bytes dropped)", h.dropped)
	}
	return text
}
