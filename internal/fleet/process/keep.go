package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// A build is kept as it was made: the program of an agent that is compiled, the
// files of one that is not. What happens to the agent's directory afterwards
// changes nothing of what runs, or of what it goes back to.

// The bounds of an agent's files, if they are kept.
const (
	maxFiles = 100_000
	maxBytes = 1 << 30
)

// kept returns where a build is. The time of creation is in it because builds
// begin at 1 again when an agent is deleted and deployed anew.
func (d *Driver) kept(a agent.Agent) string {
	number := a.Build
	if number == 0 {
		number = a.Version
	}
	return d.home(a.Workload(), "build", fmt.Sprintf("%x-%d", a.CreatedAt.UnixNano(), number))
}

// binary returns where the program of a build is that was compiled.
func (d *Driver) binary(a agent.Agent) string { return filepath.Join(d.kept(a), a.Name) }

// isKept reports whether there is the build, which is in use then, and the fault if
// it has to be and is not: a directory has only what is newest.
func (d *Driver) isKept(a agent.Agent) (bool, error) {
	now := time.Now()
	switch err := os.Chtimes(d.kept(a), now, now); {
	case err == nil:
		return true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, unwritable(err)
	case a.Repeats:
		return false, fault.New(fault.Invalid, "agent_build_gone", "build %d of the agent is not kept on this machine any more", a.Build).
			WithFix("launch the agent again from where its files are")
	default:
		return false, nil
	}
}

// keep makes a build in a directory of its own and puts it where it belongs when it
// is complete, so that one that was cut short is not taken for it.
func (d *Driver) keep(a agent.Agent, build func(work string) error) error {
	dir := d.kept(a)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return unwritable(err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".building-*")
	if err != nil {
		return unwritable(err)
	}
	defer os.RemoveAll(work)
	if err := build(work); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return unwritable(err)
	}
	if err := os.Rename(work, dir); err != nil {
		return unwritable(err)
	}
	d.dropUnused(filepath.Dir(dir), keptBuilds)
	return nil
}

// keptBuilds is more than an agent can go back to: which of them runs is not known here.
const keptBuilds = agent.KeptBuilds + 3

// dropUnused deletes all directories below dir but those that were used last.
func (d *Driver) dropUnused(dir string, keep int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type build struct {
		path string
		used time.Time
	}
	var builds []build
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			builds = append(builds, build{filepath.Join(dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(builds, func(a, b build) int { return b.used.Compare(a.used) })
	for _, old := range builds[min(keep, len(builds)):] {
		if err := os.RemoveAll(old.path); err != nil {
			d.Log.Warn("an old build is left", "err", err)
		}
	}
}

// keepFiles keeps the files of an agent's directory, without .git.
func (d *Driver) keepFiles(ctx context.Context, a agent.Agent) error {
	root, err := filepath.EvalSymlinks(a.Directory)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_directory", "there is no directory %s", a.Directory)
	}
	return d.keep(a, func(work string) error {
		files, bytes := 0, int64(0)
		return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil || path == root {
				return err
			}
			inside, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if e.IsDir() && e.Name() == ".git" {
				return fs.SkipDir
			}
			n, err := keepFile(root, path, filepath.Join(work, inside), e)
			files, bytes = files+1, bytes+n
			if err == nil && (files > maxFiles || bytes > maxBytes) {
				err = fault.New(fault.Invalid, "agent_too_large", "the agent's directory has more than %d files or %d MiB", maxFiles, maxBytes>>20).
					WithFix("launch it from a directory that has only what it needs")
			}
			return err
		})
	})
}

// keepFile copies one file, link or directory, and returns how many bytes it has.
// Links inside the agent's directory lead to the copy of what they led to, others to
// where they led. What is neither of the three is left out.
func keepFile(root, from, to string, e fs.DirEntry) (int64, error) {
	switch {
	case e.IsDir():
		return 0, os.Mkdir(to, 0o700)
	case e.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return 0, err
		}
		if !filepath.IsAbs(target) {
			absolute := filepath.Join(filepath.Dir(from), target)
			if inside, err := filepath.Rel(root, absolute); err != nil || inside == ".." || strings.HasPrefix(inside, "../") {
				target = absolute
			}
		}
		return 0, os.Symlink(target, to)
	case !e.Type().IsRegular():
		return 0, nil
	}
	info, err := e.Info()
	if err != nil {
		return 0, err
	}
	in, err := os.Open(from)
	if err != nil {
		return 0, fault.Wrap(err, fault.Invalid, "agent_file_unreadable", "the agent's file %s cannot be read", from)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o400)
	if err != nil {
		return 0, unwritable(err)
	}
	n, err := io.Copy(out, io.LimitReader(in, maxBytes+1))
	return n, errors.Join(err, out.Close())
}
