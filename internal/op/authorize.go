package op

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// authorize is the authorization endpoint (OpenID Connect Core 1.0, section
// 3.1.2): it sends the person to log in, asks for consent, or answers at once.
type authorize struct {
	base
	requests requestParser
	answers  answerer
	logins   *login.Logins
	consents userpool.Consents
}

// serve asks nobody and tells nobody anything before it knows who is there: a link
// of ours that led to a client's address at once, if only with an error, would be
// of use to whoever registered the client for that (RFC 9700, section 4.11.2).
func (e authorize) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	ctx := r.Context()
	a, refusal, err := e.read(ctx, pool, r.URL.RawQuery)
	if err != nil {
		return err
	}
	who, loggedIn, err := e.logins.SessionUser(r, e.Issuer(pool))
	if err != nil {
		return err
	}
	if !loggedIn || (refusal == nil && a.needsLogin(who, loggedIn, e.Now())) {
		if !a.prompt(oauth.PromptNone) {
			return e.logIn(w, pool, a)
		}
		refusal = cmp.Or(refusal, oauth.NewError(oauth.CodeLoginRequired, "nobody is logged in, or not lately enough"))
	}
	if refusal == nil && a.subject != "" && a.subject != who.User.ID { // OpenID Connect Core 1.0, section 3.1.2.2
		refusal = oauth.NewError(oauth.CodeLoginRequired, "somebody else is logged in than id_token_hint names")
	}
	if refusal != nil {
		return e.refuse(ctx, w, pool, a, refusal)
	}
	allowed, err := e.consents.Consent(ctx, pool.Name, who.User.ID, a.client.ID)
	if err != nil {
		return err
	}
	if allowed.Covers(a.scopes) && !a.prompt(oauth.PromptConsent) {
		return e.answers.code(w, r, pool, a, who)
	}
	if a.prompt(oauth.PromptNone) {
		return e.refuse(ctx, w, pool, a, oauth.NewError(oauth.CodeConsentRequired, "the user has not allowed this yet"))
	}
	e.Pages.Render(w, r, http.StatusOK, consentPage(pool, e.Brand(pool), a, who, e.Site.FormToken(w, r, consentPurpose(pool, a, who)...)))
	return nil
}

// read returns a request, and what is wrong with it that the client may be told.
func (e authorize) read(ctx context.Context, pool userpool.Pool, raw string) (authRequest, *oauth.Error, error) {
	a, err := e.requests.parse(ctx, pool, raw)
	var wrong *redirectError
	if errors.As(err, &wrong) {
		return wrong.request, wrong.err, nil
	}
	if err != nil {
		return authRequest{}, nil, err
	}
	return a, nil, e.requests.pushed.open(ctx, pool, a)
}

// logIn sends the person to the login page, to come back with the request.
func (e authorize) logIn(w http.ResponseWriter, pool userpool.Pool, a authRequest) error {
	to, err := e.logins.LoginURL(e.Issuer(pool), poolpage.Path(pool.Name, "/authorize?")+a.afterLogin())
	if err != nil {
		return err
	}
	poolpage.Redirect(w, to)
	return nil
}

// refuse tells the client by redirect why it gets no code, without the person
// having decided anything. One that nobody of the pool has vouched for is not
// trusted with that: its document names whatever address its author likes. The
// person is told in its place, unless the address is on his own machine: http is
// for loopback only.
func (e authorize) refuse(ctx context.Context, w http.ResponseWriter, pool userpool.Pool, a authRequest, why *oauth.Error) error {
	if a.client.Origin == userpool.ByDocument && !strings.HasPrefix(a.redirectURI, "http:") {
		return refusedNotice(a.client, why)
	}
	return e.answers.refuse(ctx, w, pool, a, why)
}

// authorizePost turns a request sent by POST (OpenID Connect Core 1.0, section
// 3.1.2.1) into one by GET: only there does the browser send its session along
// when another site made the request (SameSite=Lax).
type authorizePost struct{ base }

func (e authorizePost) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	q, err := oauth.ParseForm(r, poolpage.MaxRequest, paramResource)
	if err != nil {
		return err
	}
	poolpage.Redirect(w, poolpage.Path(pool.Name, "/authorize?")+q.Encode())
	return nil
}

// consentPurpose binds a consent form to the login and to the whole request.
func consentPurpose(pool userpool.Pool, a authRequest, l login.Login) []string {
	return []string{"consent", pool.Name, l.Binding, a.raw}
}

// consent takes the answer of the consent page.
type consent struct {
	base
	requests requestParser
	answers  answerer
	logins   *login.Logins
	consents userpool.Consents
	guard    *guard.Guard
}

