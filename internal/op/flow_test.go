package op_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"golang.org/x/oauth2"
)

// TestOfficialClient runs the whole flow with the client libraries that Go
// programs use, for a client with a secret and for one without.
func TestOfficialClient(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	provider, err := oidc.NewProvider(ctx, w.url+"/userpool/staff")
	w.must(err)
	for _, client := range []string{"chat", "app"} {
		t.Run(client, func(t *testing.T) {
			id := "cli_" + client + "_staff"
			conf := oauth2.Config{ClientID: id, ClientSecret: w.secrets[id].RevealString(), RedirectURL: callbackURL,
				Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile", "email", "offline_access"}}
			pkce := oauth2.GenerateVerifier()
			p := w.person()

			toLogin := p.get(conf.AuthCodeURL("st/ate &1", oidc.Nonce("n1"), oauth2.S256ChallengeOption(pkce)))
			if toLogin.status != http.StatusSeeOther || !strings.HasPrefix(toLogin.to, "/userpool/staff/login?return=") {
				t.Fatalf("not sent to log in: %d %s", toLogin.status, toLogin.to)
			}
			back := p.submit(p.get(toLogin.to), "username", "ZHANG", "password", password)
			consent := p.get(back.to)
			for _, want := range []string{">" + client + "<", "Know who you are", "See your e-mail address", "张三", `id="allow"`, `id="deny"`} {
				if !strings.Contains(consent.body, want) {
					t.Errorf("the consent page lacks %q", want)
				}
			}
			answer, err := url.Parse(p.submit(consent, "decision", "allow").to)
			w.must(err)
			q := answer.Query()
			if q.Get("state") != "st/ate &1" || q.Get("iss") != w.url+"/userpool/staff" || !strings.HasPrefix(answer.String(), callbackURL+"?") {
				t.Errorf("the answer is %s", answer)
			}
			token, err := conf.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(pkce))
			w.must(err)
			idToken, err := provider.Verifier(&oidc.Config{ClientID: id, Now: w.now}).Verify(ctx, token.Extra("id_token").(string))
			w.must(err)
			w.must(idToken.VerifyAccessToken(token.AccessToken))
			if idToken.Nonce != "n1" || idToken.Subject != "usr_zhang_staff" {
				t.Errorf("ID token %+v", idToken)
			}
			var claims struct {
				AuthTime int64 `json:"auth_time"`
				Name     string
			}
			w.must(idToken.Claims(&claims))
			if age := time.Now().Unix() - claims.AuthTime; age < 0 || age > 60 || claims.Name != "张三" {
				t.Errorf("claims %+v", claims)
			}
			if token.TokenType != "Bearer" || token.Extra("scope") != "email openid profile" || time.Until(token.Expiry) < 9*time.Hour {
				t.Errorf("token response: %s, %v, %s", token.TokenType, token.Extra("scope"), token.Expiry)
			}
			info, err := provider.UserInfo(ctx, conf.TokenSource(ctx, token))
			w.must(err)
			if info.Subject != "usr_zhang_staff" || info.Email != "zhang@example.com" || !info.EmailVerified {
				t.Errorf("userinfo %+v", info)
			}
			// The second time nothing is asked.
			again := p.get(conf.AuthCodeURL("s2", oauth2.S256ChallengeOption(pkce), oauth2.SetAuthURLParam("prompt", "none")))
			if !strings.Contains(again.to, "code=") {
				t.Errorf("the second time: %d %s", again.status, again.to)
			}
		})
	}
}

