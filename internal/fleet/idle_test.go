package fleet_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
)

// putIdling stores a version of doc that is stopped after a minute without a call.
func (w *world) putIdling(version int64) {
	w.t.Helper()
	a := agent.Agent{Pool: doc.Pool, Name: doc.Name, Version: version, Desired: agent.Running, Definition: agent.Definition{IdleTimeout: time.Minute}}
	if err := w.store.PutAgent(w.t.Context(), agenttest.Permit(w.t, agent.ActionPut, doc.Pool, doc.Name), a); err != nil {
		w.t.Fatal(err)
	}
	w.fleet.Wake()
	synctest.Wait()
}

// calls begins n requests at once, and returns how many were served when all have
// an answer.
func (w *world) calls(n int) (served func() int) {
	var answered, ready atomic.Int64
	for range n {
		go func() {
			s, leave, err := w.fleet.Enter(w.t.Context(), doc)
			if err == nil && s.State == fleet.Ready {
				ready.Add(1)
			}
			if err == nil {
				leave()
			}
			answered.Add(1)
		}()
	}
	synctest.Wait()
	return func() int {
		w.t.Helper()
		synctest.Wait()
		if got := answered.Load(); got != int64(n) {
			w.t.Errorf("%d of %d requests have an answer", got, n)
		}
		return int(ready.Load())
	}
}

func TestAnAgentThatNobodyCallsIsStoppedUntilTheNextCall(t *testing.T) {
	d := &driver{}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.putIdling(1)
		w.pass(59 * time.Second)
		_, leave := w.enter()
		w.pass(time.Hour)
		w.want(fleet.Ready, "") // the answer is not over
		leave()
		w.pass(59 * time.Second)
		w.want(fleet.Ready, "")
		w.pass(2 * time.Second)
		if s := w.want(fleet.Idle, "the next call starts it"); s.Restarts != 0 || !d.latest().stopped() {
			t.Errorf("%+v, stopped %v", s, d.latest().stopped())
		}
		w.pass(24 * time.Hour)
		w.want(fleet.Idle, "")
		if served := w.calls(100)(); served != 100 || d.starts() != 2 {
			t.Errorf("%d of 100 calls are served, after %d starts", served, d.starts())
		}
		if s := w.want(fleet.Ready, ""); s.Restarts != 0 || s.URL != "http://agent.2" {
			t.Errorf("after the call: %+v", s)
		}
		w.pass(time.Minute + time.Second)
		w.want(fleet.Idle, "")
		// A new version is started at once: whoever launches wants to see that it works.
		w.putIdling(2)
		if s := w.want(fleet.Ready, ""); s.Version != 2 || s.URL != "http://agent.3" {
			t.Errorf("after a new version: %+v", s)
		}
		w.pass(time.Minute + time.Second)
		w.put(3, agent.Stopped)
		w.want(fleet.Stopped, "as desired")
		if served := w.calls(1)(); served != 0 || d.starts() != 3 {
			t.Errorf("a stopped agent served %d calls after %d starts", served, d.starts())
		}
	})
}

func TestACallWhileAnIdleAgentIsBeingStopped(t *testing.T) {
	d := &driver{stubborn: true}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.putIdling(1)
		w.pass(time.Minute)
		w.want(fleet.Stopping, "nobody calls it")
		served := w.calls(3)
		if d.starts() != 1 {
			t.Error("it is started beside the one that ends")
		}
		w.pass(11 * time.Second) // until it is killed
		if got := served(); got != 3 || d.starts() != 2 {
			t.Errorf("%d calls are served, after %d starts", got, d.starts())
		}
	})
}

func TestAnIdleAgentThatDoesNotComeBack(t *testing.T) {
	d := &driver{}
	inWorld(t, d, func(t *testing.T, w *world) {
		w.putIdling(1)
		w.pass(2 * time.Minute)
		d.set(func(d *driver) { d.start = errors.New("no more memory") })
		if served := w.calls(5)(); served != 0 {
			t.Errorf("%d calls are served", served)
		}
		w.want(fleet.Backoff, "no more memory")
		d.set(func(d *driver) { d.start = nil })
		w.pass(2 * time.Minute)
		w.want(fleet.Idle, "") // it came back by itself, and nobody called
		// One that is never healthy is not waited for longer than it may take.
		d.set(func(d *driver) { d.health = errors.New("warming up") })
		served := w.calls(2)
		w.pass(29 * time.Second)
		w.want(fleet.Starting, "")
		w.pass(2 * time.Second)
		if got := served(); got != 0 {
			t.Errorf("%d calls are served", got)
		}
		d.set(func(d *driver) { d.health = nil })
		w.pass(2 * time.Minute)
		w.want(fleet.Idle, "")
		// Whoever goes away does not wait on, and what he began goes on.
		d.set(func(d *driver) { d.slowBuild = time.Minute })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s, _, err := w.fleet.Enter(ctx, doc); err != nil || s.State == fleet.Ready {
			t.Errorf("%+v, %v", s, err)
		}
		// An agent that is deleted while somebody waits for it.
		gone := make(chan error, 1)
		go func() {
			_, _, err := w.fleet.Enter(t.Context(), doc)
			gone <- err
		}()
		synctest.Wait()
		w.want(fleet.Building, "")
		if err := w.store.DeleteAgent(t.Context(), agenttest.Permit(t, agent.ActionDelete, doc.Pool, doc.Name), doc.Pool, doc.Name); err != nil {
			t.Fatal(err)
		}
		w.fleet.Wake()
		if err := <-gone; !fault.HasCode(err, "agent_not_found") {
			t.Errorf("waiting for a deleted agent: %v", err)
		}
	})
}
