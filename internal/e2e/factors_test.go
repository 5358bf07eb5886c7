package e2e_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

const loginPassword = "correct horse battery"

// startPool runs a Deputy with the pool people, which has the users zhang and li,
// and returns the pool's address.
func startPool(t *testing.T) string {
	t.Helper()
	pool, _ := startPoolBeside(t)
	return pool
}

// startPoolBeside is startPool for a Deputy that may ask servers at those
// addresses, with its operator.
func startPoolBeside(t *testing.T, addresses ...string) (string, *apiclient.Client) {
	t.Helper()
	r := servertest.StartNamed(t, server.Config{Data: servertest.DataDir(t), Logger: slog.New(slog.DiscardHandler), AllowOutbound: addresses})
	token, err := apiclient.ReadToken(filepath.Join(r.Dir, "operator.token"))
	must(t, err)
	client, err := apiclient.New(apiclient.Config{URL: r.URL, Token: token})
	must(t, err)
	pool, err := client.CreateUserPool(t.Context(), "people", "研发团队 People", nil)
	must(t, err)
	for _, user := range []string{"zhang", "li"} {
		_, err := client.CreateUser(t.Context(), pool.Name, apiclient.NewUser{UserName: user, Password: secret.FromString(loginPassword)})
		must(t, err)
	}
	return pool.Issuer, client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(url string) chromedp.Action[chromedp.Void] { return chromedp.Navigate(url) }

// password logs in with the password, and waits for what comes after it.
func (p tab) password(pool, user, then string) {
	p.t.Helper()
	p.do(open(pool+"/login"), write("#username", user), write("#password", loginPassword), click("#submit"), see(then))
}

// forget ends all logins of the browser.
func (p tab) forget() {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		p.t.Fatal(err)
	}
}

// TestAuthenticatorAppInABrowser sets an app up, and logs in with it and with a
// recovery code: all of it by forms, without script.
func TestAuthenticatorAppInABrowser(t *testing.T) {
	pool := startPool(t)
	p := openBrowser(t, "en-US")
	p.do(open(pool + "/login"))
	p.shootBoth("login-passkey", pageLanguage)
	p.password(pool, "zhang", ".mood.ok")
	p.do(open(pool+"/account/app"), see("svg.drawing"))
	p.at(strings.TrimSuffix(pool, "/userpool/people"))
	p.shootBoth("app-enrolment", pageLanguage)
	seed := secret.FromString(strings.ReplaceAll(p.text("dl code"), " ", ""))
	now := time.Now() // the next code is of a later step, which Deputy takes one step early
	p.do(write("#code", storetest.TOTP(seed, now).RevealString()), click("#submit"), see(".mood.warning"))
	if n := p.count("dd code"); n != 10 {
		t.Errorf("%d recovery codes\n%s", n, p.shown())
	}
	recovery := p.text("dd code")
	p.shoot("recovery-codes-en")
	p.do(click("a.button.main"), see("ul.rows"))
	p.shootBoth("security", pageLanguage)

	p.forget()
	p.password(pool, "zhang", "#code")
	p.shootBoth("second-factor", pageLanguage)
	p.problems.expect("403 /userpool/people/login/code")
	p.do(write("#code", "000000"), click("#submit"), see("#error"))
	p.do(write("#code", storetest.TOTP(seed, now.Add(30*time.Second)).RevealString()), click("#submit"), see(".mood.ok"))

	p.forget()
	p.password(pool, "zhang", "#code")
	p.do(click(`a[href*="use=recovery"]`), see("#recovery"))
	p.shootBoth("recovery-code", pageLanguage)
	p.do(write("#recovery", recovery), click("#submit"), see(".mood.ok"))
	p.problems.check(t)
}

// TestPasskeysInABrowser makes a passkey with Chromium's virtual authenticator and
// logs in with it, after the password and alone.
func TestPasskeysInABrowser(t *testing.T) {
	pool := startPool(t)
	p := openBrowser(t, "zh-CN")
	_, err := chromedp.Call(p.ctx, webauthn.Enable, webauthn.EnableParams{})
	must(t, err)
	_, err = chromedp.Call(p.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	must(t, err)
	p.password(pool, "li", ".mood.ok")
	p.do(open(pool+"/account/passkey"), see("#ask"))
	p.at(strings.TrimSuffix(pool, "/userpool/people"))
	p.shootBoth("passkey-enrolment", pageLanguage)
	p.do(write("#name", "我的电脑"), click("#ask"), see(".mood.warning"), click("a.button.main"), see("ul.rows"))
	if text := p.text("ul.rows"); !strings.Contains(text, "我的电脑") {
		t.Errorf("the passkey is not listed: %s", text)
	}

	// After the password the page asks by itself.
	p.forget()
	p.password(pool, "li", ".mood.ok")

	// Alone: the button on the login page needs no script, the page behind it asks by itself.
	p.forget()
	p.do(open(pool+"/login"), click("#begin-passkey"), see(".mood.ok"))
	if text := p.text("main"); !strings.Contains(text, "li") {
		t.Errorf("logged in as somebody else: %s", text)
	}

	// An authenticator that cannot tell who holds it.
	p.forget()
	_, err = chromedp.Call(p.ctx, webauthn.Disable, cdp.Empty{})
	must(t, err)
	_, err = chromedp.Call(p.ctx, webauthn.Enable, webauthn.EnableParams{})
	must(t, err)
	p.do(open(pool+"/login"), click("#begin-passkey"), see("#ask"))
	p.shoot("passkey-zh")
	p.problems.check(t)
}
