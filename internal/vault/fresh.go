package vault

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/secret"
)

// Sealer seals tokens; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Vault hands out fresh tokens.
type Vault struct {
	Store       Store
	Held        Held
	Revocations Revocations
	Sealer      Sealer
	Guard       *guard.Guard
	Refresher   Refresher
	Revoker     Revoker
	Journal     Journal
	Owner       string // names this process in leases; unique among replicas
	Patience    Patience
	Logger      *slog.Logger
	Now         func() time.Time

	flight  singleflight.Group
	running running
	usage   usage
	retries retries
}

// Token is an access token that may be given away.
type Token struct {
	Access  secret.Text
	Type    string
	Expires time.Time // zero: unknown
}

// Fresh returns the access token of g, refreshed when it has expired. Inside
// the margin before expiry it returns the present token and refreshes in the
// background. p is the permit of the release that this is for.
//
// A grant that cannot be refreshed for good is marked [Reauthorize]; the error
// then has the code "reauthorization_required".
func (v *Vault) Fresh(ctx context.Context, p guard.Permit, g Grant) (Token, error) {
	if g.State == Reauthorize {
		return Token{}, reauthorizationRequired(g)
	}
	now := v.Now()
	v.usage.note(g, now)
	if !g.expired(now) {
		t, err := v.open(ctx, g)
		if err != nil {
			return Token{}, err
		}
		if due(g, now) {
			v.refreshBehind(ctx, p, g)
		}
		return Token{t.Access, t.Type, g.Expires}, nil
	}
	return v.refreshed(ctx, p, g.ID, 0)
}

// refusedPause is how old a token must be before its refusal leads to another
// one: what refuses a new token does not do so for its age, and who reports
// refusals without end must not have third parties asked without end.
const refusedPause = time.Minute

// Instead is Fresh for a caller who was refused the access token given, by the
// third party: it is refreshed, whenever it expires. That is how tokens are
// renewed whose third party does not tell when they expire. If there is no better
// token, because it cannot be refreshed or was just now, the same one is returned.
func (v *Vault) Instead(ctx context.Context, p guard.Permit, g Grant, refused secret.Text) (Token, error) {
	if g.State == Reauthorize {
		return Token{}, reauthorizationRequired(g)
	}
	t, err := v.open(ctx, g)
	if err != nil {
		return Token{}, err
	}
	defer t.clear()
	if !secret.Equal(t.Access, refused) || t.Refresh.Empty() || v.Now().Sub(g.Updated) < refusedPause {
		return v.Fresh(ctx, p, g)
	}
	v.usage.note(g, v.Now())
	return v.refreshed(ctx, p, g.ID, g.Version)
}

// refreshed returns the token of a refresh; see [Vault.refresh].
func (v *Vault) refreshed(ctx context.Context, p guard.Permit, id string, refused int64) (Token, error) {
	fresh, err := v.refresh(ctx, p, id, refused)
	if err != nil {
		return Token{}, err
	}
	t, err := v.open(ctx, fresh)
	return Token{t.Access, t.Type, fresh.Expires}, err
}

func due(g Grant, now time.Time) bool { return !g.Due.IsZero() && !now.Before(g.Due) }

func (g Grant) expired(now time.Time) bool { return !g.Expires.IsZero() && !now.Before(g.Expires) }

// margin is how long before its expiry a token with that life is renewed: a
// tenth of its life but at least a minute, and a little more at random so that
// tokens issued together are not renewed together. For a life shorter than two
// minutes it is half of the life.
func margin(life time.Duration) time.Duration {
	m := max(time.Minute, life/10)
	m += time.Duration(rand.Int64N(int64(m)/10 + 1))
	return min(m, life/2)
}

// refreshBehind refreshes while the caller goes on with the present token.
func (v *Vault) refreshBehind(ctx context.Context, p guard.Permit, g Grant) {
	v.running.begin()
	go func() {
		defer v.running.end()
		if _, err := v.refresh(context.WithoutCancel(ctx), p, g.ID, 0); err != nil {
			v.Logger.LogAttrs(ctx, slog.LevelWarn, "grant not refreshed ahead of expiry", slog.String("grant", g.ID), slog.Any("err", fault.As(err)))
		}
	}()
}

// refresh makes one refresh of a grant in this process, however many callers
// want it. It is not bound to the context of the caller who came first: a
// refresh token once sent must be seen through. Version refused of the grant, and
// what was before, is no good even if it has not expired; 0 is none.
func (v *Vault) refresh(ctx context.Context, p guard.Permit, id string, refused int64) (Grant, error) {
	for again := false; ; again = true {
		done := v.flight.DoChan(id, func() (any, error) {
			v.running.begin()
			defer v.running.end()
			return v.refreshAlone(context.WithoutCancel(ctx), p, id, refused)
		})
		select {
		case r := <-done:
			if r.Err != nil {
				return Grant{}, r.Err
			}
			if g, ok := r.Val.(Grant); ok && (g.Version > refused || again) {
				return g, nil
			} // else it was a flight of Replay's, or perhaps of somebody to whom that version was good enough
		case <-ctx.Done():
			return Grant{}, fault.Wrap(ctx.Err(), fault.Unavailable, "refresh_in_progress", "the third party has not yet answered to the refresh of this grant").
				WithFix("try again")
		}
	}
}

// running counts the refreshes that go on although their callers may have left.
type running struct {
	mu    sync.Mutex
	count int
	idle  chan struct{} // closed when count comes to 0; nil while nobody waits for that
}

func (r *running) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
}

func (r *running) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
	r.tell()
}

// none returns a channel that is closed once nothing runs.
func (r *running) none() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.tell()
	return idle
}

func (r *running) tell() {
	if r.count == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// Drain returns when no refresh is running any more, or ctx is done: one that is
// cut off may have spent its refresh token. It is called when nobody asks for
// credentials any more.
func (v *Vault) Drain(ctx context.Context) error {
	select {
	case <-v.running.none():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func reauthorizationRequired(g Grant) error {
	return fault.New(fault.Conflict, "reauthorization_required", "the authorization at the third party has ended: %s", g.Reason).
		WithFix("ask the user to authorize again")
}
