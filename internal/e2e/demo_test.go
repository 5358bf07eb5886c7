package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/freeport"
)

const (
	startTime = 5 * time.Minute // of the first demo on a machine: it compiles everything
	stopTime  = time.Minute
)

// demo is `deputy demo`, running as a process of its own.
type demo struct {
	chat      string            // the address that it tells people to open
	identity  string            // origin of the identity service
	sandbox   string            // origin of the Feishu sandbox
	passwords map[string]string // by user name, as printed

	addresses []string // that its parts listen on
	cmd       *exec.Cmd
	output    *transcript
	ended     chan struct{} // closed when the process has ended
	err       error         // how it ended; set before ended is closed
}

// startDemo builds the program, starts the demo on free ports and returns when
// it says that everything runs. The demo has ended when the test has.
func startDemo(t *testing.T) *demo {
	t.Helper()
	program := filepath.Join(t.TempDir(), "deputy")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/deputy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ports, err := freeport.Find(4)
	if err != nil {
		t.Fatal(err)
	}
	if pictures() != "" {
		ports = picturePorts()
	}
	d := &demo{passwords: map[string]string{}, ended: make(chan struct{}), output: &transcript{ready: make(chan struct{})}}
	args := []string{"demo", "--data", filepath.Join(t.TempDir(), "data")}
	for i, flag := range []string{"--listen", "--ingress-listen", "--chat-listen", "--sandbox-listen"} {
		address := net.JoinHostPort("127.0.0.1", ports[i])
		d.addresses = append(d.addresses, address)
		args = append(args, flag, address)
	}
	d.identity, d.sandbox = "http://localhost:"+ports[0], "http://"+d.addresses[3]
	d.cmd = exec.CommandContext(t.Context(), program, args...)
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGTERM) }
	d.cmd.WaitDelay = stopTime
	d.cmd.Stderr = &d.output.errors
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.output.read(stdout)
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() { <-d.ended }) // the test's context has ended, so this is bounded

	late := time.NewTimer(startTime)
	defer late.Stop()
	select {
	case <-d.output.ready:
	case <-d.ended:
		t.Fatalf("the demo ended: %v\n%s%s", d.err, &d.output.text, &d.output.errors)
	case <-late.C:
		t.Fatalf("the demo is not ready after %s", startTime)
	}
	d.readWelcome(t)
	return d
}

var (
	chatLine     = regexp.MustCompile(`➜ +(http://\S+)`)
	passwordLine = regexp.MustCompile(`(?m)^ +(\w+) +password +(\S+)`)
)

// readWelcome takes what a person needs from what the demo printed.
func (d *demo) readWelcome(t *testing.T) {
	t.Helper()
	text := d.output.text.String() // not written to between ready and the end
	if m := chatLine.FindStringSubmatch(text); m != nil {
		d.chat = m[1]
	}
	for _, m := range passwordLine.FindAllStringSubmatch(text, -1) {
		d.passwords[m[1]] = m[2]
	}
	if d.chat != "http://"+d.addresses[2] || d.passwords["zhangsan"] == "" || d.passwords["lisi"] == "" {
		t.Fatalf("the demo does not say where to click and who may log in:\n%s", text)
	}
}

// stop presses Ctrl-C, so to speak, and makes sure that nothing is left.
func (d *demo) stop(t *testing.T) {
	t.Helper()
	family := descendants(t, d.cmd.Process.Pid)
	if len(family) < 4 { // sandbox, deputy, agent, chat
		t.Errorf("the demo has %d processes below it: %v", len(family), family)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-d.ended:
	case <-late.C:
		t.Fatalf("the demo still runs %s after SIGTERM", stopTime)
	}
	if d.err != nil || d.output.errors.Len() > 0 {
		t.Errorf("the demo ended with %v: %s", d.err, &d.output.errors)
	}
	for pid, born := range family {
		if now, ok := birth(pid); ok && now == born {
			t.Errorf("process %d outlives the demo", pid)
		}
	}
	for _, address := range d.addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("a port is not free after the end: %v", err)
			continue
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// transcript is what the demo printed.
type transcript struct {
	text   bytes.Buffer  // standard output; read it only after ready, or after the end
	errors bytes.Buffer  // standard error; read it only after the end
	ready  chan struct{} // closed at the line that ends the welcome
}

// read reads until the output ends.
func (o *transcript) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for ready := false; lines.Scan(); {
		if ready {
			continue
		}
		_, _ = o.text.WriteString(lines.Text() + "\n") // a buffer never fails to write
		if ready = strings.Contains(lines.Text(), "Press Ctrl-C to stop"); ready {
			close(o.ready)
		}
	}
}

// descendants returns the processes below one, each with the moment of its
// birth, which tells it from a later process with the same number.
func descendants(t *testing.T, root int) map[int]string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal("the processes are read from /proc, as on Linux:", err)
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields, ok := stat(pid); ok {
			parent, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			children[parent] = append(children[parent], pid)
		}
	}
	found := map[int]string{}
	for todo := children[root]; len(todo) > 0; todo = todo[1:] {
		if born, ok := birth(todo[0]); ok {
			found[todo[0]] = born
		}
		todo = append(todo, children[todo[0]]...)
	}
	return found
}

// birth returns when a process began, in ticks since the machine did.
func birth(pid int) (ticks string, alive bool) {
	fields, ok := stat(pid)
	if !ok || fields[0] == "Z" {
		return "", false
	}
	return fields[19], true
}

// stat returns the fields of /proc/PID/stat that follow the program's name
// (proc(5)): state, parent, …, and at 19 the start time.
func stat(pid int) ([]string, bool) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return fields, len(fields) > 19
}
