// Package workload has the agents' identities: workload pools, workloads, and the access tokens that are minted for them.
package workload

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// The actions that permits are given for.
const (
	ActionCreatePool guard.Action = "workload-pool.create" // on PoolResource
	ActionCreate     guard.Action = "workload.create"      // on Resource
	ActionUpdate     guard.Action = "workload.update"      // on Resource
	ActionDelete     guard.Action = "workload.delete"      // on Resource
)

// PoolResource is what permits for a workload pool name.
func PoolResource(pool string) guard.Resource {
	return guard.Resource{Kind: "workload-pool", Pool: pool, ID: pool}
}

// Resource is what permits for a workload name.
func Resource(w name.Workload) guard.Resource {
	return guard.Resource{Kind: "workload", Pool: w.Pool, ID: w.Name}
}

// PoolNotFound is the fault for a workload pool that does not exist.
func PoolNotFound(pool string) *fault.Error {
	return fault.New(fault.NotFound, "workload_pool_not_found", "there is no workload pool %q", name.Clip(pool, 80)).
		WithFix("create it, or use %q", name.DefaultPool)
}

// NotFound is the fault for a workload that does not exist; existing are the
// names that its pool has.
func NotFound(w name.Workload, existing []string) *fault.Error {
	return fault.New(fault.NotFound, "workload_not_found", "there is no workload %q in pool %q", name.Clip(w.Name, 80), name.Clip(w.Pool, 80)).
		WithFix("%s", name.DidYouMean(w.Name, existing, "create the workload first"))
}

// Pool is a namespace of workloads and credential providers, the unit of
// tenancy for agents.
type Pool struct {
	Name        string
	Description string
	Created     time.Time
}

// Workload is an agent's identity.
type Workload struct {
	Identity name.Workload
	Settings
	Version int64     // from 1; grows with each change
	Created time.Time // no token is older
}

// Store keeps pools and workloads. Names not found are the faults of
// [PoolNotFound] and [NotFound]; names taken are of kind Conflict.
type Store interface {
	// CreatePool needs a permit for ActionCreatePool.
	CreatePool(ctx context.Context, p guard.Permit, pool Pool) error
	WorkloadPool(ctx context.Context, pool string) (Pool, error)
	WorkloadPools(ctx context.Context) ([]Pool, error)
	// CreateWorkload needs a permit for ActionCreate.
	CreateWorkload(ctx context.Context, p guard.Permit, w Workload) error
	// UpdateWorkload replaces the workload whose version is w.Version-1, else it returns a fault of kind
	// Conflict. It needs a permit for ActionUpdate.
	UpdateWorkload(ctx context.Context, p guard.Permit, w Workload) error
	Workload(ctx context.Context, w name.Workload) (Workload, error)
	Workloads(ctx context.Context, pool string) ([]Workload, error)
	// RevokeTokens makes tokens of w that were issued before since worthless. It needs a permit for
	// ActionRevokeTokens.
	RevokeTokens(ctx context.Context, p guard.Permit, w name.Workload, since time.Time) error
	// RevokeUserTokens does that for all tokens for u, and forgets what was revoked before the time old. It needs a
	// permit for ActionRevokeUserTokens.
	RevokeUserTokens(ctx context.Context, p guard.Permit, u name.User, since, old time.Time) error
	// DeleteWorkload also deletes the workload's delegations. It needs a
	// permit for ActionDelete.
	DeleteWorkload(ctx context.Context, p guard.Permit, w name.Workload) error
}

// Registry creates, changes and deletes pools and workloads.
type Registry struct {
	Store Store
	Guard *guard.Guard
	Now   func() time.Time
}

// CreatePool makes a workload pool.
func (r *Registry) CreatePool(ctx context.Context, c name.Caller, pool, description string) (Pool, error) {
	if err := name.Check("workload pool", pool); err != nil {
		return Pool{}, err
	}
	p, err := r.Guard.Allow(ctx, c, ActionCreatePool, PoolResource(pool))
	if err != nil {
		return Pool{}, err
	}
	made := Pool{pool, description, r.Now().UTC()}
	return made, r.Store.CreatePool(ctx, p, made)
}

// CreateWorkload makes a workload in an existing pool.
func (r *Registry) CreateWorkload(ctx context.Context, c name.Caller, w name.Workload, s Settings) (Workload, error) {
	if err := name.Check("workload", w.Name); err != nil {
		return Workload{}, err
	}
	if err := s.check(w); err != nil {
		return Workload{}, err
	}
	p, err := r.Guard.Allow(ctx, c, ActionCreate, Resource(w))
	if err != nil {
		return Workload{}, err
	}
	made := Workload{Identity: w, Settings: s, Version: 1, Created: r.Now().UTC()}
	return made, r.Store.CreateWorkload(ctx, p.Detail(s.detail()), made)
}

// UpdateWorkload replaces what an operator says about a workload.
func (r *Registry) UpdateWorkload(ctx context.Context, c name.Caller, w name.Workload, s Settings) (Workload, error) {
	if err := s.check(w); err != nil {
		return Workload{}, err
	}
	p, err := r.Guard.Allow(ctx, c, ActionUpdate, Resource(w))
	if err != nil {
		return Workload{}, err
	}
	changed, err := r.Store.Workload(ctx, w)
	if err != nil {
		return Workload{}, err
	}
	changed.Settings = s
	changed.Version++
	return changed, r.Store.UpdateWorkload(ctx, p.Detail(s.detail()), changed)
}

// DeleteWorkload deletes a workload and everything delegated to it.
func (r *Registry) DeleteWorkload(ctx context.Context, c name.Caller, w name.Workload) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(w))
	if err != nil {
		return err
	}
	return r.Store.DeleteWorkload(ctx, p, w)
}
