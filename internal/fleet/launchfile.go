package fleet

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/spool"
)

// launchFile holds the launch token of one run and replaces it in time.
type launchFile struct {
	fleet  *Fleet
	launch attest.Launch
	path   string
	stop   context.CancelFunc
	done   chan struct{}
}

// newLaunchFile writes the file and keeps it fresh until remove. From here until
// then the launch is live.
func (f *Fleet) newLaunchFile(launch attest.Launch) (*launchFile, error) {
	dir := filepath.Join(f.config.Dir, launch.Workload.Pool, launch.Workload.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "launch_file", "the launch file's directory cannot be made").WithFix("check rights and space of the data directory")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &launchFile{fleet: f, launch: launch, path: filepath.Join(dir, "launch.jwt"), stop: cancel, done: make(chan struct{})}
	expires, err := l.write()
	if err != nil {
		cancel()
		return nil, err
	}
	f.setLive(launch.ID, true)
	go l.keepFresh(ctx, expires)
	return l, nil
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
		}
		timer.Reset(next)
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
	if err := spool.Replace(l.path, line); err != nil {
		return time.Time{}, fault.Wrap(err, fault.Unavailable, "launch_file", "the launch file cannot be written").WithFix("check rights and space of the data directory")
	}
	return expires, nil
}

// remove ends the launch: its tokens are worth nothing from here on.
func (l *launchFile) remove() {
	l.fleet.setLive(l.launch.ID, false)
	l.stop()
	<-l.done
	if err := os.Remove(l.path); err != nil {
		l.fleet.config.Log.Warn("launch file is left", "agent", l.launch.Workload.String(), "err", err)
	}
}
