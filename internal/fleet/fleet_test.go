package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
)

var doc = name.Workload{Pool: "default", Name: "doc"}

// world is a fleet in a synctest bubble, on a driver whose agents do what the
// test says.
type world struct {
	t        *testing.T
	store    *agenttest.Memory
	driver   *driver
	mint     *mint
	fleet    *fleet.Fleet
	dir      string
	register *register
	stop     func() // ends the fleet and waits for it
}

func inWorld(t *testing.T, d *driver, test func(t *testing.T, w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: &agenttest.Memory{}, driver: d, mint: &mint{}, register: &register{until: map[string]time.Time{}}, dir: dir}
		w.fleet = fleet.New(fleet.Config{
			Store: w.store, Driver: d, Launches: w.mint, Register: w.register, URL: "http://localhost:8080", TrustDomain: "deputy.test", Dir: dir,
			Log: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.fleet.Run(ctx) }()
		w.stop = func() { cancel(); <-done }
		defer w.stop()
		test(t, w)
	})
}

// put stores a version of doc and lets the fleet see it.
func (w *world) put(version int64, desired agent.Desired) {
	w.t.Helper()
	a := agent.Agent{Pool: doc.Pool, Name: doc.Name, Version: version, Desired: desired}
	if err := w.store.PutAgent(w.t.Context(), agenttest.Permit(w.t, agent.ActionPut, doc.Pool, doc.Name), a); err != nil {
		w.t.Fatal(err)
	}
	w.fleet.Wake()
	synctest.Wait()
}

func (w *world) want(state fleet.State, reason string) fleet.Status {
	w.t.Helper()
	synctest.Wait()
	_, s, err := w.fleet.Lookup(doc)
	if err != nil || s.State != state || !strings.Contains(s.Reason, reason) {
		w.t.Fatalf("state %s (%s), %v; want %s (%s)", s.State, s.Reason, err, state, reason)
	}
	if (s.URL != "") != (state == fleet.Ready) {
		w.t.Errorf("URL %q while %s", s.URL, s.State)
	}
	return s
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAnAgentsLife(t *testing.T) {
	inWorld(t, &driver{}, func(t *testing.T, w *world) {
		if _, _, err := w.fleet.Lookup(doc); !fault.HasCode(err, "agent_not_found") {
			t.Errorf("before: %v", err)
		}
		w.put(1, agent.Running)
		s := w.want(fleet.Ready, "")
		if s.Version != 1 || s.Restarts != 0 || s.URL != "http://agent.1" || !s.Since.Equal(time.Now()) {
			t.Errorf("status %+v", s)
		}
		run := w.driver.latest().run
		if run.Env["DEPUTY_URL"] != "http://localhost:8080" || run.Env["DEPUTY_WORKLOAD"] != "spiffe://deputy.test/default/doc" {
			t.Errorf("environment %v", run.Env)
		}
		first := w.driver.latest()
		w.put(2, agent.Running)
		if s := w.want(fleet.Ready, ""); s.Version != 2 || s.URL != "http://agent.2" || !first.stopped() {
			t.Errorf("after a new version: %+v, first stopped %v", s, first.stopped())
		}
		w.put(3, agent.Stopped)
		w.want(fleet.Stopped, "as desired")
		if _, err := w.fleet.Wait(t.Context(), doc); !fault.HasCode(err, "agent_not_ready") {
			t.Errorf("waiting for a stopped agent: %v", err)
		}
		w.put(4, agent.Running)
		w.want(fleet.Ready, "")
		if err := w.store.DeleteAgent(t.Context(), agenttest.Permit(t, agent.ActionDelete, doc.Pool, doc.Name), doc.Pool, doc.Name); err != nil {
			t.Fatal(err)
		}
		w.pass(31 * time.Second) // without Wake
		if _, _, err := w.fleet.Lookup(doc); !fault.HasCode(err, "agent_not_found") || !w.driver.latest().stopped() || w.driver.removed != 1 {
			t.Errorf("after deletion: %v", err)
		}
		w.put(1, agent.Running)
		w.want(fleet.Ready, "")
		w.stop()
		w.want(fleet.Stopped, "shutting down")
		if !w.driver.latest().stopped() {
			t.Error("the fleet ended before its agent")
		}
		if list := w.fleet.Statuses("default"); len(list) != 1 || list[0].Workload != doc || len(w.fleet.Statuses("other")) != 0 {
			t.Errorf("statuses %v", list)
		}
	})
}

func TestAnAgentThatEndsAtOnceIsTriedMoreAndMoreSlowly(t *testing.T) {
	d := &driver{begin: func(i *instance) { i.end("exit status 1; its last line: no model key") }}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		least, most := 250*time.Millisecond, 500*time.Millisecond
		for restarts := 1; restarts <= 12; restarts++ {
			s := w.want(fleet.Backoff, "no model key")
			pause := time.Until(s.NextTry)
			if s.Restarts != restarts || pause < least || pause > most {
				t.Errorf("restart %d: %d, in %v, want %v to %v", restarts, s.Restarts, pause, least, most)
			}
			least, most = min(2*least, 30*time.Second), min(2*most, time.Minute)
			w.pass(pause)
		}
		d.set(func(d *driver) { d.begin = nil })
		w.pass(time.Minute)
		w.want(fleet.Ready, "")
		// After a minute of health the next fall begins at the beginning.
		w.pass(2 * time.Minute)
		d.latest().end("killed")
		if s := w.want(fleet.Backoff, "killed"); time.Until(s.NextTry) > 500*time.Millisecond {
			t.Errorf("pause %v after a long life", time.Until(s.NextTry))
		}
		// A new version is not made to wait.
		w.put(2, agent.Running)
		if s := w.want(fleet.Ready, ""); s.Restarts != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAnAgentThatNeverBecomesHealthyIsStarted(t *testing.T) {
	sick := errors.New("GET /ping is answered with status 503")
	d := &driver{health: sick}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.want(fleet.Starting, "")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := w.fleet.Wait(ctx, doc); !fault.HasCode(err, "agent_not_ready") || !strings.Contains(err.Error(), "starting") {
			t.Errorf("waiting: %v", err)
		}
		w.pass(25*time.Second + 100*time.Millisecond)
		w.want(fleet.Backoff, "not healthy within 30s: GET /ping is answered with status 503")
		if !d.latest().stopped() {
			t.Error("the sick agent goes on")
		}
		d.set(func(d *driver) { d.health = nil })
		if s, err := w.fleet.Wait(t.Context(), doc); err != nil || s.State != fleet.Ready {
			t.Errorf("waiting: %v, %v", s, err)
		}
	})
}

