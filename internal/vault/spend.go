package vault

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/vendor"
)

// spend redeems the refresh token under the lease, and stores what comes of it.
func (v *Vault) spend(ctx context.Context, p guard.Permit, g Grant, old Tokens, lease Lease) (Grant, error) {
	patience := v.Patience.filled()
	ctx = context.WithoutCancel(ctx) // from here on it is seen through
	storing := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, patience.Store) }
	if old.Refresh.Empty() {
		ctx, cancel := storing()
		defer cancel()
		return v.markReauthorize(ctx, p, g, lease, "the access token has expired and the third party gave no refresh token")
	}
	answering, answered := context.WithTimeout(ctx, patience.Answer)
	got, err := v.Refresher.Refresh(answering, p, g.Pool, g.Provider, old.Refresh)
	answered()
	ctx, cancel := storing()
	defer cancel()
	if err != nil {
		return v.refused(ctx, p, g, lease, err)
	}
	v.retries.succeeded(g.ID)
	return v.renewed(ctx, p, g, old, lease, got)
}

// refused concludes from an error what it says, and nothing more.
func (v *Vault) refused(ctx context.Context, p guard.Permit, g Grant, lease Lease, err error) (Grant, error) {
	pause := v.Now().Add(v.retries.failed(g.ID))
	var failure *vendor.Failure
	switch {
	case !errors.As(err, &failure):
	case failure.Class == vendor.ClassRace:
		return v.lostRace(ctx, p, g, lease, failure.Explanation)
	case failure.Class == vendor.ClassReauthorize:
		return v.markReauthorize(ctx, p, g, lease, failure.Explanation)
	case failure.MaybeSpent:
		v.Logger.LogAttrs(ctx, slog.LevelWarn, "no answer to a refresh: the refresh token is used again only when the access token has expired",
			slog.String("grant", g.ID), slog.String("provider", g.Provider), slog.Time("expires", g.Expires))
		v.postpone(ctx, g, later(pause, g.Expires))
		v.doubt(ctx, lease)
		return Grant{}, err
	}
	v.postpone(ctx, g, pause)
	v.giveBack(ctx, lease)
	return Grant{}, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// renewed stores what the third party gave. The old refresh token is spent, so
// these are the only tokens: first they go into the journal, and they stay there
// until the store has them.
func (v *Vault) renewed(ctx context.Context, p guard.Permit, g Grant, old Tokens, lease Lease, got vendor.Tokens) (Grant, error) {
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
	var next Grant
	err := v.insist(ctx, g.ID, func() (err error) {
		next, err = v.seal(ctx, g.next(), got, granted)
		return err
	})
	if err != nil {
		return Grant{}, err
	}
	v.keep(ctx, result{next, lease})
	if err := v.replace(ctx, p, next, lease); err != nil {
		// The grant was changed or taken away meanwhile, or the store is out of reach: settle deals with it now or later.
		_, settleErr := v.settle(ctx, g.ID)
		return Grant{}, errors.Join(err, settleErr)
	}
	v.forget(ctx, g.ID)
	return next, nil
}

// replace writes a grant's next version, trying again: what it replaces is spent.
func (v *Vault) replace(ctx context.Context, p guard.Permit, g Grant, lease Lease) error {
	return v.insist(ctx, g.ID, func() error { return v.Store.ReplaceTokens(ctx, p, g, lease) })
}

// insist tries until it works, or is pointless, or ctx is done.
func (v *Vault) insist(ctx context.Context, id string, try func() error) error {
	pause := 20 * time.Millisecond
	for {
		err := try()
		if err == nil || fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
			return err
		}
		v.Logger.LogAttrs(ctx, slog.LevelError, "refreshed tokens not stored; trying again", slog.String("grant", id), slog.Any("err", fault.As(err)))
		select {
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		case <-ctx.Done():
			return err
		}
	}
}

func (v *Vault) markReauthorize(ctx context.Context, p guard.Permit, g Grant, lease Lease, reason string) (Grant, error) {
	g = g.next()
	g.State, g.Reason, g.Due, g.Updated = Reauthorize, reason, time.Time{}, v.Now().UTC()
	// The dead tokens are kept out of the new version: what cannot be used need not be kept.
	plain, err := Tokens{}.encode()
	if err != nil {
		return Grant{}, err
	}
	err = v.insist(ctx, g.ID, func() (err error) {
		g.Sealed, err = v.Sealer.Seal(ctx, g.place(), plain)
		return err
	})
	if err != nil {
		return Grant{}, err
	}
	if err := v.replace(ctx, p.Failed(reason).Detail(map[string]string{"issuer": g.User.Issuer, "subject": g.User.Subject}), g, lease); err != nil {
		return Grant{}, err
	}
	v.forget(ctx, g.ID)
	return Grant{}, reauthorizationRequired(g)
}
