package op

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// logout is RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0). The
// person always confirms: any site can send a browser here.
type logout struct {
	base
	logins  *login.Logins
	clients userpool.Clients
	hints   hints

	upstream Upstream
}

// Upstream is what a logout asks about external identity providers.
type Upstream interface {
	// LogoutURL returns where a browser that logged in by a pool's identity provider is logged out there, to come
	// to returnTo afterwards; "" for nowhere.
	LogoutURL(ctx context.Context, pool, provider, returnTo string) string
}

// logoutDonePath is where identity providers send browsers back that were
// logged out there.
const logoutDonePath = "/logout/done"

// maxKept bounds the logout request that is kept in a cookie meanwhile, in bytes.
const maxKept = 3000

func keptCookie(pool userpool.Pool) string { return "logout-" + pool.Name }

// logoutRequest is where to go after the logout.
type logoutRequest struct {
	raw    string
	client userpool.Client // zero: unknown
	to     string          // registered post-logout redirect URI with state; may be empty
}

func logoutPurpose(pool userpool.Pool, l login.Login, raw string) []string {
	return []string{"logout", pool.Name, l.Binding, raw}
}

func (e logout) show(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	q, err := e.parse(r, pool, r.URL.RawQuery)
	if err != nil {
		return err
	}
	who, loggedIn, err := e.logins.SessionUser(r, e.Issuer(pool))
	if err != nil {
		return err
	}
	if !loggedIn {
		e.done(w, r, pool, q)
		return nil
	}
	page := logoutPage(pool, e.Brand(pool), q, who, e.Site.FormToken(w, r, logoutPurpose(pool, who, q.raw)...))
	page.Targets = append(page.Targets, e.elsewhere(r, pool, who))
	e.Pages.Render(w, r, http.StatusOK, page)
	return nil
}

// elsewhere returns where else who is to be logged out, "" for nowhere.
func (e logout) elsewhere(r *http.Request, pool userpool.Pool, who login.Login) string {
	from := e.Site.Cookie(r, login.ExternalFrom(pool))
	if from == "" || !slices.Contains(who.Session.Methods, signin.MethodFederated) {
		return ""
	}
	return e.upstream.LogoutURL(r.Context(), pool.Name, from, e.Issuer(pool)+logoutDonePath)
}

func (e logout) submit(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	q, err := e.parse(r, pool, form.Get("request"))
	if err != nil {
		return err
	}
	who, loggedIn, err := e.logins.SessionUser(r, e.Issuer(pool))
	if err != nil {
		return err
	}
	if loggedIn {
		if err := e.Site.CheckForm(r, form.Get(browser.FormField), logoutPurpose(pool, who, q.raw)...); err != nil {
			return err
		}
		if form.Get("decision") != "allow" {
			e.Pages.Render(w, r, http.StatusOK, stillLoggedInNotice(e.Brand(pool), pool, who))
			return nil
		}
		if err := e.logins.End(r, who); err != nil {
			return err
		}
		to := e.elsewhere(r, pool, who)
		e.logins.Forget(w, pool.Name)
		e.Site.ClearCookie(w, login.ExternalFrom(pool))
		if to != "" && len(q.raw) <= maxKept {
			e.Site.SetCookie(w, keptCookie(pool), base64.RawURLEncoding.EncodeToString([]byte(q.raw)), keptLife)
			poolpage.Redirect(w, to, to)
			return nil
		}
	}
	e.done(w, r, pool, q)
	return nil
}

// keptLife is how long a person may take at the identity provider.
const keptLife = 10 * time.Minute

// returned goes on after the logout at an identity provider, as the request
// said that was made here. The cookie proves nothing: what it says is checked
// like a request.
func (e logout) returned(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	raw, err := base64.RawURLEncoding.DecodeString(e.Site.Cookie(r, keptCookie(pool)))
	if err != nil {
		raw = nil // whoever wrote that, nobody is logged in any more
	}
	q, err := e.parse(r, pool, string(raw))
	if err != nil {
		return err
	}
	e.Site.ClearCookie(w, keptCookie(pool))
	e.done(w, r, pool, q)
	return nil
}

