package login

import (
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The pages on which a letter is asked for, and those to which its link leads.
const (
	recoverPath = "/recover"
	signUpPath  = "/signup"
	resetPath   = "/reset-password"
	verifyPath  = "/verify-email"
	finishPath  = "/finish-signup"
)

// StartPath returns the path of the page on which a letter of that kind is
// asked for.
func StartPath(pool string, kind userpool.LetterKind) string {
	switch kind {
	case userpool.LetterSignUp:
		return poolpage.Path(pool, signUpPath)
	case userpool.LetterReset:
		return poolpage.Path(pool, recoverPath)
	default:
		return poolpage.Path(pool, verifyPath)
	}
}

// ProofPath returns the path of the page to which the link in a letter leads.
// The token is in the query, which is not logged.
func ProofPath(pool string, purpose userpool.Purpose, token secret.Text) string {
	path := map[userpool.Purpose]string{userpool.ResetPassword: resetPath, userpool.VerifyEmail: verifyPath, userpool.SignUp: finishPath}[purpose]
	return poolpage.Path(pool, path) + "?" + url.Values{"token": {token.RevealString()}}.Encode()
}

// recoveryPages are the endpoints of this file.
func (h *Handler) recoveryPages() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + recoverPath:  h.Page(h.ask(userpool.LetterReset)),
		"POST " + recoverPath: h.Form(h.request(userpool.LetterReset)),
		"GET " + signUpPath:   h.Page(h.ask(userpool.LetterSignUp)),
		"POST " + signUpPath:  h.Form(h.request(userpool.LetterSignUp)),
		"GET " + resetPath:    h.Page(h.open(userpool.ResetPassword)),
		"POST " + resetPath:   h.Form(h.reset),
		"GET " + verifyPath:   h.Page(h.showVerify),
		"POST " + verifyPath:  h.Form(h.verify),
		"GET " + finishPath:   h.Page(h.open(userpool.SignUp)),
		"POST " + finishPath:  h.Form(h.signUp),
	}
}

// links are the other ways from the login form.
func (h *Handler) links(pool userpool.Pool) []browser.Link {
	var links []browser.Link
	if h.Recovery.Offers(pool, userpool.LetterReset) {
		links = append(links, browser.Link{Label: textForgot(), URL: StartPath(pool.Name, userpool.LetterReset)})
	}
	if h.Recovery.Offers(pool, userpool.LetterSignUp) {
		links = append(links, browser.Link{Label: textCreateAccount(), URL: StartPath(pool.Name, userpool.LetterSignUp)})
	}
	return links
}

func askPurpose(pool userpool.Pool, kind userpool.LetterKind) []string {
	return []string{"ask for a letter", pool.Name, string(kind)}
}

func proofPurpose(pool userpool.Pool, purpose userpool.Purpose, token string) []string {
	return []string{"proof", pool.Name, string(purpose), token}
}

// ask shows the form that asks for an address.
func (h *Handler) ask(kind userpool.LetterKind) poolpage.Serve {
	return func(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
		if !h.Recovery.Offers(pool, kind) {
			return fault.New(fault.NotFound, "recovery_off", "this user pool does not offer that")
		}
		h.showAsk(w, r, pool, kind, "", browser.Text{}, http.StatusOK)
		return nil
	}
}

func (h *Handler) showAsk(w http.ResponseWriter, r *http.Request, pool userpool.Pool, kind userpool.LetterKind, email string, problem browser.Text, status int) {
	h.Pages.Render(w, r, status, askPage(h.Brand(pool), pool, kind, email, problem, h.Site.FormToken(w, r, askPurpose(pool, kind)...)))
}

// request asks for a letter. The answer is the same whoever has the address.
func (h *Handler) request(kind userpool.LetterKind) poolpage.Serve {
	return func(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
		form, err := oauth.ParseForm(r, poolpage.MaxBody)
		if err != nil {
			return err
		}
		if err := h.Site.CheckForm(r, form.Get(browser.FormField), askPurpose(pool, kind)...); err != nil {
			return err
		}
		email := form.Get("email")
		err = h.Recovery.Request(r.Context(), pool, kind, email, string(h.Site.Language(r)), h.Address(r))
		if fault.HasCode(err, "email_invalid") {
			h.showAsk(w, r, pool, kind, email, textEmailInvalid(), http.StatusBadRequest)
			return nil
		}
		if err != nil {
			return err
		}
		h.Pages.Render(w, r, http.StatusOK, askedNotice(h.Brand(pool), pool, kind, email))
		return nil
	}
}

// open shows what the link in a letter is good for. It changes nothing: mail
// scanners follow links, and browsers fetch ahead.
func (h *Handler) open(purpose userpool.Purpose) poolpage.Serve {
	return func(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
		token := r.URL.Query().Get("token")
		o, err := h.Recovery.Open(r.Context(), pool, purpose, secret.FromString(token))
		if err != nil {
			return err
		}
		h.showProof(w, r, pool, o, proofForm{token: token, userName: o.User.UserName})
		return nil
	}
}

// proofForm is what a page to which a link leads shows.
type proofForm struct {
	token       string
	userName    string
	displayName string
	problem     browser.Text
}

