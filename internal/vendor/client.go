package vendor

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// refreshTimeout is long: what is not waited for may be the only token that is
// left. The caller's context may end it before.
const refreshTimeout = 5 * time.Minute

// maxAnswer bounds a vendor's answer in bytes.
const maxAnswer = 256 << 10

// Client speaks to vendors as their entries say. Its errors are faults: of kind
// Unavailable for failures of [ClassRetry], Upstream for those of other classes,
// Invalid for settings that make it impossible to ask. A [*Failure] is in the
// chain whenever the vendor was asked. No secret is in any of them.
type Client struct {
	Outbound *outbound.Client
	Now      func() time.Time // nil = time.Now
}

// Exchange redeems an authorization code (RFC 6749, section 4.1.3). An empty
// codeVerifier is not sent.
func (c *Client) Exchange(ctx context.Context, e Entry, app App, code, codeVerifier secret.Text) (Tokens, error) {
	p := e.grantParams(oauth.GrantAuthorizationCode)
	p["code"] = code.RevealString()
	p["redirect_uri"] = app.RedirectURI
	if e.pkce() && !codeVerifier.Empty() {
		p["code_verifier"] = codeVerifier.RevealString()
	}
	return c.tokens(ctx, e, StepExchange, app, p, code, codeVerifier)
}

// Probe finds out whether the vendor knows the client: by the entry's proof,
// else by asking to redeem a code that does not exist. Who does not know the
// client says so, while who knows it complains about the code, which is no error
// here. See [Entry.Proves] for vendors that tell nothing about the secret.
func (c *Client) Probe(ctx context.Context, e Entry, app App) error {
	if e.provable() {
		return c.prove(ctx, e, app)
	}
	_, err := c.Exchange(ctx, e, app, secret.FromString(name.NewToken("probe")), oauth.NewVerifier())
	var f *Failure
	if errors.As(err, &f) && f.Class == ClassUser {
		return nil
	}
	return err
}

// prove has the app prove itself. The token that it may get by that is dropped.
func (c *Client) prove(ctx context.Context, e Entry, app App) error {
	e.Token.Names = e.Proof.Names
	a, status, err := c.post(ctx, e, StepProof, app, e.apiURL(e.Proof.URL), map[string]string{})
	if err == nil && e.Proof.OK != "" && a.at(e.Proof.OK) == nil {
		return e.refused(StepProof, status, nil, app, nil).fault()
	}
	return err
}

// Refresh redeems a refresh token (RFC 6749, section 6), which most vendors let
// be used only once. scopes are sent only if the vendor wants to hear them
// again; the zero value sends none. What [Failure.MaybeSpent] says of an error
// decides whether the refresh token may be used again.
func (c *Client) Refresh(ctx context.Context, e Entry, app App, refresh secret.Text, scopes name.Scopes) (Tokens, error) {
	p := e.grantParams(oauth.GrantRefreshToken)
	p["refresh_token"] = refresh.RevealString()
	if e.Token.SendScopes && scopes.Len() > 0 {
		p["scope"] = strings.Join(scopes.List(), e.Authorize.ScopeSeparator)
	}
	t, err := c.tokens(ctx, e, StepRefresh, app, p, refresh)
	var f *Failure
	if errors.As(err, &f) {
		f.MaybeSpent = f.unanswered && e.Rotation != RotationNone
	}
	return t, err
}

// tokens sends a token request. sent are the secrets in it, next to the app's.
func (c *Client) tokens(ctx context.Context, e Entry, step Step, app App, params map[string]string, sent ...secret.Text) (Tokens, error) {
	if e.Endpoints.Token == "" {
		return Tokens{}, e.missing("token")
	}
	asked := c.now() // before sending, so that the expiry is never too late
	endpoint := e.Endpoints.Token
	if step == StepRefresh && e.Endpoints.Refresh != "" {
		endpoint = e.Endpoints.Refresh
	}
	a, status, err := c.post(ctx, e, step, app, endpoint, params, sent...)
	if err != nil {
		return Tokens{}, err
	}
	if step == StepExchange && e.Token.Set != "" {
		a = parts(a.at(e.Token.Set))
	}
	t, ok := a.tokens(e.Token, asked)
	if !ok {
		return Tokens{}, e.refused(step, status, a, app, append(sent, app.ClientSecret)).fault()
	}
	if !t.ScopesKnown && (step == StepExchange || step == StepDevice) && e.Introspection.Scope != "" && e.Endpoints.Introspection != "" {
		// The code is spent: without an answer to this the scopes are what was asked for, as they are elsewhere.
		if a, err := c.introspect(ctx, e, app, t.Access); err == nil {
			t.Scopes, t.ScopesKnown = a.scopes(e.Introspection.Scope, e.Token.ScopeSeparators)
		}
	}
	t.Scopes = e.withIncluded(t.Scopes)
	return t, nil
}

// post sends parameters to an endpoint in the way of the vendor's token
// endpoint, and returns an answer that is no error.
func (c *Client) post(ctx context.Context, e Entry, step Step, app App, endpoint string, params map[string]string, sent ...secret.Text) (answer, int, error) {
	r, err := c.request(e, app, ask{http.MethodPost, endpoint, e.Token.Auth, e.Token.Body, e.Token.ContentType, params, e.Token.Names})
	if err != nil {
		return nil, 0, err
	}
	r.Purpose = "token " + string(step) + " at " + e.ID
	if step == StepRefresh {
		r.Timeout = refreshTimeout
	}
	resp, err := c.Outbound.Do(ctx, r)
	if err != nil {
		return nil, 0, e.unreachable(step, err)
	}
	defer clear(resp.Body)
	a := parseAnswer(resp.Body)
	if _, _, failed := a.failed(e.Errors); failed || !success(resp.Status) {
		sent = append(sent, app.ClientSecret, secret.FromString(r.Header.Get("Authorization")), secret.FromString(params["client_assertion"]))
		return nil, 0, e.refused(step, resp.Status, a, app, sent).fault()
	}
	return a, resp.Status, nil
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// success reports whether a status promises what was asked for. Some vendors
// answer 201; a redirect promises nothing, and is never followed with a secret.
func success(status int) bool { return status >= 200 && status < 300 }

// printable drops what would disturb a log line or a page.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
