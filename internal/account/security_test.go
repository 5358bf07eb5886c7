package account_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/userpool"
)

var recoveryCode = regexp.MustCompile(`<code>([0-9a-z]{4}(?:-[0-9a-z]{4}){3})</code>`)

// enrolApp sets an authenticator app up for somebody who is logged in, and
// returns its seed and the recovery codes that came with it.
func (p *person) enrolApp(pool string) (code func() string, recovery []string) {
	p.w.t.Helper()
	shown := p.want(p.get("/userpool/"+pool+"/account/app"), http.StatusOK, "/account/app", "<svg")
	seed := p.seed(shown, "/account/app")
	shown = p.want(p.submit(shown, "/account/app", "code", "0", "name", "手机"), http.StatusForbidden, "/account/app", "not right")
	shown = p.want(p.submit(shown, "/account/app", "code", p.w.code(seed), "name", "手机"), http.StatusOK, "/account/app", "Keep your recovery codes")
	for _, m := range recoveryCode.FindAllStringSubmatch(shown.body, -1) {
		recovery = append(recovery, m[1])
	}
	if len(recovery) != factor.RecoveryCodes {
		p.w.t.Fatalf("%d recovery codes\n%s", len(recovery), shown.body)
	}
	return func() string { return p.w.code(seed) }, recovery
}

func TestAuthenticatorAppFromEnrolmentToRemoval(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.want(p.logIn("staff", "zhang", password), http.StatusOK, "/account/security", "Password and security")
	code, recovery := p.enrolApp("staff")

	other := w.person()
	step := other.want(other.logIn("staff", "zhang", password), http.StatusOK, "/login/step", "One more step")
	step = other.want(other.submit(step, "/login/code", "code", "123"), http.StatusForbidden, "/login/code", "not right")
	other.want(other.submit(step, "/login/code", "code", code()), http.StatusOK, "/account/security", "10 codes left")

	third := w.person()
	third.logIn("staff", "zhang", password)
	byRecovery := third.want(third.get("/userpool/staff/login/step?use=recovery"), http.StatusOK, "/login/step", "Each code works once")
	third.want(third.submit(byRecovery, "/login/recovery-code", "recovery", strings.ToUpper(recovery[0])), http.StatusOK, "/login/recovery-code", "You are logged in")
	page := third.want(third.get("/userpool/staff/account/security"), http.StatusOK, "/account/security", "9 codes left")
	third.want(third.submit(page, "/account/recovery-codes"), http.StatusOK, "/account/recovery-codes", "Keep your recovery codes")

	page = third.get("/userpool/staff/account/security")
	named := third.get(regexp.MustCompile(`/userpool/staff/account/rename\?id=[^"]+`).FindString(page.body))
	third.want(third.submit(named, "/account/rename", "name", ""), http.StatusBadRequest, "/account/rename", "Give it a name")
	page = third.want(third.submit(named, "/account/rename", "name", "work phone"), http.StatusOK, "/account/security", "work phone")
	third.want(third.submit(page, "/account/remove"), http.StatusOK, "/account/security", "Set up an app")
	p.want(w.person().logIn("staff", "zhang", password), http.StatusOK, "/account/security", "Password")
}

func TestPasskeyFromEnrolmentToLogin(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff", "zhang", password)
	shown := p.want(p.get("/userpool/staff/account/passkey"), http.StatusOK, "/account/passkey", "passkey.js")
	p.want(p.submit(shown, "/account/passkey", "name", "钥匙", "credential", p.create(shown)), http.StatusOK, "/account/passkey", "Keep your recovery codes")
	p.want(p.get("/userpool/staff/account/security"), http.StatusOK, "/account/security", "钥匙")

	p.forget()
	step := p.want(p.logIn("staff", "zhang", password), http.StatusOK, "/login/step", "Use your passkey")
	p.want(p.submit(step, "/login/passkey", "credential", p.assert(step)), http.StatusOK, "/account/security", "Last used")

	p.forget()
	step = p.beginPasskey("staff")
	bad := p.want(p.submit(step, "/login/passkey", "credential", "{}"), http.StatusForbidden, "/login/passkey", "not accepted")
	stale := p.assert(step)
	step = p.want(p.submit(bad, "/login/passkey", "credential", stale), http.StatusForbidden, "/login/passkey", "not accepted")
	p.want(p.submit(step, "/login/passkey", "credential", p.assert(step)), http.StatusOK, "", "You are logged in")

	// Where a passkey of one pool is offered to another, it is nobody's.
	step = p.beginPasskey("guests")
	p.want(p.submit(step, "/login/passkey", "credential", p.assert(step)), http.StatusForbidden, "/login/passkey", "not accepted")
}

