package idp

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// What every implementation keeps to is what the stores of package userpool
// keep to: a write begins with Permit.Check and commits the entry with the
// change, and a thing of one pool is nothing in another.

// Store keeps identity providers.
type Store interface {
	// CreateProvider adds a provider; ActionCreate. One of that name in the pool: Exists. No such pool: a fault of kind NotFound.
	CreateProvider(ctx context.Context, p guard.Permit, v Provider) error
	// Provider returns the provider of that name, or NotFound.
	Provider(ctx context.Context, pool, name string) (Provider, error)
	// Providers returns the pool's providers in order of name.
	Providers(ctx context.Context, pool string) ([]Provider, error)
	// UpdateProvider replaces the provider of the same id whose version is v.Version-1; ActionUpdate. Otherwise Changed.
	UpdateProvider(ctx context.Context, p guard.Permit, v Provider) error
	// DeleteProvider removes a provider with its links and logins; ActionDelete. NotFound if there is none.
	DeleteProvider(ctx context.Context, p guard.Permit, pool, name string) error
}

// Links keeps links. They go with their user.
type Links interface {
	// CreateLink adds a link; ActionCreateLink on the user's resource (Kind "user"). One of that account: LinkExists.
	CreateLink(ctx context.Context, p guard.Permit, l Link) error
	// Link returns the link of an account, or NotFound.
	Link(ctx context.Context, pool, providerID, issuer, subject string) (Link, error)
	// LinksOf returns a user's links, in order of CreatedAt.
	LinksOf(ctx context.Context, pool, userID string) ([]Link, error)
	// DeleteLink removes a link; ActionDeleteLink on the user's resource. LinkNotFound if the user has none of that account.
	DeleteLink(ctx context.Context, p guard.Permit, l Link) error
	// VerifiedUsers returns the ids of at most two users of the pool who have verified that address, without regard to case.
	VerifiedUsers(ctx context.Context, pool, email string) ([]string, error)
}

// Logins keeps logins that are under way.
type Logins interface {
	// BeginLogin adds a login; ActionBegin.
	BeginLogin(ctx context.Context, p guard.Permit, l Login) error
	// Login returns the login with that hash, expired or not, or LoginGone.
	Login(ctx context.Context, pool string, state secret.Hash) (Login, error)
	// FinishLogin removes a login; ActionFinish. Of any number of calls exactly one returns nil, the others LoginGone.
	FinishLogin(ctx context.Context, p guard.Permit, l Login) error
	// SweepLogins removes the logins of all pools whose ExpiresAt is before t, returning how many; ActionSweep on
	// SweepResource. The entry is committed only when something was removed.
	SweepLogins(ctx context.Context, p guard.Permit, t time.Time) (int, error)
}

// Stores are all stores of this package together.
type Stores interface {
	Store
	Links
	Logins
}

// UserResource returns what guard permits about the links of a user.
func UserResource(pool, userID string) guard.Resource {
	return guard.Resource{Kind: "user", Pool: pool, ID: userID}
}

// NotFound returns the fault for a provider that is not there; existing are
// those that the pool has.
func NotFound(provider string, existing ...string) *fault.Error {
	return fault.New(fault.NotFound, "idp_not_found", "there is no identity provider %q", name.Clip(provider, 80)).
		WithFix("%s", name.DidYouMean(provider, existing, "create the identity provider first, or correct the name"))
}

// LinkNotFound returns the fault for an account that nobody has.
func LinkNotFound() *fault.Error {
	return fault.New(fault.NotFound, "idp_link_not_found", "the account is not linked with a user")
}

// Exists returns the fault for a provider that is there already.
func Exists(provider string) *fault.Error {
	return fault.New(fault.Conflict, "idp_exists", "there is an identity provider %q already", name.Clip(provider, 80)).
		WithFix("choose another name, or change the one that is there")
}

// LinkExists returns the fault for an account that somebody has already.
func LinkExists() *fault.Error {
	return fault.New(fault.Conflict, "idp_link_exists", "the account is linked with a user already").WithFix("log in again")
}

// OnlyWay returns the fault for a link that its user could not log in without.
func OnlyWay() *fault.Error {
	return fault.New(fault.Conflict, "idp_only_way", "without this account you could not log in any more").
		WithFix("set a password, add a passkey, or link another account first")
}

// Changed returns the fault for a provider that changed since it was read.
func Changed(provider string) *fault.Error {
	return fault.New(fault.Conflict, "idp_changed", "the identity provider %q was changed or deleted in between", name.Clip(provider, 80)).
		WithFix("read it again and repeat the change")
}

// LoginGone returns the fault for a login that is not there, has expired, was
// used, or belongs to another browser or provider: which of them is for nobody
// to learn.
func LoginGone() *fault.Error {
	return fault.New(fault.Gone, "idp_login_gone", "this login has expired, was used before, or was begun in another browser").WithFix("log in again")
}
