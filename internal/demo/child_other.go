//go:build unix && !linux

package demo

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd lead a process group.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
