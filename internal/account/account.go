// Package account has the pages on which people see and change what is theirs: who they are, sessions, applications, password and second factors.
package account

import (
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Base is what all pages of the account need. All fields are required.
type Base struct {
	poolpage.Base
	Logins *login.Logins
}

// recent is how old a login may be that changes how its owner logs in.
const recent = 10 * time.Minute

// visit is a request of somebody who is logged in.
type visit struct {
	w     http.ResponseWriter
	r     *http.Request
	pool  userpool.Pool
	login login.Login
	brand browser.Brand
}

func (v visit) path(p string) string { return poolpage.Path(v.pool.Name, p) }

// when says how lately somebody must have logged in.
type when bool

const (
	anytime  when = false
	recently when = true
)

// as makes a page of somebody who is logged in, and lately if that is asked for.
// Anybody else is sent to log in first, and comes back by GET: a form that was
// sent meanwhile is not.
func (b Base) as(w when, do func(visit) error) poolpage.Serve {
	return func(out http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
		l, ok, err := b.Logins.SessionUser(r, b.Issuer(pool))
		if err != nil {
			return err
		}
		if ok && (w == anytime || b.Now().Sub(l.Session.AuthTime) <= recent) {
			return do(visit{out, r, pool, l, b.Brand(pool)})
		}
		back := poolpage.Path(pool.Name, homePath)
		if r.Method == http.MethodGet {
			back = r.URL.RequestURI()
		}
		to, err := b.Logins.LoginURL(b.Issuer(pool), back)
		if err != nil {
			return err
		}
		poolpage.Redirect(out, to)
		return nil
	}
}

// purpose binds a form to the login and to what it must not change.
func (v visit) purpose(what ...string) []string {
	return append([]string{"account", v.pool.Name, v.login.Binding}, what...)
}

// hidden is the token of a form for a purpose.
func (b Base) hidden(v visit, what ...string) browser.Hidden {
	return browser.Hidden{Name: browser.FormField, Value: b.Site.FormToken(v.w, v.r, v.purpose(what...)...)}
}

// form reads a form that was made for a purpose, named by its own path and the
// values of some of its fields.
func (b Base) form(v visit, path string, fields ...string) (url.Values, error) {
	form, err := oauth.ParseForm(v.r, poolpage.MaxBody)
	if err != nil {
		return nil, err
	}
	what := []string{path}
	for _, field := range fields {
		what = append(what, form.Get(field))
	}
	return form, b.Site.CheckForm(v.r, form.Get(browser.FormField), v.purpose(what...)...)
}
