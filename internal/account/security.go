package account

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The paths of the pages, in a pool.
const (
	securityPath = "/account/security"
	passwordPath = "/account/password"
	appPath      = "/account/app"
	passkeyPath  = "/account/passkey"
	renamePath   = "/account/rename"
	removePath   = "/account/remove"
	recoveryPath = "/account/recovery-codes"
)

// Security serves the pages about password and second factors. All fields are
// required.
type Security struct {
	Base
	SignIn *signin.SignIn
}

// Mount adds the pages to mux.
func (s *Security) Mount(mux *http.ServeMux) {
	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET " + securityPath, s.Page(s.as(anytime, s.show))},
		{"GET " + passwordPath, s.Page(s.as(anytime, s.askPassword))},
		{"POST " + passwordPath, s.Form(s.as(anytime, s.changePassword))},
		{"GET " + appPath, s.Page(s.as(recently, s.askApp))},
		{"POST " + appPath, s.Form(s.as(recently, s.addApp))},
		{"GET " + passkeyPath, s.Page(s.as(recently, s.askPasskey))},
		{"POST " + passkeyPath, s.Form(s.as(recently, s.addPasskey))},
		{"GET " + renamePath, s.Page(s.as(recently, s.askName))},
		{"POST " + renamePath, s.Form(s.as(recently, s.rename))},
		{"POST " + removePath, s.Form(s.as(recently, s.remove))},
		{"POST " + recoveryPath, s.Form(s.as(recently, s.newRecovery))},
	} {
		mux.Handle(poolpage.Pattern(endpoint.pattern), endpoint.handler)
	}
}

func (v visit) owner() factor.Owner {
	return factor.Owner{Pool: v.pool.Name, UserID: v.login.User.ID}
}

// done goes back to the page with everything.
func (v visit) done() error {
	poolpage.Redirect(v.w, v.path(securityPath))
	return nil
}

func (s *Security) show(v visit) error {
	set, err := s.SignIn.Factors.Set(v.r.Context(), v.owner())
	if err != nil {
		return err
	}
	s.Pages.Render(v.w, v.r, http.StatusOK, s.securityPage(v, set))
	return nil
}

func (s *Security) askPassword(v visit) error {
	s.Pages.Render(v.w, v.r, http.StatusOK, s.passwordPage(v, browser.Text{}))
	return nil
}

func (s *Security) changePassword(v visit) error {
	form, err := s.form(v, passwordPath)
	if err != nil {
		return err
	}
	present, chosen := secret.FromString(form.Get("present")), secret.FromString(form.Get("password"))
	if !secret.Equal(chosen, secret.FromString(form.Get("again"))) {
		s.Pages.Render(v.w, v.r, http.StatusBadRequest, s.passwordPage(v, login.PasswordProblem(v.pool, login.NotTheSame())))
		return nil
	}
	from := signin.Origin{Address: s.Address(v.r), Agent: v.r.UserAgent()}
	p, err := s.SignIn.ChangePassword(v.r.Context(), v.pool, v.login.Session, present, chosen, from)
	var wait *signin.TooMany
	switch {
	case err == nil:
		s.Logins.Begin(v.w, v.r, v.pool, p.Token)
		return v.done()
	case errors.As(err, &wait):
		v.w.Header().Set("Retry-After", strconv.Itoa(int(wait.Wait/time.Second)))
		s.Pages.Render(v.w, v.r, http.StatusTooManyRequests, s.passwordPage(v, login.Throttled(wait.Wait)))
		return nil
	case fault.HasCode(err, "login_failed"):
		s.Pages.Render(v.w, v.r, http.StatusForbidden, s.passwordPage(v, textWrongPassword()))
		return nil
	}
	problem := login.PasswordProblem(v.pool, err)
	if problem.IsZero() {
		return err
	}
	s.Pages.Render(v.w, v.r, http.StatusBadRequest, s.passwordPage(v, problem))
	return nil
}

// factorsOn returns a fault unless the pool has second factors.
func (v visit) factorsOn() error {
	if v.pool.Settings.SecondFactor == userpool.FactorOff {
		return fault.New(fault.Forbidden, "factors_off", "this user pool has no second factors")
	}
	return nil
}

func (s *Security) askApp(v visit) error {
	if err := v.factorsOn(); err != nil {
		return err
	}
	return s.renderApp(v, http.StatusOK, factor.NewSeed(), browser.Text{})
}

func (s *Security) renderApp(v visit, status int, seed secret.Text, problem browser.Text) error {
	page, err := s.appPage(v, seed, problem)
	if err != nil {
		return err
	}
	s.Pages.Render(v.w, v.r, status, page)
	return nil
}

