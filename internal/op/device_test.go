package op_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// addDeviceClient adds a public client of the pool that may use device codes.
func (w *world) addDeviceClient(pool, clientName string) {
	w.t.Helper()
	w.addClient(pool, clientName, userpool.Public)
	w.edit(pool, clientName, func(c *userpool.Client) { c.Grants = append(c.Grants, oauth.GrantDeviceCode) })
}

// deviceCodes is what a device gets.
type deviceCodes struct {
	Device   string `json:"device_code"`
	User     string `json:"user_code"`
	URI      string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Expires  int    `json:"expires_in"`
	Interval int    `json:"interval"`
}

// device asks for codes as the client tv of a pool.
func (w *world) device(pool string) deviceCodes {
	w.t.Helper()
	got := w.askDevice(pool, "cli_tv_"+pool)
	var codes deviceCodes
	if err := json.Unmarshal([]byte(got.body), &codes); err != nil || got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	return codes
}

func (w *world) askDevice(pool, client string, changes ...string) page {
	w.t.Helper()
	form := url.Values{"client_id": {client}, "scope": {"openid profile"}}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
	}
	return w.person().post("/userpool/"+pool+"/oauth/device_authorization", form)
}

// poll asks for the tokens of a device code, and returns the error code or "".
func (w *world) poll(pool, client, code string) string {
	w.t.Helper()
	got := w.person().post("/userpool/"+pool+"/oauth/token", url.Values{
		"grant_type": {oauth.GrantDeviceCode}, "device_code": {code}, "client_id": {client}})
	var answer struct {
		Error       string
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || (answer.Error == "") != (got.status == http.StatusOK) || (answer.Error == "") != (answer.AccessToken != "") {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	return answer.Error
}

// decide enters a code in the browser of somebody who is logged in, and decides.
func (p *person) decide(pool, code, decision string) page {
	p.w.t.Helper()
	shown := p.submit(p.get("/userpool/"+pool+"/device"), "user_code", code)
	if shown.status != http.StatusOK {
		p.w.t.Fatalf("the code %s: %d\n%s", code, shown.status, shown.body)
	}
	return p.submit(shown, "decision", decision)
}

// TestDeviceWithTheOfficialClient connects a device with the client library that Go programs use.
func TestDeviceWithTheOfficialClient(t *testing.T) {
	onEach(t, func(w *world) {
		w.addDeviceClient("staff", "tv")
		ctx := w.t.Context()
		provider, err := oidc.NewProvider(ctx, w.url+"/userpool/staff")
		w.must(err)
		conf := oauth2.Config{ClientID: "cli_tv_staff", Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile"}}
		codes, err := conf.DeviceAuth(ctx)
		w.must(err)
		if codes.VerificationURI != w.url+"/userpool/staff/device" || codes.Interval != 5 || time.Until(codes.Expiry) < 9*time.Minute || len(codes.UserCode) != 9 {
			w.t.Errorf("got %+v", codes)
		}
		// The address with the code leads to the login, and then to the code, which is shown to be compared.
		p := w.person()
		toLogin := p.get(codes.VerificationURIComplete)
		if toLogin.status != http.StatusSeeOther || !strings.HasPrefix(toLogin.to, "/userpool/staff/login?return=") {
			w.t.Fatalf("not sent to log in: %d %s", toLogin.status, toLogin.to)
		}
		back := p.submit(p.get(toLogin.to), "username", "zhang", "password", password)
		enter := p.get(back.to)
		if !strings.Contains(enter.body, `value="`+codes.UserCode+`"`) || strings.Contains(enter.body, ">tv<") {
			w.t.Errorf("the page is\n%s", enter.body)
		}
		ask := p.submit(enter, "user_code", strings.ToLower(strings.ReplaceAll(codes.UserCode, "-", " ")))
		for _, want := range []string{">tv<", codes.UserCode, "127.0.0.1", "Go-http-client", "Know who you are", "张三", `id="allow"`, "deny"} {
			if !strings.Contains(ask.body, want) {
				w.t.Errorf("the page lacks %q:\n%s", want, ask.body)
			}
		}
		if done := p.submit(ask, "decision", "allow"); !strings.Contains(done.body, "connected") {
			w.t.Errorf("%d %s", done.status, done.body)
		}
		token, err := conf.DeviceAccessToken(ctx, &oauth2.DeviceAuthResponse{DeviceCode: codes.DeviceCode, Interval: 1})
		w.must(err)
		idToken, err := provider.Verifier(&oidc.Config{ClientID: conf.ClientID, Now: w.now}).Verify(ctx, token.Extra("id_token").(string))
		w.must(err)
		if idToken.Subject != "usr_zhang_staff" || token.RefreshToken == "" || token.Extra("scope") != "openid profile" {
			w.t.Errorf("got %+v", token)
		}
		if got := w.poll("staff", "cli_tv_staff", codes.DeviceCode); got != "invalid_grant" {
			w.t.Errorf("a second time: %q", got)
		}
		// A logout in the browser leaves the device alone.
		p.submit(p.get("/userpool/staff/logout"), "decision", "allow")
		if _, err := provider.UserInfo(ctx, conf.TokenSource(ctx, token)); err != nil {
			w.t.Error(err)
		}
	})
}

func TestDevicesThatPoll(t *testing.T) {
	w := newWorld(t)
	w.addDeviceClient("staff", "tv")
	p := w.person()
	p.logIn("staff")
	codes := w.device("staff")
	for i, step := range []struct {
		pass time.Duration
		want string
	}{
		{0, "authorization_pending"}, {5 * time.Second, "authorization_pending"},
		{time.Second, "slow_down"},     // from here on, ten seconds
		{5 * time.Second, "slow_down"}, // fifteen
		{15 * time.Second, "authorization_pending"}, {15 * time.Second, "authorization_pending"},
	} {
		w.pass(step.pass)
		if got := w.poll("staff", "cli_tv_staff", codes.Device); got != step.want {
			t.Errorf("poll %d: %q, want %q", i, got, step.want)
		}
	}
	p.decide("staff", codes.User, "deny")
	if got := w.poll("staff", "cli_tv_staff", codes.Device); got != "access_denied" {
		t.Errorf("after the denial: %q", got)
	}
	late := w.device("staff")
	allowed := w.device("staff")
	p.decide("staff", allowed.User, "allow")
	w.pass(userpool.DeviceLifetime)
	for _, c := range []deviceCodes{late, allowed} {
		if got := w.poll("staff", "cli_tv_staff", c.Device); got != "expired_token" {
			t.Errorf("too late: %q", got)
		}
	}
	if got := p.submit(p.get("/userpool/staff/device"), "user_code", late.User); got.status != http.StatusForbidden {
		t.Errorf("an expired code: %d", got.status)
	}
}

// TestOneRedemptionOfADevice has a device code sent many times at once.
func TestOneRedemptionOfADevice(t *testing.T) {
	onEach(t, func(w *world) {
		w.addDeviceClient("staff", "tv")
		p := w.person()
		p.logIn("staff")
		codes := w.device("staff")
		p.decide("staff", codes.User, "allow")
		answers := make([]string, 8)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = w.poll("staff", "cli_tv_staff", codes.Device) })
		}
		group.Wait()
		won := 0
		for _, a := range answers {
			switch a {
			case "":
				won++
			case "invalid_grant":
			default:
				w.t.Errorf("an answer is %q", a)
			}
		}
		if won != 1 {
			w.t.Errorf("%d redemptions of one code", won)
		}
	})
}

