// Package logintest is the login test application: a person logs in at a user pool and sees what an application gets.
package logintest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The application's own addresses. The callback is to be registered with the
// client, LoggedOut may be.
const (
	CallbackPath  = "/callback"
	LoggedOutPath = "/logged-out"
)

// Config says where people log in, and as which client.
type Config struct {
	URL          string // of this application: http://127.0.0.1:PORT
	Issuer       string
	ClientID     string
	ClientSecret secret.Text // empty: a public client
	Scopes       []string
	ShowTokens   bool        // in results and pages
	Done         func(Login) // is told of every login, also of those that failed
}

// Login is what came of one login.
type Login struct {
	OK          bool           `json:"ok"`
	Error       string         `json:"error,omitempty"`
	Fix         string         `json:"fix,omitempty"`
	Subject     string         `json:"subject,omitempty"`
	Verified    []string       `json:"verified,omitempty"` // what was checked and holds
	IDToken     map[string]any `json:"idToken,omitempty"`
	AccessToken map[string]any `json:"accessToken,omitempty"` // claims; nil if it is opaque
	Scope       string         `json:"scope,omitempty"`
	ExpiresIn   int64          `json:"expiresIn,omitempty"` // seconds
	Refresh     bool           `json:"refreshToken"`        // whether there is one
	Token       string         `json:"token,omitempty"`     // the access token, if it may be shown
}

// Test is the application.
type Test struct {
	config   Config
	site     *browser.Site
	pages    *browser.Pages
	http     *http.Client
	provider *oidc.Provider
	oauth    oauth2.Config
	logout   string // the provider's end_session_endpoint; may be empty

	mu      sync.Mutex
	pending map[string]pending // by state
}

// pending is a login under way. Only the browser that began it may end it.
type pending struct{ browser, nonce, verifier string }

// maxPending bounds the logins under way.
const maxPending = 64

// cookie holds what binds a login to its browser.
const cookie = "login-test"

// New finds the provider by its discovery document. It returns a fault of kind
// Upstream if that is not to be had.
func New(ctx context.Context, c Config, site *browser.Site, pages *browser.Pages) (*Test, error) {
	t := &Test{config: c, site: site, pages: pages, http: &http.Client{Timeout: 15 * time.Second}, pending: map[string]pending{}}
	var err error
	if t.provider, err = oidc.NewProvider(oidc.ClientContext(ctx, t.http), c.Issuer); err != nil {
		return nil, fault.Wrap(err, fault.Upstream, "issuer_unusable", "there is no OpenID provider at %s", name.Clip(c.Issuer, 200)).
			WithFix("check the issuer; its discovery document is at %s/.well-known/openid-configuration", name.Clip(c.Issuer, 200))
	}
	var more struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := t.provider.Claims(&more); err != nil {
		return nil, fault.Wrap(err, fault.Upstream, "issuer_unusable", "the discovery document of %s is malformed", name.Clip(c.Issuer, 200))
	}
	t.logout = more.EndSession
	t.oauth = oauth2.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret.RevealString(), RedirectURL: c.URL + CallbackPath, Endpoint: t.provider.Endpoint(), Scopes: c.Scopes,
	}
	return t, nil
}

// Mount adds the pages to mux.
func (t *Test) Mount(mux *http.ServeMux) {
	t.pages.Mount(mux)
	mux.HandleFunc("GET /{$}", t.start)
	mux.HandleFunc("GET /login", t.login)
	mux.HandleFunc("GET "+CallbackPath, t.callback)
	mux.HandleFunc("GET "+LoggedOutPath, t.loggedOut)
}

func (t *Test) start(w http.ResponseWriter, r *http.Request) {
	t.pages.Render(w, r, http.StatusOK, startPage(t.config))
}

func (t *Test) loggedOut(w http.ResponseWriter, r *http.Request) {
	t.pages.Render(w, r, http.StatusOK, loggedOutPage())
}

func (t *Test) login(w http.ResponseWriter, r *http.Request) {
	state := name.NewToken("st")
	p := pending{browser: name.NewToken("lb"), nonce: name.NewToken("nc"), verifier: oauth2.GenerateVerifier()}
	t.mu.Lock()
	if len(t.pending) >= maxPending {
		clear(t.pending) // whoever began so many has left most of them
	}
	t.pending[state] = p
	t.mu.Unlock()
	t.site.SetCookie(w, cookie, p.browser, 10*time.Minute)
	browser.Headers(w)
	http.Redirect(w, r, t.oauth.AuthCodeURL(state, oidc.Nonce(p.nonce), oauth2.S256ChallengeOption(p.verifier)), http.StatusSeeOther)
}

// take returns the login under way that a state names, once.
func (t *Test) take(state string) (pending, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pending[state]
	delete(t.pending, state)
	return p, ok
}