// done goes on to the client, or tells that nobody is logged in any more.
func (e logout) done(w http.ResponseWriter, r *http.Request, pool userpool.Pool, q logoutRequest) {
	if q.to != "" {
		poolpage.Redirect(w, q.to, q.to)
		return
	}
	e.Pages.Render(w, r, http.StatusOK, loggedOutNotice(e.Brand(pool), pool))
}

// parse reads a logout request. A post_logout_redirect_uri that is not
// registered for the client is an error that is shown, never redirected to.
func (e logout) parse(r *http.Request, pool userpool.Pool, raw string) (logoutRequest, error) {
	if len(raw) > poolpage.MaxRequest {
		return logoutRequest{}, fault.New(fault.TooLarge, "request_too_large", "the logout request is larger than %d bytes", poolpage.MaxRequest)
	}
	q, err := oauth.ParseQuery(raw)
	if err != nil {
		return logoutRequest{}, err
	}
	l := logoutRequest{raw: raw}
	clientID := q.Get("client_id")
	if hint := q.Get("id_token_hint"); hint != "" {
		audience, err := e.audience(r, pool, hint)
		if err != nil || (clientID != "" && clientID != audience) {
			return logoutRequest{}, fault.Wrap(err, fault.Invalid, "id_token_hint_invalid", "the id_token_hint is not an ID token of this pool for this client")
		}
		clientID = audience
	}
	if clientID != "" {
		if l.client, err = e.clients.Client(r.Context(), pool.Name, clientID); err != nil {
			return logoutRequest{}, err
		}
	}
	uri := q.Get("post_logout_redirect_uri")
	if uri == "" {
		return l, nil
	}
	if !oauth.Registered(l.client.PostLogoutRedirectURIs, uri) {
		return logoutRequest{}, logoutMismatch(l.client, uri)
	}
	l.to = uri
	if state := q.Get("state"); state != "" {
		l.to = poolpage.WithQuery(uri, url.Values{"state": {state}})
	}
	return l, nil
}

// audience returns whom an ID token of ours was made for.
func (e logout) audience(r *http.Request, pool userpool.Pool, idToken string) (string, error) {
	claims, err := e.hints.read(r.Context(), pool, idToken)
	if err != nil {
		return "", err
	}
	if len(claims.Audience) != 1 {
		return "", fault.New(fault.Invalid, "token_audience", "the ID token has %d audiences", len(claims.Audience))
	}
	return claims.Audience[0], nil
}

// logoutPost turns a logout request sent by POST into one by GET, as
// [authorizePost] does.
type logoutPost struct{ base }

func (e logoutPost) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	q, err := oauth.ParseForm(r, poolpage.MaxRequest)
	if err != nil {
		return err
	}
	poolpage.Redirect(w, poolpage.Path(pool.Name, "/logout?")+q.Encode())
	return nil
}

func logoutMismatch(c userpool.Client, came string) error {
	n := browser.Notice{
		Mood: browser.Failure, Title: poolpage.BadRequest(), Code: "post_logout_redirect_uri_mismatch",
		Text: browser.Text{
			EN: "post_logout_redirect_uri is not one of the addresses registered for this application.",
			ZH: "post_logout_redirect_uri 不在该应用已注册的退出回调地址之列。"},
		Facts: []browser.Fact{{Label: browser.Text{EN: "Address that came", ZH: "收到的地址"}, Values: []string{name.Clip(came, 400)}}},
	}
	if c.ID == "" {
		n.Detail = browser.Text{
			EN: "The application did not say who it is: send id_token_hint or client_id along.",
			ZH: "应用没有说明自己的身份：请同时发送 id_token_hint 或 client_id。"}
		return &poolpage.Error{Status: http.StatusBadRequest, Notice: n}
	}
	n.Facts = append([]browser.Fact{{Label: browser.Text{EN: "Application", ZH: "应用"}, Values: []string{c.Name}}}, n.Facts...)
	n.Facts = append(n.Facts, browser.Fact{Label: browser.Text{EN: "Registered", ZH: "已注册"}, Values: c.PostLogoutRedirectURIs})
	return &poolpage.Error{Status: http.StatusBadRequest, Notice: n}
}
