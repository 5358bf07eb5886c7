// Package process runs agents as processes of this machine (Unix).
//
// It keeps agents apart from Deputy's environment. From Deputy's files and from each
// other they are apart only if each has a user of its own; see [Users]. Without, an
// agent that is not trusted with the files of Deputy's user belongs into a container.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
)

// Driver implements fleet.Driver. Its fields are set before the first call and
// not changed afterwards.
type Driver struct {
	// Dir is where each agent has its directory <pool>/<name>, which holds home
	// (working directory), tmp, build, venv and log.
	Dir string
	Log *slog.Logger
	// Go is the go command; empty means the one in PATH.
	Go string
	// BuildTimeout bounds a build; zero means 5 minutes.
	BuildTimeout time.Duration
	// MaxLog bounds a log file in bytes before it is put aside (two are kept
	// besides); zero means 8 MiB.
	MaxLog int64
	// Users are whom agents run as; see [Users]. Dir must be where they can enter it.
	Users Users
	// Limits bound each run, by control groups below Cgroup; see [Driver.Prepare].
	Limits Limits
	Cgroup string

	mu    sync.Mutex
	ports map[int]bool // given to instances that may still be running
	logs  map[name.Workload]*lineLog
	runs  int // that there were, for the names of control groups
}

var _ fleet.Driver = (*Driver)(nil)

// home returns a path inside an agent's directory. Pool and name are valid names
// (name.Check): they have no slash and do not begin with a dot.
func (d *Driver) home(w name.Workload, inside ...string) string {
	return filepath.Join(append([]string{d.Dir, w.Pool, w.Name}, inside...)...)
}

// Start implements fleet.Driver.
func (d *Driver) Start(ctx context.Context, r fleet.Run) (fleet.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := r.Agent.Workload()
	user, err := d.Group(w)
	if err == nil {
		err = d.rooms(w, user)
	}
	if err != nil {
		return nil, err
	}
	command, err := d.command(r.Agent)
	if err != nil {
		return nil, err
	}
	log, err := d.log(w).writer()
	if err != nil {
		return nil, unwritable(err)
	}
	port, err := d.takePort()
	if err != nil {
		log.close()
		return nil, err
	}
	group, err := d.newCgroup(d.run(w))
	if err != nil {
		log.close()
		d.givePort(port)
		return nil, err
	}
	i, err := start(spec{
		user: user, cgroup: group, command: command, dir: d.home(w, "home"), env: d.environment(r, port), port: port, log: log, slog: d.Log.With("agent", w.String()),
		ended: func() { d.givePort(port) },
	})
	if err != nil {
		group.end()
		log.close()
		d.givePort(port)
		return nil, err
	}
	return i, nil
}

// run names a run of an agent for its control group.
func (d *Driver) run(w name.Workload) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.runs++
	return fmt.Sprintf("%s.%s.%d", w.Pool, w.Name, d.runs)
}

func unwritable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "agent_directory", "the agent's state directory cannot be written").WithFix("check rights and space of the data directory")
}

// environment returns everything that the agent's process gets. Nothing is
// inherited but what a program needs to find others and to speak: Deputy's own
// environment may hold its root key.
func (d *Driver) environment(r fleet.Run, port int) []string {
	w := r.Agent.Workload()
	env := map[string]string{"PATH": os.Getenv("PATH"), "LANG": "C.UTF-8"}
	for _, inherited := range []string{"LANG", "TZ"} {
		if v := os.Getenv(inherited); v != "" {
			env[inherited] = v
		}
	}
	for variable, v := range r.Agent.Definition.Env {
		env[variable] = v
	}
	for variable, v := range r.Env {
		env[variable] = v
	}
	env["PORT"] = fmt.Sprint(port)
	env["HOME"], env["TMPDIR"] = d.home(w, "home"), d.home(w, "tmp")
	list := make([]string, 0, len(env))
	for variable, v := range env {
		list = append(list, variable+"="+v)
	}
	return list
}

// command returns what to execute for an agent that has been built.
func (d *Driver) command(a agent.Agent) ([]string, error) {
	entry := filepath.Join(d.kept(a), filepath.FromSlash(a.Definition.EntryPoint))
	switch a.Definition.Kind() {
	case agent.BuiltGo, agent.BuiltScript:
		return []string{d.binary(a)}, nil
	case agent.Script:
		return []string{"/bin/sh", entry}, nil
	case agent.PythonScript:
		program, _, err := d.interpreter(d.ofKept(a))
		return []string{program, "-u", entry}, err // unbuffered, or the log would lag behind
	default:
		return []string{entry}, nil
	}
}

// log returns the log of an agent, which is kept until the agent is removed.
func (d *Driver) log(w name.Workload) *lineLog {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.logs == nil {
		d.logs = map[name.Workload]*lineLog{}
	}
	if d.logs[w] == nil {
		d.logs[w] = newLog(d.home(w, "log"), d.MaxLog)
	}
	return d.logs[w]
}

// Logs implements fleet.Driver.
func (d *Driver) Logs(_ context.Context, w name.Workload, n int) ([]string, error) {
	lines, _, err := d.log(w).tail(n)
	return lines, unreadable(err)
}

// Follow implements fleet.Driver. A place is a count of bytes.
func (d *Driver) Follow(ctx context.Context, w name.Workload, place string, n int) ([]string, string, error) {
	log := d.log(w)
	if place == "" {
		lines, behind, err := log.tail(n)
		return lines, strconv.FormatInt(behind, 10), unreadable(err)
	}
	from, err := strconv.ParseInt(place, 10, 64)
	if err != nil || from < 0 {
		return nil, place, fault.New(fault.Invalid, "log_place", "%q is no place in a log", name.Clip(place, 40)).WithFix("send what the stream gave as an id, or nothing")
	}
	lines, behind, err := log.follow(ctx, from, n)
	return lines, strconv.FormatInt(behind, 10), unreadable(err)
}

func unreadable(err error) error {
	if err == nil || fault.Is(err, fault.NotFound) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "agent_log", "the agent's log cannot be read")
}

// Remove implements fleet.Driver.
func (d *Driver) Remove(_ context.Context, w name.Workload) error {
	if w.IsZero() || strings.ContainsAny(w.Pool+w.Name, `/\`) {
		return fault.New(fault.Internal, "agent_directory", "%q is not a workload", w)
	}
	if info, err := os.Stat(d.home(w)); err == nil && d.Users.has(groupOf(info)) {
		killUser(groupOf(info)) // what has left its process group; the next agent with this user must not meet it
	}
	err := os.RemoveAll(d.home(w))
	d.log(w).remove()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.logs, w)
	return err
}
