package account_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/userpool"
)

// hostile is one thing that must not work, and where it ends.
type hostile struct {
	what   string
	do     func() page
	status int
	text   string
}

// TestHostileLogins does what people who are not who they say they are do
// between the steps of a login. Zhang has an authenticator app; the attacker has
// Zhang's password, an account of his own, and another pool.
func TestHostileLogins(t *testing.T) {
	w := newWorld(t)
	zhang := w.person()
	zhang.logIn("staff", "zhang", password)
	code, recovery := zhang.enrolApp("staff")

	attacker, owner := w.person(), w.person()
	step := attacker.logIn("staff", "zhang", password)
	owners := owner.logIn("staff", "zhang", password)
	foreign := func(form url.Values, change func(url.Values)) url.Values {
		change(form)
		return form
	}
	post := func(p *person, action string, form url.Values, header http.Header) func() page {
		return func() page { return p.send("POST", "/userpool/staff"+action, form, header) }
	}
	get := func(p *person, path string) func() page { return func() page { return p.get(path) } }
	const expired, loggedOut, notMade = "has expired", "User name", "was not made for this browser"
	for _, row := range []hostile{
		{"skip to the account", get(attacker, "/userpool/staff/account/security"), 200, loggedOut},
		{"skip to enrolment", get(attacker, "/userpool/staff/account/app"), 200, loggedOut},
		{"skip to the new password", post(attacker, "/login/password", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("password", "mine from now on")
			f.Set("again", "mine from now on")
		}), nil), 200, "One more step"},
		{"skip to the enrolment of a factor", post(attacker, "/login/enrol", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("code", "123456")
		}), nil), 200, "One more step"},
		{"a seed of the attacker's", post(attacker, "/login/enrol", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("seed", factor.NewSeed().RevealString())
		}), nil), 403, notMade},
		{"a page of ours for a step of another name", get(attacker, "/userpool/staff/login/step?use=admin"), 200, "One more step"},
		{"a passkey that he has not", post(attacker, "/login/passkey", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("credential", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`)
		}), nil), 403, "not right"},
		{"the owner's form in the attacker's browser", post(attacker, "/login/code", owner.fill(owners, "/login/code"), nil), 403, notMade},
		{"without the form's token", post(attacker, "/login/code", url.Values{"code": {"123456"}}, nil), 403, notMade},
		{"from another site", post(attacker, "/login/code", attacker.fill(step, "/login/code"), http.Header{"Sec-Fetch-Site": {"cross-site"}}), 403, notMade},
		{"back to another site", post(attacker, "/login/code", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("return", "https://evil.example/")
		}), nil), 400, "address to return to"},
		{"back to a path that looks like ours", get(attacker, "/userpool/staff/login/step?return=/userpool/staff/accounts"), 400, "address to return to"},
		{"back to another pool's account", get(attacker, "/userpool/staff/login?return=/userpool/guests/account/security"), 400, "address to return to"},
		{"a step in another pool", get(attacker, "/userpool/guests/login/step"), 410, expired},
		{"a step without a login", get(w.person(), "/userpool/staff/login/step"), 410, expired},
		{"a recovery code of his own invention", post(attacker, "/login/recovery-code", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("recovery", strings.Repeat("0", 16))
		}), nil), 403, "not right"},
		{"giant answers", post(attacker, "/login/passkey", foreign(attacker.fill(step, "/login/code"), func(f url.Values) {
			f.Set("credential", strings.Repeat("A", 64<<10))
		}), nil), 413, "too large"},
	} {
		t.Run(row.what, func(t *testing.T) {
			if got := row.do(); got.status != row.status || !strings.Contains(got.body, row.text) {
				t.Errorf("got %d, want %d with %q\n%s", got.status, row.status, row.text, got.body)
			}
		})
	}
	if set, err := w.signIn.Factors.Set(t.Context(), factor.Owner{Pool: "staff", UserID: "usr_zhang_staff"}); err != nil || len(set.Factors) != 1 || set.Recovery != len(recovery) {
		t.Errorf("something came of it: %+v, %v", set, err)
	}
	// The attacker guesses until his login is gone; the owner's goes on.
	for range 5 {
		step = attacker.send("POST", "/userpool/staff/login/code", attacker.fillAny(step, "code", "000000"), nil)
	}
	attacker.want(attacker.get("/userpool/staff/login/step"), http.StatusGone, "", expired)
	w.pass(10 * time.Minute) // the test's people share an address
	owner.want(owner.submit(owner.logIn("staff", "zhang", password), "/login/code", "code", code()), http.StatusOK, "/account/security", "Password and security")
}

// fillAny fills the step's form if there is one still.
func (p *person) fillAny(shown page, values ...string) url.Values {
	if !strings.Contains(shown.body, "/login/code") {
		return nil
	}
	return p.fill(shown, "/login/code", values...)
}

// TestTheTokenChangesWithEveryStep: an attempt's token and a session's that were
// planted before a step are worth nothing after it.
func TestTheTokenChangesWithEveryStep(t *testing.T) {
	w := newWorld(t)
	zhang := w.person()
	zhang.logIn("staff", "zhang", password)
	code, _ := zhang.enrolApp("staff")
	before := zhang.cookies()
	step := zhang.logIn("staff", "zhang", password)
	planted := zhang.cookies()
	zhang.want(zhang.submit(step, "/login/code", "code", code()), http.StatusOK, "/account/security", "Password")
	for what, cookies := range map[string][]*http.Cookie{"the former session": before, "the attempt": planted} {
		thief := w.person()
		thief.plant(cookies)
		thief.want(thief.get("/userpool/staff/account/security"), http.StatusOK, "/login", "User name")
		if got := thief.get("/userpool/staff/login/step"); got.status != http.StatusGone {
			t.Errorf("%s is worth a step: %d", what, got.status)
		}
	}
}

func (p *person) cookies() []*http.Cookie {
	u, err := url.Parse(p.w.url)
	p.w.must(err)
	return p.client.Jar.Cookies(u)
}

func (p *person) plant(cookies []*http.Cookie) {
	u, err := url.Parse(p.w.url)
	p.w.must(err)
	p.client.Jar.SetCookies(u, cookies)
}

// TestHostileChanges tries to change the factors of somebody who is logged in:
// from another site, with another's forms, with a login that is not recent.
func TestHostileChanges(t *testing.T) {
	w := newWorld(t)
	victim, attacker := w.person(), w.person()
	victim.logIn("staff", "zhang", password)
	attacker.logIn("staff", "li", password)
	his := attacker.get("/userpool/staff/account/app")
	hers := victim.get("/userpool/staff/account/app")
	seed := attacker.seed(his, "/account/app")
	enrol := victim.fill(hers, "/account/app", "code", w.code(seed), "name", "x")
	withSeed := func(form url.Values, token string) url.Values {
		form.Set("seed", seed.RevealString())
		if token != "" {
			form.Set(browser.FormField, token)
		}
		return form
	}
	cross := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	passkeys := victim.get("/userpool/staff/account/passkey")
	for what, row := range map[string]struct {
		path   string
		form   url.Values
		header http.Header
	}{
		"the attacker's seed with the victim's token":   {"/account/app", withSeed(victim.fill(hers, "/account/app"), ""), nil},
		"the attacker's seed with the attacker's token": {"/account/app", withSeed(victim.fill(hers, "/account/app"), attacker.fill(his, "/account/app").Get(browser.FormField)), nil},
		"her own form, sent by another site":            {"/account/app", enrol, cross},
		"no token":                                      {"/account/app", url.Values{"seed": {seed.RevealString()}, "code": {w.code(seed)}, "name": {"x"}}, nil},
		"a passkey for a challenge of the attacker's":   {"/account/passkey", url.Values{"challenge": {strings.Repeat("A", 43)}, browser.FormField: {victim.fill(passkeys, "/account/passkey").Get(browser.FormField)}}, nil},
		"new recovery codes by another form's token":    {"/account/recovery-codes", url.Values{browser.FormField: {enrol.Get(browser.FormField)}}, nil},
		"removal by another form's token":               {"/account/remove", url.Values{"id": {"fac_x"}, browser.FormField: {enrol.Get(browser.FormField)}}, nil},
		"the password by another form's token":          {"/account/password", url.Values{"present": {password}, "password": {"mine from now"}, "again": {"mine from now"}, browser.FormField: {enrol.Get(browser.FormField)}}, nil},
	} {
		if got := victim.send("POST", "/userpool/staff"+row.path, row.form, row.header); got.status != http.StatusForbidden {
			t.Errorf("%s: %d\n%s", what, got.status, got.body)
		}
	}
	if got := victim.submit(passkeys, "/account/passkey", "name", "x", "credential", "{}"); got.status != http.StatusForbidden || !strings.Contains(got.body, "not accepted") {
		t.Errorf("no passkey at all: %d\n%s", got.status, got.body)
	}

	w.pass(11 * time.Minute)
	for _, path := range []string{"/account/app", "/account/passkey", "/account/rename?id=x"} {
		victim.want(victim.get("/userpool/staff"+path), http.StatusOK, "/login?return=", "User name")
	}
	victim.want(victim.submit(hers, "/account/app", "code", "1", "name", "x"), http.StatusOK, "/login?return=", "User name")
	for _, user := range []string{"zhang", "li"} {
		if set, err := w.signIn.Factors.Set(t.Context(), factor.Owner{Pool: "staff", UserID: "usr_" + user + "_staff"}); err != nil || set.Any() || set.Recovery > 0 {
			t.Errorf("%s has %+v, %v", user, set, err)
		}
	}
	if _, err := w.stores.UserByName(t.Context(), "staff", "zhang"); err != nil {
		t.Error(err)
	}
}

// TestFactorsOfOthers asks for the factors of another user, and of one's own in
// another pool.
func TestFactorsOfOthers(t *testing.T) {
	w := newWorld(t)
	zhang, li := w.person(), w.person()
	zhang.logIn("staff", "zhang", password)
	zhang.enrolApp("staff")
	set, err := w.signIn.Factors.Set(t.Context(), factor.Owner{Pool: "staff", UserID: "usr_zhang_staff"})
	w.must(err)
	id := set.Factors[0].ID
	li.logIn("staff", "li", password)
	li.enrolApp("staff")
	li.want(li.get("/userpool/staff/account/rename?id="+id), http.StatusNotFound, "", "no such second factor")
	zhang.logIn("guests", "zhang", password)
	zhang.want(zhang.get("/userpool/guests/account/rename?id="+id), http.StatusNotFound, "", "no such second factor")
	w.settings("staff", func(s *userpool.Settings) { s.SecondFactor = userpool.FactorOff })
	zhang.want(zhang.get("/userpool/staff/account/passkey"), http.StatusForbidden, "", "no second factors")
}