func TestAccessTokenHasTheClaimsThatClientsRelyOn(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	answer := w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid profile email")))
	var tokens struct {
		Access string `json:"access_token"`
	}
	w.must(json.Unmarshal([]byte(answer.body), &tokens))
	set, err := jwt.ParseSet([]byte(p.get("/userpool/staff/keys").body))
	w.must(err)
	c, err := set.Verify(tokens.Access, jwt.Expect{Issuer: w.url + "/userpool/staff", Audience: "cli_chat_staff", Types: []string{"at+jwt"},
		Algorithms: []string{"ES256"}})
	w.must(err)
	var raw map[string]any
	w.must(json.Unmarshal(c.Raw, &raw))
	for claim, want := range map[string]any{
		"aud": "cli_chat_staff", "client_id": "cli_chat_staff", "sub": "usr_zhang_staff", "scope": "email openid profile",
		"preferred_username": "zhang", "name": "张三", "email": "zhang@example.com",
	} {
		if raw[claim] != want {
			t.Errorf("%s = %v, want %v", claim, raw[claim], want)
		}
	}
	if life := c.ExpiresAt.Sub(c.IssuedAt); life != 10*time.Hour || !strings.HasPrefix(c.ID, "fam_") {
		t.Errorf("lives %s, id %q", life, c.ID)
	}
	if h := answer.header; h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", h)
	}
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	answer := w.person().send("GET", "/userpool/staff/.well-known/openid-configuration", nil, http.Header{"X-Forwarded-Host": {"evil.example"}})
	var doc map[string]any
	w.must(json.Unmarshal([]byte(answer.body), &doc))
	issuer := w.url + "/userpool/staff"
	for member, want := range map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/oauth/token", "jwks_uri": issuer + "/keys",
		"userinfo_endpoint": issuer + "/userinfo", "end_session_endpoint": issuer + "/logout",
		"authorization_response_iss_parameter_supported": true, "request_uri_parameter_supported": false,
	} {
		if doc[member] != want {
			t.Errorf("%s = %v, want %v", member, doc[member], want)
		}
	}
	if strings.Contains(answer.body, "null") || strings.Contains(w.person().get("/userpool/staff/keys").body, `"d"`) {
		t.Error("null in the document, or a private key in the key set")
	}
}

func TestPrompts(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	errorOf := func(shown page) string {
		u, err := url.Parse(shown.to)
		w.must(err)
		return u.Query().Get("error")
	}
	if got := errorOf(p.get(w.ask("staff", "prompt", "none"))); got != "login_required" {
		t.Errorf("none, not logged in: %q", got)
	}
	p.logIn("staff")
	if got := errorOf(p.get(w.ask("staff", "prompt", "none"))); got != "consent_required" {
		t.Errorf("none, no consent: %q", got)
	}
	if denied := p.submit(p.get(w.ask("staff")), "decision", "deny"); errorOf(denied) != "access_denied" || !strings.Contains(denied.to, "state=s1") {
		t.Errorf("denied: %s", denied.to)
	}
	p.code(w.ask("staff"))
	if shown := p.get(w.ask("staff", "prompt", "consent")); !strings.Contains(shown.body, `id="allow"`) {
		t.Errorf("consent is not asked for again: %d %s", shown.status, shown.to)
	}
	if shown := p.get(w.ask("staff", "scope", "openid email")); !strings.Contains(shown.body, `id="allow"`) {
		t.Errorf("a new scope is not asked for: %d %s", shown.status, shown.to)
	}
	for what, target := range map[string]string{
		"login": w.ask("staff", "prompt", "login"), "max_age=0": w.ask("staff", "max_age", "0"), "select_account": w.ask("staff", "prompt", "select_account"),
	} {
		w.pass(time.Second)
		toLogin := p.get(target)
		if !strings.Contains(toLogin.to, "/login?return=") {
			t.Fatalf("%s: not sent to log in: %s", what, toLogin.to)
		}
		back := p.submit(p.get(toLogin.to), "username", "zhang", "password", password)
		if done := p.get(back.to); !strings.Contains(done.to, "code=") {
			t.Errorf("%s: after the login: %d %s", what, done.status, done.to)
		}
	}
	w.pass(time.Minute)
	if shown := p.get(w.ask("staff", "max_age", "30")); !strings.Contains(shown.to, "/login?") {
		t.Errorf("max_age passed: %s", shown.to)
	}
	if shown := p.get(w.ask("staff", "max_age", "90")); !strings.Contains(shown.to, "code=") {
		t.Errorf("max_age not passed: %s", shown.to)
	}
}

