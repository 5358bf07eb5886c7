// Package broker is THE path: caller, provider and scopes become a credential or a link: policy, delegation, vault, refresh, audit.
//
// Every edge that hands out credentials — the native API, the facades, egress —
// goes through [Broker.Credential]. There is no other way to a token.
package broker

import (
	"context"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
)

// Broker answers requests for credentials.
type Broker struct {
	Store Store
	Guard *guard.Guard
	Vault *vault.Vault
	Flow  *consent.Flow
	Other Obtainer
}

// Obtainer gets the credentials that no user has to consent to: of every
// provider but those of the flow USER_FEDERATION.
type Obtainer interface {
	// Obtain returns a credential of the provider, in the pool of p's caller, for that caller. Scopes are what he
	// asked for, if he did; with force, what was obtained before is not good enough. The caller of Obtain may clear
	// the credential. p is the permit of the release, which is not recorded yet.
	Obtain(ctx context.Context, p guard.Permit, provider string, scopes name.Scopes, force bool) (provider.Credential, error)
}

// Found is everything that the store knows about a request.
type Found struct {
	Type          provider.Type
	Flow          provider.Flow
	DefaultScopes name.Scopes
	Options       provider.Options
	Grant         vault.Grant      // zero: there is none
	Delegation    vault.Delegation // zero: there is none
}

// Store is what the broker reads.
type Store interface {
	// FindCredential looks up provider, grant and delegation in one query. A
	// provider that does not exist in the workload's pool is a fault of kind
	// NotFound with code "provider_not_found" that lists near matches, a workload that does not exist
	// (any more) one with code "workload_not_found".
	FindCredential(ctx context.Context, w name.Workload, provider string, u name.User) (Found, error)
	// FindDelegated is FindCredential for the case that happens most, at half the cost: it looks for nothing
	// but a grant with a delegation to a workload that may use the provider, and reports whether there is one.
	FindDelegated(ctx context.Context, w name.Workload, provider string, u name.User) (vault.Grant, vault.Delegation, bool, error)
}

// Request is what an agent asks for.
type Request struct {
	Provider string
	Scopes   name.Scopes // empty: the provider's default
	Force    bool        // ask the user again, whatever is in the vault
	Refused  secret.Text // an access token that the third party refused: another one, if there is one; empty: none was

	// For the authorization, if there has to be one; see [consent.Ask].
	Params    map[string]string
	ReturnURL string
	State     secret.Text
}

// Answer is either a Credential or a Link that the user must open first.
type Answer struct {
	Credential *provider.Credential
	Link       *consent.Link
}

// Credential answers r for caller c, an agent, that acts for a user if the
// provider's flow needs one. When it returns a credential, the audit entry for its release is durable.
func (b *Broker) Credential(ctx context.Context, c name.Caller, r Request) (Answer, error) {
	// Before it gets into the audit log: what no provider can be called may be long and strange.
	if err := name.Check("credential provider", r.Provider); err != nil {
		return Answer{}, err
	}
	p, err := b.Guard.Allow(ctx, c, "credential.release", guard.Resource{Kind: "provider", Pool: c.Workload.Pool, ID: r.Provider})
	if err != nil {
		return Answer{}, err
	}
	found, err := b.find(ctx, c, r)
	if err != nil {
		return Answer{}, b.refuse(ctx, p, err)
	}
	if found.Type != provider.TypeOAuth2 || found.Flow != provider.UserFederation {
		return b.obtain(ctx, p, found, r)
	}
	return b.federated(ctx, p, found, r)
}

