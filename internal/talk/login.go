package talk

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/wire"
)

// attempt is a login under way, found by its state. Only the browser that began
// it may end it, and only once.
type attempt struct {
	workload name.Workload
	browser  secret.Text // the value of its cookie
	verifier secret.Text // RFC 7636
}

// login sends the browser to the agent's issuer (RFC 6749, section 4.1.1).
func (d *Desk) login(out http.ResponseWriter, r *http.Request, v ingress.Visit) error {
	server, entry, err := d.issuer(r.Context(), v)
	if err != nil {
		return err
	}
	scopes, err := name.NewScopes(append(ours(server), v.Scopes...)...)
	if err != nil {
		return err
	}
	state, key := name.NewToken("st"), name.NewToken("lb")
	a := attempt{workload: v.Workload, browser: secret.FromString(key), verifier: oauth.NewVerifier()}
	ask := vendor.Ask{Scopes: scopes, State: state, CodeChallenge: oauth.Challenge(a.verifier)}
	if r.URL.Query().Has("other") { // somebody else than the issuer remembers (OpenID Connect Core 1.0, section 3.1.2.1)
		ask.Params = map[string]string{"prompt": "login"}
	}
	to, err := entry.AuthorizeURL(app(v), ask)
	if err != nil {
		return err
	}
	d.attempts.put(state, a, d.config.Now().Add(attemptTime))
	d.config.Site.SetCookie(out, cookie("login", v.Workload), key, attemptTime)
	browser.Headers(out)
	http.Redirect(out, r, to, http.StatusSeeOther)
	return nil
}

// ours are the scopes that the page itself wants: who it is, to show his name.
func ours(server discovery.Server) []string {
	if len(server.Scopes) == 0 || slices.Contains(server.Scopes, "profile") {
		return []string{"openid", "profile"}
	}
	return []string{"openid"}
}

// app is the client as which people log in.
func app(v ingress.Visit) vendor.App {
	return vendor.App{ClientID: v.Session.Client, RedirectURI: v.URL + "callback"}
}

// issuer finds the agent's issuer.
func (d *Desk) issuer(ctx context.Context, v ingress.Visit) (discovery.Server, vendor.Entry, error) {
	server, err := d.config.Metadata.Server(ctx, v.Session.DiscoveryURL)
	if err != nil {
		return server, vendor.Entry{}, err
	}
	entry, err := d.config.Dialect.With(vendor.Endpoints{Authorization: server.Authorization, Token: server.Token})
	return server, entry, err
}

// callback ends a login: it redeems the code and keeps the token, if that opens
// the agent.
func (d *Desk) callback(out http.ResponseWriter, r *http.Request, v ingress.Visit) error {
	d.config.Site.ClearCookie(out, cookie("login", v.Workload))
	q := r.URL.Query()
	a, err := d.begun(r, v.Workload, q)
	if err != nil {
		return err
	}
	server, entry, err := d.issuer(r.Context(), v)
	if err != nil {
		return err
	}
	code, err := answered(q, server)
	if err != nil {
		return err
	}
	tokens, err := d.config.Issuer.Exchange(r.Context(), entry, app(v), code, a.verifier)
	if err != nil {
		return notRedeemed(err)
	}
	user, err := v.Check(tokens.Access.RevealString())
	if err != nil {
		return err
	}
	s := session{workload: v.Workload, name: displayName(tokens.ID, user), token: tokens.Access}
	now := d.config.Now()
	ends, latest := tokens.ExpiresAt, now.Add(sessionTime)
	if ends.IsZero() {
		ends = now.Add(tokenTime)
	}
	if ends.After(latest) {
		ends = latest
	}
	key := name.NewToken("ts")
	d.sessions.put(key, s, ends)
	d.config.Site.SetCookie(out, cookie("talk", v.Workload), key, ends.Sub(now))
	browser.Headers(out)
	http.Redirect(out, r, v.Path, http.StatusSeeOther)
	return nil
}

// notRedeemed is the fault for a code for which there is no token.
func notRedeemed(err error) error {
	var f *vendor.Failure
	if errors.As(err, &f) && f.Class == vendor.ClassUser {
		return fault.Wrap(err, fault.Forbidden, "code_refused", "the issuer does not accept the code of this answer: it is too old, or was used before").WithFix("log in again from the agent's page")
	}
	return fault.Wrap(err, fault.Upstream, "issuer_refused", "the issuer gave no token for this login").
		WithFix("try again; an operator can see in the log what the issuer said. runtime_session_client has to be a public client")
}

// displayName is what the page calls the user. The ID token comes straight from the
// issuer, and nothing rests on it (OpenID Connect Core 1.0, section 3.1.3.7).
func displayName(idToken secret.Text, u name.User) string {
	var claims struct {
		Subject  string `json:"sub"`
		Name     string `json:"name"`
		UserName string `json:"preferred_username"`
	}
	part := strings.Split(idToken.RevealString(), ".")
	if len(part) != 3 {
		return u.Subject
	}
	b, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil || wire.DecodeForeign(b, &claims) != nil || claims.Subject != u.Subject {
		return u.Subject
	}
	return name.Clip(cmp.Or(claims.Name, claims.UserName, u.Subject), 64)
}

// begun returns the login that an answer belongs to.
func (d *Desk) begun(r *http.Request, w name.Workload, q url.Values) (attempt, error) {
	a, ok := d.attempts.take(q.Get("state"))
	if !ok || len(q["state"]) != 1 || a.workload != w || !secret.Equal(a.browser, secret.FromString(d.config.Site.Cookie(r, cookie("login", w)))) {
		return attempt{}, fault.New(fault.Forbidden, "login_foreign", "this answer belongs to no login that this browser began here, or that login is over").
			WithFix("allow cookies and log in again from the agent's page")
	}
	return a, nil
}

// answered returns the code in an issuer's answer (RFC 6749, section 4.1.2; RFC
// 9207, section 2.4).
func answered(q url.Values, server discovery.Server) (secret.Text, error) {
	if iss := q.Get("iss"); iss != server.Issuer && (iss != "" || server.IssInAnswer) {
		return secret.Text{}, fault.New(fault.Forbidden, "issuer_mismatch", "the answer is not from the issuer that was asked").WithFix("log in again from the agent's page")
	}
	switch refused := q.Get("error"); {
	case refused == "access_denied":
		return secret.Text{}, fault.New(fault.Forbidden, "login_denied", "the login was cancelled")
	case refused != "":
		return secret.Text{}, fault.New(fault.Upstream, "login_refused", "the issuer answered %q", name.Clip(refused, 80)).
			WithFix("check that runtime_session_client is a public client of the issuer, and that it may ask for the agent's scopes")
	case q.Get("code") == "" || len(q["code"]) != 1:
		return secret.Text{}, fault.New(fault.Invalid, "login_malformed", "the answer has no code").WithFix("log in again from the agent's page")
	}
	return secret.FromString(q.Get("code")), nil
}
