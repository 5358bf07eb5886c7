package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// echo is an agent that says who it was called by and in which conversation.
func echo(p *pool, w http.ResponseWriter, r *http.Request) {
	stream(w)(whole(p.userOf(r) + " " + r.Header.Get("session_id")))
}

func TestLoginBindsBrowser(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t)
	if got := b.whoAmI(); got != "" {
		t.Fatalf("before login this is %q", got)
	}
	b.login("zhang")
	if q := r.pool.query; q.Get("scope") != "openid profile email" || q.Get("prompt") != "" || q.Get("redirect_uri") != r.URL+"/callback" {
		t.Errorf("authorization request: %v", q)
	}
	target, _ := url.Parse(r.URL)
	names := []string{}
	for _, c := range b.Jar.Cookies(target) {
		names = append(names, c.Name)
		if len(c.Value) != 43 {
			t.Errorf("cookie %s has %d characters, want 256 bits in base64url", c.Name, len(c.Value))
		}
	}
	if fmt.Sprint(names) != "[deputy_chat_session]" {
		t.Errorf("cookies after login: %v", names)
	}
}

func TestSessionCookieAttributes(t *testing.T) {
	r := newRig(t, echo)
	for _, secure := range []bool{false, true} {
		b := r.browser(t)
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		r.app.cookies.secure = secure
		resp, err := b.Get(r.URL + "/login")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		c := resp.Cookies()[0]
		want := map[bool]string{false: "deputy_chat_login", true: "__Host-deputy_chat_login"}[secure]
		if c.Name != want || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != secure || c.Path != "/" || c.Domain != "" || len(c.Value) != 43 {
			t.Errorf("secure %v: %v", secure, c)
		}
	}
}

func TestTwoBrowsersAreApart(t *testing.T) {
	r := newRig(t, echo)
	one, two := r.browser(t).login("zhang"), r.browser(t).login("li")
	said := func(b *browser) []string { return strings.Fields(b.say("who am I")[0].Text) }

	first, second := said(one), said(two)
	if first[0] != "zhang" || second[0] != "li" {
		t.Fatalf("the agent saw %s and %s", first[0], second[0])
	}
	if first[1] == second[1] || len(first[1]) != 43 {
		t.Errorf("conversations: %q and %q", first[1], second[1])
	}
	if again := said(one); again[1] != first[1] {
		t.Errorf("the second message is in conversation %q, not %q", again[1], first[1])
	}
	if resp := one.post(t.Context(), "/api/conversation", ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("new conversation: %d", resp.StatusCode)
	}
	if again := said(one); again[1] == first[1] {
		t.Error("a new conversation kept its id")
	}

	resp := one.post(t.Context(), "/logout", "")
	resp.Body.Close()
	if one.whoAmI() != "" || two.whoAmI() != "li" {
		t.Errorf("after the logout of one they are %q and %q", one.whoAmI(), two.whoAmI())
	}
	one.login("wang")
	if r.pool.query.Get("prompt") != "login" {
		t.Error("the login after a logout does not ask for the password")
	}
}

func TestLogoutNeedsPostFromThisOrigin(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t).login("zhang")
	if status, _, _ := b.get("/logout"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /logout: %d", status)
	}
	for name, header := range map[string][2]string{
		"fetch metadata": {"Sec-Fetch-Site", "cross-site"},
		"same site":      {"Sec-Fetch-Site", "same-site"},
		"origin":         {"Origin", "https://evil.example"},
	} {
		for _, path := range []string{"/logout", "/api/chat", "/api/conversation"} {
			req, _ := http.NewRequest(http.MethodPost, r.URL+path, strings.NewReader(`{"message":"x"}`))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set(header[0], header[1])
			resp, err := b.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s: POST %s: %d", name, path, resp.StatusCode)
			}
		}
	}
	if b.whoAmI() != "zhang" {
		t.Error("a foreign page logged the user out")
	}
}

