package vault

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
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
	Logger      *slog.Logger
	Now         func() time.Time

	flight     singleflight.Group
	background sync.WaitGroup
	usage      usage
	retries    retries
}

const (
	// leaseLife bounds how long a refresh may take. It is longer than the longest
	// outbound request, so that a lease ends only when its owner is gone.
	leaseLife = 45 * time.Second
	// leasePoll is how often a process looks whether another one's refresh is done.
	leasePoll = 200 * time.Millisecond
	// racePatience is how long somebody else's result of a spent refresh token is waited for.
	racePatience = 3 * time.Second
)

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
	if g.Expires.IsZero() || now.Before(g.Expires) {
		t, err := v.open(ctx, g)
		if err != nil {
			return Token{}, err
		}
		if due(g, now) {
			v.refreshBehind(ctx, p, g)
		}
		return Token{t.Access, t.Type, g.Expires}, nil
	}
	fresh, err := v.refresh(ctx, p, g.ID)
	if err != nil {
		return Token{}, err
	}
	t, err := v.open(ctx, fresh)
	return Token{t.Access, t.Type, fresh.Expires}, err
}

func due(g Grant, now time.Time) bool { return !g.Due.IsZero() && !now.Before(g.Due) }

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
	v.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseLife)
		defer cancel()
		if _, err := v.refresh(ctx, p, g.ID); err != nil {
			v.Logger.LogAttrs(ctx, slog.LevelWarn, "grant not refreshed ahead of expiry", slog.String("grant", g.ID), slog.Any("err", fault.As(err)))
		}
	})
}

// Wait returns when no background refresh is running.
func (v *Vault) Wait() { v.background.Wait() }

// refresh makes one refresh of a grant in this process, however many callers
// want it. It is not bound to the context of the caller who came first: a
// refresh token once sent must be seen through.
func (v *Vault) refresh(ctx context.Context, p guard.Permit, id string) (Grant, error) {
	done := v.flight.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseLife)
		defer cancel()
		return v.refreshAlone(ctx, p, id)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return Grant{}, r.Err
		}
		return r.Val.(Grant), nil
	case <-ctx.Done():
		return Grant{}, ctx.Err()
	}
}

// refreshAlone takes the grant's lease and spends its refresh token, or waits
// for the process that does. The grant is read inside the flight, so that a
// caller who queued behind a refresh sees its result instead of repeating it.
func (v *Vault) refreshAlone(ctx context.Context, p guard.Permit, id string) (Grant, error) {
	// What this process got for the refresh token before, and could not store, comes first: the token is spent.
	if _, err := v.settle(ctx, id); err != nil {
		return Grant{}, err
	}
	for {
		g, err := v.Store.Grant(ctx, id)
		if err != nil {
			return Grant{}, err
		}
		if g.State == Reauthorize {
			return Grant{}, reauthorizationRequired(g)
		}
		now := v.Now()
		if (g.Expires.IsZero() || now.Before(g.Expires)) && !due(g, now) {
			return g, nil // somebody else refreshed it
		}
		lease := v.newLease(g, now)
		taken, err := v.Store.TakeLease(ctx, lease, now)
		if err != nil {
			return Grant{}, err
		}
		if taken {
			return v.spendInTime(ctx, p, g, lease)
		}
		select {
		case <-time.After(leasePoll):
		case <-ctx.Done():
			return Grant{}, fault.Wrap(ctx.Err(), fault.Unavailable, "refresh_in_progress", "another replica is refreshing this grant and has not finished").WithFix("try again")
		}
	}
}

// newLease returns a lease on g from now on.
func (v *Vault) newLease(g Grant, now time.Time) Lease {
	return Lease{GrantID: g.ID, Version: g.Version, Owner: v.Owner + "/" + name.NewID("lse"), Until: now.Add(leaseLife)}
}

// spendInTime gives spend the life of the lease, however long it was waited for:
// on what is left of the waiting time the answer to a single-use token could be
// given up although the third party is about to send it.
func (v *Vault) spendInTime(ctx context.Context, p guard.Permit, g Grant, lease Lease) (Grant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseLife)
	defer cancel()
	return v.spend(ctx, p, g, lease)
}

