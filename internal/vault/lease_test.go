package vault_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// lost is the error of a refresh whose answer did not arrive.
func lost() error {
	return fault.Wrap(&vendor.Failure{Class: vendor.ClassRetry, MaybeSpent: true}, fault.Unavailable, "vendor_retry", "no answer")
}

// TestATokenThatMayBeSpentRests has the answer to a refresh get lost. While the
// access token lives, nobody sends the refresh token again, in no replica; when it
// is dead, it is tried once more.
func TestATokenThatMayBeSpentRests(t *testing.T) {
	for what, rotated := range map[string]bool{"the third party had rotated": true, "it had not got the request": false} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.party.answer = func(vendor.Tokens) (vendor.Tokens, error) {
				if !rotated {
					w.party.current = "rt_first"
				}
				return vendor.Tokens{}, lost()
			}
			w.pass(2*time.Hour - 10*time.Minute)
			other := w.replica(t)
			for range 20 {
				w.sweep(t, map[bool]int{true: 1}[w.party.calls == 0])
				for _, v := range []*vault.Vault{w.vault, other} {
					if _, err := v.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
						t.Fatal(err)
					}
					drained(t, v)
				}
				w.pass(29 * time.Second)
			}
			if w.party.calls != 1 || w.party.dead {
				t.Fatalf("%d calls while the access token lived; family dead: %v", w.party.calls, w.party.dead)
			}
			w.party.answer = nil
			w.pass(time.Hour)
			_, err := other.Fresh(t.Context(), w.permit(t), w.stored(t))
			if g := w.stored(t); rotated && (!fault.HasCode(err, "reauthorization_required") || g.State != vault.Reauthorize) || !rotated && (err != nil || g.Version != 2) {
				t.Errorf("state %q, version %d, %v", g.State, g.Version, err)
			}
			if w.party.calls != 2 {
				t.Errorf("%d calls", w.party.calls)
			}
		})
	}
}

// TestWhoVanishedIsWaitedFor has a process die with the answer in its journal.
func TestWhoVanishedIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	journal := w.crash(t)
	for range 3 {
		w.pass(50 * time.Second)
		if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); !fault.HasCode(err, "refresh_in_doubt") || !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		if _, err := w.vault.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	back := w.replica(t)
	back.Journal = journal
	if n, err := back.Replay(t.Context()); err != nil || n != 1 {
		t.Fatalf("brought in %d, %v", n, err)
	}
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil || w.party.calls != 1 {
		t.Errorf("%d calls, %v", w.party.calls, err)
	}
}

// TestWhoComesBackWithoutAnAnswerSaysSo has a process be killed before the third
// party answers. When it is there again, nobody has to wait for it any longer.
func TestWhoComesBackWithoutAnAnswerSaysSo(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	victim := w.replica(t)
	sent, killed := make(chan struct{}), make(chan struct{})
	w.party.answer = func(vendor.Tokens) (vendor.Tokens, error) {
		w.party.current = "rt_first"
		close(sent)
		<-killed
		return vendor.Tokens{}, errors.New("nobody sees this")
	}
	p, old := w.permit(t), w.stored(t)
	go func() { _, _ = victim.Fresh(t.Context(), p, old) }()
	<-sent
	back := w.replica(t)
	back.Journal = victim.Journal
	if n, err := back.Replay(t.Context()); err != nil || n != 0 {
		t.Errorf("brought in %d, %v", n, err)
	}
	if ids, err := back.Journal.IDs(); err != nil || len(ids) != 0 {
		t.Errorf("the journal has %v, %v", ids, err)
	}
	close(killed)
	drained(t, victim)
	w.party.mu.Lock()
	w.party.answer = nil
	w.party.mu.Unlock()
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil || w.party.calls != 2 {
		t.Errorf("%d calls, %v", w.party.calls, err)
	}
}

// TestALeaseLastsAsLongAsTheThirdPartyTakes has the third party answer only after
// the lease was extended several times, while another replica wants the grant.
func TestALeaseLastsAsLongAsTheThirdPartyTakes(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	other := w.replica(t)
	extensions := &extending{Store: w.vault.Store, enough: make(chan struct{})}
	w.vault.Store = extensions
	w.vault.Patience = vault.Patience{Lease: 30 * time.Millisecond}
	other.Patience = vault.Patience{Look: time.Millisecond}
	asked := make(chan struct{})
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		close(asked)
		<-extensions.enough
		return got, nil
	}
	first := make(chan error, 1)
	p, old := w.permit(t), w.stored(t)
	go func() {
		_, err := w.vault.Fresh(t.Context(), p, old)
		first <- err
	}()
	<-asked
	_, err := other.Fresh(t.Context(), p, old)
	if err := errors.Join(err, <-first); err != nil {
		t.Error(err)
	}
	if w.party.calls != 1 || w.party.dead {
		t.Errorf("%d calls; family dead: %v", w.party.calls, w.party.dead)
	}
}

// extending lets a minute pass with each extension of a lease. The first move is the taking.
type extending struct {
	vault.Store
	moves  atomic.Int32
	enough chan struct{}
}

func (e *extending) MoveLease(ctx context.Context, former, next vault.Lease) (bool, error) {
	moved, err := e.Store.MoveLease(ctx, former, next)
	if e.moves.Add(1) == 5 {
		close(e.enough)
	}
	return moved, err
}

