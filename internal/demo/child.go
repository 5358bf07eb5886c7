package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
)

const (
	stopGrace   = 15 * time.Second // between SIGTERM and SIGKILL; deputy serve takes up to 10 s
	healthPause = 20 * time.Millisecond
	healthTime  = 30 * time.Second
)

// child is a process of the demo.
type child struct {
	name string
	log  string // its file
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why; set before done is closed
}

// startChild starts a process whose output goes to DATA/logs/<name>.log. It
// leads a process group of its own: a Ctrl-C in the terminal reaches the demo
// only, which stops its parts in the right order.
func startChild(data, name string, command []string, dir string) (*child, error) {
	logs := filepath.Join(data, "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, unwritable(err)
	}
	c := &child{name: name, log: filepath.Join(logs, name+".log"), done: make(chan struct{})}
	file, err := os.OpenFile(c.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, unwritable(err)
	}
	defer file.Close() // the child has its own copy
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Dir, c.cmd.Env = dir, childEnvironment(os.Environ())
	c.cmd.Stdout, c.cmd.Stderr = file, file
	ownGroup(c.cmd)
	started := make(chan error)
	go func() {
		// The kernel ends the child when the thread that started it ends (see ownGroup), so this thread
		// stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "child_failed", "%s cannot be started", name)
	}
	return c, nil
}

func unwritable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "data_unwritable", "the data directory cannot be written to").WithSource("--data").
		WithFix("check its owner, its rights and the free space")
}

// childEnvironment is the environment without the settings of the parts: they
// would win over what the demo sets, and point at a real installation.
func childEnvironment(all []string) []string {
	var env []string
	for _, v := range all {
		if !hasAnyPrefix(v, "DEPUTY_", "OAUTH2_", "AGENT_", "CHAT_", "FEISHU_") {
			env = append(env, v)
		}
	}
	return env
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// ready returns when address answers 200, or an error when the child ends before
// that or takes too long.
func (c *child) ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(healthPause)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close() // the status is all that matters
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-c.done:
			return c.ended()
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fault.New(fault.Unavailable, "child_unready", "%s does not answer at %s after %s; its last words: %s", c.name, address, healthTime, c.lastWords()).WithSource(c.log)
		}
	}
}

// ended says how the child ended; it has.
func (c *child) ended() error {
	return fault.Wrap(c.err, fault.Unavailable, "child_ended", "%s has ended; its last words: %s", c.name, c.lastWords()).WithSource(c.log)
}

const maxWords = 4 << 10 // bytes

// lastWords returns the last lines of the child's log.
func (c *child) lastWords() string {
	f, err := os.Open(c.log)
	if err != nil {
		return "(no log)"
	}
	defer f.Close() // only read
	if info, err := f.Stat(); err == nil && info.Size() > maxWords {
		if _, err := f.Seek(-maxWords, io.SeekEnd); err != nil {
			return "(no log)"
		}
	}
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if lines = append(lines, s.Text()); len(lines) > 5 {
			lines = lines[1:]
		}
	}
	if len(lines) == 0 {
		return "(none)"
	}
	return "\n  " + strings.Join(lines, "\n  ")
}

// stop asks the child to end, and after a while makes it and all of its group.
func (c *child) stop() error {
	select {
	case <-c.done:
	default:
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has just ended
	}
	late := time.NewTimer(stopGrace)
	defer late.Stop()
	select {
	case <-c.done:
		return nil
	case <-late.C:
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // the child is not reaped yet, so the group is still its own
		<-c.done
		return fmt.Errorf("%s did not end within %s and was killed", c.name, stopGrace)
	}
}
