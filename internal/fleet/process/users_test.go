package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/name"
)

// firstUser is one that no system gives to anybody.
const firstUser = 1_900_000_000

// TestUsersAreChecked: a range that is none, and everybody but root.
func TestUsersAreChecked(t *testing.T) {
	for _, bad := range []process.Users{{First: 0, Count: 10}, {First: 1000, Count: 10}, {First: firstUser, Count: 0}, {First: firstUser, Count: -1}, {First: 100_000, Count: 1 << 30}} {
		if err := bad.Check(); !fault.HasCode(err, "agent_users") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	err := process.Users{First: firstUser, Count: 10}.Check()
	if root := os.Geteuid() == 0; root != (err == nil) {
		t.Errorf("as root %t: %v", root, err)
	}
	if err := (process.Users{}).Check(); err != nil {
		t.Errorf("none at all: %v", err)
	}
}

// awaitLine waits until an agent has written a line.
func awaitLine(t *testing.T, d *process.Driver, w name.Workload, line string) []string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		lines, err := d.Logs(t.Context(), w, 100)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range lines {
			_, lines[i], _ = strings.Cut(l, " ") // without the time
		}
		if slices.Contains(lines, line) {
			return lines
		}
		select {
		case <-late:
			t.Fatalf("%s never wrote %q:\n%s", w, line, strings.Join(lines, "\n"))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestUsersOfTheirOwn: an agent with a user of its own reads nothing of Deputy's and
// of other agents', and nothing of it is left when it is removed, wherever it hides.
// Users are root's to give: without, agents must be refused.
func TestUsersOfTheirOwn(t *testing.T) {
	d := newDriver(t)
	d.Users = process.Users{First: firstUser, Count: 2}
	if os.Geteuid() != 0 {
		if err := d.Prepare(); !fault.HasCode(err, "agent_users") {
			t.Errorf("not root: %v", err)
		}
		return
	}
	if err := os.Chmod(filepath.Dir(d.Dir), 0o711); err != nil {
		t.Fatal(err)
	}
	deputys := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(deputys, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	mail := name.Workload{Pool: "default", Name: "mail"}
	spy := func(w name.Workload, look ...string) (fleet.Instance, []string) {
		t.Helper()
		a := scripted("spy.sh", agent.Environment{"LOOK": strings.Join(look, " ")})
		a.Name = w.Name
		i := start(t, d, fleet.Run{Agent: a})
		return i, awaitLine(t, d, w, "left")
	}
	victim, lines := spy(mail, deputys)
	if want := fmt.Sprintf("ids %d %d", firstUser, firstUser); lines[0] != want || !slices.Contains(lines, "refused "+deputys) {
		t.Errorf("the first agent: %q", lines)
	}
	pid := pids(t, firstUser)[0]
	look := []string{
		filepath.Join(d.Dir, "default", "mail", "home", "mine"), filepath.Join(d.Dir, "default", "mail", "log", "agent.log"), filepath.Join(d.Dir, "default"),
		fmt.Sprintf("/proc/%d/environ", pid), fmt.Sprintf("/proc/%d/mem", pid), deputys, "/etc/shadow",
	}
	i, lines := spy(doc, look...)
	if lines[0] != fmt.Sprintf("ids %d %d", firstUser+1, firstUser+1) {
		t.Errorf("the second agent: %q", lines)
	}
	for _, path := range look {
		if !slices.Contains(lines, "refused "+path) {
			t.Errorf("it was not refused %s: %q", path, lines)
		}
	}
	for _, line := range []string{"dumps 0", "wrote its home"} {
		if !slices.Contains(lines, line) {
			t.Errorf("want %q in %q", line, lines)
		}
	}
	if slices.Contains(lines, "wrote its program") {
		t.Error("it changed its own program")
	}

	// The third finds no user, until one of the two is removed with all that it has left.
	third := scripted("spy.sh", nil)
	third.Name = "third"
	if err := d.Build(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Start(t.Context(), fleet.Run{Agent: third}); !fault.HasCode(err, "agent_users_full") {
		t.Errorf("the third: %v", err)
	}
	stopNow(i)
	if left := pids(t, firstUser+1); len(left) != 1 {
		t.Errorf("%d processes are left of one that ended, want the one that hid itself", len(left))
	}
	if err := d.Remove(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	if left := pids(t, firstUser+1); len(left) != 0 {
		t.Errorf("%d processes are left of one that was removed", len(left))
	}
	if i, lines := spy(third.Workload()); lines[0] != fmt.Sprintf("ids %d %d", firstUser+1, firstUser+1) {
		t.Errorf("the third is %q: %v", lines, i)
	}
	stopNow(victim)
	for _, w := range []name.Workload{mail, third.Workload()} {
		if err := d.Remove(t.Context(), w); err != nil {
			t.Error(err)
		}
	}
}

// pids returns the processes of a user that are not only waited for.
func pids(t *testing.T, user int) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != user {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		var pid int
		if _, scanErr := fmt.Sscan(filepath.Base(dir), &pid); err != nil || scanErr != nil || strings.Contains(string(stat), ") Z ") {
			continue
		}
		found = append(found, pid)
	}
	return found
}

// controlGroup returns a directory of cgroup v2 that this test may divide, and what
// controllers it has; "" on machines that have none, or where it is somebody else's.
func controlGroup(t *testing.T) (dir, controllers string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(mounts)) {
		field := strings.Fields(line)
		if len(field) < 3 || field[2] != "cgroup2" {
			continue
		}
		dir := filepath.Join(field[1], "deputy-test")
		if err := os.Mkdir(dir, 0o700); err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Errorf("a control group is left: %v", err)
			}
		})
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			t.Fatal(err)
		}
		return dir, string(b)
	}
	return "", ""
}

