package vault_test

import (
	"errors"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

func (w *world) sweep(t *testing.T, want int) {
	t.Helper()
	if n, err := w.vault.Sweep(t.Context()); err != nil || n != want {
		t.Errorf("the sweep saw to %d grants, %v; want %d", n, err, want)
	}
}

func TestTheSweeperRefreshesWhatIsDue(t *testing.T) {
	w := newWorld(t)
	w.sweep(t, 0)
	w.pass(2*time.Hour - time.Minute)
	w.sweep(t, 1)
	w.sweep(t, 0)
	if g := w.stored(t); g.Version != 2 || w.party.calls != 1 || g.Expires.Sub(w.now()) != 2*time.Hour {
		t.Errorf("version %d after %d calls, expires %v", g.Version, w.party.calls, g.Expires)
	}
}

// TestWhatNobodyUsesIsLeftToRest lets a month pass, and then uses the grant
// again: its tokens are kept warm from then on.
func TestWhatNobodyUsesIsLeftToRest(t *testing.T) {
	w := newWorld(t)
	w.pass(31 * 24 * time.Hour)
	w.sweep(t, 0)
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
		t.Fatal(err)
	}
	w.sweep(t, 0) // writes down that the grant was used
	if g := w.stored(t); !g.Used.Equal(w.now()) {
		t.Errorf("used %v, want %v", g.Used, w.now())
	}
	w.pass(2*time.Hour - time.Minute)
	w.sweep(t, 1)
}

func TestAThirdPartyThatIsDownIsAskedLessAndLess(t *testing.T) {
	w := newWorld(t)
	w.party.answer = func(vendor.Tokens) (vendor.Tokens, error) {
		w.party.current = "rt_first" // it has not rotated
		return vendor.Tokens{}, fault.Wrap(errors.New("connection refused"), fault.Unavailable, "vendor_unavailable", "no answer")
	}
	w.pass(2*time.Hour - 10*time.Minute)
	for range 10 * 60 / 30 { // ten minutes of sweeps
		if _, err := w.vault.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(30 * time.Second)
	}
	if w.party.calls < 3 || w.party.calls > 5 {
		t.Errorf("%d calls in ten minutes", w.party.calls)
	}
	if g := w.stored(t); g.State != vault.Active || g.Version != 1 {
		t.Errorf("state %q, version %d", g.State, g.Version)
	}
}

func TestADeadGrantIsNotSweptAgain(t *testing.T) {
	w := newWorld(t)
	w.party.dead = true
	w.pass(2*time.Hour - time.Minute)
	w.sweep(t, 1)
	w.pass(time.Hour)
	w.sweep(t, 0)
	if g := w.stored(t); g.State != vault.Reauthorize || w.party.calls != 1 {
		t.Errorf("state %q after %d calls", g.State, w.party.calls)
	}
}
