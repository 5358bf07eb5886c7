package op_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"golang.org/x/oauth2"
)

// refresh uses a refresh token.
func (w *world) refresh(pool, client, token string, params ...string) page {
	w.t.Helper()
	return w.grant(pool, client, oauth.GrantRefreshToken, append([]string{"refresh_token", token}, params...)...)
}

// family returns the family that a refresh token belongs to.
func (w *world) family(pool, token string) userpool.Family {
	w.t.Helper()
	f, _, err := w.stores.FamilyOf(w.t.Context(), pool, userpool.HashRefresh(secret.FromString(token)))
	w.must(err)
	return f
}

// TestOfficialClientRefreshes refreshes as Go programs do, and looks at what must
// stay the same (OpenID Connect Core 1.0, section 12.2).
func TestOfficialClientRefreshes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	provider, err := oidc.NewProvider(ctx, w.url+"/userpool/staff")
	w.must(err)
	for client, style := range map[string]oauth2.AuthStyle{"chat": oauth2.AuthStyleInHeader, "mail": oauth2.AuthStyleInParams, "app": oauth2.AuthStyleInParams} {
		id := "cli_" + client + "_staff"
		endpoint := provider.Endpoint()
		endpoint.AuthStyle = style
		conf := oauth2.Config{ClientID: id, ClientSecret: w.secrets[id].RevealString(), RedirectURL: callbackURL, Endpoint: endpoint}
		p, pkce := w.person(), oauth2.GenerateVerifier()
		p.logIn("staff")
		first, err := conf.Exchange(ctx, p.code(w.ask("staff", "client_id", id, "nonce", "n1", "code_challenge", oauth2.S256ChallengeFromVerifier(pkce),
			"code_challenge_method", "S256")), oauth2.VerifierOption(pkce))
		w.must(err)
		before := w.claims(first.Extra("id_token").(string))
		expired := *first
		expired.Expiry = time.Unix(1, 0)
		second, err := conf.TokenSource(ctx, &expired).Token()
		w.must(err)
		if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken {
			t.Errorf("%s: a refresh changed nothing", client)
		}
		idToken, err := provider.Verifier(&oidc.Config{ClientID: id}).Verify(ctx, second.Extra("id_token").(string))
		w.must(err)
		w.must(idToken.VerifyAccessToken(second.AccessToken))
		after := w.claims(second.Extra("id_token").(string))
		for _, claim := range []string{"iss", "sub", "aud", "auth_time", "acr", "sid"} {
			if before[claim] == nil || before[claim] != after[claim] {
				t.Errorf("%s: %s was %v and is %v", client, claim, before[claim], after[claim])
			}
		}
		if before["nonce"] != "n1" || after["nonce"] != nil {
			t.Errorf("%s: nonces %v, %v", client, before["nonce"], after["nonce"])
		}
	}
}

func TestRefreshNarrows(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	first := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid profile email"))))
	narrow := w.good(w.refresh("staff", "chat", first.Refresh, "scope", "profile"))
	if narrow.Scope != "profile" || narrow.ID != "" || w.claims(narrow.Access)["email"] != nil {
		t.Errorf("narrowed to profile: %+v", narrow)
	}
	if all := w.good(w.refresh("staff", "chat", narrow.Refresh)); all.Scope != "email openid profile" || all.ID == "" {
		t.Errorf("the next refresh is narrow, too: %+v", all)
	}
}

func TestRefreshReuseEndsTheFamily(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	first := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	second := w.good(w.refresh("staff", "chat", first.Refresh))
	twin := w.good(w.refresh("staff", "chat", first.Refresh)) // an honest double send
	third := w.good(w.refresh("staff", "chat", twin.Refresh))
	if f := w.family("staff", third.Refresh); f.Head != 3 || !f.EndedAt.IsZero() {
		t.Fatalf("the family is %+v", f)
	}
	w.pass(11 * time.Second)
	if active, _ := w.active("staff", "chat", second.Refresh); active {
		t.Error("a token of the generation before is told to hold after the grace")
	}
	w.bad("the twin that lost, after the grace", w.refresh("staff", "chat", second.Refresh), 400, "invalid_grant")
	w.bad("the newest token of a stolen family", w.refresh("staff", "chat", third.Refresh), 400, "invalid_grant")
	for _, token := range []string{first.Access, second.Access, twin.Access, third.Access, third.Refresh} {
		if active, _ := w.active("staff", "chat", token); active {
			t.Error("a token of a stolen family is told to hold")
		}
	}
	if shown := userInfo(p, "staff", third.Access); shown.status != 401 {
		t.Errorf("userinfo of a stolen family: %d", shown.status)
	}
	entries, err := w.stores.Entries(t.Context())
	w.must(err)
	if !slices.ContainsFunc(entries, func(e audit.Entry) bool {
		return e.Action == "refresh.reuse" && e.Caller.User.Subject == "usr_zhang_staff" && e.Detail["client"] == "cli_chat_staff"
	}) {
		t.Error("the reuse is not in the log")
	}
}

