package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
)

// Limits bound what one run of an agent may have, with all that it starts. Zero
// values stand for no bound.
type Limits struct {
	Memory    int64   // bytes; whoever wants more is killed with its whole run
	Processes int     // threads count, too
	CPU       float64 // processors
}

// controllers returns the controllers of cgroup v2 that the limits take.
func (l Limits) controllers() []string {
	var all []string
	for _, c := range []struct {
		name string
		used bool
	}{{"memory", l.Memory > 0}, {"pids", l.Processes > 0}, {"cpu", l.CPU > 0}} {
		if c.used {
			all = append(all, c.name)
		}
	}
	return all
}

// Prepare gets ready what users and limits take, a control group (cgroup v2) that
// Deputy may divide for one, and returns a fault of kind Invalid if that cannot be
// had: an agent that should be bounded must not run without.
func (d *Driver) Prepare() error {
	if err := d.Users.Check(); err != nil {
		return fault.As(err).WithSource("--agent-users")
	}
	wanted := d.Limits.controllers()
	switch {
	case d.Cgroup == "" && len(wanted) == 0:
		return nil
	case d.Cgroup == "":
		return fault.New(fault.Invalid, "agent_cgroup", "limits of agents take a control group").WithSource("--agent-cgroup").
			WithFix("name one of cgroup v2 that Deputy may divide; systemd makes one by Delegate=yes, see docs/operating.md")
	}
	b, err := os.ReadFile(filepath.Join(d.Cgroup, "cgroup.controllers"))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_cgroup", "%s is no control group of cgroup v2", d.Cgroup).WithSource("--agent-cgroup").
			WithFix("see where cgroup2 is mounted: findmnt -t cgroup2")
	}
	for _, c := range wanted {
		if !strings.Contains(" "+strings.TrimSpace(string(b))+" ", " "+c+" ") {
			return fault.New(fault.Invalid, "agent_cgroup", "the control group %s has no controller %q", d.Cgroup, c).WithSource("--agent-cgroup").
				WithFix("delegate it there; where cgroup v1 has it, cgroup v2 cannot")
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := os.WriteFile(filepath.Join(d.Cgroup, "cgroup.subtree_control"), []byte("+"+strings.Join(wanted, " +")), 0o600); err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_cgroup", "the control group %s cannot be divided", d.Cgroup).WithSource("--agent-cgroup").
			WithFix("Deputy must be allowed to write it, and no process may be in it: put Deputy into a group below it (DelegateSubgroup= of systemd)")
	}
	return nil
}

// cgroup is the control group of one run.
type cgroup struct {
	path string
	dir  *os.File
}

// newCgroup makes a control group with the driver's limits, in which a run ends with
// all that it has started; nil if there is nowhere to make it.
func (d *Driver) newCgroup(called string) (*cgroup, error) {
	if d.Cgroup == "" {
		return nil, nil
	}
	l := d.Limits
	path := filepath.Join(d.Cgroup, called)
	c := &cgroup{path: path}
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, os.ErrExist) { // of a Deputy that was killed
		c.end()
		err = os.Mkdir(path, 0o700)
	}
	for _, set := range []struct {
		file, value string
		used        bool
	}{
		{"memory.max", fmt.Sprint(l.Memory), l.Memory > 0}, {"memory.oom.group", "1", l.Memory > 0},
		{"pids.max", fmt.Sprint(l.Processes), l.Processes > 0}, {"cpu.max", fmt.Sprintf("%d 100000", int(l.CPU*100_000)), l.CPU > 0},
	} {
		if err == nil && set.used {
			err = os.WriteFile(filepath.Join(path, set.file), []byte(set.value), 0o600)
		}
	}
	if err == nil {
		c.dir, err = os.Open(path)
	}
	if err != nil {
		_ = os.Remove(path) // nobody is in it
		return nil, fault.Wrap(err, fault.Unavailable, "agent_cgroup", "the agent's control group cannot be made")
	}
	return c, nil
}

// end kills whoever is in the group, also what has left the process group, and
// removes it.
func (c *cgroup) end() {
	if c == nil {
		return
	}
	if c.dir != nil {
		_ = c.dir.Close() // it was not written to
	}
	_ = os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0o600) // there is nobody in it, usually
	for range 100 {
		if err := os.Remove(c.path); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		awaitEmpty(c.path)
	}
}