func (e consent) submit(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	ctx := r.Context()
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	a, err := e.requests.parse(ctx, pool, form.Get("request"))
	var answer *redirectError
	if errors.As(err, &answer) {
		// Not redirected before the form's token says that we showed this request, and that was when it was right.
		return fault.New(fault.Invalid, "request_changed", "the authorization request is no longer valid").WithFix("start again at the application")
	}
	if err != nil {
		return err
	}
	who, loggedIn, err := e.logins.SessionUser(r, e.Issuer(pool))
	if err != nil {
		return err
	}
	if err := e.Site.CheckForm(r, form.Get(browser.FormField), consentPurpose(pool, a, who)...); err != nil || !loggedIn {
		return fault.Wrap(err, fault.Forbidden, "form_foreign", "this form was not made for this browser, or it is out of date")
	}
	switch form.Get("decision") {
	case "allow":
		if err := e.answers.clients.keep(ctx, a.client); err != nil {
			return err
		}
		if err := rememberConsent(ctx, e.consents, e.guard, who, a.client.ID, a.scopes, e.Now()); err != nil {
			return err
		}
		return e.answers.code(w, r, pool, a, who)
	case "deny":
		return e.answers.refuse(ctx, w, pool, a, oauth.NewError(oauth.CodeAccessDenied, "the user denied the request"))
	default:
		return fault.New(fault.Invalid, "decision_missing", "the form has no decision").WithFix("choose allow or deny")
	}
}

// rememberConsent adds the scopes to what the person has allowed the client.
func rememberConsent(ctx context.Context, consents userpool.Consents, g *guard.Guard, l login.Login, clientID string, scopes name.Scopes, now time.Time) error {
	before, err := consents.Consent(ctx, l.User.Pool, l.User.ID, clientID)
	if err != nil {
		return err
	}
	c := userpool.Consent{Pool: l.User.Pool, UserID: l.User.ID, ClientID: clientID, Scopes: before.Union(scopes), GrantedAt: now}
	p, err := g.Allow(ctx, l.Caller(), userpool.ActionSetConsent, c.Resource())
	if err != nil {
		return err
	}
	return consents.SetConsent(ctx, p.With("", c.Scopes, map[string]string{"client": clientID}), c)
}

// answerer answers authorization requests by redirect. Every answer names the
// issuer (RFC 9207), so that a client of several providers cannot be made to mix
// them up.
type answerer struct {
	base
	codes   userpool.Codes
	guard   *guard.Guard
	clients clients
	pushed  pushedRequests
}

// code answers with a fresh authorization code.
func (e answerer) code(w http.ResponseWriter, r *http.Request, pool userpool.Pool, a authRequest, l login.Login) error {
	ctx := r.Context()
	if err := e.clients.keep(ctx, a.client); err != nil {
		return err
	}
	if err := e.pushed.use(ctx, pool, a); err != nil {
		return err
	}
	value := userpool.NewCode()
	c := userpool.Code{
		Hash: userpool.HashCode(value), ID: name.NewID("code"), Pool: pool.Name, ClientID: a.client.ID, RedirectURI: a.redirectURI,
		Challenge: a.challenge, Nonce: a.nonce, Scopes: a.scopes, Resources: a.resources, UserID: l.User.ID,
		SessionID: l.Session.ID, Methods: l.Session.Methods, FamilyID: name.NewID("fam"), AuthTime: l.Session.AuthTime,
		ExpiresAt: e.Now().Add(userpool.CodeLifetime),
	}
	p, err := e.guard.Allow(ctx, l.Caller(), userpool.ActionCreateCode, c.Resource())
	if err != nil {
		return err
	}
	if err := e.codes.CreateCode(ctx, p.With("", a.scopes, map[string]string{"client": a.client.ID}), c); err != nil {
		return err
	}
	e.send(w, pool, a, url.Values{"code": {value.RevealString()}})
	return nil
}

// refuse answers with an error. That is an answer, too: a pushed request has no other.
func (e answerer) refuse(ctx context.Context, w http.ResponseWriter, pool userpool.Pool, a authRequest, why *oauth.Error) error {
	if err := e.pushed.use(ctx, pool, a); err != nil {
		return err
	}
	e.send(w, pool, a, why.Values(""))
	return nil
}

func (e answerer) send(w http.ResponseWriter, pool userpool.Pool, a authRequest, q url.Values) {
	if a.state != "" {
		q.Set("state", a.state)
	}
	q.Set("iss", e.Issuer(pool))
	poolpage.Redirect(w, poolpage.WithQuery(a.redirectURI, q), a.redirectURI)
}
