package demo

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd lead a process group, and be asked to end when the demo
// dies without having stopped it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
