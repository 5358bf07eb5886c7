package workload

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// CallType is the "typ" header of a call token: with it an agent calls one other
// agent for its user. It is not a workload access token, so the agent that is
// called cannot use it as the agent that calls; it trades it, or the ingress
// does, for a token of its own, in whose chain the caller stands.
const CallType = "call+jwt"

// CallLife is how long a call token is good: it is used at once.
const CallLife = 2 * time.Minute

// IsCall reports whether a bearer value is meant to be a call token. It believes
// nothing: [Tokens.VerifyCall] does.
func IsCall(token string) bool { return jwt.LooksLike(token, CallType) }

// MintCall returns a token with which c, an agent that acts for a user, calls
// to, and its expiry. Faults are those of [Tokens.Mint] for what to would get; without a user it is
// of kind Forbidden.
func (t *Tokens) MintCall(ctx context.Context, c name.Caller, to name.Workload) (secret.Text, time.Time, error) {
	if c.User.IsZero() {
		return secret.Text{}, time.Time{}, fault.New(fault.Forbidden, "user_required", "agents call each other for a user, and %s acts for nobody", c.Workload).
			WithFix("call with the workload access token that came with the user's request")
	}
	if err := checkChain(to, c.User, longer(c)); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return t.sign(ctx, CallType, to.SPIFFEID(t.TrustDomain), c, CallLife)
}

// VerifyCall returns who calls to with a token: an agent that acts for a user. A
// token that proves nothing, or is for calling somebody else, is a fault of kind
// Unauthenticated.
func (t *Tokens) VerifyCall(ctx context.Context, token secret.Text, to name.Workload) (name.Caller, error) {
	p, _, err := t.read(token.RevealString(), CallType, to.SPIFFEID(t.TrustDomain))
	if err == nil && p.caller.User.IsZero() {
		err = badClaims(nil)
	}
	if err != nil {
		return name.Caller{}, err
	}
	return p.caller, t.holds(ctx, p)
}

// Called returns as whom to acts when c calls it.
func Called(c name.Caller, to name.Workload) name.Caller {
	return name.Caller{Kind: name.Agent, Workload: to, User: c.User, Chain: longer(c)}
}

// longer is the chain of whoever c calls.
func longer(c name.Caller) []name.Workload {
	return slices.Concat([]name.Workload{c.Workload}, c.Chain)
}

// MayBeCalledBy returns nil if the workload may be called by another, else a
// fault of kind Forbidden.
func (w Workload) MayBeCalledBy(caller name.Workload) error {
	if caller.Pool == w.Identity.Pool && slices.Contains(w.Callers, caller.Name) {
		return nil
	}
	return fault.New(fault.Forbidden, "caller_not_allowed", "%s may not call %s", caller, w.Identity).
		WithFix("let an operator do: deputy workload set %s --caller %s", w.Identity.Name, caller.Name)
}
