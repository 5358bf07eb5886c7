package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
)

// Whatever ends a grant leads to endGrants:
//
//	the agent gives it back           Vault.RemoveDelegation, when no other one has it
//	its user or an operator ends it   Vault.DeleteGrant, and Vault.DeleteDelegation as above
//	the workload is deleted           endWorkload
//	the provider is deleted           endProvider
//	the user is deleted               endUser: by an operator, an import, SCIM
//	the user pool is deleted          endIssuer
//	it moves to another account       endTokens, for the tokens of the former one
//
// What forgets to come by here is refused by the database: see migration 00013.

// endGrants takes away the grants for which a condition over g holds, with their
// delegations, and returns how many. What is to be revoked at third parties is
// noted, and each end recorded, in the same transaction.
func endGrants(ctx context.Context, tx *txn, p guard.Permit, where string, args ...any) (int, error) {
	n, err := endTokens(ctx, tx, p, where, args...)
	if err != nil || n == 0 {
		return 0, err
	}
	// One that came about a moment ago has no revocation, and stays.
	ended, err := grantList(ctx, tx, `DELETE FROM grants AS g WHERE EXISTS (SELECT 1 FROM revocations r WHERE r.grant_id = g.id AND r.version = g.version) AND `+where+
		` RETURNING `+strings.ReplaceAll(grantColumns, "g.", ""), args...) // SQLite knows no alias there
	e := p.Entry()
	for _, g := range ended {
		tx.regrant(g.ID)
		tx.noted = append(tx.noted, audit.Entry{
			ID: name.NewID("aud"), Time: e.Time, RequestID: e.RequestID, Caller: e.Caller, Action: string(vault.ActionRevoked), Resource: vault.GrantResource(g.Pool, g.ID),
			Provider: g.Provider, Scopes: g.Scopes.List(), Outcome: audit.Allowed, Reason: e.Reason,
			Detail: map[string]string{"cause": e.Action, "issuer": g.User.Issuer, "subject": g.User.Subject},
		})
	}
	return len(ended), err
}

// endTokens notes that the tokens of the grants for which a condition over g
// holds are to be revoked at their third parties, and returns how many.
func endTokens(ctx context.Context, tx *txn, p guard.Permit, where string, args ...any) (int64, error) {
	// The no-op update locks the grants: a refresh must not replace the tokens in between.
	n, err := exec(ctx, tx, `UPDATE grants AS g SET version = version WHERE `+where, args...)
	if err != nil || n == 0 {
		return 0, err
	}
	now := ms(p.Entry().Time)
	// While a refresh is on its way, its result is waited for: see [vault.Revocations.ReplaceRevoked].
	next := len(args)
	n, err = exec(ctx, tx, fmt.Sprintf(
		`INSERT INTO revocations (`+revocationColumns+`)
		 SELECT g.id, g.version, g.pool, g.provider, p.id, g.issuer, g.subject, g.account_name, g.sealed, $%d, CAST($%d AS BIGINT),
		   CASE WHEN g.lease_until > $%[2]d THEN g.lease_until + 60000 ELSE $%[2]d END, 0, ''
		 FROM grants g JOIN providers p ON p.pool = g.pool AND p.name = g.provider WHERE `+strings.ReplaceAll(where, "%", "%%"), next+1, next+2),
		append(append([]any{}, args...), p.Entry().Action, now)...)
	tx.topics = append(tx.topics, vault.RevocationTopic)
	return n, err
}

// endWorkload withdraws what was delegated to a workload, and ends the grants
// that no other one may use.
func endWorkload(ctx context.Context, tx *txn, p guard.Permit, w name.Workload) error {
	// All of them are locked before any is looked at, as when delegations are withdrawn one by one.
	if _, err := exec(ctx, tx, `UPDATE grants SET version = version WHERE id IN (SELECT grant_id FROM delegations WHERE pool = $1 AND workload = $2)`, w.Pool, w.Name); err != nil {
		return err
	}
	if _, err := endGrants(ctx, tx, p, `g.id IN (SELECT grant_id FROM delegations WHERE pool = $1 AND workload = $2)
		AND NOT EXISTS (SELECT 1 FROM delegations o WHERE o.grant_id = g.id AND NOT (o.pool = $1 AND o.workload = $2))`, w.Pool, w.Name); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `DELETE FROM delegations WHERE pool = $1 AND workload = $2`, w.Pool, w.Name)
	return err
}