func TestAReadyAgentThatFallsIll(t *testing.T) {
	d := &driver{}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.want(fleet.Ready, "")
		d.set(func(d *driver) { d.health = errors.New("no answer") })
		w.pass(25 * time.Second)
		w.want(fleet.Ready, "") // two failures are no illness
		w.pass(6 * time.Second)
		w.want(fleet.Unhealthy, "3 health checks in a row failed: no answer")
		d.set(func(d *driver) { d.health = nil })
		w.pass(time.Second)
		if s := w.want(fleet.Ready, ""); s.Restarts != 0 || d.starts() != 1 {
			t.Errorf("recovered by restart: %+v", s)
		}
		d.set(func(d *driver) { d.health = errors.New("no answer") })
		w.pass(61 * time.Second)
		d.set(func(d *driver) { d.health = nil })
		w.pass(time.Second)
		if s := w.want(fleet.Ready, ""); s.Restarts != 1 || d.starts() != 2 {
			t.Errorf("not restarted: %+v, %d starts", s, d.starts())
		}
	})
}

func TestAStolenPortMeansAnotherStartAtOnce(t *testing.T) {
	taken := fault.New(fault.Conflict, "port_taken", "another process listens")
	d := &driver{health: taken}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.want(fleet.Backoff, "another process listens")
		d.set(func(d *driver) { d.health = nil })
		w.pass(time.Second)
		w.want(fleet.Ready, "")
		d.set(func(d *driver) { d.health = taken })
		w.pass(10 * time.Second)
		w.want(fleet.Backoff, "another process listens")
	})
}

func TestWhatCannotWorkWaitsForAnotherVersion(t *testing.T) {
	d := &driver{build: fault.New(fault.Invalid, "agent_build_failed", "main.go:3: undefined: x")}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.want(fleet.Failed, "main.go:3: undefined: x")
		w.pass(time.Hour)
		if s := w.want(fleet.Failed, ""); s.Restarts != 0 || d.starts() != 0 {
			t.Errorf("%+v", s)
		}
		if _, err := w.fleet.Wait(t.Context(), doc); !fault.HasCode(err, "agent_not_ready") {
			t.Errorf("waiting: %v", err)
		}
		d.set(func(d *driver) { d.build = errors.New("no space left") })
		w.put(2, agent.Running)
		w.want(fleet.Backoff, "no space left")
		d.set(func(d *driver) {
			d.build = nil
			d.start = fault.New(fault.Invalid, "agent_start_failed", "exec format error")
		})
		w.pass(time.Minute)
		w.want(fleet.Failed, "exec format error")
		d.set(func(d *driver) { d.start = nil })
		w.put(3, agent.Running)
		w.want(fleet.Ready, "")
	})
}

