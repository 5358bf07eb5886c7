package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/workload"
)

// Vault keeps grants and delegations; it implements [vault.Store],
// [vault.Held], [vault.Revocations], consent.Grants and [broker.Store].
type Vault struct{ DB *DB }

const grantColumns = `g.id, g.pool, g.provider, g.issuer, g.subject, g.account_id, g.account_name, g.scopes, g.state, g.reason, g.sealed,
	g.expires, g.refresh_expires, g.due, g.used, g.version, g.created, g.updated`

// grantInto lists where the columns of a grant go.
func grantInto(g *vault.Grant) []any {
	return []any{&g.ID, &g.Pool, &g.Provider, &g.User.Issuer, &g.User.Subject, &g.Account.ID, &g.Account.Name, scopesText{&g.Scopes}, &g.State, &g.Reason,
		&g.Sealed, timeMS{&g.Expires}, timeMS{&g.RefreshExpires}, timeMS{&g.Due}, timeMS{&g.Used}, &g.Version, timeMS{&g.Created}, timeMS{&g.Updated}}
}

// Grant implements [vault.Store].
func (s Vault) Grant(ctx context.Context, id string) (vault.Grant, error) {
	var g vault.Grant
	err := row(ctx, s.DB.read, vault.NotFound(id), func(sc scanner) error { return sc.Scan(grantInto(&g)...) },
		`SELECT `+grantColumns+` FROM grants g WHERE g.id = $1`, id)
	return g, err
}

func grantList(ctx context.Context, q querier, text string, args ...any) ([]vault.Grant, error) {
	var list []vault.Grant
	err := rows(ctx, q, func(sc scanner) error {
		var g vault.Grant
		err := sc.Scan(grantInto(&g)...)
		list = append(list, g)
		return err
	}, text, args...)
	return list, err
}

// delegationInto lists where the columns of a delegation go.
func delegationInto(d *vault.Delegation) []any {
	return []any{&d.ID, &d.GrantID, scopesText{&d.Scopes}, timeMS{&d.Created}, timeMS{&d.Updated}}
}

// findDelegatedText needs no workload: without it there could be no delegation,
// as the foreign keys have it. Of the provider it needs who may use it.
const findDelegatedText = `SELECT ` + grantColumns + `, d.id, d.grant_id, d.scopes, d.created, d.updated, p.options
	FROM grants g JOIN delegations d ON d.grant_id = g.id AND d.pool = g.pool AND d.workload = $5
	JOIN providers p ON p.pool = g.pool AND p.name = g.provider
	WHERE g.pool = $1 AND g.provider = $2 AND g.issuer = $3 AND g.subject = $4`

