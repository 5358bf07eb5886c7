package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// lastWords is how long the output of an agent that has ended is read on: a
// process that left the group may keep it open for ever.
const lastWords = time.Second

// spec is what an instance is started with.
type spec struct {
	command []string
	dir     string
	env     []string
	port    int
	user    int        // whom it runs as; 0: Deputy's own
	cgroup  *cgroup    // nil: none
	log     *logWriter // closed when the instance has ended
	slog    *slog.Logger
	ended   func() // called when nothing is left
}

// instance is one run of an agent: a process in a group of its own.
type instance struct {
	spec
	health  *prober
	process *os.Process
	group   int // the process group's id: the guard's, or the process's own
	done    chan struct{}
	reason  string // set before done is closed

	mu   sync.Mutex
	gone bool // the group has been killed and its id may be used again: no more signals
}

func start(s spec) (*instance, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, unstartable(err)
	}
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, w, w
	i := &instance{spec: s, health: newProber(s.port), done: make(chan struct{})}
	started := make(chan error)
	go i.run(cmd, started, r, w)
	if err := <-started; err != nil {
		return nil, unstartable(err)
	}
	return i, nil
}

func unstartable(err error) error {
	return fault.Wrap(err, fault.Invalid, "agent_start_failed", "the agent's program cannot be started: %v", err).
		WithFix("check that the entry point is executable and made for this machine")
}

// run starts the process, tells whether that worked, and sees the process to its
// end. The kernel kills the process when the thread that started it ends
// (PR_SET_PDEATHSIG), so the thread is kept until then.
func (i *instance) run(cmd *exec.Cmd, started chan<- error, r, w *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	guard := newGuard(i.slog)
	ownGroup(cmd, guard.group())
	confine(cmd, i.user, i.cgroup)
	err := cmd.Start()
	w.Close()
	if err != nil {
		guard.dismiss()
		r.Close()
		started <- err
		return
	}
	if err := noDumps(cmd.Process.Pid); err != nil {
		i.slog.Warn("the agent may leave core dumps", "err", err)
	}
	i.process, i.group = cmd.Process, guard.group()
	if guard == nil {
		i.group = cmd.Process.Pid
	}
	started <- nil
	collected := make(chan error, 1)
	go func() { collected <- i.log.collect(r) }()

	err = reap(cmd, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = killGroup(i.group) // fails when nobody else was in it
		i.gone = true
	})
	guard.dismiss()
	i.cgroup.end()
	_ = r.SetReadDeadline(time.Now().Add(lastWords))
	if err := <-collected; err != nil {
		i.slog.Warn("lines of the agent's log are lost", "err", err)
	}
	r.Close()
	i.reason = "exit status 0"
	if err != nil {
		i.reason = err.Error()
	}
	if last := i.log.lastLine(); last != "" {
		i.reason += fmt.Sprintf("; its last line: %s", name.Clip(last, 300))
	}
	i.log.close()
	i.ended()
	close(i.done)
}

// URL implements fleet.Instance.
func (i *instance) URL() string { return i.health.URL() }

// Probe implements fleet.Instance.
func (i *instance) Probe(ctx context.Context) error { return i.health.probe(ctx, i.group) }

// Done implements fleet.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Reason implements fleet.Instance.
func (i *instance) Reason() string { return i.reason }

// Stop implements fleet.Instance.
func (i *instance) Stop(ctx context.Context) {
	i.signal(syscall.SIGTERM)
	select {
	case <-i.done:
		return
	case <-ctx.Done():
	}
	i.signal(syscall.SIGKILL)
	<-i.done
}

func (i *instance) signal(s syscall.Signal) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.gone {
		return
	}
	_ = syscall.Kill(-i.group, s) // fails only if it has just ended
	if group, err := syscall.Getpgid(i.process.Pid); err == nil && group != i.group {
		_ = i.process.Signal(s) // it has left the group
	}
}

// runLocked is cmd.Run on a thread that stays: see instance.run.
func runLocked(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	return <-done
}