// TestRefreshRaces uses one token twenty times at once.
func TestRefreshRaces(t *testing.T) {
	onEach(t, func(w *world) {
		p := w.person()
		p.logIn("staff")
		crowd := func(send func() page) (good []answer) {
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					shown := send()
					mu.Lock()
					defer mu.Unlock()
					if shown.status == http.StatusOK {
						good = append(good, w.good(shown))
					} else {
						w.bad("a loser", shown, 400, "invalid_grant")
					}
				})
			}
			all.Wait()
			return good
		}
		first := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
		good := crowd(func() page { return w.refresh("staff", "chat", first.Refresh) })
		f := w.family("staff", first.Refresh)
		if len(good) != 20 || f.Head != 2 || !f.EndedAt.IsZero() {
			w.t.Errorf("in the grace: %d answers, family %+v", len(good), f)
		}
		for _, a := range good {
			if g := w.family("staff", a.Refresh); g.ID != f.ID {
				w.t.Errorf("a second family: %s beside %s", g.ID, f.ID)
			}
		}

		w.settings("staff", func(s *userpool.Settings) { s.RefreshGrace = 0 })
		first = w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
		good = crowd(func() page { return w.refresh("staff", "chat", first.Refresh) })
		if f := w.family("staff", first.Refresh); len(good) != 1 || f.Head != 2 || f.Ending != userpool.EndedRefreshReuse {
			w.t.Errorf("without a grace: %d answers, family %+v", len(good), f)
		}

		code := p.code(w.ask("staff"))
		good = crowd(func() page { return w.redeem("staff", "chat", code) })
		if len(good) != 1 {
			w.t.Fatalf("one code was redeemed %d times", len(good))
		}
		if f := w.family("staff", good[0].Refresh); f.Ending != userpool.EndedCodeReuse {
			w.t.Errorf("the family of a code that came twenty times: %+v", f)
		}
		if active, _ := w.active("staff", "chat", good[0].Access); active {
			w.t.Error("the access token of a code that came twenty times holds")
		}
	})
}

func TestHostileRefresh(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	w.edit("staff", "mail", func(c *userpool.Client) { c.Grants = []string{oauth.GrantAuthorizationCode} })
	fresh := func() answer { return w.good(w.redeem("staff", "chat", p.code(w.ask("staff")))) }
	for what, c := range map[string]struct {
		client, pool string
		token        func(answer) string
		params       []string
		status       int
		code         string
	}{
		"another client's":         {client: "app", status: 400, code: "invalid_grant"},
		"a client without refresh": {client: "mail", status: 400, code: "unauthorized_client"},
		"another pool's":           {pool: "guests", status: 400, code: "invalid_grant"},
		"no token":                 {token: func(answer) string { return "" }, status: 400, code: "invalid_request"},
		"unknown":                  {token: func(answer) string { return "rt_x" }, status: 400, code: "invalid_grant"},
		"NUL":                      {token: func(answer) string { return "rt_\x00" }, status: 400, code: "invalid_grant"},
		"cut":                      {token: func(a answer) string { return a.Refresh[:len(a.Refresh)-1] }, status: 400, code: "invalid_grant"},
		"longer":                   {token: func(a answer) string { return a.Refresh + "0" }, status: 400, code: "invalid_grant"},
		"upper case":               {token: func(a answer) string { return strings.ToUpper(a.Refresh) }, status: 400, code: "invalid_grant"},
		"access token":             {token: func(a answer) string { return a.Access }, status: 400, code: "invalid_grant"},
		"ID token":                 {token: func(a answer) string { return a.ID }, status: 400, code: "invalid_grant"},
		"family's id":              {token: func(a answer) string { return w.family("staff", a.Refresh).ID }, status: 400, code: "invalid_grant"},
		"wider scope":              {params: []string{"scope", "openid profile email"}, status: 400, code: "invalid_scope"},
		"strange scope":            {params: []string{"scope", `"`}, status: 400, code: "invalid_scope"},
		"foreign resource":         {params: []string{"resource", "https://mcp.example/"}, status: 400, code: "invalid_target"},
		"oversize":                 {params: []string{"x", strings.Repeat("x", 40000)}, status: 413, code: "invalid_request"},
		"token twice":              {params: []string{"refresh_token", "rt_x"}, status: 400, code: "invalid_request"},
	} {
		a, client, pool := fresh(), "chat", "staff"
		if c.client != "" {
			client = c.client
		}
		if c.pool != "" {
			pool = c.pool
		}
		token := a.Refresh
		if c.token != nil {
			token = c.token(a)
		}
		w.bad(what, w.refresh(pool, client, token, c.params...), c.status, c.code)
		w.good(w.refresh("staff", "chat", a.Refresh)) // none of that used it up
	}
}