// FindDelegated implements [broker.Store].
func (s Vault) FindDelegated(ctx context.Context, w name.Workload, providerName string, u name.User) (vault.Grant, vault.Delegation, bool, error) {
	d, err := s.DB.delegated.find(delegatedKey{w, providerName, u}, func() (delegated, error) {
		return s.readDelegated(ctx, w, providerName, u)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return vault.Grant{}, vault.Delegation{}, false, nil
	}
	return d.grant, d.delegation, err == nil, err
}

type delegatedKey struct {
	workload name.Workload
	provider string
	user     name.User
}

type delegated struct {
	grant      vault.Grant
	delegation vault.Delegation
}

func (s Vault) readDelegated(ctx context.Context, w name.Workload, providerName string, u name.User) (delegated, error) {
	found := delegated{delegation: vault.Delegation{Workload: w}}
	ctx, cancel := s.DB.bounded(ctx)
	defer cancel()
	into := append(grantInto(&found.grant), delegationInto(&found.delegation)...)
	var options string
	err := s.DB.findDelegated.QueryRowContext(ctx, w.Pool, providerName, u.Issuer, u.Subject, w.Name).Scan(append(into, &options)...)
	if errors.Is(err, sql.ErrNoRows) {
		return delegated{}, err
	}
	if err != nil || options == "{}" { // as it is nearly always: nobody is kept from it
		return found, unavailable(err)
	}
	var o provider.Options
	if err := (jsonText{&o}).Scan(options); err != nil {
		return delegated{}, err
	}
	if o.Allow(w.Name, providerName) != nil {
		return delegated{}, sql.ErrNoRows // FindCredential tells why
	}
	return found, nil
}

// findCredentialText finds everything about a request for a credential in one
// look: the provider, and what is there of grant and delegation. Without the
// workload there is no row: a token outlives the deletion of its workload by
// minutes.
const findCredentialText = `SELECT p.type, p.flow, p.scopes, p.options,
	COALESCE(g.id, ''), COALESCE(g.pool, ''), COALESCE(g.provider, ''), COALESCE(g.issuer, ''), COALESCE(g.subject, ''),
	COALESCE(g.account_id, ''), COALESCE(g.account_name, ''), COALESCE(g.scopes, ''), COALESCE(g.state, ''), COALESCE(g.reason, ''), g.sealed,
	COALESCE(g.expires, 0), COALESCE(g.refresh_expires, 0), COALESCE(g.due, 0), COALESCE(g.used, 0), COALESCE(g.version, 0), COALESCE(g.created, 0), COALESCE(g.updated, 0),
	COALESCE(d.id, ''), COALESCE(d.grant_id, ''), COALESCE(d.scopes, ''), COALESCE(d.created, 0), COALESCE(d.updated, 0)
	FROM providers p
	JOIN workloads w ON w.pool = p.pool AND w.name = $5
	LEFT JOIN grants g ON g.pool = p.pool AND g.provider = p.name AND g.issuer = $3 AND g.subject = $4
	LEFT JOIN delegations d ON d.grant_id = g.id AND d.pool = p.pool AND d.workload = $5
	WHERE p.pool = $1 AND p.name = $2`

// FindCredential implements [broker.Store].
func (s Vault) FindCredential(ctx context.Context, w name.Workload, providerName string, u name.User) (broker.Found, error) {
	var f broker.Found
	into := append([]any{&f.Type, &f.Flow, scopesText{&f.DefaultScopes}, jsonText{&f.Options}}, grantInto(&f.Grant)...)
	into = append(into, delegationInto(&f.Delegation)...)
	ctx, cancel := s.DB.bounded(ctx)
	defer cancel()
	result, err := s.DB.findCredential.QueryContext(ctx, w.Pool, providerName, u.Issuer, u.Subject, w.Name)
	if err != nil {
		return f, unavailable(err)
	}
	defer func() { _ = result.Close() }() // there is at most one row, and it has been read
	if !result.Next() {
		if err := result.Err(); err != nil {
			return f, unavailable(err)
		}
		if _, err := (Providers{s.DB}).Provider(ctx, w.Pool, providerName); err != nil {
			return f, err
		}
		return f, workload.NotFound(w, nil)
	}
	if err := result.Scan(into...); err != nil {
		return f, unavailable(err)
	}
	if f.Delegation.ID != "" {
		f.Delegation.Workload = w
	}
	return f, nil
}

// FindGrant implements consent.Grants.
func (s Vault) FindGrant(ctx context.Context, w name.Workload, providerName string, u name.User) (vault.Grant, vault.Delegation, error) {
	f, err := s.FindCredential(ctx, w, providerName, u)
	return f.Grant, f.Delegation, err
}

// Leased implements [vault.Store].
func (s Vault) Leased(ctx context.Context, id string) (vault.Grant, vault.Lease, error) {
	var g vault.Grant
	l := vault.Lease{GrantID: id}
	err := row(ctx, s.DB.read, vault.NotFound(id), func(sc scanner) error { return sc.Scan(append(grantInto(&g), &l.Owner, timeMS{&l.Until})...) },
		`SELECT `+grantColumns+`, g.lease_owner, g.lease_until FROM grants g WHERE g.id = $1`, id)
	l.Version = g.Version
	return g, l, err
}

// MoveLease implements [vault.Store].
func (s Vault) MoveLease(ctx context.Context, former, next vault.Lease) (bool, error) {
	var moved bool
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		n, err := exec(ctx, tx, `UPDATE grants SET lease_owner = $1, lease_until = $2 WHERE id = $3 AND version = $4 AND lease_owner = $5 AND (lease_until = $6 OR $6 = 0)`,
			next.Owner, ms(next.Until), former.GrantID, former.Version, former.Owner, ms(former.Until))
		moved = n == 1
		return err
	})
	return moved && err == nil, err
}