func TestAChangeInterruptsEverything(t *testing.T) {
	d := &driver{health: errors.New("sick"), slowBuild: time.Hour}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.want(fleet.Building, "")
		d.set(func(d *driver) { d.slowBuild = 0 })
		w.put(2, agent.Running)
		w.want(fleet.Starting, "")
		w.put(3, agent.Stopped)
		w.want(fleet.Stopped, "as desired")
		d.set(func(d *driver) { d.begin = func(i *instance) { i.end("x") } })
		w.put(4, agent.Running)
		w.want(fleet.Backoff, "x")
		w.put(5, agent.Stopped)
		w.want(fleet.Stopped, "as desired")
	})
}

func TestShutdownIsBounded(t *testing.T) {
	d := &driver{stubborn: true}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.want(fleet.Ready, "")
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

func TestAgentsGoOnWithoutTheStore(t *testing.T) {
	inWorld(t, &driver{}, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		w.store.Break(errors.New("the database is away"))
		w.pass(5 * time.Minute)
		w.want(fleet.Ready, "")
		w.store.Break(nil)
		w.put(2, agent.Stopped)
		w.want(fleet.Stopped, "")
	})
}

func TestTheLaunchFile(t *testing.T) {
	inWorld(t, &driver{}, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		path := w.driver.latest().run.Env["DEPUTY_WORKLOAD_TOKEN_FILE"]
		read := func() string {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		for file, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
			if info, err := os.Stat(file); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v, %v", file, info.Mode(), err)
			}
		}
		first := w.mint.last()
		if read() != "token 1 of "+first.ID+"\n" || first.Workload != doc || !w.fleet.Live(first.ID) {
			t.Errorf("file %q, launch %v", read(), first)
		}
		w.pass(5 * time.Minute) // half of its life
		if read() != "token 2 of "+first.ID+"\n" {
			t.Errorf("not replaced: %q", read())
		}
		w.mint.fail(errors.New("the signing key is away"))
		w.pass(4 * time.Minute)
		if read() != "token 2 of "+first.ID+"\n" {
			t.Errorf("the good token went away: %q", read())
		}
		w.mint.fail(nil)
		w.pass(time.Minute)
		if !strings.HasPrefix(read(), "token") || read() == "token 2 of "+first.ID+"\n" {
			t.Errorf("not tried again: %q", read())
		}
		w.driver.latest().end("crashed")
		synctest.Wait()
		if w.fleet.Live(first.ID) {
			t.Error("the launch outlives the agent")
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the file outlives the agent: %v", err)
		}
		w.pass(time.Second)
		if second := w.mint.last(); second.ID == first.ID || !w.fleet.Live(second.ID) || !strings.Contains(read(), second.ID) {
			t.Errorf("after a restart: %v, %q", second, read())
		}
		w.mint.fail(errors.New("the signing key is away"))
		w.driver.latest().end("crashed")
		w.pass(time.Second)
		w.want(fleet.Backoff, "the signing key is away")
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
			t.Errorf("files are left: %v, %v", entries, err)
		}
	})
}

func TestLogs(t *testing.T) {
	inWorld(t, &driver{}, func(t *testing.T, w *world) {
		if _, err := w.fleet.Logs(t.Context(), doc, 5); !fault.HasCode(err, "agent_not_found") {
			t.Errorf("of nobody: %v", err)
		}
		if _, _, err := w.fleet.Follow(t.Context(), doc, "", 5); !fault.HasCode(err, "agent_not_found") {
			t.Errorf("of nobody: %v", err)
		}
		w.put(1, agent.Running)
		if lines, behind, err := w.fleet.Follow(t.Context(), doc, "there", 5); err != nil || behind != "here" || len(lines) != 1 || lines[0] != "after there" {
			t.Errorf("%v, %q, %v", lines, behind, err)
		}
		if lines, err := w.fleet.Logs(t.Context(), doc, 5); err != nil || len(lines) != 1 {
			t.Errorf("%v, %v", lines, err)
		}
	})
}
