// Package callback has the pages of authorizations and trials: the link that somebody opens, and the address that third parties redirect back to.
package callback

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/trial"
)

// Path is where third parties redirect to: the redirect URI of every provider
// that has none of its own, below it.
const Path = "/api/v1/oauth2callback"

// resultPath shows how an authorization ended. The pages that end one redirect
// there, so that going back or reloading repeats nothing and the third party's
// code does not stay in the address bar.
const resultPath = "/authorize/result"

// Login tells and establishes who a browser's user is.
type Login interface {
	// Person returns who the browser is logged in as at the pool with the given
	// issuer. It reports false when nobody is, or when the issuer is not one of ours.
	Person(r *http.Request, issuer string) (name.Caller, bool)
	// Start sends the browser to log in at the issuer's pool, as whomever, and then to returnTo, a local
	// path. It reports false, and has answered nothing, when the issuer is not one of ours.
	Start(w http.ResponseWriter, issuer, returnTo string) bool
}

// Handler serves the pages.
type Handler struct {
	Flow   *consent.Flow
	Keys   Keys
	Trials *trial.Trials // which have the redirect URI of the providers that they try out
	Login  Login
	Site   *browser.Site
	Pages  *browser.Pages
	Scopes func(ctx context.Context, pool, provider string, scopes name.Scopes) []browser.Item // scopes in words
	Codes  []string                                                                            // parameters in which third parties send codes
	Logger *slog.Logger
}

// Keys are the public keys of providers, and what they say about themselves;
// [provider.Registry] has them.
type Keys interface {
	// PublicKeys returns the key set of the provider with that id, or a fault of kind NotFound.
	PublicKeys(ctx context.Context, providerID string) ([]byte, error)
	// ClientDocument returns what the provider with that id says about itself as a client, or a fault of kind NotFound.
	ClientDocument(ctx context.Context, providerID string) ([]byte, error)
}

// keys is where third parties find the keys of a provider that proves itself by
// private_key_jwt (RFC 7523, section 2.2).
func (h *Handler) keys(w http.ResponseWriter, r *http.Request) {
	h.document(w, r, "application/jwk-set+json", h.Keys.PublicKeys)
}

// client is the Client ID Metadata Document of a provider.
func (h *Handler) client(w http.ResponseWriter, r *http.Request) {
	h.document(w, r, "application/json", h.Keys.ClientDocument)
}

// document shows third parties what a provider says.
func (h *Handler) document(w http.ResponseWriter, r *http.Request, mediaType string, of func(ctx context.Context, providerID string) ([]byte, error)) {
	content, err := of(r.Context(), name.Clip(r.PathValue("provider"), 100))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(content) // who does not read it asks again
}

// Mount adds the handler's routes.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /authorize", h.open)
	mux.HandleFunc("POST /authorize", h.decide)
	mux.HandleFunc("GET "+devicePath, h.device)
	mux.HandleFunc("GET "+Path, h.finish)
	mux.HandleFunc("GET "+Path+"/{pool}/{provider}", h.finish)
	mux.HandleFunc("GET "+resultPath, h.result)
	mux.HandleFunc("GET "+trial.Path, h.openTrial)
	mux.HandleFunc("GET "+provider.KeysPath("{provider}"), h.keys)
	mux.HandleFunc("GET "+provider.ClientPath("{provider}"), h.client)
	mux.HandleFunc("GET "+trialResultPath, h.trialResult)
	// Said here because the path is below that of the API, which would answer that there is nothing.
	mux.HandleFunc(Path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	})
}

// againParam asks, in the address of a link, for a new login.
const againParam = "login"

// link returns the secret part of the request_uri in values, or "" if there is none.
func link(requestURI string) secret.Text {
	id, ok := strings.CutPrefix(requestURI, consent.RequestURIPrefix)
	if !ok || id == "" || len(id) > 200 {
		return secret.Text{}
	}
	return secret.FromString(id)
}

