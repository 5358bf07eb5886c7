package vault

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbox"
	"github.com/deputy-id/deputy/internal/secret"
)

// Actions that stand in the audit log about the end of a grant.
const (
	// ActionRevoked tells that a grant is gone here, for every agent and at once. A store records it for each grant,
	// with what took it ("cause") and whose it was ("issuer", "subject").
	ActionRevoked guard.Action = "grant.revoked" // on GrantResource
	// ActionRevokeUpstream tells what became of the grant's tokens at the third party.
	ActionRevokeUpstream guard.Action = "grant.revoke-upstream" // on GrantResource
)

// RevocationTopic is what a store's bell rings when there is something to revoke.
const RevocationTopic = "revocations"

// Revocation is the duty to tell a third party that the tokens of a grant are
// not to be used any more. A store makes it in the transaction that takes the
// grant away, however that comes about, so that no token is forgotten.
type Revocation struct {
	GrantID    string
	Version    int64 // of the grant, for which Sealed was sealed
	Pool       string
	Provider   string // its name then; another one may have the name by now
	ProviderID string // which one it was
	User       name.User
	Account    string // at the third party, in words
	Sealed     []byte
	Cause      string // the action that took the grant away
	Created    time.Time
	Due        time.Time // of the next attempt
	Attempts   int64     // that have failed so far
	LastError  string    // why the last one did
}

// ID names the revocation: one grant may have several, when it moved to another
// account before.
func (r Revocation) ID() string { return fmt.Sprintf("%s.%d", r.GrantID, r.Version) }

func (r Revocation) place() keys.Place {
	// That of the grant: nothing has to be opened to take a grant away. Ids of grants are never used again.
	return Grant{ID: r.GrantID, Pool: r.Pool, Provider: r.Provider, User: r.User, Version: r.Version}.place()
}

// Revocations keeps revocations. They come about with the end of a grant, by
// [Store] or with what the grant belonged to, and when its tokens are replaced
// by those of another account.
type Revocations interface {
	// Pending returns at most limit revocations of a pool after the one with the given id ("" for the first), by id.
	Pending(ctx context.Context, pool, after string, limit int) ([]Revocation, error)
	// TakeRevocations returns at most limit revocations of all pools that are due at now, and puts them off until
	// then: meanwhile nobody else gets them.
	TakeRevocations(ctx context.Context, now, then time.Time, limit int) ([]Revocation, error)
	// RetryRevocation counts a failed attempt and makes the revocation due at due.
	RetryRevocation(ctx context.Context, r Revocation, due time.Time, why string) error
	// FinishRevocation forgets the revocation and its tokens, and the secret of a deleted provider that nothing is
	// to be revoked with any more. It needs a permit for ActionRevokeUpstream.
	FinishRevocation(ctx context.Context, p guard.Permit, r Revocation) error
	// ReplaceRevoked puts the tokens of g, which came of a refresh that the end of the grant overtook, in the
	// place of those of the version before. It reports whether there were any.
	ReplaceRevoked(ctx context.Context, g Grant) (bool, error)
}

// Revoker revokes tokens at the third party of a provider, which may be deleted
// by now. It returns nil when they are dead there, and the fault
// vendor_endpoint_missing if the third party has no way to revoke.
type Revoker interface {
	Revoke(ctx context.Context, p guard.Permit, r Revocation, access, refresh secret.Text) error
	// Supersedes reports whether what r's user authorized since then, with the provider and at the same account, took
	// the place of what r is about, or would end with it.
	Supersedes(ctx context.Context, p guard.Permit, r Revocation) (bool, error)
}

const (
	// RevocationLife is how long a third party is asked again.
	RevocationLife = 7 * 24 * time.Hour
	// The pause between two attempts begins with the first and doubles up to the most.
	firstRevocationPause = 30 * time.Second
	mostRevocationPause  = 6 * time.Hour
	// revocationHold is how long an attempt may take before somebody else makes one.
	revocationHold = 45 * time.Second
)

