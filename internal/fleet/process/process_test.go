package process_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
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

var doc = name.Workload{Pool: "default", Name: "doc"}

// TestMain lets the test binary play Deputy, so that one can be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PLAY_DEPUTY_IN"); dir != "" {
		d := &process.Driver{Dir: dir, Log: slog.New(slog.DiscardHandler)}
		a := scripted("family.sh", agent.Environment{"FIFO": os.Getenv("PLAY_FIFO")})
		err := d.Build(context.Background(), a)
		var i fleet.Instance
		if err == nil {
			i, err = d.Start(context.Background(), fleet.Run{Agent: a})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		<-i.Done()
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func newDriver(t *testing.T) *process.Driver {
	return &process.Driver{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
}

func define(dir, entry string, language agent.Language, env agent.Environment) agent.Agent {
	abs, err := filepath.Abs(filepath.Join("testdata", dir))
	if err != nil {
		panic(err)
	}
	return agent.Agent{Pool: doc.Pool, Name: doc.Name, Directory: abs, Version: 1, CreatedAt: time.Unix(1, 0),
		Definition: agent.Definition{Name: doc.Name, EntryPoint: entry, Language: language, Env: env}}
}

func scripted(entry string, env agent.Environment) agent.Agent {
	return define("scripts", entry, agent.Python, env)
}

// fifo returns the path of a FIFO and a channel that is closed once something
// has opened it, said "ready", and everything that had it open has ended.
func fifo(t *testing.T) (path string, ready, ended <-chan struct{}) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, e := make(chan struct{}), make(chan struct{})
	go func() {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer f.Close()
		in := bufio.NewReader(f)
		if _, err := in.ReadString('\n'); err == nil {
			close(r)
		}
		if _, err := io.Copy(io.Discard, in); err == nil {
			close(e)
		}
	}()
	return path, r, e
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("this never happened: %s", what)
	}
}

func start(t *testing.T, d *process.Driver, r fleet.Run) fleet.Instance {
	t.Helper()
	if err := d.Build(t.Context(), r.Agent); err != nil {
		t.Fatal(err)
	}
	i, err := d.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopNow(i) })
	return i
}

func stopNow(i fleet.Instance) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	i.Stop(ctx)
}

func logLines(t *testing.T, d *process.Driver, n int) []string {
	t.Helper()
	lines, err := d.Logs(t.Context(), doc, n)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines {
		at, text, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			t.Errorf("line without time: %q", line)
		}
		lines[i] = text
	}
	return lines
}