// open is the link: it makes sure that this browser's user is the very user
// that the agent acts for, before anybody is sent anywhere.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) {
	if onlyLooking(r) {
		browser.Headers(w)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	query, err := oauth.ParseQuery(r.URL.RawQuery)
	id := link(query.Get("request_uri"))
	if err != nil || id.Empty() {
		h.fail(w, r, fault.New(fault.Invalid, "link_malformed", "this address is not a complete authorization link").
			WithFix("open the link exactly as the agent showed it"))
		return
	}
	a, err := h.Flow.Lookup(r.Context(), id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	local := "/authorize?request_uri=" + consent.RequestURIPrefix + id.RevealString()
	person, ok := h.Login.Person(r, a.User.Issuer)
	if !ok || query.Get(againParam) == "again" {
		if !h.Login.Start(w, a.User.Issuer, local) {
			h.fail(w, r, fault.New(fault.Forbidden, "user_not_of_pool", "the user of this authorization does not belong to a user pool of this Deputy").
				WithFix("let people log in through a user pool of this Deputy"))
		}
		return
	}
	a, redirect, mark, err := h.Flow.Open(r.Context(), person, id)
	switch {
	case fault.HasCode(err, "link_not_yours"):
		h.notYours(w, r, err, local)
	case err != nil:
		h.fail(w, r, err)
	case redirect == "" && a.Kind == consent.KindDelegation:
		h.ask(w, r, a, id)
	case redirect == "":
		browser.Headers(w)
		http.Redirect(w, r, devicePage(a.ID), http.StatusSeeOther)
	default:
		h.Site.SetCookie(w, markCookie(stateOf(redirect)), mark.RevealString(), consent.Life)
		browser.Headers(w)
		http.Redirect(w, r, redirect, http.StatusFound)
	}
}

// onlyLooking reports whether nobody has followed the link yet: previews ask
// with HEAD (which net/http sends to handlers of GET), and browsers say when they
// fetch ahead. The link works once, and that once belongs to the user's click.
func onlyLooking(r *http.Request) bool {
	return r.Method != http.MethodGet || r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") == "prefetch"
}

// ask shows Deputy's own consent page, for a workload that asks for what the
// user's grant has already.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, a consent.Authorization, id secret.Text) {
	requestURI := consent.RequestURIPrefix + id.RevealString()
	to, err := h.Flow.ReturnURL(r.Context(), a)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.Pages.Render(w, r, http.StatusOK, browser.Decision{
		Targets: []string{to},
		Title:   browser.Text{EN: "Let this agent use your authorization?", ZH: "允许该智能体使用你的授权？"},
		Who:     a.Workload.String(),
		Text: browser.Text{
			EN: "You have authorized " + a.Provider + " before. This agent asks to use it for you:",
			ZH: "你此前已授权 " + a.Provider + "。该智能体请求代你使用：",
		},
		Items:  h.Scopes(r.Context(), a.Pool, a.Provider, a.Scopes),
		Action: "/authorize",
		Hidden: []browser.Hidden{
			{Name: "request_uri", Value: requestURI},
			{Name: browser.FormField, Value: h.Site.FormToken(w, r, "authorize", requestURI, a.User.Issuer, a.User.Subject)},
		},
	})
}

// maxForm bounds the decision form.
const maxForm = 8 << 10