func (h *Handler) showProof(w http.ResponseWriter, r *http.Request, pool userpool.Pool, o recovery.Opened, f proofForm) {
	status := http.StatusOK
	if !f.problem.IsZero() {
		status = http.StatusBadRequest
	}
	csrf := h.Site.FormToken(w, r, proofPurpose(pool, o.Purpose, f.token)...)
	h.Pages.Render(w, r, status, proofPage(h.Brand(pool), pool, o, f, csrf))
}

// proofOf reads a submission of showProof's form.
func (h *Handler) proofOf(r *http.Request, pool userpool.Pool, purpose userpool.Purpose) (url.Values, secret.Text, error) {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return nil, secret.Text{}, err
	}
	token := form.Get("token")
	return form, secret.FromString(token), h.Site.CheckForm(r, form.Get(browser.FormField), proofPurpose(pool, purpose, token)...)
}

func (h *Handler) reset(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, token, err := h.proofOf(r, pool, userpool.ResetPassword)
	if err != nil {
		return err
	}
	f := proofForm{token: form.Get("token")}
	if form.Get("password") != form.Get("repeated") {
		f.problem = textPasswordsDiffer()
	} else if _, err = h.Recovery.Reset(r.Context(), pool, token, secret.FromString(form.Get("password")), h.Address(r)); fault.Is(err, fault.Invalid) {
		f.problem = textProblem(fault.As(err))
	} else if err != nil {
		return err
	}
	if !f.problem.IsZero() {
		return h.again(w, r, pool, userpool.ResetPassword, f)
	}
	h.Logins.Forget(w, pool.Name) // what session there was has ended
	h.Pages.Render(w, r, http.StatusOK, resetNotice(h.Brand(pool), pool))
	return nil
}

// again shows the form once more, if the link is still good.
func (h *Handler) again(w http.ResponseWriter, r *http.Request, pool userpool.Pool, purpose userpool.Purpose, f proofForm) error {
	o, err := h.Recovery.Open(r.Context(), pool, purpose, secret.FromString(f.token))
	if err != nil {
		return err
	}
	if purpose == userpool.ResetPassword {
		f.userName = o.User.UserName
	}
	h.showProof(w, r, pool, o, f)
	return nil
}

func (h *Handler) signUp(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, token, err := h.proofOf(r, pool, userpool.SignUp)
	if err != nil {
		return err
	}
	f := proofForm{token: form.Get("token"), userName: form.Get("username"), displayName: form.Get("displayname")}
	if form.Get("password") != form.Get("repeated") {
		f.problem = textPasswordsDiffer()
		return h.again(w, r, pool, userpool.SignUp, f)
	}
	n := recovery.NewUser{UserName: f.userName, DisplayName: f.displayName, Password: secret.FromString(form.Get("password"))}
	u, err := h.Recovery.SignUp(r.Context(), pool, token, n, h.Address(r))
	if fault.Is(err, fault.Invalid) || fault.HasCode(err, "user_exists") {
		f.problem = textProblem(fault.As(err))
		return h.again(w, r, pool, userpool.SignUp, f)
	}
	if err != nil {
		return err
	}
	h.Pages.Render(w, r, http.StatusOK, signedUpNotice(h.Brand(pool), pool, u))
	return nil
}

// showVerify opens a link, or, without one, offers the letter to who is logged
// in.
func (h *Handler) showVerify(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	if r.URL.Query().Has("token") {
		return h.open(userpool.VerifyEmail)(w, r, pool)
	}
	login, ok, err := h.Logins.SessionUser(r, h.Issuer(pool))
	if err != nil {
		return err
	}
	if !ok || !h.Recovery.Offers(pool, userpool.LetterVerify) {
		return fault.New(fault.NotFound, "recovery_off", "there is nobody logged in whose address could be confirmed")
	}
	csrf := h.Site.FormToken(w, r, "verify", pool.Name, login.Binding)
	h.Pages.Render(w, r, http.StatusOK, verifyPage(h.Brand(pool), pool, login.User, csrf))
	return nil
}

func (h *Handler) verify(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	if form.Get("token") == "" {
		return h.requestVerification(w, r, pool, form)
	}
	token := form.Get("token")
	if err := h.Site.CheckForm(r, form.Get(browser.FormField), proofPurpose(pool, userpool.VerifyEmail, token)...); err != nil {
		return err
	}
	u, err := h.Recovery.Verify(r.Context(), pool, secret.FromString(token), h.Address(r))
	if err != nil {
		return err
	}
	h.Pages.Render(w, r, http.StatusOK, verifiedNotice(h.Brand(pool), u))
	return nil
}

func (h *Handler) requestVerification(w http.ResponseWriter, r *http.Request, pool userpool.Pool, form url.Values) error {
	login, ok, err := h.Logins.SessionUser(r, h.Issuer(pool))
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Unauthenticated, "login_ended", "nobody is logged in here any more").WithFix("log in again")
	}
	if err := h.Site.CheckForm(r, form.Get(browser.FormField), "verify", pool.Name, login.Binding); err != nil {
		return err
	}
	if err := h.Recovery.RequestVerification(r.Context(), pool, login.User, string(h.Site.Language(r))); err != nil {
		return err
	}
	h.Pages.Render(w, r, http.StatusOK, askedNotice(h.Brand(pool), pool, userpool.LetterVerify, login.User.Email))
	return nil
}
