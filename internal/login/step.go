package login

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The ways to give a second factor, as the query of a step's page names them.
const (
	byPasskey  = "passkey"
	byCode     = "code"
	byRecovery = "recovery"
)

// stepPath is where a login's next step is shown; use chooses among second
// factors, "" leaves it to us.
func stepPath(pool userpool.Pool, returnTo, use string) string {
	q := url.Values{}
	if returnTo != "" {
		q.Set("return", returnTo)
	}
	if use != "" {
		q.Set("use", use)
	}
	return poolpage.WithQuery(poolpage.Path(pool.Name, "/login/step"), q)
}

// token returns the browser's token of its login under way.
func (h *Handler) token(r *http.Request, pool userpool.Pool) secret.Text {
	return secret.FromString(h.Site.Cookie(r, attemptCookie(pool.Name)))
}

// stepForm is one step as it is shown.
type stepForm struct {
	progress signin.Progress
	returnTo string
	use      string
	problem  browser.Text
	seed     secret.Text // of an enrolment
}

// purpose binds a step's form to the login: its token, and the seed that is
// enrolled, so that no page of somebody else's can enrol another one.
func (f stepForm) purpose(pool userpool.Pool) []string {
	return []string{"login step", pool.Name, f.returnTo, f.progress.Token.Digest("login step").String(), f.seed.RevealString()}
}

func (h *Handler) showStep(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	q := r.URL.Query()
	returnTo, err := checkedReturn(pool, q)
	if err != nil {
		return err
	}
	p, err := h.SignIn.State(r.Context(), pool, h.token(r, pool))
	if err != nil {
		return h.startAgain(w, r, pool, returnTo, err)
	}
	return h.renderStep(w, r, pool, http.StatusOK, stepForm{progress: p, returnTo: returnTo, use: q.Get("use"), seed: seedFor(p)})
}

// seedFor returns a seed for an app to be enrolled.
func seedFor(p signin.Progress) secret.Text {
	if p.Need != signin.Enrolment {
		return secret.Text{}
	}
	return factor.NewSeed()
}

// startAgain shows the login page to a browser whose login is gone, or returns err.
func (h *Handler) startAgain(w http.ResponseWriter, r *http.Request, pool userpool.Pool, returnTo string, err error) error {
	if !fault.HasCode(err, "login_expired") {
		return err
	}
	h.Site.ClearCookie(w, attemptCookie(pool.Name))
	h.render(w, r, pool, http.StatusGone, loginForm{returnTo: returnTo, problem: textExpired()})
	return nil
}

// answer is what one step does with its form.
type answer func(r *http.Request, pool userpool.Pool, token secret.Text, form url.Values) (signin.Progress, error)

// step makes the endpoint of a step. What the form is checked against, and what
// is shown next, follows from the login that the cookie names.
func (h *Handler) step(do answer) poolpage.Serve {
	return func(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
		form, err := oauth.ParseForm(r, poolpage.MaxBody)
		if err != nil {
			return err
		}
		f := stepForm{use: form.Get("use"), seed: secret.FromString(form.Get("seed"))}
		if f.returnTo, err = checkedReturn(pool, form); err != nil {
			return err
		}
		token := h.token(r, pool)
		f.progress.Token = token
		if err := h.Site.CheckForm(r, form.Get(browser.FormField), f.purpose(pool)...); err != nil {
			return err
		}
		p, err := do(r, pool, token, form)
		if err == nil {
			h.Proceed(w, r, pool, p, f.returnTo)
			return nil
		}
		return h.stepFailed(w, r, pool, f, err)
	}
}

// stepFailed shows the step again with what was wrong, or returns err.
func (h *Handler) stepFailed(w http.ResponseWriter, r *http.Request, pool userpool.Pool, f stepForm, err error) error {
	var wait *signin.TooMany
	status := http.StatusForbidden
	switch {
	case fault.HasCode(err, "login_step"):
		poolpage.Redirect(w, stepPath(pool, f.returnTo, ""))
		return nil
	case fault.HasCode(err, "login_failed"):
		return h.failed(w, r, pool, loginForm{returnTo: f.returnTo}, err)
	case errors.As(err, &wait):
		retryAfter(w, wait)
		f.problem, status = Throttled(wait.Wait), http.StatusTooManyRequests
	case fault.HasCode(err, "factor_failed"):
		f.problem = textFactorFailed(f.use)
	case fault.Is(err, fault.Invalid):
		f.problem, status = PasswordProblem(pool, err), http.StatusBadRequest
		if f.problem.IsZero() {
			return err
		}
	default:
		return h.startAgain(w, r, pool, f.returnTo, err)
	}
	var stateErr error
	if f.progress, stateErr = h.SignIn.State(r.Context(), pool, f.progress.Token); stateErr != nil {
		return h.startAgain(w, r, pool, f.returnTo, stateErr)
	}
	return h.renderStep(w, r, pool, status, f)
}

