package process_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

var launches = flag.Int("launches", 30, "how many launches and deletions must leave nothing")

type plainMint struct{}

func (plainMint) Mint(_ attest.Launch, ttl time.Duration) (secret.Text, time.Time, error) {
	return secret.FromString("token"), time.Now().Add(ttl), nil
}

// What comes and goes leaves nothing: no process, open file, goroutine, and no file
// but the directories of the pool.
func TestLaunchesLeaveNothing(t *testing.T) {
	program := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(program, "hello"), ".")
	build.Dir = "testdata/hello"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	store, dir := &agenttest.Memory{}, t.TempDir()
	f := fleet.New(fleet.Config{
		Register: alone{},
		Store:    store, Driver: &process.Driver{Dir: filepath.Join(dir, "agents"), Log: slog.New(slog.DiscardHandler)}, Launches: plainMint{},
		URL: "http://localhost:8080", TrustDomain: "deputy.test", Dir: filepath.Join(dir, "launch"), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	launchAndDelete(t, f, store, program, 0) // what is made once is there now
	before := census(t)
	for i := 1; i <= *launches; i++ {
		launchAndDelete(t, f, store, program, i)
	}
	after := census(t)
	// Goroutines and descriptors of the runtime itself come and go; a leak would be one for each launch.
	if after.children != before.children || after.files > before.files+5 || after.goroutines > before.goroutines+5 {
		t.Errorf("before %+v, after %d launches %+v", before, *launches, after)
	}
	t.Logf("before %+v, after %d launches %+v", before, *launches, after)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if inside, _ := filepath.Rel(dir, path); err == nil && filepath.Base(path) != doc.Pool && filepath.Dir(inside) != "." {
			t.Errorf("%s is left", inside)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func launchAndDelete(t *testing.T, f *fleet.Fleet, store *agenttest.Memory, program string, i int) {
	t.Helper()
	w := name.Workload{Pool: doc.Pool, Name: fmt.Sprintf("agent-%d", i)}
	a := agent.Agent{Pool: w.Pool, Name: w.Name, Directory: program, Version: 1, Desired: agent.Running, CreatedAt: time.Unix(int64(i), 0),
		Definition: agent.Definition{Name: w.Name, EntryPoint: "hello", Language: agent.Python}}
	if err := store.PutAgent(t.Context(), agenttest.Permit(t, agent.ActionPut, w.Pool, w.Name), a); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := f.Wait(ctx, w); err != nil {
		t.Fatal(err)
	}
	if err := store.DeleteAgent(t.Context(), agenttest.Permit(t, agent.ActionDelete, w.Pool, w.Name), w.Pool, w.Name); err != nil {
		t.Fatal(err)
	}
	f.Wake()
	for len(f.Statuses("")) > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s is not gone: %v", w, f.Statuses(""))
		}
	}
}

type counts struct{ children, files, goroutines int }

// census counts what this process has.
func census(t *testing.T) counts {
	t.Helper()
	c := counts{goroutines: runtime.NumGoroutine()}
	// Elsewhere than on Linux there is no /proc: zero before and after.
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	c.files = len(files)
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil { // threads end meanwhile
			c.children += len(bytes.Fields(b))
		}
	}
	return c
}
