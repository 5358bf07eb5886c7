package process

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts cmd into the process group of leader, or one of its own if that is
// 0, and makes it die when the thread that starts it does.
func ownGroup(cmd *exec.Cmd, leader int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: leader, Pdeathsig: syscall.SIGKILL}
}

// reap waits for cmd's end, calls last while the dead process still holds its id
// and its group's, so that nobody else can be hit by a signal to them, and
// returns what cmd.Wait returns.
func reap(cmd *exec.Cmd, last func()) error {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	last()
	return cmd.Wait()
}