// renderStep shows what the login lacks.
func (h *Handler) renderStep(w http.ResponseWriter, r *http.Request, pool userpool.Pool, status int, f stepForm) error {
	if f.progress.Need != signin.Enrolment {
		f.seed = secret.Text{}
	}
	v := stepView{pool: pool, brand: h.Brand(pool), f: f, token: h.Site.FormToken(w, r, f.purpose(pool)...)}
	page, err := h.stepPage(r, v)
	if err != nil {
		return err
	}
	h.Pages.Render(w, r, status, page)
	return nil
}

func (h *Handler) stepPage(r *http.Request, v stepView) (browser.Page, error) {
	p := v.f.progress
	v.targets = h.Logins.targets(v.f.returnTo)
	switch p.Need {
	case signin.NewPassword:
		return v.newPassword(), nil
	case signin.Enrolment:
		return v.enrolment()
	case signin.Nothing: // the pool asks for less than when the login began: nothing to show but the way back
		return nil, signin.AttemptGone()
	}
	hasCode, hasPasskey := len(p.Factors.Of(factor.TOTP)) > 0, len(p.Factors.Of(factor.Passkey)) > 0 && h.SignIn.Factors.Passkeys()
	switch use := v.f.use; {
	case p.Need == signin.Factor && (use == byRecovery || (!hasCode && !hasPasskey)):
		return v.recoveryCode(hasCode, hasPasskey), nil
	case p.Need == signin.Factor && (use == byCode || !hasPasskey) && hasCode:
		return v.code(hasPasskey), nil
	}
	options, err := h.SignIn.Factors.PasskeyRequest(r.Context(), factor.Owner{Pool: v.pool.Name, UserID: p.User.ID}, p.Attempt.Challenge)
	if err != nil {
		return nil, err
	}
	return v.passkey(string(options), hasCode), nil
}

func (h *Handler) code(r *http.Request, pool userpool.Pool, token secret.Text, form url.Values) (signin.Progress, error) {
	return h.SignIn.Code(r.Context(), pool, token, secret.FromString(form.Get("code")), h.Origin(r))
}

func (h *Handler) recoveryCode(r *http.Request, pool userpool.Pool, token secret.Text, form url.Values) (signin.Progress, error) {
	return h.SignIn.RecoveryCode(r.Context(), pool, token, secret.FromString(form.Get("recovery")), h.Origin(r))
}

func (h *Handler) passkey(r *http.Request, pool userpool.Pool, token secret.Text, form url.Values) (signin.Progress, error) {
	return h.SignIn.Passkey(r.Context(), pool, token, []byte(form.Get("credential")), h.Origin(r))
}

func (h *Handler) newPassword(r *http.Request, pool userpool.Pool, token secret.Text, form url.Values) (signin.Progress, error) {
	chosen := secret.FromString(form.Get("password"))
	if !secret.Equal(chosen, secret.FromString(form.Get("again"))) {
		return signin.Progress{}, NotTheSame()
	}
	return h.SignIn.NewPassword(r.Context(), pool, token, chosen, h.Origin(r))
}

// NotTheSame is the fault for a new password that was typed in two ways.
func NotTheSame() error {
	return fault.New(fault.Invalid, "password_not_repeated", "the two passwords are not the same").WithFix("type the new password twice")
}

func (h *Handler) enrol(r *http.Request, pool userpool.Pool, token secret.Text, form url.Values) (signin.Progress, error) {
	return h.SignIn.Enrol(r.Context(), pool, token, AppName(h.Site.Language(r)), secret.FromString(form.Get("seed")), secret.FromString(form.Get("code")), h.Origin(r))
}