// ReplaceTokens implements [vault.Store].
func (s Vault) ReplaceTokens(ctx context.Context, p guard.Permit, g vault.Grant, l vault.Lease) error {
	return s.DB.change(ctx, p, vault.ActionRefresh, vault.GrantResource(g.Pool, g.ID), func(ctx context.Context, tx *txn) error {
		tx.regrant(g.ID)
		return must(ctx, tx, vault.Changed(g.ID),
			`UPDATE grants SET scopes = $1, state = $2, reason = $3, sealed = $4, expires = $5, refresh_expires = $6, due = $7, version = $8, updated = $9, lease_owner = '', lease_until = 0
			 WHERE id = $10 AND version = $11 AND lease_owner = $12`,
			g.Scopes.String(), string(g.State), g.Reason, g.Sealed, ms(g.Expires), ms(g.RefreshExpires), ms(g.Due), g.Version, ms(g.Updated), g.ID, g.Version-1, l.Owner)
	})
}

// DueGrants implements [vault.Store].
func (s Vault) DueGrants(ctx context.Context, now, usedSince time.Time, limit int) ([]vault.Grant, error) {
	return grantList(ctx, s.DB.read, `SELECT `+grantColumns+` FROM grants g
		WHERE g.state = 'active' AND g.due > 0 AND g.due <= $1 AND g.used >= $2 AND (g.lease_owner = '' OR g.lease_until <= $1) ORDER BY g.due LIMIT $3`, ms(now), ms(usedSince), limit)
}

// Postpone implements [vault.Store].
func (s Vault) Postpone(ctx context.Context, id string, version int64, due time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		tx.regrant(id)
		_, err := exec(ctx, tx, `UPDATE grants SET due = $1 WHERE id = $2 AND version = $3`, ms(due), id, version)
		return err
	})
}

// MarkUsed implements [vault.Store].
func (s Vault) MarkUsed(ctx context.Context, ids []string, at time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		tx.regrant(ids...)
		for _, id := range ids {
			if _, err := exec(ctx, tx, `UPDATE grants SET used = $1 WHERE id = $2 AND used < $1`, ms(at), id); err != nil {
				return err
			}
		}
		return nil
	})
}

// putGrant creates g, or replaces version g.Version-1 of it.
func putGrant(ctx context.Context, tx *txn, g vault.Grant) error {
	tx.regrant(g.ID)
	if g.Version > 1 {
		return must(ctx, tx, vault.Changed(g.ID),
			`UPDATE grants SET account_id = $1, account_name = $2, scopes = $3, state = $4, reason = $5, sealed = $6, expires = $7, refresh_expires = $8, due = $9, used = $10,
			 version = $11, updated = $12, lease_owner = '', lease_until = 0 WHERE id = $13 AND version = $14`,
			g.Account.ID, g.Account.Name, g.Scopes.String(), string(g.State), g.Reason, g.Sealed, ms(g.Expires), ms(g.RefreshExpires), ms(g.Due), ms(g.Used), g.Version, ms(g.Updated), g.ID, g.Version-1)
	}
	return must(ctx, tx, vault.Changed(g.ID),
		`INSERT INTO grants (id, pool, provider, issuer, subject, account_id, account_name, scopes, state, reason, sealed, expires, refresh_expires, due, used, version, lease_owner, lease_until, created, updated)
		 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', 0, $17, $18) ON CONFLICT DO NOTHING`,
		g.ID, g.Pool, g.Provider, g.User.Issuer, g.User.Subject, g.Account.ID, g.Account.Name, g.Scopes.String(), string(g.State), g.Reason, g.Sealed,
		ms(g.Expires), ms(g.RefreshExpires), ms(g.Due), ms(g.Used), g.Version, ms(g.Created), ms(g.Updated))
}

// putDelegation creates d, or replaces the scopes of the one that its workload has.
func putDelegation(ctx context.Context, tx *txn, d vault.Delegation) error {
	tx.regrant(d.GrantID)
	_, err := exec(ctx, tx,
		`INSERT INTO delegations (id, grant_id, pool, workload, scopes, created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7)
		 ON CONFLICT (grant_id, pool, workload) DO UPDATE SET scopes = excluded.scopes, updated = excluded.updated`,
		d.ID, d.GrantID, d.Workload.Pool, d.Workload.Name, d.Scopes.String(), ms(d.Created), ms(d.Updated))
	return err
}