// TestWhoWasStoppedSendsNothing has the machine sleep between the taking of the
// lease and the request, for longer than the lease.
func TestWhoWasStoppedSendsNothing(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	sleeps := &asleep{Store: w.vault.Store, sleep: func() { w.pass(time.Minute) }}
	w.vault.Store = sleeps
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"taken", "given back", "taken"}; !slices.Equal(sleeps.moves, want) || w.party.calls != 1 {
		t.Errorf("the lease was %v, the third party asked %d times", sleeps.moves, w.party.calls)
	}
}

// asleep is a store in front of which the machine sleeps, the first time.
type asleep struct {
	vault.Store
	sleep func()
	moves []string
}

func (a *asleep) MoveLease(ctx context.Context, former, next vault.Lease) (bool, error) {
	moved, err := a.Store.MoveLease(ctx, former, next)
	if len(a.moves) == 0 {
		a.sleep()
	}
	a.moves = append(a.moves, map[bool]string{true: "given back", false: "taken"}[next.Owner == ""])
	return moved, err
}

// TestAnAnswerThatCannotBeSealedAtOnceIsKept has the keys be out of reach just
// when the third party has answered.
func TestAnAnswerThatCannotBeSealedAtOnceIsKept(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	sealer := &failing{Sealer: w.vault.Sealer}
	w.vault.Sealer = sealer
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		sealer.next.Store(3)
		return got, nil
	}
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
		t.Fatal(err)
	}
	if g := w.stored(t); g.Version != 2 || w.party.calls != 1 || sealer.next.Load() >= 0 {
		t.Errorf("version %d after %d calls", g.Version, w.party.calls)
	}
}

// failing does not seal the next few times.
type failing struct {
	vault.Sealer
	next atomic.Int32
}

func (f *failing) Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error) {
	if f.next.Add(-1) >= 0 {
		return nil, fault.New(fault.Unavailable, "store_unavailable", "the keys are out of reach")
	}
	return f.Sealer.Seal(ctx, place, plain)
}

// TestWhatCannotBeSealedIsNotAskedFor has the keys be out of reach before.
func TestWhatCannotBeSealedIsNotAskedFor(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	sealer := &failing{Sealer: w.vault.Sealer}
	sealer.next.Store(1)
	w.vault.Sealer = sealer
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); !fault.HasCode(err, "store_unavailable") || w.party.calls != 0 {
		t.Errorf("%d calls, %v", w.party.calls, err)
	}
}

// TestANewAuthorizationWinsOverARefresh has the user authorize again while the
// third party answers to a refresh of his former grant.
func TestANewAuthorizationWinsOverARefresh(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		newer, err := w.vault.NewGrant(t.Context(), "default", "feishu", zhang, w.stored(t), vendor.Account{}, vendor.Tokens{
			Access: secret.FromString("at_newer"), Refresh: secret.FromString("rt_newer"), TokenType: "Bearer", ExpiresAt: w.now().Add(2 * time.Hour)}, w.grant.Scopes)
		if err != nil {
			t.Error(err)
		}
		w.authorize(t, "auth_2", newer)
		return got, nil
	}
	got, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t))
	if err != nil || got.Access.RevealString() != "at_newer" {
		t.Errorf("got %q, %v", got.Access.RevealString(), err)
	}
	if ids, err := w.vault.Journal.IDs(); err != nil || len(ids) != 0 {
		t.Errorf("the journal still has %v, %v", ids, err)
	}
}

// TestReplayAndRefreshMeet has somebody want a grant while Replay looks through
// the journal: what Replay finds out is not taken for a grant.
func TestReplayAndRefreshMeet(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	entered, leave := make(chan struct{}), make(chan struct{})
	w.vault.Journal = held{w.vault.Journal, w.grant.ID, entered, leave}
	replayed := make(chan error, 1)
	go func() {
		_, err := w.vault.Replay(t.Context())
		replayed <- err
	}()
	<-entered
	fresh := make(chan error, 1)
	p, old := w.permit(t), w.stored(t)
	go func() {
		_, err := w.vault.Fresh(t.Context(), p, old)
		fresh <- err
	}()
	close(leave)
	if err := errors.Join(<-replayed, <-fresh); err != nil {
		t.Error(err)
	}
	if g := w.stored(t); g.Version != 2 {
		t.Errorf("version %d", g.Version)
	}
}

// held is a journal whose first look at the one record that it says it has takes
// until leave is closed.
type held struct {
	vault.Journal
	id      string
	entered chan struct{}
	leave   chan struct{}
}

func (h held) IDs() ([]string, error) { return []string{h.id}, nil }

func (h held) Get(id string) ([]byte, bool, error) {
	select {
	case <-h.leave:
	default:
		close(h.entered)
		<-h.leave
	}
	return h.Journal.Get(id)
}

func TestDrainWaitsForARefreshThatNobodyWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	asked, answer := make(chan struct{}), make(chan struct{})
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		close(asked)
		<-answer
		return got, nil
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	p, old := w.permit(t), w.stored(t)
	go func() {
		defer close(left)
		_, _ = w.vault.Fresh(ctx, p, old)
	}()
	<-asked
	leave()
	<-left
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := w.vault.Drain(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drained, although the third party has not answered: %v", err)
	}
	close(answer)
	drained(t, w.vault)
	if g := w.stored(t); g.Version != 2 {
		t.Errorf("version %d", g.Version)
	}
}