// Revoke makes one attempt at r, and records how it ended or when there will be
// another one. An error means that neither could be written down.
func (v *Vault) Revoke(ctx context.Context, r Revocation) error {
	p, err := v.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionRevokeUpstream, GrantResource(r.Pool, r.GrantID))
	if err != nil {
		return err
	}
	p = p.With(r.Provider, name.Scopes{}, map[string]string{"cause": r.Cause, "issuer": r.User.Issuer, "subject": r.User.Subject, "attempts": fmt.Sprint(r.Attempts + 1)})
	outcome, err := v.revokeUpstream(ctx, p, r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // we are ending; whoever comes next takes it over
	case err == nil:
		return v.Revocations.FinishRevocation(ctx, p.Detail(map[string]string{"outcome": outcome}), r)
	}
	f := fault.As(err)
	why := name.Clip(f.Code+": "+f.Message, 300)
	if v.Now().Sub(r.Created) >= RevocationLife {
		return v.Revocations.FinishRevocation(ctx, p.Failed(why).Detail(map[string]string{"outcome": "given up"}), r)
	}
	v.Logger.LogAttrs(ctx, slog.LevelWarn, "tokens not revoked at the third party; tried again later", slog.String("grant", r.GrantID),
		slog.String("provider", r.Provider), slog.Int64("attempt", r.Attempts+1), slog.Any("err", f))
	return v.Revocations.RetryRevocation(ctx, r, v.Now().Add(outbox.Pause(firstRevocationPause, mostRevocationPause, r.Attempts)), why)
}

// Revoking returns the worker that revokes whatever is due.
func (v *Vault) Revoking(bell outbox.Bell) outbox.Worker[Revocation] {
	return outbox.Worker[Revocation]{
		What: "revocations", Topic: RevocationTopic, Bell: bell, Take: v.Revocations.TakeRevocations, Do: v.Revoke,
		AtOnce: 8, Hold: revocationHold, Look: 15 * time.Second, Log: v.Logger, Now: v.Now,
	}
}

// revokeUpstream returns what became of the tokens, in words for the audit log.
func (v *Vault) revokeUpstream(ctx context.Context, p guard.Permit, r Revocation) (outcome string, err error) {
	plain, err := v.Sealer.Open(ctx, r.place(), r.Sealed)
	if err != nil {
		return "", err
	}
	defer plain.Clear()
	t, err := decode(plain, r.GrantID)
	if err != nil {
		return "", err
	}
	defer t.Access.Clear()
	defer t.Refresh.Clear()
	if t.Access.Empty() && t.Refresh.Empty() {
		return "dead before", nil
	}
	superseded, err := v.superseded(ctx, p, r, t.Account)
	switch {
	case err != nil:
		return "", err
	case superseded:
		return "superseded", nil
	}
	switch err := v.Revoker.Revoke(ctx, p, r, t.Access, t.Refresh); {
	case fault.HasCode(err, "vendor_endpoint_missing"):
		return "the third party has no revocation", nil
	case err != nil:
		return "", err
	default:
		return "revoked", nil
	}
}

// superseded reports whether r's user has authorized again before r could be
// done, in a way that r must not be done any more. An account that is not known
// may be the one at hand: the tokens of r are destroyed in any case, while a
// grant that somebody uses would end without anybody's wish.
func (v *Vault) superseded(ctx context.Context, p guard.Permit, r Revocation, account string) (bool, error) {
	list, err := v.Held.Grants(ctx, Filter{Pool: r.Pool, Provider: r.Provider, Limit: 1}.Of(r.User))
	if err != nil || len(list) == 0 {
		return false, err
	}
	g := list[0]
	if g.State != Active || account != "" && g.Account.ID != "" && g.Account.ID != account {
		return false, nil
	}
	return v.Revoker.Supersedes(ctx, p, r)
}

// overtaken is for tokens that came of a refresh while their grant was taken
// away: they are to be revoked in place of the spent ones.
func (v *Vault) overtaken(ctx context.Context, g Grant) error {
	kept, err := v.Revocations.ReplaceRevoked(ctx, g)
	if err == nil && !kept {
		v.Logger.LogAttrs(ctx, slog.LevelError, "refreshed tokens of a grant that is gone cannot be revoked any more", slog.String("grant", g.ID), slog.String("provider", g.Provider))
	}
	return err
}
