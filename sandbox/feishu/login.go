package feishu

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/url"
)

// Cookies of the sandbox. Cookies ignore ports, so the names say whose they are.
const (
	sessionCookie = "feishu_sandbox_session" // who is logged in
	browserCookie = "feishu_sandbox_browser" // ties the login form to the browser that saw it
)

// loggedIn returns the user of the browser's session and the session's id.
func (s *Sandbox) loggedIn(r *http.Request) (User, string, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return User{}, "", false
	}
	u, ok := s.users[s.state.sessionUser(c.Value, s.now())]
	return u, c.Value, ok
}

// csrfToken proves that a form was made for this purpose and this browser.
func (s *Sandbox) csrfToken(purpose, owner string) string {
	mac := hmac.New(sha256.New, s.csrfKey)
	mac.Write([]byte(purpose + "\x00" + owner))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Sandbox) csrfValid(token, purpose, owner string) bool {
	return owner != "" && hmac.Equal([]byte(token), []byte(s.csrfToken(purpose, owner)))
}

func setCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
}

// showLogin shows the login page; problem is shown above the form.
func (s *Sandbox) showLogin(w http.ResponseWriter, r *http.Request, status int, req authorizeRequest, problem string) {
	browser, err := r.Cookie(browserCookie)
	if err != nil || browser.Value == "" {
		browser = &http.Cookie{Value: rand.Text()}
		setCookie(w, r, browserCookie, browser.Value, 0)
	}
	var demo []User
	for _, u := range s.logins {
		if u.Demo {
			demo = append(demo, u)
		}
	}
	s.render(w, status, "login", map[string]any{
		"App": req.app.Name, "Request": req.query, "CSRF": s.csrfToken("login", browser.Value),
		"Demo": demo, "Problem": problem, "Action": loginPath,
	})
}

// login checks name and password, or takes one of the demo users whose password
// the page printed anyway, and goes back to the authorize page.
func (s *Sandbox) login(w http.ResponseWriter, r *http.Request) {
	form, ok := s.readForm(w, r)
	if !ok {
		return
	}
	browser, err := r.Cookie(browserCookie)
	if err != nil || !s.csrfValid(form.Get("csrf"), "login", browser.Value) {
		http.Error(w, "this form is not from the page you saw; open the link again", http.StatusForbidden)
		return
	}
	req, problem := s.parseAuthorize(form.Get("request"))
	if problem != nil {
		s.showError(w, r, problem)
		return
	}
	username := form.Get("username")
	u, known := s.users[username]
	right := equalSecrets(u.Password, form.Get("password")) && known
	if quick := s.users[form.Get("quick")]; quick.Demo {
		u, right = quick, true
	}
	if !right {
		s.log.LogAttrs(r.Context(), slog.LevelInfo, "login refused")
		s.showLogin(w, r, http.StatusUnauthorized, req, "用户名或密码错误 · Wrong user name or password")
		return
	}
	id := s.state.startSession(u.Username, s.now().Add(sessionLifetime))
	setCookie(w, r, sessionCookie, id, int(sessionLifetime.Seconds()))
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "login", slog.String("user", u.Username))
	http.Redirect(w, r, AuthorizePath+"?"+req.query, http.StatusSeeOther)
}

// logout lets the person on the consent page become somebody else.
func (s *Sandbox) logout(w http.ResponseWriter, r *http.Request) {
	form, ok := s.readForm(w, r)
	if !ok {
		return
	}
	_, session, ok := s.loggedIn(r)
	if ok && !s.csrfValid(form.Get("csrf"), "consent", session) {
		http.Error(w, "this form is not from the page you saw; open the link again", http.StatusForbidden)
		return
	}
	s.state.endSession(session)
	setCookie(w, r, sessionCookie, "", -1)
	http.Redirect(w, r, AuthorizePath+"?"+form.Get("request"), http.StatusSeeOther)
}

// readForm reads a bounded form body, or answers 400.
func (s *Sandbox) readForm(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return nil, false
	}
	return r.PostForm, true
}
