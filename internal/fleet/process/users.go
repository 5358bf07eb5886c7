package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Users are the accounts that agents run as: one for each agent, so that none reads
// another one's files, its memory or its environment, and none reads Deputy's. Only
// root gives processes to others. The zero value stands for Deputy's own account.
//
// An account is a number: it needs no name and no entry in any file. Which agent has
// which is told by the group of the agent's directory, and nothing else.
type Users struct {
	First int // the lowest id, of users and of their groups
	Count int
}

// lowestUser is above the ids of people and services of any system.
const lowestUser = 60_000

// Check returns a fault of kind Invalid for a range that is none.
func (u Users) Check() error {
	switch {
	case u == Users{}:
		return nil
	case u.First < lowestUser || u.Count < 1 || u.Count > 1<<20:
		return fault.New(fault.Invalid, "agent_users", "%d to %d is no range for agents", u.First, u.First+u.Count-1).
			WithFix("give ids from %d on that nobody else has, such as 200000-200999", lowestUser)
	case os.Geteuid() != 0:
		return fault.New(fault.Invalid, "agent_users", "only root runs agents as users of their own").WithFix("run Deputy as root, or leave this out")
	}
	return nil
}

func (u Users) has(id int) bool { return id >= u.First && id < u.First+u.Count }

// user returns the id of an agent's own user and group, and makes the agent's
// directory, which both Deputy and that group may enter. An agent keeps its id until
// it is removed.
func (d *Driver) user(w name.Workload) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.home(w)
	for _, open := range []string{d.Dir, filepath.Dir(dir)} { // to be entered, not to be read
		if err := errors.Join(os.MkdirAll(open, 0o711), os.Chmod(open, 0o711)); err != nil { //nolint:gosec // Agents come through here.
			return 0, unwritable(err)
		}
	}
	if info, err := os.Stat(dir); err == nil && d.Users.has(groupOf(info)) {
		return groupOf(info), nil
	}
	taken, err := d.taken()
	if err != nil {
		return 0, err
	}
	for id := d.Users.First; d.Users.has(id); id++ {
		if taken[id] {
			continue
		}
		if err := os.MkdirAll(dir, 0o710); err != nil { //nolint:gosec // Its group is the agent's own.
			return 0, unwritable(err)
		}
		return id, grant(dir, id, 0o710)
	}
	return 0, fault.New(fault.Unavailable, "agent_users_full", "all %d users for agents are given", d.Users.Count).WithFix("give Deputy a larger range, or destroy agents that nobody uses")
}

// taken returns the ids that agents have.
func (d *Driver) taken() (map[int]bool, error) {
	dirs, err := filepath.Glob(filepath.Join(d.Dir, "*", "*"))
	if err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil {
			taken[groupOf(info)] = true
		}
	}
	return taken, nil
}

func groupOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Gid)
	}
	return -1
}

// grant gives a file or directory of Deputy's a group and a mode.
func grant(path string, group int, mode fs.FileMode) error {
	if err := errors.Join(os.Lchown(path, -1, group), os.Chmod(path, mode)); err != nil {
		return unwritable(err)
	}
	return nil
}

// share lets an agent's group read and run what Deputy has below dir, and change
// nothing.
func share(dir string, group int) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			return os.Lchown(path, -1, group)
		}
		info, err := e.Info()
		if err != nil || groupOf(info) == group {
			return err
		}
		mode := info.Mode().Perm()
		return grant(path, group, mode&0o700|mode&0o500>>3)
	})
}

// rooms makes the directories that are the agent's own: user is 0 if that is
// Deputy's.
func (d *Driver) rooms(w name.Workload, user int) error {
	for _, dir := range []string{"home", "tmp"} {
		path := d.home(w, dir)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return unwritable(err)
		}
		if user == 0 {
			continue
		}
		// Its parent is Deputy's: nobody puts a link in its place.
		if err := os.Lchown(path, user, user); err != nil {
			return unwritable(err)
		}
	}
	if user == 0 {
		return nil
	}
	for _, dir := range []string{"build", "venv"} {
		if err := share(d.home(w, dir), user); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(err)
		}
	}
	return nil
}

// Group returns the group that an agent's launch files are for; 0 stands for
// Deputy's own.
func (d *Driver) Group(w name.Workload) (int, error) {
	if d.Users == (Users{}) {
		return 0, nil
	}
	return d.user(w)
}