func TestRequestsByPost(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	_, query, _ := strings.Cut(w.ask("staff"), "?")
	form, err := url.ParseQuery(query)
	w.must(err)
	toGet := p.post("/userpool/staff/authorize", form)
	if toGet.status != http.StatusSeeOther || !strings.Contains(p.get(toGet.to).body, `id="allow"`) {
		t.Errorf("authorize by POST: %d %s", toGet.status, toGet.to)
	}
	toGet = p.post("/userpool/staff/logout", url.Values{"client_id": {"cli_chat_staff"}})
	if toGet.status != http.StatusSeeOther || !strings.Contains(p.get(toGet.to).body, "Log out?") {
		t.Errorf("logout by POST: %d %s", toGet.status, toGet.to)
	}
}

func TestLogout(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	var tokens struct {
		ID     string `json:"id_token"`
		Access string `json:"access_token"`
	}
	w.must(json.Unmarshal([]byte(w.redeem("staff", "chat", p.code(w.ask("staff"))).body), &tokens))
	at := func(q ...string) string {
		v := url.Values{}
		for i := 0; i < len(q); i += 2 {
			v.Set(q[i], q[i+1])
		}
		return "/userpool/staff/logout?" + v.Encode()
	}
	for what, c := range map[string]struct {
		target, code string
	}{
		"foreign address":       {at("client_id", "cli_chat_staff", "post_logout_redirect_uri", "https://evil.example/"), "post_logout_redirect_uri_mismatch"},
		"nobody's address":      {at("post_logout_redirect_uri", afterLogout), "post_logout_redirect_uri_mismatch"},
		"unknown client":        {at("client_id", "cli_x"), "client_not_found"},
		"hint of other client":  {at("id_token_hint", tokens.ID, "client_id", "cli_mail_staff"), "id_token_hint_invalid"},
		"access token as hint":  {at("id_token_hint", tokens.Access), "id_token_hint_invalid"},
		"forged hint":           {at("id_token_hint", tokens.ID[:len(tokens.ID)-8]+"AAAAAAAA"), "id_token_hint_invalid"},
		"garbage hint":          {at("id_token_hint", "a.b.c"), "id_token_hint_invalid"},
		"repeated":              {at("state", "a") + "&state=b", "form_parameter_repeated"},
		"other pool's ID token": {strings.Replace(at("id_token_hint", tokens.ID), "staff", "guests", 1), "id_token_hint_invalid"},
	} {
		if shown := p.get(c.target); shown.status < 400 || !strings.Contains(shown.body, c.code) {
			t.Errorf("%s: %d %s, want %s", what, shown.status, shown.to, c.code)
		}
	}
	w.pass(3 * time.Hour / 2) // the ID token has expired, the session has not
	target := at("id_token_hint", tokens.ID, "post_logout_redirect_uri", afterLogout, "state", "x y")
	shown := p.get(target)
	if stay := p.submit(shown, "decision", "deny"); !strings.Contains(stay.body, "still logged in") {
		t.Errorf("deny: %d", stay.status)
	}
	if out := p.submit(p.get(target), "decision", "allow"); out.to != afterLogout+"?state=x+y" {
		t.Errorf("sent to %q: %s", out.to, out.body)
	}
	if again := p.get(w.ask("staff")); !strings.Contains(again.to, "/login?") {
		t.Errorf("still logged in: %d %s", again.status, again.to)
	}
	if out := p.get(target); out.to != afterLogout+"?state=x+y" {
		t.Errorf("logged out twice: %q", out.to)
	}
	if out := p.get("/userpool/staff/logout"); !strings.Contains(out.body, "You are logged out") {
		t.Errorf("plain logout: %d", out.status)
	}
}