func (t *Test) callback(w http.ResponseWriter, r *http.Request) {
	login, err := t.finish(r)
	if err != nil {
		f := fault.As(err)
		login = Login{Error: f.Message, Fix: f.Fix}
	}
	t.config.Done(login)
	if !login.OK {
		t.pages.Render(w, r, http.StatusBadRequest, failedPage(login))
		return
	}
	t.pages.Render(w, r, http.StatusOK, loginPage(login, t.logoutURL()))
}

// finish checks the answer and redeems the code.
func (t *Test) finish(r *http.Request) (Login, error) {
	q := r.URL.Query()
	p, ok := t.take(q.Get("state"))
	if !ok || t.site.Cookie(r, cookie) != p.browser {
		return Login{}, fault.New(fault.Invalid, "state_unknown", "the answer belongs to no login that this browser began here").WithFix("log in again from the start page")
	}
	if iss := q.Get("iss"); iss != "" && iss != t.config.Issuer {
		return Login{}, fault.New(fault.Invalid, "issuer_mixed_up", "the answer is from %s, and was expected from %s (RFC 9207)", name.Clip(iss, 200), t.config.Issuer)
	}
	if code := q.Get("error"); code != "" {
		return Login{}, fault.New(fault.Invalid, "login_refused", "the provider answered %s: %s", name.Clip(code, 80), name.Clip(q.Get("error_description"), 300)).
			WithFix("access_denied: the person said no; invalid_scope: compare the scopes with those of the client")
	}
	ctx := oidc.ClientContext(r.Context(), t.http)
	token, err := t.oauth.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(p.verifier))
	if err != nil {
		return Login{}, exchangeFault(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := t.provider.VerifierContext(ctx, &oidc.Config{ClientID: t.config.ClientID, SupportedSigningAlgs: []string{oidc.ES256, oidc.EdDSA, oidc.RS256}}).Verify(ctx, raw)
	if err == nil && id.Nonce != p.nonce {
		err = errors.New("the nonce is not the one of this login")
	}
	if err == nil {
		err = id.VerifyAccessToken(token.AccessToken)
	}
	if err != nil {
		return Login{}, fault.Wrap(err, fault.Upstream, "id_token_invalid", "the ID token does not hold: %s", name.Clip(err.Error(), 300))
	}
	login := Login{
		OK: true, Subject: id.Subject, Refresh: token.RefreshToken != "", ExpiresIn: token.ExpiresIn, AccessToken: claims(token.AccessToken), IDToken: claims(raw),
		Verified: []string{"state", "iss", "signature", "aud", "exp", "nonce", "at_hash", "PKCE"},
	}
	login.Scope, _ = token.Extra("scope").(string)
	if t.config.ShowTokens {
		login.Token = token.AccessToken
	}
	return login, nil
}

// exchangeFault says what the token endpoint said.
func exchangeFault(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fault.Wrap(err, fault.Unavailable, "token_endpoint_unreachable", "the token endpoint does not answer")
	}
	f := fault.New(fault.Invalid, "code_refused", "the token endpoint answered %s: %s", name.Clip(refused.ErrorCode, 80), name.Clip(refused.ErrorDescription, 300))
	if refused.ErrorCode == "invalid_client" {
		return f.WithFix("check client id and secret, and how the client authenticates")
	}
	return f.WithFix("log in again; a code is good once and for a minute")
}

// claims returns the claims of a JWT, which is verified already or only shown;
// nil for a token that is none.
func claims(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return nil
	}
	return m
}

// logoutURL is where the person logs out, and comes back (OpenID Connect
// RP-Initiated Logout 1.0). It names the client, and not by an ID token: that
// would stand in the page.
func (t *Test) logoutURL() string {
	if t.logout == "" {
		return ""
	}
	return t.logout + "?" + url.Values{"client_id": {t.config.ClientID}, "post_logout_redirect_uri": {t.config.URL + LoggedOutPath}}.Encode()
}

// lines are claims as people read them, in order.
func lines(m map[string]any) []string {
	list := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text := fmt.Sprint(m[key])
		if n, ok := m[key].(json.Number); ok && slices.Contains([]string{"iat", "exp", "auth_time", "nbf"}, key) {
			if seconds, err := n.Int64(); err == nil {
				text += " (" + time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05 UTC") + ")"
			}
		}
		list = append(list, key+": "+text)
	}
	return list
}

// Lines returns what people read of a login.
func (l Login) Lines() []string {
	if !l.OK {
		out := []string{"✗ " + l.Error}
		if l.Fix != "" {
			out = append(out, "  fix: "+l.Fix)
		}
		return out
	}
	out := []string{"✓ logged in: " + l.Subject, "  verified: " + strings.Join(l.Verified, ", "), "  scopes: " + l.Scope, "ID token"}
	for _, line := range lines(l.IDToken) {
		out = append(out, "  "+line)
	}
	out = append(out, "access token")
	for _, line := range lines(l.AccessToken) {
		out = append(out, "  "+line)
	}
	if l.Token != "" {
		out = append(out, "  "+l.Token)
	}
	return out
}
