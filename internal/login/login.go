// Package login has the pages on which people log in to a user pool, and tells the other edges who is logged in.
package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Handler serves the login pages of all pools. All fields are required but Choices.
type Handler struct {
	poolpage.Base
	Logins   *Logins
	SignIn   *signin.SignIn
	Recovery *recovery.Recovery
	// Choices returns the ways to log in elsewhere, which come back to returnTo; nil: there are none.
	Choices func(ctx context.Context, pool userpool.Pool, returnTo string) ([]browser.Link, error)
}

// Mount adds the pages to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET /login", h.Page(h.show)},
		{"POST /login", h.Form(h.submit)},
		{"POST /login/begin-passkey", h.Form(h.beginPasskey)},
		{"GET /login/step", h.Page(h.showStep)},
		{"POST /login/code", h.Form(h.step(h.code))},
		{"POST /login/recovery-code", h.Form(h.step(h.recoveryCode))},
		{"POST /login/passkey", h.Form(h.step(h.passkey))},
		{"POST /login/password", h.Form(h.step(h.newPassword))},
		{"POST /login/enrol", h.Form(h.step(h.enrol))},
	} {
		mux.Handle(poolpage.Pattern(endpoint.pattern), endpoint.handler)
	}
	mux.HandleFunc(poolpage.Pattern("GET /look/{version}/{file}"), h.look)
	for pattern, handler := range h.recoveryPages() {
		mux.Handle(poolpage.Pattern(pattern), handler)
	}
}

// loginPurpose binds a login form to the page that it returns to.
func loginPurpose(pool userpool.Pool, returnTo string) []string {
	return []string{"login", pool.Name, returnTo}
}

// checkedReturn returns the address to return to, which may be empty.
func checkedReturn(pool userpool.Pool, q url.Values) (string, error) {
	returnTo := q.Get("return")
	if returnTo == "" {
		return "", nil
	}
	return returnTo, checkReturn(pool.Name, returnTo)
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	returnTo, err := checkedReturn(pool, r.URL.Query())
	if err != nil {
		return err
	}
	h.render(w, r, pool, http.StatusOK, loginForm{returnTo: returnTo})
	return nil
}

// checkedForm reads the login form.
func (h *Handler) checkedForm(r *http.Request, pool userpool.Pool) (url.Values, loginForm, error) {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return nil, loginForm{}, err
	}
	f := loginForm{userName: form.Get("username")}
	if f.returnTo, err = checkedReturn(pool, form); err != nil {
		return nil, loginForm{}, err
	}
	return form, f, h.Site.CheckForm(r, form.Get(browser.FormField), loginPurpose(pool, f.returnTo)...)
}

func (h *Handler) submit(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, f, err := h.checkedForm(r, pool)
	if err != nil {
		return err
	}
	p, err := h.SignIn.Password(r.Context(), pool, f.userName, secret.FromString(form.Get("password")), h.Origin(r))
	if err != nil {
		return h.failed(w, r, pool, f, err)
	}
	h.Proceed(w, r, pool, p, f.returnTo)
	return nil
}

// beginPasskey begins a login by a passkey that tells who it is.
func (h *Handler) beginPasskey(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	_, f, err := h.checkedForm(r, pool)
	if err != nil {
		return err
	}
	p, err := h.SignIn.BeginPasskey(r.Context(), pool, h.Origin(r))
	if err != nil {
		return h.failed(w, r, pool, f, err)
	}
	h.Proceed(w, r, pool, p, f.returnTo)
	return nil
}

// failed shows the login form with what was wrong, or returns err.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, pool userpool.Pool, f loginForm, err error) error {
	var wait *signin.TooMany
	switch {
	case errors.As(err, &wait):
		retryAfter(w, wait)
		f.problem = Throttled(wait.Wait)
		h.render(w, r, pool, http.StatusTooManyRequests, f)
		return nil
	case fault.HasCode(err, "login_failed"):
		f.problem = textLoginFailed()
		h.render(w, r, pool, http.StatusForbidden, f)
		return nil
	default:
		return err
	}
}

func retryAfter(w http.ResponseWriter, wait *signin.TooMany) {
	w.Header().Set("Retry-After", strconv.Itoa(int(wait.Wait/time.Second)))
}

// Origin returns where a request comes from, for package signin.
func (h *Handler) Origin(r *http.Request) signin.Origin {
	return signin.Origin{Address: h.Address(r), Agent: r.UserAgent()}
}

// Proceed answers a login that has come so far: with the session and the page to
// return to, or with the next step. It is for edges that have seen another
// proof of who somebody is; returnTo is a path that [Logins.LoginURL] allows, or
// empty.
func (h *Handler) Proceed(w http.ResponseWriter, r *http.Request, pool userpool.Pool, p signin.Progress, returnTo string) {
	if p.Need != signin.Nothing {
		h.Site.SetCookie(w, attemptCookie(pool.Name), p.Token.RevealString(), signin.AttemptLifetime)
		poolpage.Redirect(w, stepPath(pool, returnTo, ""), h.Logins.targets(returnTo)...)
		return
	}
	if h.Site.Cookie(r, attemptCookie(pool.Name)) != "" {
		h.Site.ClearCookie(w, attemptCookie(pool.Name))
	}
	h.Logins.Begin(w, r, pool, p.Token)
	switch {
	case len(p.Recovery) > 0:
		h.Pages.Render(w, r, http.StatusOK, RecoveryNotice(h.Brand(pool), p.Recovery, returnTo))
	case returnTo != "":
		poolpage.Redirect(w, returnTo, h.Logins.targets(returnTo)...)
	default:
		h.Pages.Render(w, r, http.StatusOK, loggedInNotice(pool, h.Brand(pool), p.User))
	}
}

// attemptCookie names a pool's login under way.
func attemptCookie(pool string) string { return "login-" + pool }

// loginForm is what the login page shows.
type loginForm struct {
	returnTo string
	userName string
	problem  browser.Text
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, pool userpool.Pool, status int, f loginForm) {
	page := loginPage(pool, h.Brand(pool), f, h.Site.FormToken(w, r, loginPurpose(pool, f.returnTo)...))
	if pool.Settings.SecondFactor != userpool.FactorOff && h.SignIn.Factors.Passkeys() {
		page.Others = []browser.Other{{Name: "begin-passkey", Label: textWithPasskey(), Path: poolpage.Path(pool.Name, "/login/begin-passkey")}}
	}
	if h.Choices != nil {
		var err error
		if page.Choices, err = h.Choices(r.Context(), pool, f.returnTo); err != nil { // a password still does
			h.Log.ErrorContext(r.Context(), "identity providers not read", "pool", pool.Name, "err", err)
		}
	}
	page.Targets, page.Links = h.Logins.targets(f.returnTo), h.links(pool)
	h.Pages.Render(w, r, status, page)
}

// targets returns the addresses to which a return path may lead on without a
// stop: a client's redirect URI, if the client has consent already, or a third
// party's authorization page.
func (l *Logins) targets(returnTo string) []string {
	if strings.HasPrefix(returnTo, linkPath) {
		return []string{"https:", l.PublicURL} // on a loopback site, third parties may be on loopback, too
	}
	u, err := url.Parse(returnTo)
	if err != nil {
		return nil
	}
	return []string{u.Query().Get("redirect_uri")}
}