func TestTheEnvironmentIsScrubbed(t *testing.T) {
	t.Setenv("DEPUTY_ROOT_KEY", "hunter2")
	t.Setenv("TZ", "Asia/Shanghai")
	d := newDriver(t)
	i := start(t, d, fleet.Run{
		Agent: scripted("env.sh", agent.Environment{"FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth", "DEPUTY_URL": "loses"}),
		Env:   map[string]string{"DEPUTY_URL": "http://localhost:8080"},
	})
	await(t, "the end of env.sh", i.Done())
	home := filepath.Join(d.Dir, "default/doc/home")
	var names []string
	for _, line := range logLines(t, d, 100) {
		variable, value, is := strings.Cut(line, "=")
		if is {
			names = append(names, variable)
		}
		want, check := map[string]string{
			"FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth", "DEPUTY_URL": "http://localhost:8080", "HOME": home,
			"TMPDIR": filepath.Join(d.Dir, "default/doc/tmp"), "TZ": "Asia/Shanghai", "PATH": os.Getenv("PATH"),
		}[variable]
		if check && value != want {
			t.Errorf("%s is %q, want %q", variable, value, want)
		}
		if strings.HasPrefix(line, "PWD is") && line != "PWD is "+home {
			t.Error(line)
		}
	}
	slices.Sort(names)
	// The shell adds PWD, OLDPWD, SHLVL and _ by itself.
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_"}, n) })
	want := []string{"DEPUTY_URL", "FEISHU_CREDENTIAL_PROVIDER", "HOME", "LANG", "PATH", "PORT", "TMPDIR", "TZ"}
	if !slices.Equal(names, want) {
		t.Errorf("variables %v, want %v", names, want)
	}
	for _, dir := range []string{"", "home", "tmp", "log"} {
		if info, err := os.Stat(filepath.Join(d.Dir, "default/doc", dir)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(d.Dir, "default/doc/log/agent-0000000000000000.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log: %v, %v", info.Mode(), err)
	}
}

func TestNothingOutlivesItsLeader(t *testing.T) {
	path, ready, ended := fifo(t)
	d := newDriver(t)
	i := start(t, d, fleet.Run{Agent: scripted("orphan.sh", agent.Environment{"FIFO": path})})
	await(t, "start", ready)
	await(t, "the end of the leader", i.Done())
	await(t, "the end of its child", ended)
	if want := "exit status 3; its last line: these are the last words"; i.Reason() != want {
		t.Errorf("reason %q, want %q", i.Reason(), want)
	}
}

func TestStopEndsTheFamily(t *testing.T) {
	path, ready, ended := fifo(t)
	i := start(t, newDriver(t), fleet.Run{Agent: scripted("family.sh", agent.Environment{"FIFO": path})})
	await(t, "start", ready)
	i.Stop(t.Context())
	await(t, "the end of the family", ended)
	if !strings.Contains(i.Reason(), "terminated") {
		t.Errorf("reason %q", i.Reason())
	}
	i.Stop(t.Context()) // once more is no harm
}

func TestStopEndsWhoHasLeftTheGroup(t *testing.T) {
	path, ready, ended := fifo(t)
	i := start(t, newDriver(t), fleet.Run{Agent: scripted("leaves.sh", agent.Environment{"FIFO": path})})
	await(t, "start", ready)
	i.Stop(t.Context())
	await(t, "the end of the agent", ended)
}

func TestWhoIgnoresTheRequestIsKilled(t *testing.T) {
	path, ready, ended := fifo(t)
	i := start(t, newDriver(t), fleet.Run{Agent: scripted("stubborn.sh", agent.Environment{"FIFO": path})})
	await(t, "start", ready)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	i.Stop(ctx)
	await(t, "the end of the family", ended)
	if !strings.Contains(i.Reason(), "killed") {
		t.Errorf("reason %q", i.Reason())
	}
}

func TestNothingOutlivesDeputy(t *testing.T) {
	path, ready, ended := fifo(t)
	deputy := exec.Command(os.Args[0])
	deputy.Env = append(os.Environ(), "PLAY_DEPUTY_IN="+t.TempDir(), "PLAY_FIFO="+path)
	deputy.Stderr = os.Stderr
	if err := deputy.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "start", ready)
	if err := deputy.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = deputy.Wait() // "signal: killed"
	await(t, "the end of the agent and its child", ended)
}