// callback returns the URL with which the provider would send b back, without
// following it.
func callback(t *testing.T, b *browser) *url.URL {
	t.Helper()
	b.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if req.URL.Path == "/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	defer func() { b.CheckRedirect = nil }()
	resp, err := b.Get(b.rig.URL + "/login")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	u, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestHostileCallbacks(t *testing.T) {
	r := newRig(t, echo)
	with := func(key, value string) func(*testing.T, url.Values) {
		return func(_ *testing.T, q url.Values) { q.Set(key, value) }
	}
	for name, test := range map[string]struct {
		change func(*testing.T, url.Values)
		notice string
	}{
		"no state":            {func(_ *testing.T, q url.Values) { q.Del("state") }, "login_stale"},
		"wrong state":         {with("state", strings.Repeat("A", 43)), "login_stale"},
		"state twice":         {func(_ *testing.T, q url.Values) { q.Add("state", q.Get("state")) }, "login_failed"},
		"state of another":    {func(t *testing.T, q url.Values) { q.Set("state", callback(t, r.browser(t)).Query().Get("state")) }, "login_stale"},
		"foreign code":        {with("code", "made-up"), "login_failed"},
		"code of another":     {func(t *testing.T, q url.Values) { q.Set("code", callback(t, r.browser(t)).Query().Get("code")) }, "login_failed"},
		"no code":             {func(_ *testing.T, q url.Values) { q.Del("code") }, "login_failed"},
		"another issuer":      {with("iss", "https://evil.example"), "login_failed"},
		"user refused":        {with("error", "access_denied"), "login_denied"},
		"provider error":      {with("error", "server_error"), "login_failed"},
		"error with a script": {with("error", "<script>alert(1)</script>"), "login_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.browser(t)
			u := callback(t, b)
			q := u.Query()
			test.change(t, q)
			status, at, body := b.get("/callback?" + q.Encode())
			if status != 200 || at != "/?notice="+test.notice {
				t.Errorf("ended with %d at %s, want notice %s", status, at, test.notice)
			}
			if !strings.Contains(body, `id="notice"`) || strings.Contains(body, "alert(1)") {
				t.Error("the page does not show the notice, or shows what came in")
			}
			if b.whoAmI() != "" {
				t.Error("logged in")
			}
			// An attempt is used up by its first answer, right or wrong.
			if _, at, _ := b.get("/callback?" + u.RawQuery); at != "/?notice=login_stale" {
				t.Errorf("the genuine answer afterwards ended at %s", at)
			}
		})
	}
}

// A victim who is made to open the attacker's callback URL must not end up in
// the attacker's account.
func TestCallbackOfAnotherBrowser(t *testing.T) {
	r := newRig(t, echo)
	r.pool.set(func(p *pool) { p.user = "attacker" })
	u := callback(t, r.browser(t))
	victim := r.browser(t).login("zhang")
	if _, at, _ := victim.get(u.RequestURI()); at != "/?notice=login_stale" {
		t.Errorf("ended at %s", at)
	}
	if got := victim.whoAmI(); got != "zhang" {
		t.Errorf("the victim is now %q", got)
	}
}