// inUse is the fault for the deletion of what somebody began to use meanwhile.
func inUse(err error, what string) error {
	if !foreign(err) {
		return err
	}
	return fault.New(fault.Conflict, "deletion_overtaken", "somebody gave a grant with the %s while it was being deleted; nothing was deleted", what).WithFix("try again")
}

// endProvider ends the grants of a provider, and keeps it where only
// revocations find it.
func endProvider(ctx context.Context, tx *txn, p guard.Permit, pool, providerName string) error {
	if _, err := endGrants(ctx, tx, p, `g.pool = $1 AND g.provider = $2`, pool, providerName); err != nil {
		return err
	}
	var v provider.Provider
	err := row(ctx, tx, provider.NotFound(pool, providerName, nil), scanProvider(&v), `SELECT `+providerColumns+` FROM providers WHERE pool = $1 AND name = $2`, pool, providerName)
	if err != nil {
		return err
	}
	sealed := v.SealedSecret
	v.SealedSecret = nil
	settings, err := toJSON(v)
	if err != nil {
		return err
	}
	if _, err := exec(ctx, tx, `INSERT INTO former_providers (id, pool, name, version, settings, sealed_secret, registered, ended) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		v.ID, v.Pool, v.Name, v.Version, settings, sealed, v.Registered(), ms(p.Entry().Time)); err != nil {
		return err
	}
	return dropFormer(ctx, tx, v.ID)
}

// dropFormer forgets a former provider that nothing is to be revoked with, and
// whose client need not be deleted.
func dropFormer(ctx context.Context, tx *txn, id string) error {
	_, err := exec(ctx, tx, `DELETE FROM former_providers WHERE id = $1 AND NOT registered AND NOT EXISTS (SELECT 1 FROM revocations WHERE provider_id = $1)`, id)
	return err
}

// endUser ends the grants of a user of a pool.
func (s UserPools) endUser(ctx context.Context, tx *txn, p guard.Permit, pool, id string) error {
	_, err := endGrants(ctx, tx, p, `g.issuer = $1 AND g.subject = $2`, userpool.Issuer(s.PublicURL, pool), id)
	return err
}

// endIssuer ends the grants of all users of a pool.
func (s UserPools) endIssuer(ctx context.Context, tx *txn, p guard.Permit, pool string) error {
	_, err := endGrants(ctx, tx, p, `g.issuer = $1`, userpool.Issuer(s.PublicURL, pool))
	return err
}

// FormerProvider implements [provider.Store].
func (s Providers) FormerProvider(ctx context.Context, id string) (provider.Provider, error) {
	var f provider.Former
	err := row(ctx, s.DB.read, provider.NotFound("", id, nil), scanFormer(&f), `SELECT `+formerColumns+` FROM former_providers WHERE id = $1`, id)
	return f.Provider, err
}

const formerColumns = `settings, sealed_secret, ended`

func scanFormer(f *provider.Former) func(scanner) error {
	return func(sc scanner) error {
		var sealed []byte
		err := sc.Scan(jsonText{&f.Provider}, &sealed, timeMS{&f.Ended})
		f.SealedSecret = sealed
		return err
	}
}

// FormerClients implements [provider.Store].
func (s Providers) FormerClients(ctx context.Context, limit int) ([]provider.Former, error) {
	var list []provider.Former
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var f provider.Former
		err := scanFormer(&f)(sc)
		list = append(list, f)
		return err
	}, `SELECT `+formerColumns+` FROM former_providers f WHERE registered AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.provider_id = f.id) ORDER BY ended, id LIMIT $1`, limit)
	return list, err
}

// ForgetFormer implements [provider.Store].
func (s Providers) ForgetFormer(ctx context.Context, p guard.Permit, v provider.Provider) error {
	return s.DB.change(ctx, p, provider.ActionUnregister, provider.Resource(v.Pool, v.Name), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, provider.NotFound(v.Pool, v.Name, nil), `DELETE FROM former_providers WHERE id = $1`, v.ID)
	})
}

const revocationColumns = `grant_id, version, pool, provider, provider_id, issuer, subject, account_name, sealed, cause, created, due, attempts, last_error`

func revocationList(ctx context.Context, q querier, text string, args ...any) ([]vault.Revocation, error) {
	var list []vault.Revocation
	err := rows(ctx, q, func(sc scanner) error {
		var r vault.Revocation
		err := sc.Scan(&r.GrantID, &r.Version, &r.Pool, &r.Provider, &r.ProviderID, &r.User.Issuer, &r.User.Subject, &r.Account, &r.Sealed, &r.Cause,
			timeMS{&r.Created}, timeMS{&r.Due}, &r.Attempts, &r.LastError)
		list = append(list, r)
		return err
	}, text, args...)
	return list, err
}

// Pending implements [vault.Revocations].
func (s Vault) Pending(ctx context.Context, pool, after string, limit int) ([]vault.Revocation, error) {
	const id = `grant_id || '.' || CAST(version AS TEXT)` // [vault.Revocation.ID]
	return revocationList(ctx, s.DB.read, `SELECT `+revocationColumns+` FROM revocations WHERE pool = $1 AND `+id+` > $2 ORDER BY `+id+` LIMIT $3`, pool, after, limit)
}

// TakeRevocations implements [vault.Revocations].
func (s Vault) TakeRevocations(ctx context.Context, now, then time.Time, limit int) ([]vault.Revocation, error) {
	var list []vault.Revocation
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		var err error
		list, err = revocationList(ctx, tx, `UPDATE revocations SET due = $1 WHERE due <= $2 AND (grant_id, version) IN
			(SELECT grant_id, version FROM revocations WHERE due <= $2 ORDER BY due, grant_id LIMIT $3) RETURNING `+revocationColumns, ms(then), ms(now), limit)
		return err
	})
	return list, err
}

// RetryRevocation implements [vault.Revocations].
func (s Vault) RetryRevocation(ctx context.Context, r vault.Revocation, due time.Time, why string) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `UPDATE revocations SET due = $1, attempts = attempts + 1, last_error = $2 WHERE grant_id = $3 AND version = $4`, ms(due), why, r.GrantID, r.Version)
		return err
	})
}

// FinishRevocation implements [vault.Revocations].
func (s Vault) FinishRevocation(ctx context.Context, p guard.Permit, r vault.Revocation) error {
	return s.DB.change(ctx, p, vault.ActionRevokeUpstream, vault.GrantResource(r.Pool, r.GrantID), func(ctx context.Context, tx *txn) error {
		if err := must(ctx, tx, vault.NotFound(r.GrantID), `DELETE FROM revocations WHERE grant_id = $1 AND version = $2`, r.GrantID, r.Version); err != nil {
			return err
		}
		// The no-op update makes those who finish at once queue, so that one of them comes last.
		if _, err := exec(ctx, tx, `UPDATE former_providers SET settings = settings WHERE id = $1`, r.ProviderID); err != nil {
			return err
		}
		return dropFormer(ctx, tx, r.ProviderID)
	})
}

// ReplaceRevoked implements [vault.Revocations].
func (s Vault) ReplaceRevoked(ctx context.Context, g vault.Grant) (bool, error) {
	var replaced bool
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		tx.topics = append(tx.topics, vault.RevocationTopic)
		n, err := exec(ctx, tx, `UPDATE revocations SET sealed = $1, version = $2, due = created WHERE grant_id = $3 AND version = $4`, g.Sealed, g.Version, g.ID, g.Version-1)
		replaced = n == 1
		return err
	})
	return replaced && err == nil, err
}