// TestLimitsThatCannotBeHad: an agent that should be bounded does not run without.
func TestLimitsThatCannotBeHad(t *testing.T) {
	d := newDriver(t)
	d.Limits = process.Limits{Processes: 20}
	if err := d.Prepare(); !fault.HasCode(err, "agent_cgroup") {
		t.Errorf("limits without a control group: %v", err)
	}
	d.Cgroup = t.TempDir()
	if err := d.Prepare(); !fault.HasCode(err, "agent_cgroup") {
		t.Errorf("a directory that is no control group: %v", err)
	}
	if _, err := d.Start(t.Context(), fleet.Run{Agent: scripted("env.sh", nil)}); err == nil {
		t.Error("it runs without")
	}
}

// TestControlGroups: a run ends with all that it has started, wherever that hides,
// and who wants more than he may have does not get it.
func TestControlGroups(t *testing.T) {
	d := newDriver(t)
	group, controllers := controlGroup(t)
	if group == "" {
		t.Log("this machine has no control group that a test may divide")
		return
	}
	d.Cgroup = group
	if !strings.Contains(controllers, "pids") {
		d.Limits = process.Limits{Processes: 20}
		if err := d.Prepare(); !fault.HasCode(err, "agent_cgroup") {
			t.Errorf("a controller that the group does not have: %v", err)
		}
		d.Limits = process.Limits{}
		t.Log("cgroup v1 has the controller here: that limits bound was not tried")
	} else {
		d.Limits = process.Limits{Processes: 20}
	}
	if err := d.Prepare(); err != nil {
		t.Fatal(err)
	}
	i := start(t, d, fleet.Run{Agent: scripted("spy.sh", nil)})
	awaitLine(t, d, doc, "left")
	runs, err := filepath.Glob(filepath.Join(group, "default.doc.*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("the run has %v, %v", runs, err)
	}
	inside, err := os.ReadFile(filepath.Join(runs[0], "cgroup.procs"))
	if err != nil || strings.Count(string(inside), "\n") < 2 {
		t.Errorf("in it are %q, %v", inside, err)
	}
	if d.Limits.Processes > 0 {
		forks := start(t, d, fleet.Run{Agent: scripted("forks.sh", nil)})
		awaitBound(t, d)
		stopNow(forks)
	}
	stopNow(i)
	if runs, err := filepath.Glob(filepath.Join(group, "default.doc.*")); err != nil || len(runs) != 0 {
		t.Errorf("control groups are left, with who is in them: %v, %v", runs, err)
	}
	for pid := range strings.Lines(string(inside)) {
		if stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(pid), "stat")); err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("process %s is left", pid)
		}
	}
}

// awaitBound waits until forks.sh could start no more.
func awaitBound(t *testing.T, d *process.Driver) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		lines, err := d.Logs(t.Context(), doc, 100)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(lines, func(line string) bool { return strings.HasSuffix(line, "started 50") }) {
			t.Fatal("it started them all")
		}
		if slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "fork") }) {
			return
		}
		select {
		case <-late:
			t.Fatalf("it was not bounded: %q", lines)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
