// Package idppage has the way to an external identity provider and back: the buttons of the login page, and the callback.
package idppage

import (
	"cmp"
	"context"
	"net/http"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Handler serves the pages of all pools. All fields are required.
type Handler struct {
	Login      *login.Handler
	Federation *federation.Federation
}

// Mount adds the pages to mux. An answer is taken at the path of sign-up too,
// which set-up instructions for generic providers have people register: the state
// says which login it is, so the path has nothing to decide.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.Handle(poolpage.Pattern("GET /login/{idp}/begin"), h.Login.Page(h.begin))
	mux.Handle(poolpage.Pattern("GET /login/{idp}/callback"), h.Login.Page(h.finish))
	mux.Handle(poolpage.Pattern("GET /signup/{idp}/callback"), h.Login.Page(h.finish))
}

// Choices returns the buttons for the pool's login page; see [login.Handler].
func (h *Handler) Choices(ctx context.Context, pool userpool.Pool, returnTo string) ([]browser.Link, error) {
	providers, err := h.Federation.Enabled(ctx, pool.Name)
	var links []browser.Link
	for _, p := range providers {
		to := poolpage.Path(pool.Name, "/login/"+p.Name+"/begin")
		if returnTo != "" {
			to = poolpage.WithQuery(to, map[string][]string{"return": {returnTo}})
		}
		links = append(links, browser.Link{Label: textLogInWith(p), URL: to})
	}
	return links, err
}

func (h *Handler) begin(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	returnTo := r.URL.Query().Get("return")
	if returnTo != "" {
		if _, err := h.Login.Logins.LoginURL(h.Login.Issuer(pool), returnTo); err != nil {
			return err
		}
	}
	token := h.Login.Site.Cookie(r, login.ExternalCookie(pool))
	if token == "" {
		token = name.NewToken("fb")
	}
	to, err := h.Federation.Begin(r.Context(), pool.Name, r.PathValue("idp"), secret.FromString(token), returnTo)
	if err != nil {
		return explained(pool, federation.Finished{ReturnTo: returnTo}, err)
	}
	h.Login.Site.SetCookie(w, login.ExternalCookie(pool), token, idp.LoginLifetime)
	poolpage.Redirect(w, to)
	return nil
}

func (h *Handler) finish(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	answer, err := oauth.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	token := secret.FromString(h.Login.Site.Cookie(r, login.ExternalCookie(pool)))
	now, _, err := h.Login.Logins.SessionUser(r, h.Login.Issuer(pool)) // nobody has the zero Session
	if err != nil {
		return err
	}
	done, err := h.Federation.Finish(r.Context(), pool.Name, r.PathValue("idp"), token, now.Session, answer)
	if err != nil {
		return explained(pool, done, err)
	}
	account := poolpage.Path(pool.Name, "/account")
	if done.Linked {
		poolpage.Redirect(w, account)
		return nil
	}
	p, err := h.Login.SignIn.Proven(r.Context(), pool, done.User, []string{signin.MethodFederated}, h.Login.Origin(r))
	if fault.HasCode(err, "login_failed") { // the words of the password page are not for here
		return &poolpage.Error{Status: http.StatusForbidden, Notice: disabledNotice()}
	}
	if err != nil {
		return err
	}
	h.Login.Site.SetCookie(w, login.ExternalFrom(pool), done.Provider.Name, userpool.SessionLifetime)
	// Never without a redirect: the provider's answer would stay in the address bar.
	h.Login.Proceed(w, r, pool, p, cmp.Or(done.ReturnTo, account))
	return nil
}
