package op

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// login is the login page of a pool.
type login struct {
	base
	site    *browser.Site
	logins  *Logins
	signIn  *signin.SignIn
	address func(*http.Request) netip.Addr
}

func loginPurpose(pool userpool.Pool, returnTo string) []string {
	return []string{"login", pool.Name, returnTo}
}

func (e login) show(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	returnTo := r.URL.Query().Get("return")
	if returnTo != "" {
		if err := checkReturn(pool.Name, returnTo); err != nil {
			return err
		}
	}
	e.render(w, r, pool, http.StatusOK, loginForm{returnTo: returnTo})
	return nil
}

func (e login) submit(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, maxBody)
	if err != nil {
		return err
	}
	f := loginForm{returnTo: form.Get("return"), userName: form.Get("username")}
	if f.returnTo != "" {
		if err := checkReturn(pool.Name, f.returnTo); err != nil {
			return err
		}
	}
	if err := e.site.CheckForm(r, form.Get(browser.FormField), loginPurpose(pool, f.returnTo)...); err != nil {
		return err
	}
	password := secret.FromString(form.Get("password"))
	result, err := e.signIn.Password(r.Context(), pool.Name, f.userName, password, e.address(r))
	var wait *signin.TooMany
	switch {
	case errors.As(err, &wait):
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Wait/time.Second)))
		f.problem = textThrottled(wait.Wait)
		e.render(w, r, pool, http.StatusTooManyRequests, f)
		return nil
	case fault.HasCode(err, "login_failed"):
		f.problem = textLoginFailed()
		e.render(w, r, pool, http.StatusForbidden, f)
		return nil
	case err != nil:
		return err
	}
	e.logins.begin(w, r, pool, result.Token)
	if f.returnTo != "" {
		redirect(w, f.returnTo, e.logins.targets(f.returnTo)...)
		return nil
	}
	e.pages.Render(w, r, http.StatusOK, loggedInNotice(pool, result.User))
	return nil
}

// loginForm is what the login page shows.
type loginForm struct {
	returnTo string
	userName string
	problem  browser.Text
}

func (e login) render(w http.ResponseWriter, r *http.Request, pool userpool.Pool, status int, f loginForm) {
	page := loginPage(pool, f, e.site.FormToken(w, r, loginPurpose(pool, f.returnTo)...))
	page.Targets = e.logins.targets(f.returnTo)
	e.pages.Render(w, r, status, page)
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
