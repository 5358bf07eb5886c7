package vendor

import (
	"context"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// Target narrows a token that is not for a person's whole grant.
type Target struct {
	Scopes   name.Scopes // empty: the vendor's default
	Audience string      // RFC 8693, section 2.1; some vendors want it elsewhere too; "" is not sent
	Resource string      // RFC 8707, section 2; "" is not sent
}

func (t Target) into(p map[string]string, separator string) {
	if t.Scopes.Len() > 0 {
		p["scope"] = strings.Join(t.Scopes.List(), separator)
	}
	if t.Audience != "" {
		p["audience"] = t.Audience
	}
	if t.Resource != "" {
		p["resource"] = t.Resource
	}
}

// Machine gets a token with which the app speaks for itself (RFC 6749, section
// 4.4). There is no refresh token: it is asked for again.
func (c *Client) Machine(ctx context.Context, e Entry, app App, t Target) (Tokens, error) {
	p := e.grantParams(oauth.GrantClientCredentials)
	t.into(p, e.Authorize.ScopeSeparator)
	return c.tokens(ctx, e, StepMachine, app, p)
}

// Assert redeems an assertion about a user (RFC 7523, section 2.1) for a token
// with which the app speaks for him.
func (c *Client) Assert(ctx context.Context, e Entry, app App, assertion secret.Text, t Target) (Tokens, error) {
	p := e.grantParams(oauth.GrantJWTBearer)
	p["assertion"] = assertion.RevealString()
	t.into(p, e.Authorize.ScopeSeparator)
	return c.tokens(ctx, e, StepBehalf, app, p, assertion)
}

// ExchangeToken exchanges an assertion about a user, a JWT, for an access token
// with which the app speaks for him (RFC 8693, section 2.1).
func (c *Client) ExchangeToken(ctx context.Context, e Entry, app App, subject secret.Text, t Target) (Tokens, error) {
	p := e.grantParams(oauth.GrantTokenExchange)
	p["subject_token"] = subject.RevealString()
	p["subject_token_type"] = oauth.TokenTypeJWT
	p["requested_token_type"] = oauth.TokenTypeAccessToken
	t.into(p, e.Authorize.ScopeSeparator)
	return c.tokens(ctx, e, StepBehalf, app, p, subject)
}

// assertionLife bounds the life of the assertions with which Deputy proves that
// it is a client: they are used at once.
const assertionLife = time.Minute

// proveClient adds the assertion of private_key_jwt (RFC 7523, section 2.2) to
// the parameters of a request.
func (c *Client) proveClient(e Entry, app App, params map[string]string) error {
	if app.Key.ID == "" {
		return fault.New(fault.Internal, "vendor_authenticate", "the client of %q has no key to prove itself with", e.ID)
	}
	now := c.now()
	assertion, err := jwt.Sign(app.Key, "JWT", map[string]any{ // the type that everybody takes; RFC 7523 names none
		"iss": app.ClientID, "sub": app.ClientID, "aud": e.Endpoints.Token, "jti": name.NewToken("jti"),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return err
	}
	params["client_assertion_type"] = oauth.AssertionJWT
	params["client_assertion"] = assertion
	return nil
}
