// Package login has the login pages of the user pools, and tells other edges who is logged in.
package login

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Logins tells who is logged in to a pool in a browser, and sends a browser
// there to log in. Other edges use it to bind what they show to a person.
type Logins struct {
	PublicURL string
	Site      *browser.Site
	Users     userpool.Users
	Sessions  userpool.Sessions
	Guard     *guard.Guard
	Log       *slog.Logger
	Now       func() time.Time // nil means time.Now
}

// Login is who is logged in.
type Login struct {
	Person name.User // issuer and subject
	Title  string    // what people see as his name
	// Binding is different for every login and is no credential. Forms that act for the person have it in
	// the purpose of their token (see [browser.Site.FormToken]), so that they die with the login.
	Binding string

	User    userpool.User
	Session userpool.Session
}

// SessionUser reports whether this browser is logged in to the pool with that
// issuer, and as whom. An issuer that is no pool of ours has nobody. An error
// is about us, and must not be taken for "nobody".
func (l *Logins) SessionUser(r *http.Request, issuer string) (Login, bool, error) {
	pool, ok := userpool.PoolOfIssuer(l.PublicURL, issuer)
	token := secret.FromString(l.Site.Cookie(r, sessionCookie(pool)))
	if !ok || token.Empty() {
		return Login{}, false, nil
	}
	s, err := l.Sessions.Session(r.Context(), pool, userpool.HashSession(token))
	if err != nil {
		return Login{}, false, ignoreNotFound(err)
	}
	u, err := l.Users.User(r.Context(), pool, s.UserID)
	if err != nil {
		return Login{}, false, ignoreNotFound(err)
	}
	if !s.Alive(u, l.now()) {
		return Login{}, false, nil
	}
	login := Login{
		Person: name.User{Issuer: issuer, Subject: u.ID}, Title: u.Title(), User: u, Session: s,
		Binding: token.Digest("login binding").String(),
	}
	return login, true, l.extend(r, login)
}

func ignoreNotFound(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// extend notes that the session is in use, now and then: each note is a write.
func (l *Logins) extend(r *http.Request, login Login) error {
	now := l.now()
	if now.Sub(login.Session.LastUsedAt) < userpool.SessionExtend {
		return nil
	}
	ctx := r.Context()
	p, err := l.Guard.Allow(ctx, login.Caller(), userpool.ActionExtendSession, login.Session.Resource())
	if err != nil {
		return err
	}
	return ignoreNotFound(l.Sessions.ExtendSession(ctx, p, login.Session.Pool, login.Session.ID, now))
}

// Caller returns who is logged in, as the guard knows him.
func (l Login) Caller() name.Caller { return name.Caller{Kind: name.Person, User: l.Person} }

// LoginURL returns where to send a browser so that a person logs in at the pool
// with that issuer and comes back to a local path. It returns a fault of kind
// Invalid for an issuer that is no pool of ours, and for a path other than those of
// the pages that wait for a login: the pool's own authorization endpoint, device
// page and account page, and Deputy's authorization link ("/authorize?request_uri=…").
func (l *Logins) LoginURL(issuer, returnTo string) (string, error) {
	pool, ok := userpool.PoolOfIssuer(l.PublicURL, issuer)
	if !ok {
		return "", fault.New(fault.Invalid, "issuer_foreign", "%q is not a user pool of this Deputy", name.Clip(issuer, 200))
	}
	if err := checkReturn(pool, returnTo); err != nil {
		return "", err
	}
	return poolpage.Path(pool, "/login") + "?" + url.Values{"return": {returnTo}}.Encode(), nil
}

// Person is SessionUser for callers to whom trouble of ours is nobody: it logs
// the error and reports false.
func (l *Logins) Person(r *http.Request, issuer string) (name.Caller, bool) {
	login, ok, err := l.SessionUser(r, issuer)
	if err != nil {
		l.Log.ErrorContext(r.Context(), "session not read", "issuer", issuer, "err", err)
		return name.Caller{}, false
	}
	if !ok {
		return name.Caller{}, false
	}
	return login.Caller(), true
}

// Start sends the browser to LoginURL. It reports false, and has answered
// nothing, if there is none. Whether somebody is logged in makes no difference:
// the login page always asks.
func (l *Logins) Start(w http.ResponseWriter, issuer, returnTo string) bool {
	to, err := l.LoginURL(issuer, returnTo)
	if err != nil {
		return false
	}
	poolpage.Redirect(w, to)
	return true
}

// linkPath begins the return path of Deputy's authorization link.
const linkPath = "/authorize?request_uri="

// returnPaths are the beginnings of the paths that a login at the pool may lead to.
func returnPaths(pool string) []string {
	return []string{linkPath, poolpage.Path(pool, "/authorize?"), poolpage.Path(pool, "/device?"), poolpage.Path(pool, "/account/"), poolpage.Path(pool, "/account?")}
}

// checkReturn keeps the login page from being an open redirect: a return path
// begins like one of ours and has no character over which browsers and we might
// disagree.
func checkReturn(pool, path string) error {
	ok := len(path) <= poolpage.MaxRequest && (path == poolpage.Path(pool, "/account") ||
		slices.ContainsFunc(returnPaths(pool), func(ours string) bool { return strings.HasPrefix(path, ours) }))
	for i := range len(path) {
		c := path[i]
		ok = ok && c > ' ' && c <= '~' && c != '\\' && c != '#' && c != '"' && c != '<' && c != '>'
	}
	if !ok {
		return fault.New(fault.Invalid, "return_invalid", "the address to return to after the login is not one of ours").
			WithFix("start again at the application")
	}
	return nil
}

// LogoutURL returns where a person ends his login at the pool with that issuer,
// or "" if that is no pool of ours.
func (l *Logins) LogoutURL(issuer string) string {
	pool, ok := userpool.PoolOfIssuer(l.PublicURL, issuer)
	if !ok {
		return ""
	}
	return poolpage.Path(pool, "/logout")
}

// Begin gives the browser a new session, ending the one that it had: a token
// from before the login is worth nothing after it (session fixation).
func (l *Logins) Begin(w http.ResponseWriter, r *http.Request, pool userpool.Pool, token secret.Text) {
	old, ok, err := l.SessionUser(r, userpool.Issuer(l.PublicURL, pool.Name))
	if err == nil && ok {
		err = l.End(r, old)
	}
	if err != nil {
		l.Log.WarnContext(r.Context(), "former session not ended", "pool", pool.Name, "err", err)
	}
	l.Site.SetCookie(w, sessionCookie(pool.Name), token.RevealString(), 0)
}

// End ends a login.
func (l *Logins) End(r *http.Request, login Login) error {
	ctx := r.Context()
	p, err := l.Guard.Allow(ctx, login.Caller(), userpool.ActionEndSession, login.Session.Resource())
	if err != nil {
		return err
	}
	return ignoreNotFound(l.Sessions.EndSession(ctx, p, login.Session.Pool, login.Session.ID))
}

// Forget takes the session of the pool from the browser. It does not end it.
func (l *Logins) Forget(w http.ResponseWriter, pool string) {
	l.Site.ClearCookie(w, sessionCookie(pool))
}

// sessionCookie names a pool's session: a browser may be logged in to several.
func sessionCookie(pool string) string { return "pool-" + pool }

func (l *Logins) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}
