//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// confine has cmd run as a user, if that is not 0. There are no control groups.
func confine(cmd *exec.Cmd, user int, _ *cgroup) {
	if user != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)} // and no other groups
	}
}

// noDumps does nothing: one process sets no other one's limits here.
func noDumps(int) error { return nil }

func awaitEmpty(string) {}

// killUser does nothing: there is no list of processes to be had in one way.
func killUser(int) {}
