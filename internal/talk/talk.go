// Package talk is the page on which a person talks to an agent in the browser: the login at the agent's issuer, the session, and the page.
//
// The ingress is a client of the issuer for this, and keeps the token on behalf of
// the browser, which has a cookie only (draft-ietf-oauth-browser-based-apps,
// section 6.1). What the token opens, the ingress decides as for any other.
package talk

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Config says what the page is made of.
type Config struct {
	Site     *browser.Site // of the ingress
	Pages    *browser.Pages
	Metadata *discovery.Client
	Issuer   *vendor.Client
	Dialect  vendor.Entry // of issuers: that of the standards
	// Identity is the origin of Deputy's identity service: links to it are what agents may ask a person to open.
	Identity string
	Log      *slog.Logger
	Now      func() time.Time // nil = time.Now
}

// The bounds of what is kept. Who comes when a shelf is full takes the place of
// who came first.
const (
	maxAttempts = 10_000
	attemptTime = 10 * time.Minute
	maxSessions = 10_000
	sessionTime = 12 * time.Hour // a session ends with its token, and no later than this
	tokenTime   = time.Hour      // the life of a token of which nobody says how long it lives
)

// Desk serves the pages of all agents. Sessions end with the process.
type Desk struct {
	config   Config
	attempts *shelf[attempt]
	sessions *shelf[session]
}

// session is one browser's login at one agent.
type session struct {
	workload name.Workload
	name     string      // of the person, to be shown
	token    secret.Text // the access token
}

// New returns a desk at which nobody is logged in.
func New(c Config) *Desk {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Dialect.Token.Auth = vendor.AuthNone // a public client: there is no place for a secret in an agent's definition
	return &Desk{config: c, attempts: newShelf[attempt](maxAttempts, c.Now), sessions: newShelf[session](maxSessions, c.Now)}
}

// Token implements [ingress.Talk].
func (d *Desk) Token(r *http.Request, w name.Workload) string {
	s, ok := d.session(r, w)
	if !ok {
		return ""
	}
	return s.token.RevealString()
}

func (d *Desk) session(r *http.Request, w name.Workload) (session, bool) {
	s, ok := d.sessions.get(d.config.Site.Cookie(r, cookie("talk", w)))
	return s, ok && s.workload == w
}

// cookie names a cookie for one agent, so that logins at several do not end each
// other.
func cookie(what string, w name.Workload) string {
	sum := sha256.Sum256([]byte(w.String()))
	return what + "-" + hex.EncodeToString(sum[:6])
}

// Serve implements [ingress.Talk].
func (d *Desk) Serve(out http.ResponseWriter, r *http.Request, v ingress.Visit) {
	serve := map[ingress.Page]func(http.ResponseWriter, *http.Request, ingress.Visit) error{
		ingress.PageTalk: d.talk, ingress.PageLogin: d.login, ingress.PageCallback: d.callback, ingress.PageLogout: d.logout,
	}[v.Page]
	if err := serve(out, r, v); err != nil {
		f := fault.As(err)
		level := slog.LevelInfo
		if f.Kind == fault.Internal || f.Kind == fault.Upstream || f.Kind == fault.Unavailable {
			level = slog.LevelWarn
		}
		d.config.Log.Log(r.Context(), level, "no login at an agent", "agent", v.Workload.String(), "code", f.Code, "err", err)
		d.config.Pages.Render(out, r, status(f.Kind), failedPage(v, f))
	}
}

func status(k fault.Kind) int {
	return cmp.Or(map[fault.Kind]int{
		fault.Forbidden: http.StatusForbidden, fault.Unauthenticated: http.StatusForbidden, fault.Upstream: http.StatusBadGateway,
		fault.Unavailable: http.StatusServiceUnavailable, fault.Internal: http.StatusInternalServerError,
	}[k], http.StatusBadRequest)
}

func (d *Desk) talk(out http.ResponseWriter, r *http.Request, v ingress.Visit) error {
	s, ok := d.session(r, v.Workload)
	if !ok {
		d.config.Pages.Render(out, r, http.StatusOK, loginPage(v))
		return nil
	}
	d.config.Pages.Render(out, r, http.StatusOK, talkPage(v, s.name, d.config.Identity, d.config.Site.FormToken(out, r, logoutForm(v.Workload)...)))
	return nil
}

func logoutForm(w name.Workload) []string { return []string{"talk-logout", w.Pool, w.Name} }

func (d *Desk) logout(out http.ResponseWriter, r *http.Request, v ingress.Visit) error {
	r.Body = http.MaxBytesReader(out, r.Body, 4<<10)
	if err := d.config.Site.CheckForm(r, r.PostFormValue(browser.FormField), logoutForm(v.Workload)...); err != nil {
		return err
	}
	d.sessions.take(d.config.Site.Cookie(r, cookie("talk", v.Workload)))
	d.config.Site.ClearCookie(out, cookie("talk", v.Workload))
	browser.Headers(out)
	http.Redirect(out, r, v.Path, http.StatusSeeOther)
	return nil
}