func TestBadIDTokens(t *testing.T) {
	r := newRig(t, echo)
	for name, claims := range map[string]map[string]any{
		"nonce":     {"nonce": "another"},
		"no nonce":  {"nonce": ""},
		"audience":  {"aud": "another-client"},
		"issuer":    {"iss": "https://evil.example"},
		"expired":   {"exp": time.Now().Add(-time.Hour).Unix()},
		"at_hash":   {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
		"name type": {"aud": 7},
	} {
		t.Run(name, func(t *testing.T) {
			r.pool.set(func(p *pool) { p.claims = claims })
			defer r.pool.set(func(p *pool) { p.claims = nil })
			b := r.browser(t)
			if _, at, _ := b.get("/login"); at != "/?notice=login_failed" {
				t.Errorf("ended at %s", at)
			}
			if b.whoAmI() != "" {
				t.Error("logged in")
			}
		})
	}
	t.Run("signature", func(t *testing.T) {
		other := newPool(t)
		genuine := r.pool.key
		r.pool.set(func(p *pool) { p.key = other.key })
		defer r.pool.set(func(p *pool) { p.key = genuine })
		if _, at, _ := r.browser(t).get("/login"); at != "/?notice=login_failed" {
			t.Errorf("ended at %s", at)
		}
	})
}

func TestDisplayNameOfAnyShape(t *testing.T) {
	r := newRig(t, echo)
	hostile := `<img src=x onerror=alert(1)>` + strings.Repeat("长", 100)
	for _, test := range []struct {
		claims map[string]any
		want   string
	}{
		{map[string]any{"name": hostile}, clip(hostile, 64)},
		{map[string]any{"name": 7, "preferred_username": "zs"}, "zs"},
		{map[string]any{"name": " ", "email": "z@example.com"}, "z@example.com"},
		{map[string]any{"name": nil}, "user-zhang"},
	} {
		r.pool.set(func(p *pool) { p.claims = test.claims })
		b := r.browser(t)
		_, _, body := b.get("/login")
		if got := b.whoAmI(); got != test.want {
			t.Errorf("name %q, want %q", got, test.want)
		}
		if strings.Contains(body, "<img src=x") {
			t.Error("the page repeats the name as markup")
		}
	}
}

func TestProviderComesUpLater(t *testing.T) {
	r := newRig(t, echo)
	now := time.Now()
	r.app.login.now = func() time.Time { return now }
	r.pool.set(func(p *pool) { p.down = true })
	b := r.browser(t)
	b.Jar.SetCookies(&url.URL{Scheme: "http", Host: "127.0.0.1"}, []*http.Cookie{{Name: langCookie, Value: "zh"}})
	if _, at, body := b.get("/login"); at != "/?notice=provider_unavailable" || !strings.Contains(body, "暂时无法连接身份服务") {
		t.Fatalf("ended at %s", at)
	}
	if !strings.Contains(r.log.String(), setIssuer) {
		t.Error("the log does not name the setting")
	}
	r.pool.set(func(p *pool) { p.down = false })
	if _, at, _ := b.get("/login"); at != "/?notice=provider_unavailable" {
		t.Error("discovery ran again within a second")
	}
	now = now.Add(2 * time.Second)
	b.login("zhang")
}

func TestWrongIssuerIsExplained(t *testing.T) {
	r := newRig(t, echo)
	r.app.login.set.issuer += "/"
	if _, err := r.app.login.discover(t.Context()); err == nil || !strings.Contains(err.Error(), "use exactly that") {
		t.Errorf("error: %v", err)
	}
}

func TestWrongSecretIsExplained(t *testing.T) {
	r := newRig(t, echo)
	r.app.login.set.clientSecret = newToken("a-wrong-secret")
	if _, at, _ := r.browser(t).get("/login"); at != "/?notice=login_failed" {
		t.Errorf("ended at %s", at)
	}
	if log := r.log.String(); !strings.Contains(log, setSecret) || strings.Contains(log, "a-wrong-secret") {
		t.Errorf("log: %s", log)
	}
}

func TestSessionsExpireAndAreBounded(t *testing.T) {
	now := time.Now()
	var dropped []int
	s := newShelf(3, func() time.Time { return now }, func(v int) { dropped = append(dropped, v) })
	key := func(i int) token { return newToken(fmt.Sprint("key", i)) }
	for i := range 3 {
		s.put(key(i), i, now.Add(time.Duration(10-i)*time.Minute))
	}
	now = now.Add(8 * time.Minute) // 2 has expired, 0 and 1 live on
	if _, ok := s.get(key(2)); ok {
		t.Error("an expired value is still there")
	}
	s.put(key(3), 3, now.Add(time.Hour))
	s.put(key(4), 4, now.Add(time.Hour))
	if _, ok := s.get(key(0)); ok {
		t.Error("the oldest did not make room")
	}
	if v, ok := s.take(key(1)); !ok || v != 1 {
		t.Errorf("take: %d, %v", v, ok)
	}
	if _, ok := s.take(key(1)); ok {
		t.Error("taken twice")
	}
	s.end(key(3))
	if fmt.Sprint(dropped) != "[2 0 3]" || len(s.items) != 1 {
		t.Errorf("dropped %v, %d left", dropped, len(s.items))
	}
}

func TestSessionEndsWithToken(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t).login("zhang")
	r.app.sessions.now = func() time.Time { return time.Now().Add(11 * time.Hour) } // the token lives for 10
	if b.whoAmI() != "" {
		t.Error("the session outlives the token")
	}
}

func TestTwoCookiesOfANameAreNotTrusted(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t).login("zhang")
	target, _ := url.Parse(r.URL)
	genuine := b.Jar.Cookies(target)[0]
	req, _ := http.NewRequest(http.MethodGet, r.URL+"/", nil)
	req.AddCookie(genuine)
	if _, ok := r.app.session(req); !ok {
		t.Fatal("the genuine cookie does not work")
	}
	req.AddCookie(&http.Cookie{Name: sessionCookie, Value: randomToken().reveal()})
	if _, ok := r.app.session(req); ok {
		t.Error("a second cookie of the name was accepted")
	}
}

func TestTokenNeverPrints(t *testing.T) {
	secret := newToken("do-not-show")
	s := newSession("zhang", secret)
	defer s.end()
	for _, text := range []string{
		fmt.Sprint(secret, &secret, s, []token{secret}), fmt.Sprintf("%v %+v %#v %s %q %x %d", secret, s, *s.conversation.Load(), secret, secret, secret, secret),
		fmt.Sprintf("%#v %+v", struct{ T token }{secret}, struct{ t *session }{s}), errors.Join(fmt.Errorf("%v", secret)).Error(),
		mustJSON(t, map[string]any{"a": secret, "b": &secret}),
	} {
		if strings.Contains(text, "do-not-show") || strings.Contains(text, fmt.Sprintf("%x", "do-not-show")) {
			t.Errorf("printed as %q", text)
		}
	}
}
