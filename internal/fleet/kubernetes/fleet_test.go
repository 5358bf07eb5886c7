package kubernetes_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/kubernetes"
)

// fleetOn runs a fleet until stop is called.
func fleetOn(t *testing.T, store agent.Store, d *kubernetes.Driver) (f *fleet.Fleet, stop func()) {
	f = fleet.New(fleet.Config{
		Store: store, Driver: d, Outlive: true, URL: "https://id.example.com", TrustDomain: "deputy.test", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		BackoffMin: time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	return f, func() { cancel(); <-ended }
}

// A fleet launches and replaces; its end leaves the agent as it is, and the next
// one takes it up without touching it; a deletion leaves nothing.
func TestFleet(t *testing.T) {
	c, server := inMemory(t)
	server.RunPods()
	store := &agenttest.Memory{}
	put := func(version int64) {
		t.Helper()
		c.must(store.PutAgent(t.Context(), agenttest.Permit(t, agent.ActionPut, doc.Pool, doc.Name), run(version).Agent))
	}
	ready := func(f *fleet.Fleet, version int64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if s, err := f.Wait(ctx, doc); err != nil || s.Version != version {
			t.Fatalf("status %+v, %v", s, err)
		}
	}
	put(1)
	f, stop := fleetOn(t, store, c.driver())
	ready(f, 1)
	put(2)
	ready(f, 2)
	before := c.mustRead("deployments").Metadata
	if got := before.Annotations["deputy-id.github.io/version"]; got != "1700000000000-2" {
		t.Errorf("version %s runs", got)
	}
	stop()
	f, stop = fleetOn(t, store, c.driver())
	defer func() { stop() }()
	ready(f, 2)
	if after := c.mustRead("deployments").Metadata; after.UID != before.UID || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("a new Deputy changed %+v to %+v", before, after)
	}
	c.must(store.DeleteAgent(t.Context(), agenttest.Permit(t, agent.ActionDelete, doc.Pool, doc.Name), doc.Pool, doc.Name))
	f.Wake()
	late := time.After(30 * time.Second)
	for len(f.Statuses("")) > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatalf("it is not gone: %+v", f.Statuses(""))
		}
	}
	for _, k := range plurals {
		if _, err := c.read(k, called()); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s is left: %v", k, err)
		}
	}
}

// What no attempt can mend is told, and nothing is tried again: an agent without an
// image, and one that the API server does not take.
func TestFailed(t *testing.T) {
	for code, prepare := range map[string]func(a *agent.Agent, refuse func(string, int)){
		"image": func(a *agent.Agent, _ func(string, int)) { a.Definition.Image.Ref = "" },
		"taken": func(_ *agent.Agent, refuse func(string, int)) { refuse("patch apps/deployments", 422) },
	} {
		t.Run(code, func(t *testing.T) {
			c, server := inMemory(t)
			a := run(1).Agent
			prepare(&a, server.Refuse)
			store := &agenttest.Memory{}
			c.must(store.PutAgent(t.Context(), agenttest.Permit(t, agent.ActionPut, doc.Pool, doc.Name), a))
			f, stop := fleetOn(t, store, c.driver())
			defer stop()
			if s, err := f.Wait(t.Context(), doc); err == nil || s.State != fleet.Failed {
				t.Errorf("status %+v, %v", s, err)
			}
		})
	}
}
