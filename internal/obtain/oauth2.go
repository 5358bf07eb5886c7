package obtain

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Asserter says who a user is to third parties; assertion.Asserter is one.
type Asserter interface {
	// Assert returns a JWT that says to audience that clientID acts for u, by the workload w.
	Assert(ctx context.Context, w name.Workload, u name.User, audience, clientID string) (secret.Text, error)
}

// machine returns a token with which the agent acts for the client itself (RFC
// 6749, section 4.4). It is the same one for all who ask for the same scopes.
func (k *Kinds) machine(ctx context.Context, p guard.Permit, v provider.Provider, scopes name.Scopes, force bool) (provider.Credential, error) {
	return k.token(ctx, p, v, scopes, force, quoted("machine", scopes.String()), provider.Dialect.Machine)
}

// behalf returns a token with which the agent acts for its user, of a third
// party that trusts the user's issuer (RFC 7523, RFC 8693). It is kept for this
// user and this workload, as whom the assertion names.
func (k *Kinds) behalf(ctx context.Context, p guard.Permit, v provider.Provider, scopes name.Scopes, force bool) (provider.Credential, error) {
	c := p.Caller()
	if c.User.IsZero() {
		return provider.Credential{}, fault.New(fault.Forbidden, "user_required", "the flow %s needs a user, and the agent acts for nobody", provider.OnBehalfOf).
			WithFix("call with the workload access token that came with the user's request")
	}
	purpose := quoted("behalf", c.Workload.Pool, c.Workload.Name, c.User.Issuer, c.User.Subject, scopes.String())
	return k.token(ctx, p, v, scopes, force, purpose, func(d provider.Dialect, ctx context.Context, scopes name.Scopes) (vendor.Tokens, error) {
		assertion, err := k.Asserter.Assert(ctx, c.Workload, c.User, d.AssertionAudience(), d.App.ClientID)
		if err != nil {
			return vendor.Tokens{}, err
		}
		defer assertion.Clear()
		return d.OnBehalfOf(ctx, assertion, scopes)
	})
}

// token keeps what get gets.
func (k *Kinds) token(ctx context.Context, p guard.Permit, v provider.Provider, scopes name.Scopes, force bool, purpose string,
	get func(d provider.Dialect, ctx context.Context, scopes name.Scopes) (vendor.Tokens, error),
) (provider.Credential, error) {
	return k.kept.get(ctx, keptKey{v.ID, v.Version, purpose}, k.Now, force, func(ctx context.Context) (provider.Credential, error) {
		d, err := k.Providers.Dialect(ctx, p, v.Pool, v.Name)
		if err != nil {
			return provider.Credential{}, err
		}
		defer d.App.ClientSecret.Clear()
		got, err := get(d, ctx, scopes)
		if err != nil {
			return provider.Credential{}, err
		}
		got.Refresh.Clear() // it is asked for again; a refresh token would be one more secret to lose
		granted := scopes
		if got.ScopesKnown {
			granted = got.Scopes
		}
		return provider.Credential{
			Type: v.Type, Scopes: granted, Expires: got.ExpiresAt, Token: provider.Token{Access: got.Access, Type: got.TokenType},
		}, nil
	})
}
