package peers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// missing skips the test for the lack of a peer, or fails it where everything
// is to be tested.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// scriptTime bounds one run of a script.
const scriptTime = 3 * time.Minute

// script is a running program of a peer; see testdata/node/talk.mjs.
type script struct {
	in     io.WriteCloser
	out    *bufio.Scanner
	errors *strings.Builder
	wait   func() error
}

// node starts a Node script.
func node(t testing.TB, file string, arguments ...string) *script {
	t.Helper()
	dir := testdata(t, "node")
	for _, peer := range []string{"openid-client", "@modelcontextprotocol/sdk"} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", peer, "package.json")); err != nil {
			missing(t, "the peers are not installed; run: npm ci --prefix internal/peers/testdata/node")
		}
	}
	return begin(t, dir, "node", append([]string{file}, arguments...)...)
}

// begin starts a program that speaks in lines of JSON.
func begin(t testing.TB, dir, program string, arguments ...string) *script {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &script{in: in, out: bufio.NewScanner(out), errors: &strings.Builder{}, wait: cmd.Wait}
	s.out.Buffer(nil, 1<<20)
	cmd.Stderr = s.errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = s.wait() // it was told to end
	})
	return s
}

// say sends the script a line.
func (s *script) say(t testing.TB, message any) {
	t.Helper()
	b, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
}

// line is what a script says.
type line struct {
	Visit  string          // an address for the person's browser
	Ready  string          // where it serves
	Done   json.RawMessage // the scenario's result
	Failed json.RawMessage // why there is none
}

func (s *script) hear(t testing.TB) line {
	t.Helper()
	if !s.out.Scan() {
		t.Fatalf("the script ended: %v\n%s", errors.Join(s.out.Err(), s.wait()), s.errors)
	}
	var l line
	if err := json.Unmarshal(s.out.Bytes(), &l); err != nil {
		t.Fatalf("%v in %q", err, s.out.Text())
	}
	return l
}

// run plays a scenario of openid-client to its end.
func (p *person) run(task map[string]any) string {
	t := p.w.t
	t.Helper()
	s := node(t, "client.mjs")
	s.say(t, task)
	for {
		l := s.hear(t)
		switch {
		case l.Failed != nil:
			t.Fatalf("%s: %s\nrefused: %q", task["scenario"], l.Failed, p.w.refusals())
		case l.Done != nil:
			return string(l.Done)
		default:
			s.say(t, map[string]string{"at": p.visit(l.Visit)})
		}
	}
}
