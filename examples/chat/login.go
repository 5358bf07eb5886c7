package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// login is the relying party: OpenID Connect's authorization code flow with
// PKCE S256 (RFC 7636), state and nonce.
type login struct {
	set      settings
	log      *slog.Logger
	now      func() time.Time
	client   *http.Client
	attempts *shelf[attempt]

	mu       sync.Mutex // held during discovery, so that it runs once at a time
	found    *provider
	failed   error // the last attempt's outcome, until retry
	retry    time.Time
	deadline time.Duration // of one discovery
}

// attempt is one login under way. It is found by a cookie, so that only the
// browser that began it can finish it, and can be used once.
type attempt struct{ state, nonce, verifier token }

// The bounds of logins under way. A flood of started logins pushes out the
// oldest one first, whose user then has to press the button again.
const (
	maxAttempts = 10_000
	attemptTime = 10 * time.Minute
	// unknownTokenTime is how long an access token counts for whose life the
	// provider did not tell.
	unknownTokenTime = time.Hour
)

// provider is what discovery found.
type provider struct {
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
}

func newLogin(set settings, log *slog.Logger, now func() time.Time) *login {
	return &login{
		set: set, log: log, now: now,
		client:   &http.Client{Timeout: 15 * time.Second, Transport: boundedBody{newTransport()}},
		attempts: newShelf[attempt](maxAttempts, now, nil),
		deadline: 5 * time.Second,
	}
}

// boundedBody cuts answers of the provider at 1 MiB: the libraries read to the end.
type boundedBody struct{ next http.RoundTripper }

func (b boundedBody) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, 1<<20), resp.Body}
	}
	return resp, err
}

// warmUp tries discovery at start, so that a wrong issuer is in the log before
// the first user meets it.
func (l *login) warmUp(ctx context.Context) {
	if _, err := l.discover(ctx); err != nil && ctx.Err() == nil {
		l.log.Warn("the identity service does not answer yet; the next login tries again", "setting", setIssuer, "error", err)
	}
}

// discover returns the provider, reading its discovery document on first need.
// After a failure it tries again, at most once per second.
func (l *login) discover(ctx context.Context) (*provider, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found != nil {
		return l.found, nil
	}
	if l.failed != nil && l.now().Before(l.retry) {
		return nil, l.failed
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, l.client), l.deadline)
	defer cancel()
	found, err := l.read(ctx)
	if err != nil && ctx.Err() == context.Canceled {
		return nil, err // the browser went away: that says nothing about the provider
	}
	l.found, l.failed, l.retry = found, err, l.now().Add(time.Second)
	return found, err
}

func (l *login) read(ctx context.Context) (*provider, error) {
	p, err := oidc.NewProvider(ctx, l.set.issuer)
	if mismatch := (*oidc.IssuerMismatchError)(nil); errors.As(err, &mismatch) {
		return nil, fmt.Errorf("%s is %q, but the provider calls itself %q: use exactly that", setIssuer, mismatch.Provided, mismatch.Discovered)
	}
	if err != nil {
		return nil, err
	}
	var meta struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := p.Claims(&meta); err != nil {
		return nil, err
	}
	endpoint := p.Endpoint()
	// Without an explicit style the library tries both ways and spends the code
	// twice. Basic is what OpenID Connect Discovery 1.0 section 3 implies.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if len(meta.Methods) > 0 && !slices.Contains(meta.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &provider{
		config: oauth2.Config{
			ClientID: l.set.clientID, ClientSecret: l.set.clientSecret.reveal(),
			Endpoint: endpoint, RedirectURL: l.set.redirectURI, Scopes: l.set.scopes,
		},
		verifier: p.VerifierContext(oidc.ClientContext(context.Background(), l.client), &oidc.Config{ClientID: l.set.clientID, Now: l.now}),
	}, nil
}

// begin stores a new attempt under key and returns the provider's URL for it.
// ask makes the provider ask for the password although it knows the user.
func (l *login) begin(ctx context.Context, key token, ask bool) (string, error) {
	p, err := l.discover(ctx)
	if err != nil {
		return "", err
	}
	a := attempt{state: randomToken(), nonce: randomToken(), verifier: newToken(oauth2.GenerateVerifier())}
	l.attempts.put(key, a, l.now().Add(attemptTime))
	options := []oauth2.AuthCodeOption{oidc.Nonce(a.nonce.reveal()), oauth2.S256ChallengeOption(a.verifier.reveal())}
	if ask {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	}
	return p.config.AuthCodeURL(a.state.reveal(), options...), nil
}

