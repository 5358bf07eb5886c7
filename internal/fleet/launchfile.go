package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/spool"
)

// launchFile holds the launch token of one run and replaces it in time.
type launchFile struct {
	fleet  *Fleet
	launch attest.Launch
	path   string
	group  int // that may read it; 0: none
	stop   context.CancelFunc
	done   chan struct{}
}

// launchDir returns where an agent's launch files are.
func (f *Fleet) launchDir(w name.Workload) string { return filepath.Join(f.config.Dir, w.Pool, w.Name) }

// takePath returns launch.jwt, or launch-2.jwt and so on while versions of an agent
// run beside each other. Names come again, so that files which a killed Deputy left
// do not add up.
func (f *Fleet) takePath(dir string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := filepath.Join(dir, "launch.jwt")
	for i := 2; f.paths[path]; i++ {
		path = filepath.Join(dir, fmt.Sprintf("launch-%d.jwt", i))
	}
	f.paths[path] = true
	return path
}

func (f *Fleet) givePath(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.paths, path)
}

// registerTime bounds a word with the store about a launch.
const registerTime = 10 * time.Second

// newLaunchFile writes the file and keeps it fresh until remove. From here until
// then the launch is live, here and at the other replicas.
func (f *Fleet) newLaunchFile(life context.Context, launch attest.Launch) (*launchFile, error) {
	dir := f.launchDir(launch.Workload)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "launch_file", "the launch file's directory cannot be made").WithFix("check rights and space of the data directory")
	}
	group, err := f.admit(dir, launch.Workload)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &launchFile{fleet: f, launch: launch, path: f.takePath(dir), group: group, stop: cancel, done: make(chan struct{})}
	err = f.config.Register.Begin(life, launch, f.config.Now().Add(f.config.TokenLife))
	var expires time.Time
	if err == nil {
		if expires, err = l.write(); err != nil {
			l.end()
		}
	}
	if err != nil {
		cancel()
		f.givePath(l.path)
		return nil, err
	}
	f.setLive(launch.ID, true)
	go l.keepFresh(ctx, expires)
	return l, nil
}

// admit lets an agent's own group into its directory of launch files, if it has one.
func (f *Fleet) admit(dir string, w name.Workload) (group int, err error) {
	if f.config.Group == nil {
		return 0, nil
	}
	if group, err = f.config.Group(w); err != nil || group == 0 {
		return 0, err
	}
	err = errors.Join(os.Chmod(f.config.Dir, 0o711), os.Chmod(filepath.Dir(dir), 0o711), os.Lchown(dir, -1, group), os.Chmod(dir, 0o750)) //nolint:gosec // Agents come through here.
	if err != nil {
		return 0, fault.Wrap(err, fault.Unavailable, "launch_file", "the launch file's directory cannot be given to the agent")
	}
	return group, nil
}

// keepFresh replaces the token at two fifths of its life, so that a reader always
// finds one with more than half of it left. If that fails it tries again each
// tenth of the life; the agent has the old token meanwhile.
func (l *launchFile) keepFresh(ctx context.Context, expires time.Time) {
	defer close(l.done)
	life := l.fleet.config.TokenLife
	timer := time.NewTimer(life * 2 / 5)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := life * 2 / 5
		fresh, err := l.write()
		if err != nil {
			l.fleet.config.Log.Error("launch file not replaced", "agent", l.launch.Workload.String(), "expires", expires, "err", err)
			next = life / 10
		} else {
			expires = fresh
			l.goOn(ctx, expires)
		}
		timer.Reset(next)
	}
}

// goOn lets the other replicas know. Here the new token is good in any case.
func (l *launchFile) goOn(life context.Context, until time.Time) {
	ctx, cancel := context.WithTimeout(life, registerTime)
	defer cancel()
	if err := l.fleet.config.Register.Keep(ctx, l.launch, until); err != nil && life.Err() == nil {
		l.fleet.config.Log.Warn("other replicas do not know that a launch goes on", "agent", l.launch.Workload.String(), "err", err)
	}
}

// end lets the other replicas know that the launch is over, also, and above all,
// when the runtime's own context is done.
func (l *launchFile) end() {
	ctx, cancel := context.WithTimeout(context.Background(), registerTime)
	defer cancel()
	if err := l.fleet.config.Register.End(ctx, l.launch); err != nil {
		l.fleet.config.Log.Warn("other replicas do not know that a launch has ended; its token is good there until it expires", "agent", l.launch.Workload.String(), "err", err)
	}
}

// write replaces the file at once, so that a reader finds the old token or the
// new one and never half of one.
func (l *launchFile) write() (expires time.Time, err error) {
	token, expires, err := l.fleet.config.Launches.Mint(l.launch, l.fleet.config.TokenLife)
	if err != nil {
		return time.Time{}, err
	}
	defer token.Clear()
	line := append(append([]byte(nil), token.Reveal()...), '\n')
	defer clear(line)
	if err := spool.ReplaceFor(l.path, line, l.group); err != nil {
		return time.Time{}, fault.Wrap(err, fault.Unavailable, "launch_file", "the launch file cannot be written").WithFix("check rights and space of the data directory")
	}
	return expires, nil
}

// remove ends the launch: its tokens are worth nothing from here on.
func (l *launchFile) remove() {
	l.fleet.setLive(l.launch.ID, false)
	l.stop()
	<-l.done
	l.end()
	defer l.fleet.givePath(l.path)
	if err := os.Remove(l.path); err != nil {
		l.fleet.config.Log.Warn("launch file is left", "agent", l.launch.Workload.String(), "err", err)
	}
}
