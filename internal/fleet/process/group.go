package process

import (
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"syscall"
)

// killGroup kills every process of a group.
func killGroup(pgid int) error { return syscall.Kill(-pgid, syscall.SIGKILL) }

// guard is a tiny process that outlives Deputy just long enough to kill an
// agent's group. The kernel's own signal on a parent's death reaches only the
// agent itself, not what it has started, and exists on Linux only.
type guard struct {
	cmd  *exec.Cmd
	line io.WriteCloser
}

// guardGroup starts the guard of a group. It waits for a line on its input; if
// the input ends without one, however Deputy may have died, it kills the group.
// Without a shell on the machine there is no guard.
func guardGroup(pgid int, log *slog.Logger) *guard {
	cmd := exec.Command("/bin/sh", "-c", `read -r line || kill -s KILL -- "-$1"`, "deputy-guard", strconv.Itoa(pgid))
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

// dismiss ends the guard, after the group has ended.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	_, _ = io.WriteString(g.line, "done\n") // fails if somebody killed the guard
	_ = g.line.Close()
	_ = g.cmd.Wait()
}
