package op

import (
	"context"
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// redemption turns codes into tokens (RFC 6749, section 4.1.3).
type redemption struct {
	minter
	codes    userpool.Codes
	families userpool.Families
	users    userpool.Users
	guard    *guard.Guard
}

// answer makes the tokens first and releases them last: the commit that uses up
// the code, with its audit entry, stands between.
func (e redemption) answer(ctx context.Context, q tokenRequest) (tokens, error) {
	if !q.form.Has("code") {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "code is missing")
	}
	c, err := e.codes.Code(ctx, q.pool.Name, userpool.HashCode(secret.FromString(q.form.Get("code"))))
	if fault.Is(err, fault.NotFound) {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, "the code is unknown to this pool")
	}
	if err != nil {
		return tokens{}, err
	}
	caller := e.person(q.pool, c.UserID)
	if why := mismatch(c, q.client, q.form); why != "" {
		return tokens{}, e.refused(ctx, caller, c, q.client, why)
	}
	if !c.RedeemedAt.IsZero() {
		return tokens{}, e.reused(ctx, caller, c, q.client)
	}
	if !e.Now().Before(c.ExpiresAt) {
		return tokens{}, e.refused(ctx, caller, c, q.client, "the code has expired")
	}
	u, err := e.users.User(ctx, q.pool.Name, c.UserID)
	if fault.Is(err, fault.NotFound) || (err == nil && u.Disabled) {
		return tokens{}, e.refused(ctx, caller, c, q.client, "the user is gone or disabled")
	}
	if err != nil {
		return tokens{}, err
	}
	b, t, err := e.begin(ctx, q, authorized{
		user: u, familyID: c.FamilyID, sessionID: c.SessionID, scopes: c.Scopes, resources: c.Resources, authTime: c.AuthTime, methods: c.Methods, nonce: c.Nonce,
	})
	if err != nil {
		return tokens{}, err
	}
	p, err := e.guard.Allow(ctx, caller, userpool.ActionRedeemCode, c.Resource())
	if err != nil {
		return tokens{}, err
	}
	p = p.With("", c.Scopes, map[string]string{"client": q.client.ID, "token": t.id})
	err = e.codes.RedeemCode(ctx, p, q.pool.Name, c.ID, e.Now(), b)
	if fault.HasCode(err, "code_used") {
		return tokens{}, e.reused(ctx, caller, c, q.client)
	}
	if err != nil {
		return tokens{}, err
	}
	return t, nil
}

// mismatch says what about the request is not what the code is bound to. A code
// is not used up by a request that does not match: it may have come from
// somebody who only wants to be in the way.
func mismatch(c userpool.Code, client userpool.Client, form url.Values) string {
	verifier := form.Get("code_verifier")
	switch {
	case c.ClientID != client.ID:
		return "the code was made for another client"
	case c.RedirectURI != form.Get("redirect_uri"):
		return "redirect_uri is not the one of the authorization request"
	case c.Challenge == "" && verifier != "":
		// The challenge was taken out of the request on its way here (PKCE downgrade, RFC 9700, section 2.1.1).
		return "the authorization request had no code_challenge"
	case c.Challenge != "" && !oauth.VerifyChallenge(c.Challenge, secret.FromString(verifier)):
		return "code_verifier does not fit the code_challenge"
	default:
		return ""
	}
}

// reused answers the second good request for a code, and ends what the first one
// got: one of the two senders is not the client (RFC 6749, section 4.1.2). A
// request that does not match does not get here, so that somebody who saw the
// code alone cannot end anything.
func (e redemption) reused(ctx context.Context, caller name.Caller, c userpool.Code, client userpool.Client) error {
	if err := endFamily(ctx, e.guard, e.families, caller, userpool.FamilyResource(c.Pool, c.FamilyID), userpool.EndedCodeReuse, client, e.Now()); err != nil {
		return err
	}
	return e.refused(ctx, caller, c, client, "the code was used before")
}

// refused records why a code was not redeemed and returns the answer.
func (e redemption) refused(ctx context.Context, caller name.Caller, c userpool.Code, client userpool.Client, why string) error {
	return invalidGrant(ctx, e.guard, caller, userpool.ActionRedeemCode, c.Resource(), client, why)
}

// invalidGrant records why a grant was refused and returns the answer.
func invalidGrant(ctx context.Context, g *guard.Guard, caller name.Caller, a guard.Action, r guard.Resource, client userpool.Client, why string) error {
	if err := g.Refuse(ctx, caller, a, r, why, map[string]string{"client": client.ID}); err != nil {
		return err
	}
	return refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, why)
}