// loginError is a failed login: a code that the page has words for, and the
// cause for the log.
type loginError struct {
	code  string
	cause error
}

func (e *loginError) Error() string { return e.code + ": " + e.cause.Error() }

// finish turns the provider's answer into a session. query is the callback's;
// key is the cookie that begin stored the attempt under.
func (l *login) finish(ctx context.Context, key token, query map[string][]string) (*session, time.Time, error) {
	fail := func(code string, cause error) (*session, time.Time, error) {
		return nil, time.Time{}, &loginError{code, cause}
	}
	for name, values := range query {
		if len(values) > 1 { // RFC 6749 section 3.1
			return fail("login_failed", fmt.Errorf("parameter %q came %d times", name, len(values)))
		}
	}
	one := func(name string) string {
		if v := query[name]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	a, ok := l.attempts.take(key)
	if !ok || subtle.ConstantTimeCompare([]byte(one("state")), []byte(a.state.reveal())) != 1 {
		return fail("login_stale", errors.New("no login of this browser has this state"))
	}
	// RFC 9207: an answer that names another issuer is a mix-up.
	if iss := one("iss"); iss != "" && iss != l.set.issuer {
		return fail("login_failed", fmt.Errorf("the answer names issuer %q", iss))
	}
	switch code := one("error"); {
	case code == "access_denied":
		return fail("login_denied", errors.New("access_denied"))
	case code != "":
		return fail("login_failed", fmt.Errorf("the provider answered %q", code))
	case one("code") == "":
		return fail("login_failed", errors.New("the answer has neither code nor error"))
	}
	p, err := l.discover(ctx)
	if err != nil {
		return fail("provider_unavailable", err)
	}
	s, expires, err := p.exchange(oidc.ClientContext(ctx, l.client), one("code"), a, l.now)
	if err != nil {
		return fail("login_failed", err)
	}
	return s, expires, nil
}

// exchange spends the code and believes the answer only if the id_token holds:
// signature, issuer, audience, expiry (by the library), nonce and at_hash.
func (p *provider) exchange(ctx context.Context, code string, a attempt, now func() time.Time) (*session, time.Time, error) {
	granted, err := p.config.Exchange(ctx, code, oauth2.VerifierOption(a.verifier.reveal()))
	if err != nil {
		return nil, time.Time{}, describeExchange(err)
	}
	rawID, _ := granted.Extra("id_token").(string)
	if rawID == "" {
		return nil, time.Time{}, errors.New("the token answer has no id_token")
	}
	id, err := p.verifier.Verify(ctx, rawID)
	if err != nil {
		return nil, time.Time{}, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.nonce.reveal())) != 1 {
		return nil, time.Time{}, errors.New("the id_token has another nonce: it was made for another login")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(granted.AccessToken); err != nil {
			return nil, time.Time{}, err
		}
	}
	if granted.AccessToken == "" || !strings.EqualFold(granted.Type(), "Bearer") {
		return nil, time.Time{}, errors.New("the token answer has no bearer token")
	}
	expires := now().Add(unknownTokenTime)
	if !granted.Expiry.IsZero() {
		expires = granted.Expiry
	}
	if latest := now().Add(maxSessionTime); expires.After(latest) {
		expires = latest
	}
	var claims map[string]json.RawMessage
	if err := id.Claims(&claims); err != nil {
		return nil, time.Time{}, err
	}
	return newSession(displayName(claims, id.Subject), newToken(granted.AccessToken)), expires, nil
}

// describeExchange keeps the OAuth error code and drops the body, which is the
// provider's and may repeat what was sent.
func describeExchange(err error) error {
	refused := (*oauth2.RetrieveError)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	if refused.ErrorCode == "invalid_client" {
		return fmt.Errorf("the identity service refused this client: check %s and %s", setClientID, setSecret)
	}
	return fmt.Errorf("the identity service refused the code: status %d, error %q", refused.Response.StatusCode, refused.ErrorCode)
}

// displayName picks what the page calls the user, at most 64 characters.
func displayName(claims map[string]json.RawMessage, subject string) string {
	for _, key := range []string{"name", "preferred_username", "email"} {
		var name string
		if json.Unmarshal(claims[key], &name) == nil && strings.TrimSpace(name) != "" {
			return clip(strings.TrimSpace(name), 64)
		}
	}
	return clip(subject, 64)
}

// clip shortens s to at most n characters.
func clip(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}
