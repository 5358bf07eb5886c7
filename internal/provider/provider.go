// Package provider has the configured credential providers: how to get one kind of credential from one third party.
package provider

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Type is the kind of credential that a provider gives.
type Type string

// The types of providers.
const (
	TypeOAuth2 Type = "oauth2"  // OAuth 2.0 access tokens
	TypeAPIKey Type = "api_key" // one key that the operator gave
	TypeBasic  Type = "basic"   // one user name and password that the operator gave (RFC 7617)
	TypeSTS    Type = "sts"     // temporary keys of a cloud's security token service
)

// Flow says how a provider of [TypeOAuth2] obtains tokens; the others have none.
type Flow string

// The flows.
const (
	UserFederation Flow = "USER_FEDERATION" // the three-legged flow: each user authorizes for himself
	M2M            Flow = "M2M"             // the agent acts for the client itself (RFC 6749, section 4.4)
	OnBehalfOf     Flow = "ON_BEHALF_OF"    // the user is asserted to the third party, which asks nobody (RFC 8693, RFC 7523)
)

// The actions that permits are given for, all on [Resource].
const (
	ActionCreate guard.Action = "provider.create"
	ActionUpdate guard.Action = "provider.update"
	ActionDelete guard.Action = "provider.delete"
	// ActionUnregister is when the client that Deputy registered for a provider that is deleted is deleted too.
	ActionUnregister guard.Action = "provider.unregister"
)

// Resource is what permits for a provider name.
func Resource(pool, provider string) guard.Resource {
	return guard.Resource{Kind: "provider", Pool: pool, ID: provider}
}

// Types are all types.
func Types() []Type { return []Type{TypeOAuth2, TypeAPIKey, TypeBasic, TypeSTS} }

// Check returns a fault of kind Invalid with code "provider_type_unknown" unless
// t is a type.
func (t Type) Check() error {
	if slices.Contains(Types(), t) {
		return nil
	}
	return fault.New(fault.Invalid, "provider_type_unknown", "there is no provider type %q", name.Clip(string(t), 40)).WithSource("type").
		WithFix("use one of %s, %s, %s and %s", TypeOAuth2, TypeAPIKey, TypeBasic, TypeSTS)
}

// NotFound is the fault for a provider that does not exist; existing are the
// names that its pool has.
func NotFound(pool, provider string, existing []string) *fault.Error {
	return fault.New(fault.NotFound, "provider_not_found", "there is no credential provider %q in workload pool %q", name.Clip(provider, 80), name.Clip(pool, 80)).
		WithFix("%s", name.DidYouMean(provider, existing, "create the credential provider first, or correct the name"))
}

// Provider is one configured credential provider of a workload pool.
type Provider struct {
	ID           string // never reused, so that a provider made anew under an old name inherits nothing
	Pool         string
	Name         string
	Type         Type             // never changes
	Vendor       string           // id in the vendor catalogue; of TypeOAuth2 only
	Flow         Flow             // never changes
	ClientID     string           // of TypeBasic the user name, of TypeSTS the access key's id
	SealedSecret []byte           // the client secret, key, password or secret access key
	Scopes       name.Scopes      // asked for when a request names none
	Endpoints    vendor.Endpoints // replace the vendor's where set
	Options      Options
	Version      int64 // from 1; grows with each change
	Created      time.Time
	Updated      time.Time
}

// Former is a provider that is deleted.
type Former struct {
	Provider
	Ended time.Time // when it was
}

// Store keeps providers. A name not found is the fault of [NotFound], with
// near matches; one taken is of kind Conflict.
type Store interface {
	// CreateProvider needs a permit for ActionCreate.
	CreateProvider(ctx context.Context, p guard.Permit, v Provider) error
	// UpdateProvider replaces the provider whose version is v.Version-1, else it
	// returns a fault of kind Conflict. It needs a permit for ActionUpdate.
	UpdateProvider(ctx context.Context, p guard.Permit, v Provider) error
	// MoveProvider is UpdateProvider for a provider that is to speak to another third
	// party than before. While there are grants, or tokens to be revoked, it returns
	// the fault of [HasGrants].
	MoveProvider(ctx context.Context, p guard.Permit, v Provider) error
	// DeleteProvider also deletes the grants and delegations of the provider, and
	// keeps it as a former one until all their tokens are revoked and the client, if
	// Deputy registered one, is deleted. It needs a permit for ActionDelete.
	DeleteProvider(ctx context.Context, p guard.Permit, pool, name string) error
	Provider(ctx context.Context, pool, name string) (Provider, error)
	// ProviderByID returns the provider of any pool with that id.
	ProviderByID(ctx context.Context, id string) (Provider, error)
	Providers(ctx context.Context, pool string) ([]Provider, error)
	// FormerProvider returns a provider that is deleted, by its id.
	FormerProvider(ctx context.Context, id string) (Provider, error)
	// FormerClients returns up to limit former providers for which Deputy registered
	// a client, and with which nothing is to be revoked any more.
	FormerClients(ctx context.Context, limit int) ([]Former, error)
	// ForgetFormer forgets one of them; if it is forgotten already that is a fault of
	// kind NotFound. It needs a permit for ActionUnregister.
	ForgetFormer(ctx context.Context, p guard.Permit, v Provider) error
}