// spend redeems the refresh token under the lease. Having taken the lease has
// also proved that the store is writable before a single-use token is sent.
func (v *Vault) spend(ctx context.Context, p guard.Permit, g Grant, lease Lease) (Grant, error) {
	old, err := v.open(ctx, g)
	if err != nil {
		return Grant{}, err
	}
	permit, err := v.Guard.Allow(ctx, p.Caller(), ActionRefresh, GrantResource(g.Pool, g.ID))
	if err != nil {
		return Grant{}, err
	}
	permit = permit.With(g.Provider, g.Scopes, nil)
	next := g
	next.Version++
	if old.Refresh.Empty() {
		return v.markReauthorize(ctx, permit, next, lease, "the access token has expired and the third party gave no refresh token")
	}
	got, err := v.Refresher.Refresh(ctx, permit, g.Pool, g.Provider, old.Refresh)
	var failure *vendor.Failure
	switch {
	case errors.As(err, &failure) && failure.Class == vendor.ClassRace:
		return v.lostRace(ctx, permit, next, lease, failure.Explanation)
	case errors.As(err, &failure) && failure.Class == vendor.ClassReauthorize:
		return v.markReauthorize(ctx, permit, next, lease, failure.Explanation)
	case err != nil:
		// Unclear or transient: nothing is deleted and nothing is concluded.
		if laterErr := errors.Join(v.postpone(ctx, g), v.Store.ReleaseLease(ctx, lease)); laterErr != nil {
			v.Logger.LogAttrs(ctx, slog.LevelWarn, "grant not postponed, or its lease not released; it ends by itself", slog.String("grant", g.ID), slog.Any("err", laterErr))
		}
		return Grant{}, err
	}
	if got.Refresh.Empty() {
		got.Refresh = old.Refresh // RFC 6749, section 6: none in the answer means that the old one stays
		if got.RefreshExpiresAt.IsZero() {
			got.RefreshExpiresAt = g.RefreshExpires
		}
	}
	granted := g.Scopes
	if got.ScopesKnown {
		granted = got.Scopes
	}
	v.retries.succeeded(g.ID)
	if next, err = v.seal(ctx, next, got, granted); err != nil {
		return Grant{}, err
	}
	v.keep(ctx, result{next, lease})
	err = v.replace(ctx, permit, next, lease)
	if err == nil || fault.Is(err, fault.NotFound) {
		v.forget(ctx, next.ID)
	}
	return next, err
}

// lostRace is for a third party that says that the refresh token was used
// already. Somebody whose lease has ended may be about to store what he got for
// it: that is waited for. When nothing comes, the result is lost, and with it
// the grant.
func (v *Vault) lostRace(ctx context.Context, p guard.Permit, next Grant, lease Lease, reason string) (Grant, error) {
	patience := time.NewTimer(racePatience)
	defer patience.Stop()
	look := time.NewTicker(leasePoll)
	defer look.Stop()
	for {
		g, err := v.Store.Grant(ctx, next.ID)
		if err == nil && g.State == Reauthorize {
			err = reauthorizationRequired(g)
		}
		if err != nil || g.Version >= next.Version {
			return g, err
		}
		select {
		case <-look.C:
		case <-patience.C:
			return v.markReauthorize(ctx, p, next, lease, reason)
		case <-ctx.Done():
			return Grant{}, ctx.Err()
		}
	}
}

// replace writes the new tokens, trying again while the lease lasts: the old
// refresh token is spent, so these are the only ones. What does not reach the
// store in that time stays in the journal.
func (v *Vault) replace(ctx context.Context, p guard.Permit, g Grant, lease Lease) error {
	pause := 20 * time.Millisecond
	for {
		err := v.Store.ReplaceTokens(ctx, p, g, lease)
		if err == nil || fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
			return err
		}
		v.Logger.LogAttrs(ctx, slog.LevelError, "refreshed tokens not stored; trying again", slog.String("grant", g.ID), slog.Any("err", fault.As(err)))
		select {
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		case <-ctx.Done():
			return err
		}
	}
}

func (v *Vault) markReauthorize(ctx context.Context, p guard.Permit, g Grant, lease Lease, reason string) (Grant, error) {
	g.State, g.Reason, g.Due, g.Updated = Reauthorize, reason, time.Time{}, v.Now().UTC()
	// The dead tokens are kept out of the new version: what cannot be used need not be kept.
	plain, err := Tokens{}.encode()
	if err != nil {
		return Grant{}, err
	}
	if g.Sealed, err = v.Sealer.Seal(ctx, g.place(), plain); err != nil {
		return Grant{}, err
	}
	if err := v.replace(ctx, p.Failed(reason).Detail(map[string]string{"issuer": g.User.Issuer, "subject": g.User.Subject}), g, lease); err != nil {
		return Grant{}, err
	}
	return Grant{}, reauthorizationRequired(g)
}

func reauthorizationRequired(g Grant) error {
	return fault.New(fault.Conflict, "reauthorization_required", "the authorization at the third party has ended: %s", g.Reason).
		WithFix("ask the user to authorize again")
}
