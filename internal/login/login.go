package login

import (
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

// Handler serves the login pages of all pools. All fields are required.
type Handler struct {
	poolpage.Base
	Logins   *Logins
	SignIn   *signin.SignIn
	Recovery *recovery.Recovery
}

// Mount adds the pages to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET /login", h.Page(h.show)},
		{"POST /login", h.Form(h.submit)},
	} {
		mux.Handle(poolpage.Pattern(endpoint.pattern), endpoint.handler)
	}
	mux.HandleFunc(poolpage.Pattern("GET /look/{version}/{file}"), h.look)
	for pattern, handler := range h.recoveryPages() {
		mux.Handle(poolpage.Pattern(pattern), handler)
	}
}

func loginPurpose(pool userpool.Pool, returnTo string) []string {
	return []string{"login", pool.Name, returnTo}
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	returnTo := r.URL.Query().Get("return")
	if returnTo != "" {
		if err := checkReturn(pool.Name, returnTo); err != nil {
			return err
		}
	}
	h.render(w, r, pool, http.StatusOK, loginForm{returnTo: returnTo})
	return nil
}

func (h *Handler) submit(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	f := loginForm{returnTo: form.Get("return"), userName: form.Get("username")}
	if f.returnTo != "" {
		if err := checkReturn(pool.Name, f.returnTo); err != nil {
			return err
		}
	}
	if err := h.Site.CheckForm(r, form.Get(browser.FormField), loginPurpose(pool, f.returnTo)...); err != nil {
		return err
	}
	password := secret.FromString(form.Get("password"))
	result, err := h.SignIn.Password(r.Context(), pool.Name, f.userName, password, h.Address(r))
	var wait *signin.TooMany
	switch {
	case errors.As(err, &wait):
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Wait/time.Second)))
		f.problem = textThrottled(wait.Wait)
		h.render(w, r, pool, http.StatusTooManyRequests, f)
		return nil
	case fault.HasCode(err, "login_failed"):
		f.problem = textLoginFailed()
		h.render(w, r, pool, http.StatusForbidden, f)
		return nil
	case err != nil:
		return err
	}
	h.Logins.begin(w, r, pool, result.Token)
	if f.returnTo != "" {
		poolpage.Redirect(w, f.returnTo, h.Logins.targets(f.returnTo)...)
		return nil
	}
	h.Pages.Render(w, r, http.StatusOK, loggedInNotice(pool, h.Brand(pool), result.User))
	return nil
}

// loginForm is what the login page shows.
type loginForm struct {
	returnTo string
	userName string
	problem  browser.Text
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, pool userpool.Pool, status int, f loginForm) {
	page := loginPage(pool, h.Brand(pool), f, h.Site.FormToken(w, r, loginPurpose(pool, f.returnTo)...))
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