func TestGoAgent(t *testing.T) {
	d := newDriver(t)
	a := define("hello", "main.go", agent.Golang, nil)
	i := start(t, d, fleet.Run{Agent: a})
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		for i.Probe(t.Context()) != nil && t.Context().Err() == nil {
			select {
			case <-i.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	await(t, "health", ready)
	res, err := http.Post(i.URL()+"/invoke", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "hello" {
		t.Errorf("got %q", body)
	}
	i.Stop(t.Context())
	if err := i.Probe(t.Context()); err == nil {
		t.Error("a stopped agent is healthy")
	}
	// The same version is not built again: a go command that cannot work is not missed.
	again := &process.Driver{Dir: d.Dir, Log: d.Log, Go: "/nonexistent/go"}
	if err := again.Build(t.Context(), a); err != nil {
		t.Errorf("the same version: %v", err)
	}
	a.Version++
	if err := again.Build(t.Context(), a); !fault.HasCode(err, "go_missing") {
		t.Errorf("the next version: %v", err)
	}
	if err := d.Build(t.Context(), a); err != nil {
		t.Error(err)
	}
	// A version may serve while newer ones are built, but not all are kept for ever.
	for range 8 {
		a.Version++
		if err := d.Build(t.Context(), a); err != nil {
			t.Error(err)
		}
	}
	if builds, err := os.ReadDir(filepath.Join(d.Dir, "default/doc/build")); err != nil || len(builds) != agent.KeptBuilds+3 {
		t.Errorf("builds that are kept: %v, %v", builds, err)
	}
	if err := d.Remove(t.Context(), doc); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "default/doc")); !os.IsNotExist(err) {
		t.Errorf("after Remove: %v", err)
	}
}

// TestABuildIsKeptAsItWas changes and deletes what an agent was made of.
func TestABuildIsKeptAsItWas(t *testing.T) {
	d, outside := newDriver(t), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // a program is executable
			t.Fatal(err)
		}
	}
	a := define("", "agent.sh", agent.Python, nil)
	a.Directory = t.TempDir()
	write(filepath.Join(outside, "word"), "outside")
	write(filepath.Join(a.Directory, "agent.sh"), `cd "$(dirname "$0")" && echo "one $(cat words/inside) $(cat outside/word) $(ls -A)"`)
	for _, dir := range []string{"words", ".git"} {
		if err := os.Mkdir(filepath.Join(a.Directory, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(a.Directory, "words", "first"), "inside")
	relative, err := filepath.Rel(a.Directory, outside)
	if err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"words/inside": "first", "outside": relative} {
		if err := os.Symlink(target, filepath.Join(a.Directory, link)); err != nil {
			t.Fatal(err)
		}
	}
	says := func() string {
		t.Helper()
		i := start(t, d, fleet.Run{Agent: a})
		await(t, "the end of the agent", i.Done())
		return i.Reason()
	}
	want := "one inside outside agent.sh outside words"
	if got := strings.ReplaceAll(says(), "\n", " "); !strings.Contains(strings.Join(logLines(t, d, 5), " "), want) {
		t.Errorf("%s: %q", got, logLines(t, d, 5))
	}
	write(filepath.Join(a.Directory, "agent.sh"), "echo two")
	a.Version, a.Build = 2, 1 // it is started again
	says()
	a.Version, a.Build = 3, 3 // and launched
	says()
	if err := os.RemoveAll(a.Directory); err != nil {
		t.Fatal(err)
	}
	a.Version, a.Build, a.Repeats = 4, 1, true // and taken back
	says()
	if got := strings.Join(logLines(t, d, 100), " "); strings.Count(got, "one inside outside") != 3 || strings.Count(got, "two") != 1 || !strings.HasSuffix(got, "words") {
		t.Errorf("it said %q", got)
	}
	a.Build = 2
	if err := d.Build(t.Context(), a); !fault.HasCode(err, "agent_build_gone") {
		t.Errorf("a build that is not kept: %v", err)
	}
	a.Repeats = false
	if err := d.Build(t.Context(), a); !fault.HasCode(err, "agent_directory") {
		t.Errorf("the newest build without its directory: %v", err)
	}
}