// forget ends all logins of the browser.
func (p *person) forget() { p.client.Jar = p.w.person().client.Jar }

// beginPasskey presses the button for a login by passkey alone.
func (p *person) beginPasskey(pool string) page {
	p.w.t.Helper()
	shown := p.get("/userpool/" + pool + "/login")
	action := others.FindStringSubmatch(shown.body)
	if action == nil {
		p.w.t.Fatalf("no button for passkeys\n%s", shown.body)
	}
	return p.want(p.send("POST", action[1], p.fill(shown, "/login"), nil), http.StatusOK, "/login/step", "Use your passkey")
}

func TestPasswordIsChanged(t *testing.T) {
	w := newWorld(t)
	p, elsewhere := w.person(), w.person()
	p.logIn("staff", "zhang", password)
	elsewhere.logIn("staff", "zhang", password)
	const chosen = "three words of mine"
	w.pass(time.Minute)
	form := p.get("/userpool/staff/account/password")
	for _, c := range []struct {
		present, password, again string
		status                   int
		text                     string
	}{
		{"wrong", chosen, chosen, http.StatusForbidden, "present password is not right"},
		{password, chosen, "another", http.StatusBadRequest, "not the same"},
		{password, "short", "short", http.StatusBadRequest, "at least 8"},
		{password, "woaini1314", "woaini1314", http.StatusBadRequest, "list of known ones"},
	} {
		form = p.want(p.submit(form, "/account/password", "present", c.present, "password", c.password, "again", c.again), c.status, "/account/password", c.text)
	}
	p.want(p.submit(form, "/account/password", "present", password, "password", chosen, "again", chosen), http.StatusOK, "/account/security", "Password and security")
	elsewhere.want(elsewhere.get("/userpool/staff/account/security"), http.StatusOK, "/login", "Log in")
	p.want(w.person().logIn("staff", "zhang", password), http.StatusForbidden, "/login", "wrong")
}

func TestTemporaryPasswordAndRequiredFactor(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.SecondFactor = userpool.FactorRequired })
	u, err := w.stores.User(t.Context(), "staff", "usr_zhang_staff")
	w.must(err)
	u.MustChangePassword = true
	w.must(w.stores.UpdateUser(t.Context(), w.permit(userpool.ActionUpdateUser, u.Resource()), u))

	p := w.person()
	step := p.want(p.logIn("staff", "zhang", password), http.StatusOK, "/login/step", "Choose your password")
	step = p.want(p.submit(step, "/login/password", "password", password, "again", password), http.StatusBadRequest, "/login/password", "had this password before")
	step = p.want(p.submit(step, "/login/password", "password", "my very own words", "again", "my very own words"), http.StatusOK, "/login/step", "Set up a second factor")
	seed := p.seed(step, "/login/enrol")
	step = p.want(p.submit(step, "/login/enrol", "code", "1"), http.StatusForbidden, "/login/enrol", "not right")
	if p.seed(step, "/login/enrol").RevealString() != seed.RevealString() {
		t.Error("a typing error shows another seed")
	}
	p.want(p.submit(step, "/login/enrol", "code", w.code(seed)), http.StatusOK, "/login/enrol", "I have kept them")
	p.want(p.get("/userpool/staff/account/security"), http.StatusOK, "/account/security", "Authenticator app")
}

func TestAPoolWithoutSecondFactors(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.SecondFactor = userpool.FactorOff })
	p := w.person()
	shown := p.want(p.logIn("staff", "zhang", password), http.StatusOK, "/account/security", "Change the password")
	if strings.Contains(shown.body, "Passkeys") || strings.Contains(p.get("/userpool/staff/login").body, "passkey") {
		t.Error("second factors are offered")
	}
	for _, path := range []string{"/account/app", "/account/passkey"} {
		p.want(p.get("/userpool/staff"+path), http.StatusForbidden, path, "no second factors")
	}
}
