package process

import (
	"io"
	"log/slog"
	"os/exec"
	"syscall"
)

// killGroup kills every process of a group.
func killGroup(pgid int) error { return syscall.Kill(-pgid, syscall.SIGKILL) }

// guard is a tiny process that leads an agent's group and outlives Deputy just
// long enough to kill it. The kernel's own signal on a parent's death reaches only
// the agent itself, not what it has started, and exists on Linux only. The guard is
// there before the agent is: an agent never runs unguarded. As long as the guard
// has not been waited for, the group's id is nobody else's.
type guard struct {
	cmd  *exec.Cmd
	line io.Closer // its end, however Deputy may die, is the sign
}

// newGuard starts the guard of a group that is still empty. Without a shell on
// the machine there is no guard: it returns nil.
func newGuard(log *slog.Logger) *guard {
	// The signals are what an agent may send to its own group, and what we send.
	cmd := exec.Command("/bin/sh", "-c", `trap '' HUP INT QUIT TERM USR1 USR2; read -r line; kill -s KILL 0`, "deputy-guard")
	cmd.Env = []string{} // not ours: it may hold the root key
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	line, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		log.Warn("no guard for the agent: what it starts may outlive a killed Deputy", "err", err)
		return nil
	}
	return &guard{cmd, line}
}

// group returns the group that an agent is to join, 0 for one of its own.
func (g *guard) group() int {
	if g == nil {
		return 0
	}
	return g.cmd.Process.Pid
}

// dismiss ends the guard and what is left of its group.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	_ = killGroup(g.group()) // the guard is in it
	_ = g.line.Close()
	_ = g.cmd.Wait() // "signal: killed"
}
