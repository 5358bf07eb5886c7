package workload

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// The actions that end tokens before their time.
const (
	ActionRevokeTokens     guard.Action = "workload.revoke-tokens"   // on Resource
	ActionRevokeUserTokens guard.Action = "user-tokens.revoke"       // on UserTokensResource
	maxRemembered                       = MaxTokenLife + time.Minute // how long a revocation matters, with the clocks' skew
)

// UserTokensResource is what permits for the tokens of a user name.
func UserTokensResource(u name.User) guard.Resource {
	return guard.Resource{Kind: "user-tokens", ID: name.Clip(u.String(), 800)}
}

// Standings says how it stands with tokens; the store does.
type Standings interface {
	// Standing returns since when tokens hold that are for u (zero: for w itself) at w: what was issued before is
	// revoked. If none holds, because w or u is deleted or disabled, it returns the fault of [Gone] or
	// [UserGone]; a user of another issuer than a pool of this Deputy is neither, as far as is known. It is asked
	// with every use of a token.
	Standing(ctx context.Context, w name.Workload, u name.User) (since time.Time, err error)
}

// CodeGone is the code of [Gone].
const CodeGone = "workload_gone"

// Gone is the fault for a token of a workload that is deleted or disabled.
func Gone(w name.Workload) error {
	return fault.New(fault.Unauthenticated, CodeGone, "the workload %s is deleted or disabled", w).WithFix("ask whoever operates Deputy")
}

// UserGone is the fault for a token for a user who is deleted or disabled.
func UserGone() error {
	return fault.New(fault.Unauthenticated, "user_gone", "the user whom the agent acts for is deleted or disabled")
}

// since returns since when tokens hold that name everybody whom c names.
func (t *Tokens) since(ctx context.Context, c name.Caller) (time.Time, error) {
	latest, err := t.Standings.Standing(ctx, c.Workload, c.User)
	for i := 0; i < len(c.Chain) && err == nil; i++ {
		var since time.Time
		if since, err = t.Standings.Standing(ctx, c.Chain[i], name.User{}); since.After(latest) {
			latest = since
		}
	}
	return latest, err
}

// RevokeTokens ends all tokens that w has at this moment, and all in whose chain
// it stands.
func (r *Registry) RevokeTokens(ctx context.Context, c name.Caller, w name.Workload) error {
	p, err := r.Guard.Allow(ctx, c, ActionRevokeTokens, Resource(w))
	if err != nil {
		return err
	}
	return r.Store.RevokeTokens(ctx, p, w, r.moment())
}

// RevokeUserTokens ends all tokens that agents have for u at this moment.
func (r *Registry) RevokeUserTokens(ctx context.Context, c name.Caller, u name.User) error {
	if u.Issuer == "" || u.Subject == "" || len(u.Issuer) > 500 || len(u.Subject) > 255 {
		return fault.New(fault.Invalid, "user_invalid", "the user is not one").WithFix("give issuer and subject, of at most 500 and 255 characters")
	}
	p, err := r.Guard.Allow(ctx, c, ActionRevokeUserTokens, UserTokensResource(u))
	if err != nil {
		return err
	}
	now := r.moment()
	return r.Store.RevokeUserTokens(ctx, p, u, now, now.Add(-maxRemembered))
}

// moment is the first one after all tokens that exist: they say when they were
// issued to the millisecond.
func (r *Registry) moment() time.Time {
	return r.Now().UTC().Truncate(time.Millisecond).Add(time.Millisecond)
}
