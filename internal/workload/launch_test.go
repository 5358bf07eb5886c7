package workload_test

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/workload"
)

// TestALaunchElsewhere has one replica run an agent and another one asked about it.
func TestALaunchElsewhere(t *testing.T) {
	db := storetest.SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	g, clock := &guard.Guard{Log: log}, now
	registry := &workload.Registry{Store: store.Workloads{DB: db}, Guard: g, Now: time.Now}
	root := name.Caller{Kind: name.Operator, Operator: "root"}
	if _, err := registry.CreatePool(t.Context(), root, agent.Pool, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.CreateWorkload(t.Context(), root, agent, workload.Settings{}); err != nil {
		t.Fatal(err)
	}
	replica := func(owner string) *workload.Launches {
		return &workload.Launches{Store: store.Launches{DB: db}, Guard: g, Owner: owner, Now: func() time.Time { return clock }}
	}
	one, two := replica("one"), replica("two")
	l := attest.Launch{ID: "launch_1", Workload: agent}
	want := func(what string, r *workload.Launches, want bool) {
		t.Helper()
		if got, err := r.Elsewhere(t.Context(), l.ID); err != nil || got != want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	want("before", two, false)
	if err := one.Begin(t.Context(), l, clock.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	want("at the other one", two, true)
	want("what is left of an earlier run of the same", one, false)
	clock = clock.Add(9 * time.Minute)
	if err := one.Keep(t.Context(), l, clock.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(9 * time.Minute)
	want("when it goes on", two, true)
	clock = clock.Add(time.Minute)
	want("when nobody says that it goes on", two, false)
	if err := one.Keep(t.Context(), l, clock.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := one.End(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	want("after its end", two, false)
}
