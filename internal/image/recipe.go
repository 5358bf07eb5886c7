package image

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// buildTimeout bounds a compiler, and pip.
const buildTimeout = 10 * time.Minute

// program is for agents that are compiled: the program alone, on nothing but the
// certificate authorities if there is no base image.
func (b Builder) program(ctx context.Context, directory, work string, d agent.Definition, architecture string) (recipe, error) {
	r := recipe{base: d.Image.Base, entrypoint: []string{"/" + programPath}}
	out := filepath.Join(work, "build")
	if err := os.Mkdir(out, 0o700); err != nil {
		return r, err
	}
	target := filepath.Join(out, programPath)
	env := []string{"GOOS=linux", "GOARCH=" + architecture, "CGO_ENABLED=0"}
	info, err := os.Stat(filepath.Join(directory, filepath.FromSlash(d.EntryPoint)))
	if err != nil {
		return r, noEntryPoint(err, d, directory)
	}
	if d.Kind() == agent.BuiltGo {
		// Nothing of this machine is to be in it, but the time zones, which an empty base does not have.
		err = b.run(ctx, directory, env, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-tags=timetzdata", "-o", target, d.GoPackage(info.IsDir()))
	} else {
		err = b.run(ctx, directory, append(env, "BUILD_OUTPUT_DIR="+out, "BUILD_BINARY_NAME="+programPath), "/bin/sh", d.EntryPoint)
	}
	if err != nil {
		return r, err
	}
	if info, err := os.Stat(target); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return r, fault.Wrap(err, fault.Invalid, "agent_build_failed", "the build of %s left no program at $BUILD_OUTPUT_DIR/$BUILD_BINARY_NAME", d.EntryPoint)
	}
	if r.base == "" {
		authorities, err := b.authorities()
		if err != nil {
			return r, err
		}
		if err := r.add(work, "authorities", func(l *layer) error { return l.add("etc/ssl/certs/ca-certificates.crt", authorities) }); err != nil {
			return r, err
		}
	}
	return r, r.add(work, "program", func(l *layer) error { return l.add(programPath, target) })
}

func noEntryPoint(err error, d agent.Definition, directory string) error {
	return fault.Wrap(err, fault.Invalid, "agent_entry_point", "there is no entry point %s in %s", d.EntryPoint, directory).WithSource("agentkit.yaml: common.entry_point")
}

// files is for agents that are run from their files, on a base image that has what
// runs them.
func (b Builder) files(ctx context.Context, directory, work string, d agent.Definition, architecture string) (recipe, error) {
	entry := filepath.Join(directory, filepath.FromSlash(d.EntryPoint))
	info, err := os.Stat(entry)
	if err != nil || !info.Mode().IsRegular() {
		return recipe{}, noEntryPoint(err, d, directory)
	}
	inside := path.Join("/", filesDir, d.EntryPoint)
	r := recipe{base: d.Image.Base}
	switch d.Kind() {
	case agent.PythonScript:
		r.entrypoint, r.env = []string{"python3", "-u", inside}, []string{"PYTHONDONTWRITEBYTECODE=1"}
		if r.base == "" {
			r.base = "docker.io/library/python:" + python(d) + "-slim"
		}
		if err := b.packages(ctx, &r, directory, work, d, architecture); err != nil {
			return r, err
		}
	case agent.Script:
		r.entrypoint = []string{"/bin/sh", inside}
	default:
		if info.Mode()&0o111 == 0 {
			return r, fault.New(fault.Invalid, "agent_entry_point", "entry point %s is not an executable file", d.EntryPoint).
				WithSource("agentkit.yaml: common.entry_point").WithFix("chmod +x it, or set common.language")
		}
		r.entrypoint = []string{inside}
	}
	if r.base == "" {
		return r, fault.New(fault.Invalid, "image_base_missing", "nothing says which image has what %s needs to run", d.EntryPoint).
			WithSource("agentkit.yaml: docker_build.base_image").WithFix("name one, such as docker.io/library/node:24-slim")
	}
	return r, r.add(work, "files", func(l *layer) error { return l.tree(filesDir, directory, skipped) })
}

// packages adds what an agent in Python needs from the package index, as wheels for
// the image's machine: what has to be compiled belongs into a base image.
func (b Builder) packages(ctx context.Context, r *recipe, directory, work string, d agent.Definition, architecture string) error {
	needs, err := d.Requirements(directory)
	if err != nil || needs == nil {
		return err
	}
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[architecture]
	target := filepath.Join(work, packagesDir)
	err = b.run(ctx, directory, nil, "python3", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-compile", "--target", target,
		"--only-binary=:all:", "--implementation=cp", "--python-version="+python(d), "--platform=manylinux2014_"+machine, "--platform=manylinux_2_28_"+machine,
		"--requirement", filepath.FromSlash(d.DependenciesFile))
	if err != nil {
		return fault.As(err).WithFix("pip asks the package index of its own configuration (PIP_INDEX_URL, pip.conf); what has no wheels for %s belongs into docker_build.base_image", machine)
	}
	r.env = append(r.env, "PYTHONPATH=/"+packagesDir)
	return r.add(work, packagesDir, func(l *layer) error {
		return l.tree(packagesDir, target, func(base string) bool { return base == "__pycache__" })
	})
}

func python(d agent.Definition) string {
	if d.LanguageVersion == "" {
		return defaultPython
	}
	return d.LanguageVersion
}

// run runs a program in the agent's directory, with the environment of whoever
// builds: it is his own machine.
func (b Builder) run(ctx context.Context, directory string, env []string, command string, args ...string) error {
	path, err := exec.LookPath(command)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "builder_missing", "the agent's image is built with %s, which is not here", command).WithFix("install it, or build elsewhere and set image in agentkit.yaml")
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = directory, append(os.Environ(), env...), b.Output, b.Output
	cmd.WaitDelay = time.Second // a child that keeps the output open must not keep us
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Wrap(err, fault.Unavailable, "agent_build_timeout", "%s took more than %v and was stopped", command, buildTimeout)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fault.Wrap(err, fault.Invalid, "agent_build_failed", "%s failed (%v); what it says is above", command, err)
}