// addApp enrols an authenticator app. The seed is in the form, and so in the
// form's token: no other site can make a person enrol one that it knows.
func (s *Security) addApp(v visit) error {
	form, err := s.form(v, appPath, "seed")
	if err != nil {
		return err
	}
	if err := v.factorsOn(); err != nil {
		return err
	}
	seed := secret.FromString(form.Get("seed"))
	_, err = s.SignIn.Factors.AddTOTP(v.r.Context(), v.login.Caller(), v.owner(), form.Get("name"), seed, secret.FromString(form.Get("code")))
	switch {
	case fault.HasCode(err, "code_wrong"):
		return s.renderApp(v, http.StatusForbidden, seed, textWrongCode())
	case fault.HasCode(err, "factor_name_invalid"):
		return s.renderApp(v, http.StatusBadRequest, seed, textBadName())
	case err != nil:
		return err
	}
	return s.added(v)
}

// added shows recovery codes after the first factor, and the list after others.
func (s *Security) added(v visit) error {
	set, err := s.SignIn.Factors.Set(v.r.Context(), v.owner())
	if err != nil || set.Recovery > 0 {
		return errors.Join(err, v.done())
	}
	return s.showRecovery(v)
}

func (s *Security) showRecovery(v visit) error {
	codes, err := s.SignIn.Factors.NewRecovery(v.r.Context(), v.login.Caller(), v.owner())
	if err != nil {
		return err
	}
	s.Pages.Render(v.w, v.r, http.StatusOK, login.RecoveryNotice(v.brand, codes, v.path(securityPath)))
	return nil
}

func (s *Security) newRecovery(v visit) error {
	if _, err := s.form(v, recoveryPath); err != nil {
		return err
	}
	if err := v.factorsOn(); err != nil {
		return err
	}
	return s.showRecovery(v)
}

// newPasskey is the passkey that a challenge asks for.
func (v visit) newPasskey(challenge []byte) factor.NewPasskey {
	return factor.NewPasskey{
		Owner: v.owner(), UserName: v.login.User.UserName, Title: v.login.Title, PoolTitle: v.pool.Title(), Challenge: challenge,
	}
}

func (s *Security) askPasskey(v visit) error {
	if err := v.factorsOn(); err != nil {
		return err
	}
	return s.renderPasskey(v, http.StatusOK, browser.Text{})
}

func (s *Security) renderPasskey(v visit, status int, problem browser.Text) error {
	challenge := factor.NewChallenge()
	options, err := s.SignIn.Factors.PasskeyCreation(v.r.Context(), v.newPasskey(challenge))
	if err != nil {
		return err
	}
	s.Pages.Render(v.w, v.r, status, s.passkeyPage(v, challenge, string(options), problem))
	return nil
}

// addPasskey enrols a passkey. Its challenge is in the form, and so in the form's
// token: an answer that was made for another page is of no use here.
func (s *Security) addPasskey(v visit) error {
	form, err := s.form(v, passkeyPath, "challenge")
	if err != nil {
		return err
	}
	if err := v.factorsOn(); err != nil {
		return err
	}
	challenge, err := parseChallenge(form.Get("challenge"))
	if err != nil {
		return err
	}
	_, err = s.SignIn.Factors.AddPasskey(v.r.Context(), v.login.Caller(), v.newPasskey(challenge), form.Get("name"), []byte(form.Get("credential")))
	switch {
	case fault.HasCode(err, "passkey_refused"):
		return s.renderPasskey(v, http.StatusForbidden, textPasskeyRefused())
	case fault.HasCode(err, "factor_name_invalid"):
		return s.renderPasskey(v, http.StatusBadRequest, textBadName())
	case err != nil:
		return err
	}
	return s.added(v)
}

// find returns a factor of the person's own.
func (s *Security) find(v visit, id string) (factor.Factor, error) {
	set, err := s.SignIn.Factors.Set(v.r.Context(), v.owner())
	if err != nil {
		return factor.Factor{}, err
	}
	for _, f := range set.Factors {
		if f.ID == id {
			return f, nil
		}
	}
	return factor.Factor{}, factor.NotFound()
}

func (s *Security) askName(v visit) error {
	f, err := s.find(v, name.Clip(v.r.URL.Query().Get("id"), 80))
	if err != nil {
		return err
	}
	s.Pages.Render(v.w, v.r, http.StatusOK, s.renamePage(v, f, browser.Text{}))
	return nil
}

func (s *Security) rename(v visit) error {
	form, err := s.form(v, renamePath, "id")
	if err != nil {
		return err
	}
	f, err := s.find(v, form.Get("id"))
	if err != nil {
		return err
	}
	err = s.SignIn.Factors.Rename(v.r.Context(), v.login.Caller(), v.owner(), f.ID, form.Get("name"))
	if fault.HasCode(err, "factor_name_invalid") {
		s.Pages.Render(v.w, v.r, http.StatusBadRequest, s.renamePage(v, f, textBadName()))
		return nil
	}
	if err != nil {
		return err
	}
	return v.done()
}

func (s *Security) remove(v visit) error {
	form, err := s.form(v, removePath, "id")
	if err != nil {
		return err
	}
	if err := s.SignIn.Factors.Remove(v.r.Context(), v.login.Caller(), v.owner(), form.Get("id")); err != nil {
		return err
	}
	return v.done()
}