// TestWhatEndsRefreshing: each of these leaves a refresh token that is of no use.
func TestWhatEndsRefreshing(t *testing.T) {
	for what, do := range map[string]func(w *world, p *person, a answer){
		"logout":     func(_ *world, p *person, _ answer) { p.submit(p.get("/userpool/staff/logout"), "decision", "allow") },
		"idleness":   func(w *world, _ *person, _ answer) { w.pass(userpool.DefaultRefreshIdle) },
		"revocation": func(w *world, _ *person, a answer) { w.revoke("staff", "chat", a.Refresh) },
		"of access":  func(w *world, _ *person, a answer) { w.revoke("staff", "chat", a.Access) },
		"disabling":  func(w *world, _ *person, _ answer) { w.editUser(func(u *userpool.User) { u.Disabled = true }) },
		"new password": func(w *world, _ *person, _ answer) {
			w.editUser(func(u *userpool.User) { u.PasswordChangedAt = w.now() })
		},
		"no grant": func(w *world, _ *person, _ answer) {
			w.edit("staff", "chat", func(c *userpool.Client) { c.Grants = []string{oauth.GrantAuthorizationCode} })
		},
		"deletion": func(w *world, _ *person, _ answer) {
			u := userpool.UserResource("staff", "usr_zhang_staff")
			w.must(w.stores.DeleteUser(w.t.Context(), w.permit(userpool.ActionDeleteUser, u), "staff", u.ID))
		},
		"sweeping": func(w *world, _ *person, a answer) {
			w.revoke("staff", "chat", a.Access)
			w.pass(time.Second)
			_, err := w.stores.Sweep(w.t.Context(), w.permit(userpool.ActionSweep, userpool.SweepResource()), w.now())
			w.must(err)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			p := w.person()
			p.logIn("staff")
			w.pass(time.Second)
			a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
			a = w.good(w.refresh("staff", "chat", a.Refresh))
			do(w, p, a)
			if shown := w.refresh("staff", "chat", a.Refresh); shown.status != 400 {
				t.Errorf("%d %s", shown.status, shown.body)
			}
			if active, _ := w.active("staff", "chat", a.Refresh); active && what != "no grant" {
				t.Error("the token is told to hold")
			}
		})
	}
}

// TestOfflineAccessOutlivesTheLogin (OpenID Connect Core 1.0, section 11).
func TestOfflineAccessOutlivesTheLogin(t *testing.T) {
	w := newWorld(t)
	w.edit("staff", "chat", func(c *userpool.Client) { c.Scopes = w.scopes("openid offline_access") })
	p := w.person()
	p.logIn("staff")
	offline := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid offline_access"))))
	online := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid"))))
	p.submit(p.get("/userpool/staff/logout"), "decision", "allow")
	w.bad("online", w.refresh("staff", "chat", online.Refresh), 400, "invalid_grant")
	w.pass(6 * 24 * time.Hour)
	w.good(w.refresh("staff", "chat", offline.Refresh))
}

// TestNothingOutlivesItsFamily: the last access tokens of a family are short.
func TestNothingOutlivesItsFamily(t *testing.T) {
	w := newWorld(t)
	w.edit("staff", "chat", func(c *userpool.Client) { c.RefreshLifetime, c.RefreshIdle = time.Hour, time.Hour })
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	if a.Seconds > 3600 {
		t.Errorf("a family of an hour has an access token of %d s", a.Seconds)
	}
	w.pass(50 * time.Minute)
	if a = w.good(w.refresh("staff", "chat", a.Refresh)); a.Seconds > 600 {
		t.Errorf("ten minutes before the end: an access token of %d s", a.Seconds)
	}
	w.pass(10 * time.Minute)
	w.bad("after the end", w.refresh("staff", "chat", a.Refresh), 400, "invalid_grant")
}

func (w *world) revoke(pool, client, token string) {
	w.t.Helper()
	if p := w.call(pool, client, "/oauth/revoke", url.Values{"token": {token}}); p.status != http.StatusOK || p.body != "" {
		w.t.Errorf("revocation: %d %s", p.status, p.body)
	}
}

func (w *world) editUser(change func(*userpool.User)) {
	w.t.Helper()
	u, err := w.stores.User(w.t.Context(), "staff", "usr_zhang_staff")
	w.must(err)
	change(&u)
	w.must(w.stores.UpdateUser(w.t.Context(), w.permit(userpool.ActionUpdateUser, u.Resource()), u))
}