// TestForeignDeviceCodes sends what is right elsewhere.
func TestForeignDeviceCodes(t *testing.T) {
	w := newWorld(t)
	for _, pool := range []string{"staff", "guests"} {
		w.addDeviceClient(pool, "tv")
	}
	w.addDeviceClient("staff", "radio")
	p := w.person()
	p.logIn("staff")
	codes, foreign := w.device("staff"), w.device("guests")
	for what, got := range map[string]string{
		"another client's":  w.poll("staff", "cli_radio_staff", codes.Device),
		"another pool's":    w.poll("staff", "cli_tv_staff", foreign.Device),
		"the user code":     w.poll("staff", "cli_tv_staff", codes.User),
		"nonsense":          w.poll("staff", "cli_tv_staff", "dc_"+strings.Repeat("x", 300)),
		"a NUL":             w.poll("staff", "cli_tv_staff", "dc_\x00"),
		"a client's own id": w.poll("staff", "cli_tv_staff", "cli_tv_staff"),
	} {
		if got != "invalid_grant" {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := w.poll("staff", "cli_app_staff", codes.Device); got != "unauthorized_client" {
		t.Errorf("a client without the grant polls: %q", got)
	}
	if got := p.submit(p.get("/userpool/staff/device"), "user_code", foreign.User); got.status != http.StatusForbidden {
		t.Errorf("another pool's user code: %d", got.status)
	}
	for what, got := range map[string]page{
		"unauthorized_client": w.askDevice("staff", "cli_app_staff"),
		"invalid_client":      w.askDevice("staff", "cli_chat_staff"),
		"invalid_scope":       w.askDevice("staff", "cli_tv_staff", "scope", "root"),
		"invalid_target":      w.askDevice("staff", "cli_tv_staff", "resource", "https://elsewhere.example/"),
	} {
		if !strings.Contains(got.body, `"error":"`+what+`"`) {
			t.Errorf("want %s, got %d %s", what, got.status, got.body)
		}
	}
}

// TestNobodyIsTrickedIntoADevice tries to make a browser allow what its person
// did not decide (RFC 8628, sections 5.1 and 5.4).
func TestNobodyIsTrickedIntoADevice(t *testing.T) {
	w := newWorld(t)
	w.addDeviceClient("staff", "tv")
	codes := w.device("staff")
	victim, attacker := w.person(), w.person()
	victim.logIn("staff")
	pending := func(what string) {
		t.Helper()
		w.pass(time.Minute)
		if got := w.poll("staff", "cli_tv_staff", codes.Device); got != "authorization_pending" {
			t.Errorf("%s: %q", what, got)
		}
	}
	victim.get(codes.Complete)
	pending("after the address was opened")

	enter := victim.get(codes.Complete)
	shown := victim.submit(enter, "user_code", codes.User)
	pending("after the code was entered")

	if got := attacker.get(codes.Complete); got.status != http.StatusSeeOther {
		t.Errorf("somebody who is not logged in sees the page: %d", got.status)
	}
	action, form := victim.fill(shown, "decision", "allow")
	for what, got := range map[string]page{
		"without login":            attacker.post(action, form),
		"from another site":        victim.send("POST", action, strings.NewReader(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"cross-site"}}),
		"without the form's token": victim.post(action, url.Values{"user_code": {codes.User}, "decision": {"allow"}}),
		"with the token of the code form": func() page {
			_, f := victim.fill(enter, "user_code", codes.User, "decision", "allow")
			return victim.post(action, f)
		}(),
		"for another device": func() page {
			f := url.Values{"user_code": {w.device("staff").User}, "decision": {"allow"}, "csrf": form["csrf"]}
			return victim.post(action, f)
		}(),
	} {
		if got.status != http.StatusForbidden {
			t.Errorf("%s: %d", what, got.status)
		}
		pending(what)
	}
	if got := victim.submit(shown, "decision", "perhaps"); got.status != http.StatusBadRequest {
		t.Errorf("no decision: %d", got.status)
	}
	// A login that came after the page was shown is another one.
	victim.logIn("staff")
	if got := victim.post(action, form); got.status != http.StatusForbidden {
		t.Errorf("after another login: %d", got.status)
	}
	pending("after another login")
	for _, evil := range []string{`"><script>`, "AAAA-AAAA", strings.Repeat("B", 500)} {
		if got := victim.get("/userpool/staff/device?user_code=" + url.QueryEscape(evil)); got.status != http.StatusOK || strings.Contains(got.body, "<script") || !strings.Contains(got.body, `name="user_code" type="text" value=""`) {
			t.Errorf("%q is filled in: %d\n%s", evil, got.status, got.body)
		}
	}
}

// TestUserCodesAreNotGuessed enters wrong codes, with a right one of the
// attacker's own in between.
func TestUserCodesAreNotGuessed(t *testing.T) {
	w := newWorld(t)
	w.addDeviceClient("staff", "tv")
	p := w.person()
	p.logIn("staff")
	guess := func(code string) int {
		t.Helper()
		return p.submit(p.get("/userpool/staff/device"), "user_code", code).status
	}
	refused := 0
	for range 12 {
		if guess(w.device("staff").User) == http.StatusTooManyRequests || guess("BBBB-BBBB") == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 4 {
		t.Errorf("%d of 12 guesses were slowed down", refused)
	}
	w.pass(time.Hour)
	if got := guess(w.device("staff").User); got != http.StatusOK {
		t.Errorf("an hour later: %d", got)
	}
}

// TestADeviceNeedsItsPerson redeems after the person who allowed it is gone.
func TestADeviceNeedsItsPerson(t *testing.T) {
	for what, change := range map[string]func(*userpool.User){
		"disabled":       func(u *userpool.User) { u.Disabled = true },
		"a new password": func(u *userpool.User) { u.PasswordChangedAt = time.Now().Add(time.Minute) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.addDeviceClient("staff", "tv")
			p := w.person()
			p.logIn("staff")
			codes := w.device("staff")
			p.decide("staff", codes.User, "allow")
			w.editUser(change)
			if got := w.poll("staff", "cli_tv_staff", codes.Device); got != "invalid_grant" {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestADeviceWaits has the official client poll while nobody decides.
func TestADeviceWaits(t *testing.T) {
	w := newWorld(t)
	w.addDeviceClient("staff", "tv")
	codes := w.device("staff")
	conf := oauth2.Config{ClientID: "cli_tv_staff", Endpoint: oauth2.Endpoint{TokenURL: w.url + "/userpool/staff/oauth/token"}}
	w.pass(userpool.DeviceLifetime)
	_, err := conf.DeviceAccessToken(t.Context(), &oauth2.DeviceAuthResponse{DeviceCode: codes.Device, Interval: 1})
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "expired_token" {
		t.Errorf("got %v", err)
	}
}
