package audit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
)

// gate is a store whose commits wait to be let through, one by one.
type gate struct {
	arrived chan int // the size of each group, when its commit begins
	pass    chan error
}

func newGate() *gate { return &gate{make(chan int), make(chan error)} }

func (g *gate) AppendAudit(_ context.Context, entries []audit.Entry) error {
	g.arrived <- len(entries)
	return <-g.pass
}

func (g *gate) AuditRecords(context.Context, audit.Filter) ([]audit.Record, error) { return nil, nil }

func TestAppendReturnsOnlyWhenTheEntryIsDurable(t *testing.T) {
	g := newGate()
	log := audit.NewLog(g)
	done := make(chan error, 1)
	go func() { done <- log.Append(t.Context(), audit.Entry{Action: "x"}) }()
	<-g.arrived
	select {
	case err := <-done:
		t.Fatalf("Append returned before the commit: %v", err)
	default:
	}
	g.pass <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
	log.Close()
}

// TestManyCallersShareACommit holds the first commit up until fifty callers wait.
func TestManyCallersShareACommit(t *testing.T) {
	g := newGate()
	log := audit.NewLog(g)
	var group sync.WaitGroup
	call := func() {
		group.Go(func() {
			if err := log.Append(t.Context(), audit.Entry{}); err != nil {
				t.Error(err)
			}
		})
	}
	call()
	total := <-g.arrived
	for range 50 {
		call()
	}
	groups := 1
	for g.pass <- nil; total < 51; g.pass <- nil {
		total += <-g.arrived
		groups++
	}
	group.Wait()
	log.Close()
	if total != 51 || groups > 40 {
		t.Errorf("%d entries in %d commits", total, groups)
	}
}

func TestAFailedCommitReachesEveryCallerOfItsGroup(t *testing.T) {
	g := newGate()
	log := audit.NewLog(g)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			err := log.Append(t.Context(), audit.Entry{})
			if !fault.HasCode(err, "audit_unavailable") || !fault.Is(err, fault.Unavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	for total := 0; total < 10; {
		total += <-g.arrived
		g.pass <- errors.New("disk full")
	}
	group.Wait()
	// The log goes on: the next commit may work again.
	done := make(chan error, 1)
	go func() { done <- log.Append(t.Context(), audit.Entry{}) }()
	<-g.arrived
	g.pass <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
	log.Close()
}

func TestACallerMayLeave(t *testing.T) {
	g := newGate()
	log := audit.NewLog(g)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- log.Append(ctx, audit.Entry{}) }()
	<-g.arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	g.pass <- nil
	log.Close()
}

func TestAClosedLogSaysSo(t *testing.T) {
	log := audit.NewLog(newGate())
	log.Close()
	log.Close() // twice does no harm
	if err := log.Append(t.Context(), audit.Entry{}); !fault.HasCode(err, "audit_closed") {
		t.Errorf("got %v", err)
	}
}

// TestTheChainNoticesEveryChange alters a chain of leaves in each way that
// matters: the last hash must come out differently.
func TestTheChainNoticesEveryChange(t *testing.T) {
	chain := func(leaves ...string) (h audit.Hash) {
		for i, leaf := range leaves {
			h = h.Next(int64(i+1), []byte(leaf))
		}
		return h
	}
	good := chain("a", "b", "c")
	for what, other := range map[string]audit.Hash{
		"altered": chain("a", "x", "c"), "removed": chain("a", "c"), "inserted": chain("a", "b", "b", "c"), "swapped": chain("b", "a", "c"), "cut": chain("a", "b"),
		"moved bytes": chain("ab", "", "c"),
	} {
		if other == good {
			t.Errorf("a chain that was %s has the same hash", what)
		}
	}
	if parsed, ok := audit.ParseHash(good.String()); !ok || parsed != good {
		t.Error("a hash does not survive its text")
	}
	for _, bad := range []string{"", "00", good.String() + "00", fmt.Sprintf("%064s", "x")} {
		if _, ok := audit.ParseHash(bad); ok {
			t.Errorf("%q is no hash", bad)
		}
	}
}

func TestEncodeIsStable(t *testing.T) {
	e := audit.Entry{ID: "aud_1", Action: "x<y>", Detail: map[string]string{"b": "2", "a": "1"}}
	first, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := e.Encode()
		if err != nil || string(again) != string(first) {
			t.Fatalf("%s\n%s, %v", first, again, err)
		}
	}
	back, err := audit.Record{Leaf: first}.Entry()
	if err != nil || back.Action != "x<y>" || back.Detail["a"] != "1" {
		t.Errorf("read back: %+v, %v", back, err)
	}
}