// federated gets what a user gave, or the link at which he can.
func (b *Broker) federated(ctx context.Context, p guard.Permit, found Found, r Request) (Answer, error) {
	if p.Caller().User.IsZero() {
		return Answer{}, b.refuse(ctx, p, fault.New(fault.Forbidden, "user_required", "the flow %s needs a user, and the agent acts for nobody", provider.UserFederation).
			WithFix("call with the workload access token that came with the user's request"))
	}
	if r.Scopes.Len() == 0 {
		r.Scopes = found.DefaultScopes
	}
	p = p.With(r.Provider, r.Scopes, nil)
	kind, ready := decide(found, r)
	if ready {
		token, err := b.fresh(ctx, p, found.Grant, r.Refused)
		if err == nil {
			return b.release(ctx, p.Detail(map[string]string{"grant": found.Grant.ID}), provider.Credential{
				Type: provider.TypeOAuth2, Token: provider.Token{Access: token.Access, Type: token.Type}, Expires: token.Expires, Scopes: r.Scopes,
			})
		}
		if !fault.HasCode(err, "reauthorization_required") {
			return Answer{}, b.refuse(ctx, p, err)
		}
		kind = consent.KindGrant
	}
	link, err := b.Flow.Begin(ctx, p.Caller(), consent.Ask{
		Kind: kind, Provider: r.Provider, Scopes: r.Scopes, Force: r.Force, Params: r.Params, ReturnURL: r.ReturnURL, State: r.State,
	})
	if err != nil {
		return Answer{}, b.refuse(ctx, p, err)
	}
	return Answer{Link: &link}, nil
}

func (b *Broker) fresh(ctx context.Context, p guard.Permit, g vault.Grant, refused secret.Text) (vault.Token, error) {
	if refused.Empty() {
		return b.Vault.Fresh(ctx, p, g)
	}
	return b.Vault.Instead(ctx, p, g, refused)
}

// obtain gets what needs nobody's consent.
func (b *Broker) obtain(ctx context.Context, p guard.Permit, found Found, r Request) (Answer, error) {
	if r.Scopes.Len() == 0 {
		r.Scopes = found.DefaultScopes
	}
	p = p.With(r.Provider, r.Scopes, map[string]string{"type": string(found.Type)})
	credential, err := b.Other.Obtain(ctx, p, r.Provider, r.Scopes, r.Force || !r.Refused.Empty())
	if err != nil {
		return Answer{}, b.refuse(ctx, p, err)
	}
	return b.release(ctx, p.Detail(credential.Detail()), credential)
}

// release gives a credential away: once, and only if, that is in the audit log.
func (b *Broker) release(ctx context.Context, p guard.Permit, credential provider.Credential) (Answer, error) {
	if err := b.Guard.Record(ctx, p); err != nil {
		credential.Clear()
		return Answer{}, err
	}
	return Answer{Credential: &credential}, nil
}

func (b *Broker) find(ctx context.Context, c name.Caller, r Request) (Found, error) {
	if r.Scopes.Len() > 0 && !c.User.IsZero() {
		g, d, ok, err := b.Store.FindDelegated(ctx, c.Workload, r.Provider, c.User)
		if ok || err != nil {
			return Found{Type: provider.TypeOAuth2, Flow: provider.UserFederation, Grant: g, Delegation: d}, err
		}
	}
	found, err := b.Store.FindCredential(ctx, c.Workload, r.Provider, c.User)
	if err == nil {
		err = found.Options.Allow(c.Workload.Name, r.Provider)
	}
	return found, err
}

// decide says whether the vault can answer r, and else who has to be asked.
func decide(found Found, r Request) (kind consent.Kind, ready bool) {
	g := found.Grant
	if r.Force || g.ID == "" || g.State != vault.Active || vault.Missing(g.Scopes, r.Scopes).Len() > 0 {
		return consent.KindGrant, false
	}
	if found.Delegation.ID == "" || vault.Missing(found.Delegation.Scopes, r.Scopes).Len() > 0 {
		return consent.KindDelegation, false
	}
	return "", true
}

// refuse records that a permitted request got no credential, and why.
func (b *Broker) refuse(ctx context.Context, p guard.Permit, cause error) error {
	if err := b.Guard.Record(ctx, p.Failed(fault.As(cause).Code)); err != nil {
		return err
	}
	return cause
}
