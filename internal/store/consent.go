package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/vault"
)

// Authorizations keeps authorizations; it implements [consent.Store].
type Authorizations struct{ DB *DB }

const authorizationColumns = `id, kind, pool, provider, workload, issuer, subject, scopes, requested, extras,
	provider_version, state, reason, message, link_hash, state_hash, browser_hash, sealed, version, created, expires, updated`

// BeginAuthorization implements [consent.Store].
func (s Authorizations) BeginAuthorization(ctx context.Context, p guard.Permit, a consent.Authorization) error {
	return s.DB.change(ctx, p, consent.ActionBegin, a.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "authorization_exists", "this authorization exists"),
			`INSERT INTO authorizations (`+authorizationColumns+`)
			 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) ON CONFLICT DO NOTHING`,
			a.ID, string(a.Kind), a.Pool, a.Provider, a.Workload.Name, a.User.Issuer, a.User.Subject, a.Scopes.String(), a.Requested.String(), a.Extras,
			a.ProviderVersion, string(a.State), a.Reason, a.Message, a.LinkHash, a.StateHash, a.BrowserHash, a.Sealed, a.Version, ms(a.Created), ms(a.Expires), ms(a.Updated))
	})
}

func (s Authorizations) find(ctx context.Context, id, where string, args ...any) (consent.Authorization, error) {
	var a consent.Authorization
	err := row(ctx, s.DB.read, consent.NotFound(id), func(sc scanner) error {
		return sc.Scan(&a.ID, &a.Kind, &a.Pool, &a.Provider, &a.Workload.Name, &a.User.Issuer, &a.User.Subject, scopesText{&a.Scopes}, scopesText{&a.Requested}, &a.Extras,
			&a.ProviderVersion, &a.State, &a.Reason, &a.Message, &a.LinkHash, &a.StateHash, &a.BrowserHash, &a.Sealed, &a.Version, timeMS{&a.Created}, timeMS{&a.Expires}, timeMS{&a.Updated})
	}, `SELECT `+authorizationColumns+` FROM authorizations WHERE `+where, args...)
	a.Workload.Pool = a.Pool
	return a, err
}

// Authorization implements [consent.Store].
func (s Authorizations) Authorization(ctx context.Context, id string) (consent.Authorization, error) {
	return s.find(ctx, id, `id = $1`, id)
}

// AuthorizationByLink implements [consent.Store].
func (s Authorizations) AuthorizationByLink(ctx context.Context, linkHash string) (consent.Authorization, error) {
	return s.find(ctx, "", `link_hash = $1`, linkHash)
}

// AuthorizationByState implements [consent.Store].
func (s Authorizations) AuthorizationByState(ctx context.Context, stateHash string) (consent.Authorization, error) {
	return s.find(ctx, "", `state_hash = $1 AND state_hash <> ''`, stateHash)
}

// PendingAuthorization implements [consent.Store].
func (s Authorizations) PendingAuthorization(ctx context.Context, a consent.Authorization, t time.Time) (consent.Authorization, error) {
	return s.find(ctx, "", `pool = $1 AND provider = $2 AND workload = $3 AND issuer = $4 AND subject = $5 AND state = $6 AND kind = $7 AND scopes = $8 AND extras = $9 AND expires > $10
		ORDER BY created DESC, id LIMIT 1`,
		a.Pool, a.Provider, a.Workload.Name, a.User.Issuer, a.User.Subject, string(consent.Pending), string(a.Kind), a.Scopes.String(), a.Extras, ms(t))
}

// Advance implements [consent.Store].
func (s Authorizations) Advance(ctx context.Context, p guard.Permit, action guard.Action, a consent.Authorization) error {
	return s.DB.change(ctx, p, action, a.Resource(), func(ctx context.Context, tx *txn) error { return advance(ctx, tx, a) })
}

// Complete implements [consent.Store].
func (s Authorizations) Complete(ctx context.Context, p guard.Permit, action guard.Action, a consent.Authorization, g vault.Grant, d vault.Delegation) error {
	return s.DB.change(ctx, p, action, a.Resource(), func(ctx context.Context, tx *txn) error {
		if g.ID != "" {
			if err := dropMoved(ctx, tx, p, g); err != nil {
				return err
			}
			if err := putGrant(ctx, tx, g); err != nil {
				return err
			}
			// The no-op update keeps the provider from being changed until this is committed. It comes after the
			// grant, as in a provider's deletion, or the two would wait for each other.
			if err := must(ctx, tx, consent.ProviderChanged(), `UPDATE providers SET version = version WHERE pool = $1 AND name = $2 AND version = $3`,
				a.Pool, a.Provider, a.ProviderVersion); err != nil {
				return err
			}
		}
		if err := putDelegation(ctx, tx, d); err != nil {
			return err
		}
		return advance(ctx, tx, a)
	})
}

// dropMoved deletes the delegations of the grant that g is about to replace, and
// has its tokens revoked, if that one is at another account: see [vault.Grant.MovesFrom].
func dropMoved(ctx context.Context, tx *txn, p guard.Permit, g vault.Grant) error {
	if g.Account.ID == "" {
		return nil
	}
	n, err := endTokens(ctx, tx, p, `g.id = $1 AND g.version = $2 AND g.account_id <> '' AND g.account_id <> $3`, g.ID, g.Version-1, g.Account.ID)
	if err != nil || n == 0 {
		return err
	}
	_, err = exec(ctx, tx, `DELETE FROM delegations WHERE grant_id = $1`, g.ID)
	return err
}

func advance(ctx context.Context, tx *txn, a consent.Authorization) error {
	tx.topics = append(tx.topics, a.ID)
	if a.State.Terminal() {
		if _, err := exec(ctx, tx, `DELETE FROM consent_devices WHERE authorization_id = $1`, a.ID); err != nil {
			return err
		}
	}
	return must(ctx, tx, consent.Changed(a.ID),
		`UPDATE authorizations SET state = $1, reason = $2, message = $3, state_hash = $4, browser_hash = $5, requested = $6, provider_version = $7, version = $8, expires = $9, updated = $10
		 WHERE id = $11 AND version = $12`,
		string(a.State), a.Reason, a.Message, a.StateHash, a.BrowserHash, a.Requested.String(), a.ProviderVersion, a.Version, ms(a.Expires), ms(a.Updated), a.ID, a.Version-1)
}
