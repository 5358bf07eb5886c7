package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// app is the application.
type app struct {
	set      settings
	log      *slog.Logger
	now      func() time.Time
	cookies  cookies
	login    *login
	sessions *shelf[*session]
	agent    *agent
	page     *page
}

func newApp(set settings, log *slog.Logger, now func() time.Time) (*app, error) {
	page, err := newPage(set)
	if err != nil {
		return nil, err
	}
	return &app{
		set: set, log: log, now: now,
		cookies:  cookies{secure: set.base.Scheme == "https"},
		login:    newLogin(set, log, now),
		sessions: newShelf(maxSessions, now, func(s *session) { s.end() }),
		agent:    newAgent(set.agentEndpoint),
		page:     page,
	}, nil
}

// handler returns all routes, guarded.
func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.index)
	mux.HandleFunc("GET /static/{file}", a.page.static)
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /login", a.beginLogin)
	mux.HandleFunc("GET /callback", a.finishLogin)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /api/session", a.whoAmI)
	mux.HandleFunc("POST /api/conversation", a.newConversation)
	mux.HandleFunc("POST /api/chat", a.chat)
	return a.headers(a.ownHost(http.NewCrossOriginProtection().Handler(mux)))
}

// headers puts the browser on a short leash: only this origin's own files run,
// nothing is framed, and assigning a string to HTML is an error even in them.
func (a *app) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if a.cookies.secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost refuses requests that name another host, as DNS rebinding would. A
// person who typed localhost for 127.0.0.1 is sent to the configured address:
// the login's cookies would not come back to the other one.
func (a *app) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := origin(&url.URL{Scheme: a.set.base.Scheme, Host: r.Host})
		switch {
		case asked == origin(a.set.base) || r.URL.Path == "/healthz":
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && r.URL.Path == "/":
			http.Redirect(w, r, a.set.base.String()+"/", http.StatusFound)
		default:
			writeError(w, http.StatusMisdirectedRequest, errorMessage("bad_request", "This application is at "+a.set.base.String()+"."))
		}
	})
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "healthy"})
}

// session returns the session of the browser that sent r.
func (a *app) session(r *http.Request) (*session, bool) {
	key, ok := a.cookies.get(r, sessionCookie)
	if !ok {
		return nil, false
	}
	return a.sessions.get(key)
}

// endSession ends the session of the browser that sent r, and its running chats.
func (a *app) endSession(w http.ResponseWriter, r *http.Request) {
	if key, ok := a.cookies.get(r, sessionCookie); ok {
		a.sessions.end(key)
	}
	a.cookies.clear(w, sessionCookie)
}

// index serves the page. Somebody who is not logged in sees it too.
func (a *app) index(w http.ResponseWriter, r *http.Request) {
	view := view{Lang: chooseLanguage(r), Notice: r.URL.Query().Get("notice")}
	if s, ok := a.session(r); ok {
		view.LoggedIn, view.Name = true, s.name
	}
	if err := a.page.render(w, view); err != nil {
		a.log.Error("the page cannot be rendered", "error", err)
	}
}

func (a *app) whoAmI(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		LoggedIn bool   `json:"loggedIn"`
		Name     string `json:"name,omitempty"`
		Agent    string `json:"agent"`
	}{Agent: a.set.agentName}
	if s, ok := a.session(r); ok {
		answer.LoggedIn, answer.Name = true, s.name
	}
	writeJSON(w, http.StatusOK, answer)
}

func (a *app) newConversation(w http.ResponseWriter, r *http.Request) {
	s, ok := a.session(r)
	if !ok {
		writeError(w, http.StatusUnauthorized, errorMessage("login_required", "Log in to talk to the agent."))
		return
	}
	s.startConversation()
	w.WriteHeader(http.StatusNoContent)
}

// beginLogin sends the browser to the user pool.
func (a *app) beginLogin(w http.ResponseWriter, r *http.Request) {
	key := randomToken()
	_, ask := a.cookies.get(r, askCookie)
	target, err := a.login.begin(r.Context(), key, ask)
	if err != nil {
		a.log.Warn("a login cannot begin", "setting", setIssuer, "error", err)
		a.notice(w, r, "provider_unavailable")
		return
	}
	a.cookies.set(w, loginCookie, key, attemptTime)
	http.Redirect(w, r, target, http.StatusFound)
}

// finishLogin is where the user pool sends the browser back to.
func (a *app) finishLogin(w http.ResponseWriter, r *http.Request) {
	key, _ := a.cookies.get(r, loginCookie)
	a.cookies.clear(w, loginCookie)
	s, expires, err := a.login.finish(r.Context(), key, r.URL.Query())
	if err != nil {
		code := "login_failed"
		if failed := (*loginError)(nil); errors.As(err, &failed) {
			code = failed.code
		}
		a.log.Warn("a login failed", "code", code, "error", err)
		a.notice(w, r, code)
		return
	}
	// A session never survives a login, and its key is always new: nobody can
	// prepare a browser with a key that he knows.
	if old, ok := a.cookies.get(r, sessionCookie); ok {
		a.sessions.end(old)
	}
	id := randomToken()
	a.sessions.put(id, s, expires)
	a.cookies.set(w, sessionCookie, id, expires.Sub(a.now()))
	a.cookies.clear(w, askCookie)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout ends this browser's session and no other. The user pool still knows
// the user; the next login therefore asks for the password again, so that the
// next person at this browser does not become the last one with one click.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.endSession(w, r)
	a.cookies.set(w, askCookie, newToken("1"), 24*time.Hour)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// notice shows the page with a message about what went wrong.
func (a *app) notice(w http.ResponseWriter, r *http.Request, code string) {
	http.Redirect(w, r, "/?notice="+url.QueryEscape(code), http.StatusSeeOther)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

func writeError(w http.ResponseWriter, status int, m message) {
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": m.Code, "message": m.Message}})
}
