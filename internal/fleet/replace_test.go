package fleet_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
)

// enter begins a request and returns how it ends and who serves it.
func (w *world) enter() (url string, leave func()) {
	w.t.Helper()
	s, leave, err := w.fleet.Enter(w.t.Context(), doc)
	if err != nil || s.State != fleet.Ready {
		w.t.Fatalf("a request finds %v, %v", s, err)
	}
	return s.URL, leave
}

func TestAVersionIsReplacedWithoutAGap(t *testing.T) {
	d := &driver{}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		_, leave := w.enter()
		first := d.latest()
		d.set(func(d *driver) { d.slowBuild = time.Minute })
		w.put(2, agent.Running)
		if s := w.want(fleet.Ready, ""); s.Version != 1 || s.Next == nil || s.Next.Version != 2 || s.Next.State != fleet.Building {
			t.Errorf("while the second version is built: %+v", s)
		}
		w.pass(time.Minute)
		if s := w.want(fleet.Ready, ""); s.Version != 2 || s.URL != "http://agent.2" || s.Next != nil {
			t.Errorf("afterwards: %+v", s)
		}
		// The request that the first version has is answered, by it.
		w.pass(time.Minute)
		if first.stopped() {
			t.Error("the first version is stopped in the middle of an answer")
		}
		if url, other := w.enter(); url != "http://agent.2" {
			t.Errorf("a new request goes to %s", url)
		} else {
			other()
		}
		leave()
		synctest.Wait()
		if !first.stopped() || d.latest().stopped() {
			t.Errorf("first stopped %v, second %v", first.stopped(), d.latest().stopped())
		}
	})
}

func TestAnAnswerThatDoesNotEndIsNotWaitedForForEver(t *testing.T) {
	d := &driver{}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		first := d.latest()
		_, leave := w.enter()
		defer leave()
		w.put(2, agent.Running)
		w.pass(5*time.Minute - time.Second)
		if first.stopped() {
			t.Error("stopped too early")
		}
		w.pass(2 * time.Second)
		if !first.stopped() {
			t.Error("the first version goes on")
		}
	})
}

func TestAVersionThatIsNotHealthyTakesNoRequest(t *testing.T) {
	d := &driver{}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		d.set(func(d *driver) { d.start = fault.New(fault.Invalid, "agent_start_failed", "exec format error") })
		w.put(2, agent.Running)
		if s := w.want(fleet.Ready, ""); s.URL != "http://agent.1" || s.Next.State != fleet.Failed {
			t.Errorf("beside one that cannot start: %+v", s)
		}
		if _, err := w.fleet.Wait(t.Context(), doc); !fault.HasCode(err, "agent_not_ready") {
			t.Errorf("waiting for it: %v", err)
		}
		// The version that serves is started again when it ends, as before. For once
		// the driver must let it.
		d.set(func(d *driver) { d.start = nil })
		d.latest().end("crashed")
		w.pass(time.Second)
		if s := w.want(fleet.Ready, ""); s.Version != 1 || s.Restarts != 1 || s.URL != "http://agent.2" {
			t.Errorf("after its crash: %+v", s)
		}
		// The next one ends before it is healthy, again and again.
		d.set(func(d *driver) { d.begin = func(i *instance) { i.end("no model key") } })
		w.put(3, agent.Running)
		w.pass(10 * time.Second)
		if s := w.want(fleet.Ready, ""); s.Version != 1 || s.Next.Version != 3 {
			t.Errorf("beside one that ends: %+v", s)
		}
		d.set(func(d *driver) { d.begin = nil })
		w.put(4, agent.Running)
		if s := w.want(fleet.Ready, ""); s.Version != 4 || s.Next != nil {
			t.Errorf("after a good one: %+v", s)
		}
	})
}

// Whatever runs beside the present version ends with it when the agent is stopped
// or deleted, and nothing of it is left.
func TestNothingIsLeftOfVersions(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, w *world){
		"stopped": func(_ *testing.T, w *world) { w.put(4, agent.Stopped) },
		"deleted": func(t *testing.T, w *world) {
			if err := w.store.DeleteAgent(t.Context(), agenttest.Permit(t, agent.ActionDelete, doc.Pool, doc.Name), doc.Pool, doc.Name); err != nil {
				t.Fatal(err)
			}
			w.fleet.Wake()
			synctest.Wait()
			if _, err := os.Stat(filepath.Join(w.dir, doc.Pool, doc.Name)); !errors.Is(err, os.ErrNotExist) || w.driver.removed != 1 {
				t.Errorf("launch files: %v; removed %d times", err, w.driver.removed)
			}
		},
		"shut down": func(_ *testing.T, w *world) { w.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			d := &driver{}
			inWorld(t, d, func(t *testing.T, w *world) {
				w.put(1, agent.Running)
				_, leave := w.enter()
				defer leave()
				w.put(2, agent.Running) // beside the first one, which still answers
				d.set(func(d *driver) { d.health = errors.New("not yet") })
				w.put(3, agent.Running) // beside both, not healthy
				if s := w.want(fleet.Ready, ""); s.Version != 2 || s.Next.State != fleet.Starting || d.starts() != 3 {
					t.Fatalf("before: %+v, %d starts", s, d.starts())
				}
				if files, err := filepath.Glob(filepath.Join(w.dir, doc.Pool, doc.Name, "*")); err != nil || len(files) != 3 {
					t.Errorf("launch files %v, %v", files, err)
				}
				end(t, w)
				for _, i := range d.instances {
					if !i.stopped() || w.fleet.Live(w.mint.last().ID) {
						t.Errorf("instance %d is left, or its launch is", i.number)
					}
				}
				if files, err := filepath.Glob(filepath.Join(w.dir, doc.Pool, doc.Name, "*")); err != nil || len(files) != 0 {
					t.Errorf("launch files %v, %v", files, err)
				}
			})
		})
	}
}
