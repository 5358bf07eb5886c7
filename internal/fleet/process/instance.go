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
	log     *lineLog // closed when the instance has ended
	slog    *slog.Logger
	ended   func() // called when nothing is left
}

// instance is one run of an agent: a process that leads a group of its own.
type instance struct {
	spec
	health  *prober
	process *os.Process
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
	ownGroup(cmd)
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
	err := cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		started <- err
		return
	}
	i.process = cmd.Process
	guard := guardGroup(cmd.Process.Pid, i.slog)
	started <- nil
	collected := make(chan error, 1)
	go func() { collected <- i.log.collect(r) }()

	err = reap(cmd, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = killGroup(cmd.Process.Pid) // fails when nobody else was in it
		i.gone = true
	})
	guard.dismiss()
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
func (i *instance) URL() string { return i.health.base }

// Probe implements fleet.Instance.
func (i *instance) Probe(ctx context.Context) error { return i.health.probe(ctx, i.process.Pid) }

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
	if !i.gone {
		_ = syscall.Kill(-i.process.Pid, s) // fails only if it has just ended
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
