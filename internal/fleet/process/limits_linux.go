package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// confine has cmd run as a user, if that is not 0, and in a control group, if that is
// not nil, from its first instruction on.
func confine(cmd *exec.Cmd, user int, group *cgroup) {
	if user != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)} // and no other groups
	}
	if group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.dir.Fd())
	}
}

// noDumps keeps what is in a process's memory, such as tokens, off the disk.
func noDumps(pid int) error { return unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil) }

// awaitEmpty waits a moment for the end of the processes of a control group. The
// kernel tells of it by an event on this file.
func awaitEmpty(path string) {
	fd, err := unix.Open(filepath.Join(path, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }() // only read
	var state [256]byte
	_, _ = unix.Read(fd, state[:]) // the event is of what happens after this
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, 20)
}

// killUser kills every process of a user, wherever it has hidden itself, until there
// is none. It is bounded, since whoever forks fast enough may win for a while.
func killUser(user int) {
	for range 50 {
		found := false
		dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
		for _, dir := range dirs {
			info, err := os.Stat(dir)
			if err != nil {
				continue // it has ended
			}
			owner, ok := info.Sys().(*syscall.Stat_t)
			pid, err := strconv.Atoi(filepath.Base(dir))
			if !ok || err != nil || int(owner.Uid) != user {
				continue
			}
			found = true
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return
			}
		}
		if !found {
			return
		}
	}
}
