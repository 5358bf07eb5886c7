package store

import (
	"context"
	"fmt"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/vault"
)

// heldWhere returns the condition for f, over g and, if delegations are looked
// for, d; and what it is filled with.
func heldWhere(f vault.Filter, by string) (string, []any) {
	where, args := by+" > $1", []any{f.After}
	for _, c := range []struct{ column, value string }{
		{"g.pool", f.Pool}, {by, f.ID}, {"g.provider", f.Provider}, {"g.issuer", f.Issuer}, {"g.subject", f.Subject}, {"g.state", string(f.State)}, {"d.workload", f.Workload},
	} {
		if c.value != "" {
			args = append(args, c.value)
			where += fmt.Sprintf(" AND %s = $%d", c.column, len(args))
		}
	}
	args = append(args, f.Limit)
	return fmt.Sprintf("%s ORDER BY %s LIMIT $%d", where, by, len(args)), args
}

// Grants implements [vault.Held].
func (s Vault) Grants(ctx context.Context, f vault.Filter) ([]vault.Grant, error) {
	f.Workload = ""
	where, args := heldWhere(f, "g.id")
	return grantList(ctx, s.DB.read, `SELECT `+grantColumns+` FROM grants g WHERE `+where, args...)
}

// Delegations implements [vault.Held].
func (s Vault) Delegations(ctx context.Context, f vault.Filter) ([]vault.Holding, error) {
	where, args := heldWhere(f, "d.id")
	var list []vault.Holding
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var h vault.Holding
		err := sc.Scan(append(append(grantInto(&h.Grant), delegationInto(&h.Delegation)...), &h.Delegation.Workload.Pool, &h.Delegation.Workload.Name)...)
		h.Grant.Sealed = nil
		list = append(list, h)
		return err
	}, `SELECT `+grantColumns+`, d.id, d.grant_id, d.scopes, d.created, d.updated, d.pool, d.workload FROM delegations d JOIN grants g ON g.id = d.grant_id WHERE `+where, args...)
	return list, err
}

// RemoveDelegation implements [vault.Store].
func (s Vault) RemoveDelegation(ctx context.Context, p guard.Permit, w name.Workload, providerName string, u name.User) (bool, error) {
	var removed bool
	err := s.DB.change(ctx, p, vault.ActionClear, provider.Resource(w.Pool, providerName), func(ctx context.Context, tx *txn) error {
		var err error
		removed, err = withdraw(ctx, tx, p, `g.pool = $1 AND g.provider = $2 AND g.issuer = $3 AND g.subject = $4`, []any{w.Pool, providerName, u.Issuer, u.Subject},
			`d.pool = $2 AND d.workload = $3`, w.Pool, w.Name)
		return err
	})
	return removed, err
}

// DeleteDelegation implements [vault.Held].
func (s Vault) DeleteDelegation(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, vault.ActionWithdraw, vault.DelegationResource(pool, id), func(ctx context.Context, tx *txn) error {
		owner := ownerOf(p)
		removed, err := withdraw(ctx, tx, p,
			`g.pool = $1 AND g.id = (SELECT grant_id FROM delegations WHERE id = $2) AND ($3 = '' OR (g.issuer = $3 AND g.subject = $4))`, []any{pool, id, owner.Issuer, owner.Subject},
			`d.id = $2`, id)
		if err == nil && !removed {
			return vault.DelegationNotFound(id)
		}
		return err
	})
}

// ownerOf returns whose grants p may end; zero for everybody's.
func ownerOf(p guard.Permit) name.User {
	if c := p.Caller(); c.Kind == name.Person {
		return c.User
	}
	return name.User{}
}

// withdraw deletes a delegation of the grant for which a condition over g holds,
// and the grant with it when it has no other one. The condition over d has the
// grant's id as its first argument. It reports whether there was a delegation.
func withdraw(ctx context.Context, tx *txn, p guard.Permit, grantWhere string, grantArgs []any, delegationWhere string, delegationArgs ...any) (bool, error) {
	var grant string
	// The no-op update locks the grant, so that two agents that leave at once cannot both think that the other one stays.
	err := row(ctx, tx, vault.NotFound(""), func(sc scanner) error { return sc.Scan(&grant) },
		`UPDATE grants AS g SET version = version WHERE `+grantWhere+` RETURNING id`, grantArgs...)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tx.regrant(grant)
	n, err := exec(ctx, tx, `DELETE FROM delegations AS d WHERE d.grant_id = $1 AND `+delegationWhere, append([]any{grant}, delegationArgs...)...)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = endGrants(ctx, tx, p, `g.id = $1 AND NOT EXISTS (SELECT 1 FROM delegations WHERE grant_id = g.id)`, grant)
	return true, err
}

// DeleteGrant implements [vault.Held].
func (s Vault) DeleteGrant(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, vault.ActionDelete, vault.GrantResource(pool, id), func(ctx context.Context, tx *txn) error {
		owner := ownerOf(p)
		n, err := endGrants(ctx, tx, p, `g.pool = $1 AND g.id = $2 AND ($3 = '' OR (g.issuer = $3 AND g.subject = $4))`, pool, id, owner.Issuer, owner.Subject)
		if err == nil && n == 0 {
			return vault.NotFound(id)
		}
		return err
	})
}
