package op

import (
	"context"
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// token is the token endpoint (RFC 6749, section 3.2).
type token struct {
	clientAuth
	codes userpool.Codes
	users userpool.Users
	mint  minter
	guard *guard.Guard
	base
}

func (e token) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	client, err := e.authenticate(r, pool, form)
	if err != nil {
		return err
	}
	switch form.Get("grant_type") {
	case oauth.GrantAuthorizationCode:
	case "":
		return refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "grant_type is missing")
	default:
		return refuse(http.StatusBadRequest, oauth.CodeUnsupportedGrantType, "only grant_type=authorization_code is supported")
	}
	t, err := e.redeem(r.Context(), pool, client, form)
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749, section 5.1
	wire.Write(w, http.StatusOK, t)
	return nil
}

// redeem turns a code into tokens. They are made first and released last: the
// commit that uses up the code, with its audit entry, stands between.
func (e token) redeem(ctx context.Context, pool userpool.Pool, client userpool.Client, form url.Values) (tokens, error) {
	if form.Get("code") == "" {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "code is missing")
	}
	c, err := e.codes.Code(ctx, pool.Name, userpool.HashCode(secret.FromString(form.Get("code"))))
	if fault.Is(err, fault.NotFound) {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, "the code is unknown to this pool")
	}
	if err != nil {
		return tokens{}, err
	}
	caller := name.Caller{Kind: name.Person, User: name.User{Issuer: e.Issuer(pool), Subject: c.UserID}}
	if why := e.mismatch(c, client, form); why != "" {
		return tokens{}, e.refused(ctx, caller, c, client, why)
	}
	u, err := e.users.User(ctx, pool.Name, c.UserID)
	if fault.Is(err, fault.NotFound) || (err == nil && u.Disabled) {
		return tokens{}, e.refused(ctx, caller, c, client, "the user is gone or disabled")
	}
	if err != nil {
		return tokens{}, err
	}
	t, id, err := e.mint.mint(ctx, pool, client, u, c)
	if err != nil {
		return tokens{}, err
	}
	p, err := e.guard.Allow(ctx, caller, userpool.ActionRedeemCode, c.Resource())
	if err != nil {
		return tokens{}, err
	}
	err = e.codes.RedeemCode(ctx, p.With("", c.Scopes, map[string]string{"client": client.ID, "token": id}), pool.Name, c.ID, e.Now())
	if fault.HasCode(err, "code_used") { // by a request that ran beside this one
		return tokens{}, e.refused(ctx, caller, c, client, reasonUsed)
	}
	if err != nil {
		return tokens{}, err
	}
	return t, nil
}

const reasonUsed = "the code was used before"

// mismatch says what about the request is not what the code is bound to. A code
// is not used up by a request that does not match: it may have come from
// somebody who only wants to be in the way.
func (e token) mismatch(c userpool.Code, client userpool.Client, form url.Values) string {
	verifier := form.Get("code_verifier")
	switch {
	case c.ClientID != client.ID:
		return "the code was made for another client"
	case !c.RedeemedAt.IsZero():
		return reasonUsed
	case !e.Now().Before(c.ExpiresAt):
		return "the code has expired"
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

// refused records why a code was not redeemed and returns the answer.
func (e token) refused(ctx context.Context, caller name.Caller, c userpool.Code, client userpool.Client, why string) error {
	if err := e.guard.Refuse(ctx, caller, userpool.ActionRedeemCode, c.Resource(), why, map[string]string{"client": client.ID}); err != nil {
		return err
	}
	return refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, why)
}
