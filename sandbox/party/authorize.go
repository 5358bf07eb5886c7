package party

import (
	"bytes"
	"cmp"
	"crypto/rand"
	_ "embed" // the page
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	loginPath    = "/sandbox/login"
	consentPath  = "/sandbox/consent"
	visitCookie  = "party_sandbox_visit"
	visitsLast   = 8 * time.Hour
	maxQuerySize = 8 << 10
)

// visit is one browser. Its user is empty before the login.
type visit struct {
	user    string
	form    string // what the forms that it was shown carry (CSRF)
	expires time.Time
}

// request is a request of the authorize page that may be shown to the user.
type request struct {
	redirectURI, state, challenge string
	scopes                        []string
	offline, cumulative           bool
	query                         string // as it came, to be carried through the forms
}

// parse checks a query, or says what is wrong with it. A wrong request is shown
// and never redirected. It runs again for each form, since a form is input too.
func (p *Party) parse(query string) (request, string) {
	q, err := url.ParseQuery(query)
	if err != nil || len(query) > maxQuerySize {
		return request{}, "query"
	}
	req := request{redirectURI: q.Get("redirect_uri"), state: q.Get("state"), challenge: q.Get("code_challenge"), query: query}
	req.scopes = strings.FieldsFunc(q.Get(p.scopeParam()), func(r rune) bool { return r == ' ' || r == ',' })
	req.offline = p.dialect.RefreshPrefix != "" && (p.dialect.Offline == nil || p.dialect.Offline(q))
	req.cumulative = p.dialect.Cumulative != nil && p.dialect.Cumulative(q)
	switch {
	case q.Get("client_id") != p.app.ID:
		return req, "client_id"
	case !slices.Contains(p.app.RedirectURIs, req.redirectURI):
		return req, "redirect_uri"
	case req.challenge != "" && q.Get("code_challenge_method") != "S256":
		return req, "code_challenge_method"
	}
	for _, scope := range req.scopes {
		if p.dialect.Scopes[scope] == "" {
			return req, p.scopeParam()
		}
	}
	return req, ""
}

func (p *Party) scopeParam() string { return cmp.Or(p.dialect.ScopeParam, "scope") }

// visiting returns the visit of the browser, and begins one if there is none.
func (p *Party) visiting(w http.ResponseWriter, r *http.Request) visit {
	if c, err := r.Cookie(visitCookie); err == nil {
		p.mu.Lock()
		v, ok := p.visits.items[c.Value]
		p.mu.Unlock()
		if ok && p.now().Before(v.expires) {
			return v
		}
	}
	return p.beginVisit(w, r, "")
}

func (p *Party) beginVisit(w http.ResponseWriter, r *http.Request, user string) visit {
	id, v := rand.Text(), visit{user: user, form: rand.Text(), expires: p.now().Add(visitsLast)}
	p.mu.Lock()
	p.visits.add(id, v)
	p.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: visitCookie, Value: id, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
	return v
}

func (p *Party) authorize(w http.ResponseWriter, r *http.Request) {
	req, wrong := p.parse(r.URL.RawQuery)
	if wrong != "" {
		p.render(w, http.StatusBadRequest, view{Wrong: wrong})
		return
	}
	p.show(w, http.StatusOK, req, p.visiting(w, r), false)
}

// posted reads a form that was made for this browser, or answers why not.
func (p *Party) posted(w http.ResponseWriter, r *http.Request) (req request, v visit, ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return req, v, false
	}
	v = p.visiting(w, r)
	if !same(r.PostForm.Get("form"), v.form) {
		http.Error(w, "this form is not from the page you saw; open the link again", http.StatusForbidden)
		return req, v, false
	}
	req, wrong := p.parse(r.PostForm.Get("request"))
	if wrong != "" {
		p.render(w, http.StatusBadRequest, view{Wrong: wrong})
		return req, v, false
	}
	return req, v, true
}

func (p *Party) login(w http.ResponseWriter, r *http.Request) {
	req, v, ok := p.posted(w, r)
	if !ok {
		return
	}
	user, known := find(p.users, r.PostForm.Get("username"))
	if !same(user.Password, r.PostForm.Get("password")) || !known {
		p.show(w, http.StatusUnauthorized, req, v, true)
		return
	}
	p.beginVisit(w, r, user.Username)
	http.Redirect(w, r, p.dialect.AuthorizePath+"?"+req.query, http.StatusSeeOther)
}

// consent takes the decision and sends the browser back to the app.
func (p *Party) consent(w http.ResponseWriter, r *http.Request) {
	req, v, ok := p.posted(w, r)
	if !ok {
		return
	}
	user, known := find(p.users, v.user)
	decision := r.PostForm.Get("decision")
	if !known || decision != "allow" && decision != "deny" {
		http.Error(w, "log in, and decide with one of the buttons", http.StatusBadRequest)
		return
	}
	target, err := url.Parse(req.redirectURI)
	if err != nil { // New parsed it already
		http.Error(w, "bad redirect URI", http.StatusInternalServerError)
		return
	}
	back := target.Query()
	if req.state != "" {
		back.Set("state", req.state)
	}
	if decision == "deny" {
		back.Set("error", "access_denied")
	} else {
		key := rand.Text()
		p.mu.Lock()
		p.codes.add(key, code{holder: Holder{user, p.agree(user, req)}, redirectURI: req.redirectURI,
			challenge: req.challenge, offline: req.offline, expires: p.now().Add(p.dialect.CodeLifetime)})
		p.mu.Unlock()
		back.Set("code", key)
	}
	p.log.LogAttrs(r.Context(), slog.LevelInfo, "consent decided", slog.String("user", user.Username), slog.String("decision", decision))
	target.RawQuery = back.Encode()
	http.Redirect(w, r, target.String(), http.StatusFound)
}

// agree notes what a user has agreed to, and returns what the tokens of this request
// will have.
func (p *Party) agree(user User, req request) []string {
	all := p.agreed[user.Username]
	for _, scope := range req.scopes {
		if !slices.Contains(all, scope) {
			all = append(all, scope)
		}
	}
	p.agreed[user.Username] = all
	if req.cumulative {
		return slices.Clone(all)
	}
	return req.scopes
}

//go:embed page.html
var pageText string

//go:embed style.css
var styleText []byte

const stylePath = "/sandbox/style.css"

func style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(styleText) // an error means that the browser left
}

// view is what the page shows: an error, the login, or the question.
type view struct {
	Vendor, App, Request, Form string
	Wrong                      string // the parameter that is wrong; nothing else is shown
	Refused                    bool   // name and password were wrong
	User                       User   // empty before the login
	Users                      []User
	Scopes                     map[string]string
}

func (p *Party) show(w http.ResponseWriter, status int, req request, v visit, refused bool) {
	user, _ := find(p.users, v.user)
	scopes := make(map[string]string, len(req.scopes))
	for _, s := range req.scopes {
		scopes[s] = p.dialect.Scopes[s]
	}
	p.render(w, status, view{Request: req.query, Form: v.form, Refused: refused, User: user, Users: p.users, Scopes: scopes})
}

func (p *Party) render(w http.ResponseWriter, status int, v view) {
	v.Vendor, v.App = p.dialect.Vendor, p.app.Name
	var b bytes.Buffer
	if err := p.page.Execute(&b, v); err != nil {
		p.log.Error("page failed", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the app's state
	w.WriteHeader(status)
	w.Write(b.Bytes()) // an error means that the browser left
}
