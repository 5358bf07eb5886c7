package vault_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/spool"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/vault"
)

// dying is the store as a process sees it that is killed between the third
// party's answer and the commit.
type dying struct {
	vault.Store
	reached func() // the commit would begin
}

func (d dying) ReplaceTokens(ctx context.Context, _ guard.Permit, _ vault.Grant, _ vault.Lease) error {
	d.reached()
	<-ctx.Done()
	return fault.Wrap(ctx.Err(), fault.Unavailable, "store_unavailable", "killed")
}

// crash has a process refresh the expired grant and die before the commit. What
// is left is the journal.
func (w *world) crash(t *testing.T) vault.Journal {
	t.Helper()
	journal, err := spool.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	victim := w.replica(t)
	reached := make(chan struct{})
	victim.Store, victim.Journal = dying{store.Vault{DB: w.db}, sync.OnceFunc(func() { close(reached) })}, journal
	victim.Patience.Store = time.Millisecond
	p, old := w.permit(t), w.stored(t)
	go func() { _, _ = victim.Fresh(t.Context(), p, old) }()
	<-reached
	drained(t, victim)
	return journal
}

func TestAResultOutlivesItsProcess(t *testing.T) {
	for what, comeBack := range map[string]func(*vault.Vault) error{
		"at the start":            func(v *vault.Vault) error { _, err := v.Replay(t.Context()); return err },
		"at the grant's next use": func(*vault.Vault) error { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.pass(3 * time.Hour)
			next := w.replica(t)
			next.Journal = w.crash(t)
			if err := comeBack(next); err != nil {
				t.Fatal(err)
			}
			if _, err := next.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
				t.Fatal(err)
			}
			if g := w.stored(t); g.Version != 2 || g.State != vault.Active || w.party.calls != 1 || w.party.dead {
				t.Errorf("version %d, state %q after %d calls; family dead: %v", g.Version, g.State, w.party.calls, w.party.dead)
			}
			if ids, err := next.Journal.IDs(); err != nil || len(ids) != 0 {
				t.Errorf("the journal still has %v, %v", ids, err)
			}
		})
	}
}

// TestAGrantDeclaredDeadTooEarlyIsRevived has another process spend the same
// refresh token after the lease has ended, and conclude that the grant is dead.
func TestAGrantDeclaredDeadTooEarlyIsRevived(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	journal := w.crash(t)
	w.pass(5 * time.Minute) // the lease of the dead, and the time that he has to come back
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); !fault.HasCode(err, "reauthorization_required") {
		t.Fatal(err)
	}
	back := w.replica(t)
	back.Journal = journal
	if n, err := back.Replay(t.Context()); err != nil || n != 1 {
		t.Fatalf("brought in %d, %v", n, err)
	}
	g := w.stored(t)
	if g.State != vault.Active || g.Version != 3 {
		t.Errorf("state %q, version %d", g.State, g.Version)
	}
	if _, err := back.Fresh(t.Context(), w.permit(t), g); err != nil {
		t.Error(err)
	}
	if n, err := back.Replay(t.Context()); err != nil || n != 0 {
		t.Errorf("a second time: %d, %v", n, err)
	}
}

func TestAnUnreadableRecordIsKeptAndSaid(t *testing.T) {
	w := newWorld(t)
	if err := w.vault.Journal.Put(w.grant.ID, []byte(`{"Grant":{`)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.vault.Replay(t.Context()); !fault.HasCode(err, "journal_broken") {
		t.Errorf("got %v", err)
	}
	if _, ok, err := w.vault.Journal.Get(w.grant.ID); !ok || err != nil {
		t.Error("the record is gone", err)
	}
}
