package store

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
)

// TestGroup: who comes while a group is committed is in the next one, everybody
// gets an answer of his own, and a leader that breaks off takes nobody with him.
func TestGroup(t *testing.T) {
	const callers = 200
	var commits atomic.Int32
	first, begun := make(chan struct{}), make(chan struct{})
	refused := errors.New("refused")
	g := &group{}
	g.commit = func(batch []*work) {
		if commits.Add(1) == 1 {
			close(begun)
			<-first
			panic("the leader breaks off")
		}
		if len(batch) > maxGroup {
			t.Errorf("a group of %d", len(batch))
		}
		for _, w := range batch {
			w.err = w.do(w.ctx, nil)
		}
	}
	var all sync.WaitGroup
	all.Go(func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_ = g.run(&work{ctx: t.Context()})
	})
	<-begun
	for i := range callers {
		all.Go(func() {
			var want error
			if i%3 == 0 {
				want = refused
			}
			if err := g.run(&work{ctx: t.Context(), do: func(context.Context, *txn) error { return want }}); !errors.Is(err, want) {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	for waiting := 0; waiting < callers; {
		g.mu.Lock()
		waiting = len(g.queue)
		g.mu.Unlock()
	}
	close(first)
	all.Wait()
	if n := commits.Load(); n != 1+(callers+maxGroup-1)/maxGroup {
		t.Errorf("%d commits", n)
	}
	if g.led {
		t.Error("somebody still leads")
	}
}

// TestGroupOnOneCore: callers that are ready to run join the group that is about
// to be committed, also where a commit never gives up the processor.
func TestGroupOnOneCore(t *testing.T) {
	const callers = 32
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	commits := 0
	g := &group{commit: func([]*work) { commits++ }}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() { _ = g.run(&work{ctx: t.Context()}) })
	}
	all.Wait()
	if commits > callers/2 {
		t.Errorf("%d commits for %d callers", commits, callers)
	}
}

// TestCommitGroup: in one transaction, what is refused leaves no trace, and what
// breaks the transaction breaks only itself.
func TestCommitGroup(t *testing.T) {
	db, err := OpenSQLite(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	insert := func(pool string, then error) *work {
		return &work{ctx: t.Context(), do: func(ctx context.Context, tx *txn) error {
			_, err := exec(ctx, tx, `INSERT INTO workload_pools (name, description, created) VALUES ($1, '', 0)`, pool)
			return errors.Join(err, then)
		}}
	}
	refused := fault.New(fault.Conflict, "refused", "refused")
	breaks := &work{ctx: t.Context(), do: func(ctx context.Context, tx *txn) error { return tx.Rollback() }}
	for _, batch := range [][]*work{
		{insert("a", nil), insert("b", refused), insert("c", nil)},
		{insert("d", nil), breaks, insert("e", refused), insert("f", nil)},
		{insert("g", refused)},
		{insert("h", nil)},
	} {
		db.commitGroup(batch)
		for i, w := range batch {
			if w != breaks && w.err != nil && !errors.Is(w.err, refused) {
				t.Errorf("work %d: %v", i, w.err)
			}
		}
	}
	var names string
	if err := db.read.QueryRowContext(t.Context(), `SELECT group_concat(name, '') FROM (SELECT name FROM workload_pools WHERE length(name) = 1 ORDER BY name)`).Scan(&names); err != nil || names != "acdfh" {
		t.Errorf("%q %v", names, err)
	}
}