func TestSessionsOfABrowser(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	who := func() (name.User, bool) {
		t.Helper()
		r, err := http.NewRequest("GET", w.url, nil)
		w.must(err)
		u, err := url.Parse(w.url)
		w.must(err)
		for _, c := range p.client.Jar.Cookies(u) {
			r.AddCookie(c)
		}
		caller, ok := w.logins.Person(r, w.url+"/userpool/staff")
		return caller.User, ok
	}
	var _ interface { // what the edges that show authorization links want
		Person(*http.Request, string) (name.Caller, bool)
		Start(http.ResponseWriter, string, string) bool
	} = w.logins
	if _, ok := who(); ok {
		t.Error("somebody is logged in at the beginning")
	}
	p.logIn("staff")
	if u, ok := who(); !ok || (u != name.User{Issuer: w.url + "/userpool/staff", Subject: "usr_zhang_staff"}) {
		t.Errorf("logged in as %v, %v", u, ok)
	}
	for range 5 { // used every now and then, a session lives on …
		w.pass(100 * time.Minute)
		if _, ok := who(); !ok {
			t.Fatal("a session in use died")
		}
	}
	w.pass(2*time.Hour + time.Second) // … and dies idle
	if _, ok := who(); ok {
		t.Error("an idle session lives")
	}
}

func TestTheLoginFormMayLeadWhereTheReturnLeads(t *testing.T) {
	w := newWorld(t)
	for returnTo, want := range map[string]string{
		w.ask("staff"): "form-action 'self' http:;",
		w.ask("staff", "redirect_uri", "https://a.example/cb"): "form-action 'self' https:;",
		w.ask("staff", "redirect_uri", "; script-src https:"):  "form-action 'self';",
		"/authorize?request_uri=urn:x":                         "form-action 'self' https: http:;",
		"":                                                     "form-action 'self';",
	} {
		shown := w.person().get("/userpool/staff/login?" + url.Values{"return": {returnTo}}.Encode())
		if csp := shown.header.Get("Content-Security-Policy"); !strings.Contains(csp, want) {
			t.Errorf("%s: %s, want %s", returnTo, csp, want)
		}
	}
}

func TestLoginURL(t *testing.T) {
	w := newWorld(t)
	issuer := w.url + "/userpool/staff"
	for target, ok := range map[string]bool{
		"/authorize?request_uri=urn:deputy:authorization:x": true, "/userpool/staff/authorize?client_id=x": true,
		"": false, "/": false, "/authorize": false, "/authorize?x=y": false, "//evil.example/authorize?request_uri=x": false,
		"https://evil.example/authorize?request_uri=x": false, "/userpool/guests/authorize?client_id=x": false, "/userpool/staff/logout": false,
		"/authorize?request_uri=\\x": false, "/authorize?request_uri=x\r\nSet-Cookie:a=b": false, "/authorize?request_uri=x#y": false,
		"/authorize?request_uri=é": false, "/authorize?request_uri=" + strings.Repeat("x", 9000): false, `\authorize?request_uri=x`: false,
		"/userpool/staff/../../authorize?request_uri=x": false,
	} {
		to, err := w.logins.LoginURL(issuer, target)
		if rec := httptest.NewRecorder(); w.logins.Start(rec, issuer, target) != ok || rec.Header().Get("Location") != to {
			t.Errorf("Start(%.80q) sends to %q", target, rec.Header().Get("Location"))
		}
		if (err == nil) != ok || (ok && !strings.HasPrefix(to, "/userpool/staff/login?return=")) {
			t.Errorf("LoginURL(%.80q) = %q, %v", target, to, err)
		}
		shown := w.person().get("/userpool/staff/login?return=" + url.QueryEscape(target))
		if wantForm := ok || target == ""; strings.Contains(shown.body, `id="password"`) != wantForm {
			t.Errorf("the login page for %.80q: %d", target, shown.status)
		}
	}
	if _, err := w.logins.LoginURL("https://evil.example/userpool/staff", "/authorize?request_uri=x"); err == nil {
		t.Error("a foreign issuer was accepted")
	}
}
