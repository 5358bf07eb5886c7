package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/deputy-id/deputy/internal/freeport"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"deputy": main}) }

// TestScripts runs the sessions in testdata, which also show how the command is
// used. Besides testscript's own commands they have
//
//	exits CODE PROGRAM ARG…     run a program, which must end with this exit code
//	freeport NAME…              set variables to ports of loopback that nobody uses
//	ready URL                   wait until an address answers 200
//	sigterm                     ask all programs in the background to end
//	sigkill                     kill them, without asking
//	post URL TOKENFILE JSON     call the API as an operator; its answer is the standard output
//	follow PROGRAM ARG…         start a program that writes until it is stopped
//	follows PATTERN             wait until it has written something
//	unfollow                    press Ctrl-C there; it must end with exit code 0
//	cluster KUBECONFIG          start a Kubernetes API server and write a kubeconfig for it
//	registry NAME               start a registry of container images and set a variable to its address
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "freeport": freePort, "ready": ready, "sigterm": send(syscall.SIGTERM), "sigkill": send(syscall.SIGKILL), "post": post,
			"follow": follow, "follows": follows, "unfollow": unfollow,
			"cluster": cluster(t), "registry": imageRegistry,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[followedKey{}] = &followed{}
			e.Setenv("GORACE", "atexit_sleep_ms=0") // with -race, every program would sleep for a second at its end
			// A script has no home: agents that it launches would have the standard library compiled anew.
			cache, err := exec.Command("go", "env", "GOCACHE").Output()
			e.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
			source, sourceErr := filepath.Abs("../..")
			e.Setenv("SOURCE", source)
			return errors.Join(err, sourceErr)
		},
	})
}

// patience bounds one wait.
const patience = 30 * time.Second

// want fails the script unless a command has the arguments that it needs, and no
// "!" in front.
func want(ts *testscript.TestScript, ok, neg bool, usage string) {
	if !ok || neg {
		ts.Fatalf("usage: %s", usage)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) >= 2, neg, "exits CODE PROGRAM ARG…")
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, err := 0, ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != code {
		ts.Fatalf("the exit code is %d, want %d", got, code)
	}
}

func freePort(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) > 0, neg, "freeport NAME…")
	ports, err := freeport.Find(len(args))
	ts.Check(err)
	for i, name := range args {
		ts.Setenv(name, ports[i])
	}
}

// answer sends a request and returns status and body. It knows no proxy.
func answer(ctx context.Context, method, url, token, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() // only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(text), err
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 1, neg, "ready URL")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, _, err := answer(ctx, http.MethodGet, args[0], "", "")
		if err == nil && status == http.StatusOK {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s is not ready: status %d, %v", args[0], status, err)
		}
	}
}

func send(number syscall.Signal) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		want(ts, len(args) == 0, neg, "sigterm or sigkill")
		for _, c := range ts.BackgroundCmds() {
			ts.Check(c.Process.Signal(number))
		}
	}
}

func post(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 3, neg, "post URL TOKENFILE JSON")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, body, err := answer(ctx, http.MethodPost, args[0], ts.ReadFile(args[1]), args[2])
	ts.Check(err)
	if status/100 != 2 {
		ts.Fatalf("%s answered %d: %s", args[0], status, body)
	}
	_, err = io.WriteString(ts.Stdout(), body)
	ts.Check(err)
}

// followed is a program that a script follows, and what it has written.
type followed struct {
	cmd     *exec.Cmd
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // has a value after something was written
}

// followedKey is where a script keeps its followed.
type followedKey struct{}

// Write implements [io.Writer].
func (f *followed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.written <- struct{}{}:
	default:
	}
	return f.text.Write(b)
}

// seen returns what was written.
func (f *followed) seen() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

func follow(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value(followedKey{}).(*followed)
	want(ts, len(args) > 0 && f.cmd == nil, neg, "follow PROGRAM ARG… (one at a time)")
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	f.written = make(chan struct{}, 1)
	f.cmd = exec.Command(program, args[1:]...)
	f.cmd.Dir, f.cmd.Stdout, f.cmd.Stderr = ts.MkAbs("."), f, f
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "DEPUTY_URL", "DEPUTY_DATA"} {
		f.cmd.Env = append(f.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(f.cmd.Start())
	cmd := f.cmd
	ts.Defer(func() {
		if cmd.ProcessState == nil { // the script has failed
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

func follows(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value(followedKey{}).(*followed)
	want(ts, len(args) == 1 && f.cmd != nil, neg, "follows PATTERN")
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	late := time.NewTimer(patience)
	defer late.Stop()
	for !pattern.MatchString(f.seen()) {
		select {
		case <-f.written:
		case <-late.C:
			ts.Fatalf("%q is not in what was written:\n%s", args[0], f.seen())
		}
	}
}

func unfollow(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value(followedKey{}).(*followed)
	want(ts, len(args) == 0 && f.cmd != nil, neg, "unfollow")
	kill := time.AfterFunc(patience, func() { _ = f.cmd.Process.Kill() })
	defer kill.Stop()
	ts.Check(f.cmd.Process.Signal(os.Interrupt))
	if err := f.cmd.Wait(); err != nil {
		ts.Fatalf("%v\n%s", err, f.seen())
	}
	f.cmd = nil
}