func TestBuildFailures(t *testing.T) {
	missing := define("none", "main.go", agent.Golang, nil)
	for what, c := range map[string]struct {
		agent agent.Agent
		code  string
		says  string
	}{
		"does not compile":    {define("broken", ".", agent.Golang, nil), "agent_build_failed", "undefined: undefinedName"},
		"no directory":        {missing, "agent_directory", "there is no directory"},
		"no entry point":      {scripted("absent.sh", nil), "agent_entry_point", "absent.sh"},
		"Python":              {define("scripts", "agent.py", agent.Python, nil), "agent_entry_point", "agent.py"},
		"not executable":      {scripted("plain.txt", nil), "agent_entry_point", "not an executable file"},
		"builds nothing":      {define("scripts", "nothing.sh", agent.Golang, nil), "agent_build_failed", "left no program"},
		"complains very much": {define("scripts", "fails.sh", agent.Golang, nil), "agent_build_failed", "bytes dropped"},
	} {
		t.Run(what, func(t *testing.T) {
			err := newDriver(t).Build(t.Context(), c.agent)
			if !fault.HasCode(err, c.code) || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %s and %q", err, c.code, c.says)
			}
			if len(err.Error()) > 8<<10 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestBuildScriptAndBuildBounds(t *testing.T) {
	d := newDriver(t)
	i := start(t, d, fleet.Run{Agent: define("scripts", "build.sh", agent.Golang, nil)})
	await(t, "the end of what was built", i.Done())
	if got := logLines(t, d, 9); !slices.Equal(got, []string{"built"}) {
		t.Errorf("log %q", got)
	}
	path, ready, ended := fifo(t)
	t.Setenv("TMPDIR", path) // the one way into a build's environment; family.sh needs FIFO
	a := define("", "build.sh", agent.Golang, nil)
	a.Directory = t.TempDir()
	if err := os.WriteFile(filepath.Join(a.Directory, "build.sh"), []byte("FIFO=$TMPDIR; exec 9>$FIFO; sleep 1000 & echo ready >&9; wait"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-ready; cancel() }()
	if err := (&process.Driver{Dir: d.Dir, Log: d.Log}).Build(ctx, withVersion(a, 2)); err == nil || ctx.Err() == nil {
		t.Errorf("a cancelled build: %v", err)
	}
	await(t, "the end of the build and its child", ended)
	short := &process.Driver{Dir: d.Dir, Log: d.Log, BuildTimeout: 20 * time.Millisecond}
	if err := os.WriteFile(filepath.Join(a.Directory, "build.sh"), []byte("sleep 1000"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := short.Build(t.Context(), withVersion(a, 3)); !fault.HasCode(err, "agent_build_timeout") {
		t.Errorf("a build that takes too long: %v", err)
	}
}

func withVersion(a agent.Agent, version int64) agent.Agent {
	a.Version = version
	return a
}

func TestWhatCannotBeExecuted(t *testing.T) {
	a := define("", "agent", agent.Python, nil)
	a.Directory = t.TempDir()
	if err := os.WriteFile(filepath.Join(a.Directory, "agent"), []byte("\x7fELF, not really"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := newDriver(t).Start(t.Context(), fleet.Run{Agent: a}); !fault.HasCode(err, "agent_start_failed") || !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	d := newDriver(t)
	d.MaxLog = 6000
	for range 4 {
		await(t, "the end of noisy.sh", start(t, d, fleet.Run{Agent: scripted("noisy.sh", nil)}).Done())
	}
	lines := logLines(t, d, 3)
	if len(lines) != 3 || lines[2] != "no newline at the end" || lines[0] != "\ufffd[31mred\ufffd[0m" ||
		len(lines[1]) > 5000 || !strings.HasSuffix(lines[1], "bytes dropped)") {
		t.Errorf("last lines %.200q", lines)
	}
	files, err := os.ReadDir(filepath.Join(d.Dir, "default/doc/log"))
	if err != nil || len(files) != 3 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > d.MaxLog || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, %v, %v", f.Name(), info.Size(), info.Mode(), err)
		}
	}
	if all := logLines(t, d, 1000); len(all) < 60 || len(all) > 250 {
		t.Errorf("%d lines over the files", len(all))
	}
	if none, err := d.Logs(t.Context(), name.Workload{Pool: "default", Name: "never"}, 5); err != nil || len(none) != 0 {
		t.Errorf("an agent that never ran: %v, %v", none, err)
	}
}

func TestAStolenPortIsNoticed(t *testing.T) {
	path, ready, _ := fifo(t)
	i := start(t, newDriver(t), fleet.Run{Agent: scripted("family.sh", agent.Environment{"FIFO": path})})
	await(t, "start", ready)
	if err := i.Probe(t.Context()); err == nil || fault.Is(err, fault.Conflict) {
		t.Errorf("nobody listens: %v", err)
	}
	l, err := net.Listen("tcp", strings.TrimPrefix(i.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	thief := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"status":"Healthy"}`) })}
	go thief.Serve(l)
	defer thief.Close()
	if err := i.Probe(t.Context()); !fault.HasCode(err, "port_taken") || !fault.Is(err, fault.Conflict) {
		t.Errorf("a thief listens: %v", err)
	}
}