// decide takes the answer of [Handler.ask].
func (h *Handler) decide(w http.ResponseWriter, r *http.Request) {
	form, err := oauth.ParseForm(r, maxForm)
	if err != nil {
		h.fail(w, r, fault.Wrap(err, fault.Invalid, "form_malformed", "the form is not complete").WithFix("open the link again"))
		return
	}
	id := link(form.Get("request_uri"))
	decision := form.Get("decision")
	if id.Empty() || (decision != "allow" && decision != "deny") {
		h.fail(w, r, fault.New(fault.Invalid, "form_malformed", "the form is not complete").WithFix("open the link again"))
		return
	}
	a, err := h.Flow.Lookup(r.Context(), id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	person, ok := h.Login.Person(r, a.User.Issuer)
	if !ok {
		h.fail(w, r, fault.New(fault.Unauthenticated, "login_required", "you are not logged in any more").WithFix("open the link again"))
		return
	}
	if err := h.Site.CheckForm(r, form.Get(browser.FormField), "authorize", form.Get("request_uri"), person.User.Issuer, person.User.Subject); err != nil {
		h.fail(w, r, err)
		return
	}
	a, err = h.Flow.Decide(r.Context(), person, id, decision == "allow")
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.toResult(w, r, a)
}

// code returns the authorization code in the parameters of the callback.
func (h *Handler) code(query url.Values) string {
	for _, param := range h.Codes {
		if code := query.Get(param); code != "" {
			return code
		}
	}
	return ""
}

// finish is where third parties redirect to.
func (h *Handler) finish(w http.ResponseWriter, r *http.Request) {
	query, err := oauth.ParseQuery(r.URL.RawQuery)
	state, code := query.Get("state"), h.code(query)
	if err != nil || state == "" || len(state) > 200 || (code == "") == (query.Get("error") == "") || len(code) > 8192 {
		h.fail(w, r, fault.New(fault.Invalid, "callback_malformed", "Missing authorization code or state: the third party sent parameters that do not make an answer").
			WithFix("expected are \"state\" and one of \"code\" and \"error\" at %s; came: %s", Path, names(query)))
		return
	}
	tried, err := h.Trials.Owner(r.Context(), secret.FromString(state))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if tried != "" {
		h.finishTrial(w, r, tried, query)
		return
	}
	cookie := markCookie(state)
	cb := consent.Callback{
		State: secret.FromString(state), Code: secret.FromString(code), Browser: secret.FromString(h.Site.Cookie(r, cookie)),
		Error: query.Get("error"), Description: query.Get("error_description"), Issuer: query.Get("iss"), Below: strings.TrimPrefix(r.URL.Path, Path),
	}
	issuer, err := h.Flow.IssuerOf(r.Context(), cb.State)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	person, _ := h.Login.Person(r, issuer) // nobody is refused by Finish, which records it
	a, err := h.Flow.Finish(r.Context(), person, cb)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.Site.ClearCookie(w, cookie)
	h.toResult(w, r, a)
}

// toResult sends the browser to where the agent wants it to go in the end, or
// to the page that says how it ended.
func (h *Handler) toResult(w http.ResponseWriter, r *http.Request, a consent.Authorization) {
	to, err := h.Flow.ReturnURL(r.Context(), a)
	if err != nil {
		h.log(r, fault.As(err)) // the page tells all the same
	}
	if to == "" {
		to = resultPath + "?id=" + url.QueryEscape(a.ID)
	}
	browser.Headers(w)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// result shows an authorization to its user, and to nobody else.
func (h *Handler) result(w http.ResponseWriter, r *http.Request) {
	a, err := h.Flow.Result(r.Context(), r.URL.Query().Get("id"), func(issuer string) name.Caller {
		person, _ := h.Login.Person(r, issuer) // nobody is not the user either
		return person
	})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.done(w, r, a)
}

// markCookie names the cookie that marks the browser for one state parameter,
// so that several authorizations may be under way in one browser.
func markCookie(state string) string {
	return "authorization-" + secret.FromString(state).Digest("mark-cookie").String()[:16]
}

func (h *Handler) log(r *http.Request, f *fault.Error) {
	level := slog.LevelInfo
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		level = slog.LevelError
	}
	h.Logger.LogAttrs(r.Context(), level, "authorization page refused", slog.String("request", audit.RequestID(r.Context())), slog.String("path", r.URL.Path), slog.Any("err", f))
}
