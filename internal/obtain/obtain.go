// Package obtain gets credentials that need nobody's consent: the keys and passwords that operators gave, and what third parties give for those.
//
// Each kind of provider has its file. What a third party gives for a time is
// kept in memory until shortly before it ends, and asked for once however many
// callers want it.
package obtain

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
)

// Sender sends requests to third parties; [outbound.Client] is one.
type Sender interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Response, error)
}

// Kinds obtains credentials; it implements broker.Obtainer. It may be used
// concurrently, and must not be copied after its first use.
type Kinds struct {
	Providers *provider.Registry
	Outbound  Sender
	Asserter  Asserter
	Now       func() time.Time

	kept kept
}

// Obtain returns a credential of the provider for p's caller. What is kept is
// good enough unless force is set, and even then for a few seconds, so that
// nobody can make Deputy a nuisance to a third party.
func (k *Kinds) Obtain(ctx context.Context, p guard.Permit, providerName string, scopes name.Scopes, force bool) (provider.Credential, error) {
	v, err := k.Providers.Store.Provider(ctx, p.Caller().Workload.Pool, providerName)
	if err != nil {
		return provider.Credential{}, err
	}
	if v.Type != provider.TypeOAuth2 && scopes.Len() > 0 {
		return provider.Credential{}, fault.New(fault.Invalid, "scopes_not_for_type", "credentials of type %s have no scopes", v.Type).
			WithSource("scopes").WithFix("ask for no scopes; what the credential may do is decided where it was made")
	}
	switch {
	case v.Flow == provider.M2M:
		return k.machine(ctx, p, v, scopes, force)
	case v.Flow == provider.OnBehalfOf:
		return k.behalf(ctx, p, v, scopes, force)
	}
	switch v.Type {
	case provider.TypeAPIKey:
		return k.apiKey(ctx, p, v)
	case provider.TypeBasic:
		return k.basic(ctx, p, v)
	case provider.TypeSTS:
		return k.sts(ctx, p, v, force)
	default:
		return provider.Credential{}, fault.New(fault.Invalid, "provider_type_unsupported", "this Deputy cannot get credentials of type %s %s", v.Type, v.Flow).
			WithFix("a newer version made this credential provider; use that version everywhere")
	}
}
