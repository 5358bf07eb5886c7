package vendor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

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

// Account is whose account at the vendor an access token opens.
type Account struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Exchange redeems an authorization code (RFC 6749, section 4.1.3). An empty
// codeVerifier is not sent.
func (c *Client) Exchange(ctx context.Context, e Entry, app App, code, codeVerifier secret.Text) (Tokens, error) {
	p := e.grantParams(app, oauth.GrantAuthorizationCode)
	p["code"] = code.RevealString()
	p["redirect_uri"] = app.RedirectURI
	if e.pkce() && !codeVerifier.Empty() {
		p["code_verifier"] = codeVerifier.RevealString()
	}
	return c.tokens(ctx, e, StepExchange, app, p, code, codeVerifier)
}

// Probe asks to redeem a code that does not exist, so that a vendor that does
// not know the client says so, while one that knows it complains about the code,
// which is no error here. Vendors that look at the code first tell nothing about
// the secret.
func (c *Client) Probe(ctx context.Context, e Entry, app App) error {
	_, err := c.Exchange(ctx, e, app, secret.FromString(name.NewToken("probe")), oauth.NewVerifier())
	var f *Failure
	if errors.As(err, &f) && f.Class == ClassUser {
		return nil
	}
	return err
}

// Refresh redeems a refresh token (RFC 6749, section 6), which most vendors let
// be used only once. scopes are sent only if the vendor wants to hear them
// again; the zero value sends none.
func (c *Client) Refresh(ctx context.Context, e Entry, app App, refresh secret.Text, scopes name.Scopes) (Tokens, error) {
	p := e.grantParams(app, oauth.GrantRefreshToken)
	p["refresh_token"] = refresh.RevealString()
	if e.Token.SendScopes && scopes.Len() > 0 {
		p["scope"] = strings.Join(scopes.List(), e.Authorize.ScopeSeparator)
	}
	return c.tokens(ctx, e, StepRefresh, app, p, refresh)
}

// Identity asks whose account access opens. It returns a fault of kind Invalid
// (vendor_endpoint_missing) if the vendor cannot be asked.
func (c *Client) Identity(ctx context.Context, e Entry, access secret.Text) (Account, error) {
	if e.Identity.ID == "" {
		return Account{}, e.missing("user info")
	}
	p, err := c.Profile(ctx, e, access)
	if err != nil {
		return Account{}, err
	}
	id := p.Exact(e.Identity.ID)
	if id == "" || len(id) > 255 {
		return Account{}, e.refused(StepAPI, http.StatusOK, p.answer, App{}, []secret.Text{access}).fault()
	}
	return Account{ID: id, Name: name.Clip(p.Text(e.Identity.Name), 200)}, nil
}

// Profile asks what the vendor tells about whose account access opens. It
// returns a fault of kind Invalid (vendor_endpoint_missing) if the vendor
// cannot be asked.
func (c *Client) Profile(ctx context.Context, e Entry, access secret.Text) (Profile, error) {
	if e.Endpoints.UserInfo == "" {
		return Profile{}, e.missing("user info")
	}
	resp, err := c.Outbound.Do(ctx, outbound.Request{
		URL:     e.Endpoints.UserInfo,
		Header:  http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer " + access.RevealString()}},
		MaxBody: maxAnswer, Purpose: "identity at " + e.ID,
	})
	if err != nil {
		return Profile{}, e.unreachable(StepAPI, err)
	}
	p := ParseProfile(resp.Body)
	if _, _, failed := p.answer.failed(e.Errors); failed || !success(resp.Status) || p.answer == nil {
		return Profile{}, e.refused(StepAPI, resp.Status, p.answer, App{}, []secret.Text{access}).fault()
	}
	return p, nil
}

// tokens sends a token request. sent are the secrets in it, next to the app's.
func (c *Client) tokens(ctx context.Context, e Entry, step Step, app App, params map[string]string, sent ...secret.Text) (Tokens, error) {
	if e.Endpoints.Token == "" {
		return Tokens{}, e.missing("token")
	}
	asked := c.now() // before sending, so that the expiry is never too late
	a, status, err := c.post(ctx, e, step, app, e.Endpoints.Token, params, sent...)
	if err != nil {
		return Tokens{}, err
	}
	t, ok := a.tokens(e.Token, asked)
	if !ok {
		return Tokens{}, e.refused(step, status, a, app, append(sent, app.ClientSecret)).fault()
	}
	return t, nil
}

// post sends parameters to an endpoint in the way of the vendor's token
// endpoint, and returns an answer that is no error.
func (c *Client) post(ctx context.Context, e Entry, step Step, app App, endpoint string, params map[string]string, sent ...secret.Text) (answer, int, error) {
	if err := c.proveClient(e, app, params); err != nil {
		return nil, 0, err
	}
	r, err := e.tokenRequest(app, endpoint, params)
	if err != nil {
		return nil, 0, err
	}
	r.Purpose = "token " + string(step) + " at " + e.ID
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

func (e Entry) tokenRequest(app App, endpoint string, params map[string]string) (outbound.Request, error) {
	r := outbound.Request{
		Method: http.MethodPost, URL: endpoint, MaxBody: maxAnswer,
		// Some vendors answer with a form unless JSON is asked for.
		Header: http.Header{"Accept": {"application/json"}, "Content-Type": {e.Token.ContentType}},
	}
	if e.Token.Auth == AuthBasic {
		// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
		pair := url.QueryEscape(app.ClientID) + ":" + url.QueryEscape(app.ClientSecret.RevealString())
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	if e.Token.Body == BodyJSON {
		body, err := json.Marshal(params)
		if err != nil {
			return outbound.Request{}, fault.Wrap(err, fault.Internal, "vendor_request", "the token request cannot be encoded")
		}
		r.Body = body
		return r, nil
	}
	form := url.Values{}
	for k, v := range params {
		form.Set(k, v)
	}
	r.Body = []byte(form.Encode())
	return r, nil
}

// printable drops what would disturb a log line or a page.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
