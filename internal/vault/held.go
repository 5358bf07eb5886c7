package vault

import (
	"context"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Filter says which grants, or which delegations, are looked for. Fields left
// zero do not narrow, but for Limit.
type Filter struct {
	Pool     string
	ID       string
	Provider string
	Issuer   string // of the user
	Subject  string // of the user
	State    State  // of the grant
	Workload string // delegations only
	After    string // those that follow the one with this id
	Limit    int    // at most this many
}

// Of narrows f to what belongs to u.
func (f Filter) Of(u name.User) Filter {
	f.Issuer, f.Subject = u.Issuer, u.Subject
	return f
}

// Holding is a delegation together with the grant that it opens. The grant's
// tokens are left out.
type Holding struct {
	Delegation Delegation
	Grant      Grant
}

// Held is what operators and users see of the vault, and what they may end. What
// a permit of a person ends is his own: for him, there is nothing else.
type Held interface {
	// Grants returns the grants that f describes, by id.
	Grants(ctx context.Context, f Filter) ([]Grant, error)
	// Delegations returns the delegations that f describes, by id.
	Delegations(ctx context.Context, f Filter) ([]Holding, error)
	// DeleteGrant deletes a grant with its delegations. It needs a permit for
	// ActionDelete.
	DeleteGrant(ctx context.Context, p guard.Permit, pool, id string) error
	// DeleteDelegation deletes a delegation, and its grant when that has no other
	// one. It needs a permit for ActionWithdraw.
	DeleteDelegation(ctx context.Context, p guard.Permit, pool, id string) error
}

// Clear removes what the caller's workload may use of its user's grant. It
// reports whether there was anything to remove.
func (v *Vault) Clear(ctx context.Context, c name.Caller, provider string) (bool, error) {
	if err := name.Check("credential provider", provider); err != nil {
		return false, err
	}
	p, err := v.Guard.Allow(ctx, c, ActionClear, guard.Resource{Kind: "provider", Pool: c.Workload.Pool, ID: provider})
	if err != nil {
		return false, err
	}
	return v.Store.RemoveDelegation(ctx, p.With(provider, name.Scopes{}, nil), c.Workload, provider, c.User)
}

// Delete removes a grant with all its delegations. A person can remove only his
// own.
func (v *Vault) Delete(ctx context.Context, c name.Caller, pool, id string) error {
	p, err := v.Guard.Allow(ctx, c, ActionDelete, GrantResource(pool, id))
	if err != nil {
		return err
	}
	return v.Held.DeleteGrant(ctx, p, pool, id)
}

// Withdraw removes a delegation, and its grant when no other workload may use
// it. A person can remove only his own.
func (v *Vault) Withdraw(ctx context.Context, c name.Caller, pool, id string) error {
	p, err := v.Guard.Allow(ctx, c, ActionWithdraw, DelegationResource(pool, id))
	if err != nil {
		return err
	}
	return v.Held.DeleteDelegation(ctx, p, pool, id)
}
