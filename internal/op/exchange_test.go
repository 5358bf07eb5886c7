package op_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
	"golang.org/x/oauth2/clientcredentials"
)

const calendar = "https://calendar.example/"

// allowExchange lets the clients chat and mail of the pool staff exchange tokens: chat for mail and the calendar, mail for
// the calendar.
func (w *world) allowExchange() {
	w.t.Helper()
	w.edit("staff", "chat", func(c *userpool.Client) {
		c.Grants = append(c.Grants, oauth.GrantTokenExchange)
		c.Audiences = []string{"cli_mail_staff", calendar, "https://a.example/"}
	})
	w.edit("staff", "mail", func(c *userpool.Client) {
		c.Grants = append(c.Grants, oauth.GrantTokenExchange, oauth.GrantClientCredentials)
		c.Audiences = []string{calendar}
		c.Scopes = w.scopes("openid profile events.read events.write")
		c.AccessTokenLifetime = time.Hour
	})
}

// exchange exchanges a token; params may change or add to what a good request has.
func (w *world) exchange(client, subject string, params ...string) page {
	w.t.Helper()
	form := url.Values{"grant_type": {oauth.GrantTokenExchange}, "subject_token": {subject}, "subject_token_type": {oauth.TokenTypeAccessToken}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	return w.call("staff", client, "/oauth/token", form)
}

func TestExchange(t *testing.T) {
	w := newWorld(t)
	w.allowExchange()
	p := w.person()
	p.logIn("staff")
	first := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid profile email"))))
	w.pass(time.Minute)

	// The chat application calls mail, which calls the calendar.
	second := w.good(w.exchange("chat", first.Access, "audience", "cli_mail_staff"))
	third := w.good(w.exchange("mail", second.Access, "resource", calendar, "requested_token_type", oauth.TokenTypeAccessToken, "scope", "profile"))
	one, two, three := w.claims(first.Access), w.claims(second.Access), w.claims(third.Access)
	for _, claim := range []string{"sub", "auth_time", "acr", "sid"} {
		if one[claim] == nil || one[claim] != two[claim] || one[claim] != three[claim] {
			t.Errorf("%s is %v, %v, %v", claim, one[claim], two[claim], three[claim])
		}
	}
	if two["aud"] != "cli_mail_staff" || two["client_id"] != "cli_chat_staff" || three["aud"] != calendar || three["client_id"] != "cli_mail_staff" {
		t.Errorf("made %v, %v", two, three)
	}
	if second.Type != oauth.TokenTypeAccessToken || second.Refresh+second.ID != "" || second.Scope != "email openid profile" || third.Scope != "profile" {
		t.Errorf("answers %+v, %+v", second, third)
	}
	if _, acted := one["act"]; acted {
		t.Error("the user's own token has an actor")
	}
	chain, err := json.Marshal(three["act"])
	w.must(err)
	if string(chain) != `{"act":{"sub":"cli_chat_staff"},"sub":"cli_mail_staff"}` {
		t.Errorf("the chain is %s", chain)
	}
	if two["exp"].(float64) > one["exp"].(float64) || three["exp"].(float64) > two["exp"].(float64) || second.Seconds > 10*3600-59 || third.Seconds > 3600 {
		t.Errorf("they end at %v, %v, %v", one["exp"], two["exp"], three["exp"])
	}
	if active, v := w.active("staff", "mail", third.Access); !active || v["act"] == nil {
		t.Errorf("introspection of the third: %v", v)
	}
	if shown := userInfo(p, "staff", third.Access); shown.status != 401 {
		t.Errorf("the calendar reads userinfo with the token that it got: %d", shown.status)
	}

	// An actor other than the client itself.
	own := w.good(w.grant("staff", "mail", oauth.GrantClientCredentials))
	acted := w.good(w.exchange("mail", second.Access, "resource", calendar, "actor_token", own.Access, "actor_token_type", oauth.TokenTypeJWT))
	if act := w.claims(acted.Access)["act"].(map[string]any); act["sub"] != "cli_mail_staff" || act["act"] == nil {
		t.Errorf("the actor is %v", act)
	}

	// They all end with the login that they came of.
	w.revoke("staff", "chat", first.Refresh)
	for _, token := range []string{second.Access, third.Access, acted.Access} {
		if active, _ := w.active("staff", "mail", token); active {
			t.Error("a token outlives what it came of")
		}
	}
	w.bad("a revoked subject", w.exchange("mail", second.Access), 400, "invalid_request")
}

// TestHostileExchange tries to get more than was given.
func TestHostileExchange(t *testing.T) {
	w := newWorld(t)
	w.allowExchange()
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid profile"))))
	passed := w.good(w.exchange("chat", a.Access, "audience", "cli_mail_staff"))
	own := w.good(w.grant("staff", "mail", oauth.GrantClientCredentials))
	guest := w.person()
	guest.logIn("guests")
	foreign := w.good(w.redeem("guests", "chat", guest.code(w.ask("guests"))))
	for what, c := range map[string]struct {
		client, subject string
		params          []string
		code            string
	}{
		"no subject":                   {"chat", "", nil, "invalid_request"},
		"no type":                      {"chat", a.Access, []string{"subject_token_type", ""}, "invalid_request"},
		"refresh token":                {"chat", a.Refresh, []string{"subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"},
		"refresh token as access":      {"chat", a.Refresh, nil, "invalid_request"},
		"ID token":                     {"chat", a.ID, []string{"subject_token_type", "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"},
		"ID token as access token":     {"chat", a.ID, nil, "invalid_request"},
		"ID token as JWT":              {"chat", a.ID, []string{"subject_token_type", oauth.TokenTypeJWT}, "invalid_request"},
		"ID token wanted":              {"chat", a.Access, []string{"requested_token_type", "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"},
		"refresh token wanted":         {"chat", a.Access, []string{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"},
		"garbage":                      {"chat", "a.b.c", nil, "invalid_request"},
		"other signature":              {"chat", a.Access[:len(a.Access)-8] + "AAAAAAAA", nil, "invalid_request"},
		"another pool's token":         {"chat", foreign.Access, nil, "invalid_request"},
		"another client's token":       {"mail", a.Access, nil, "invalid_request"},
		"a client's own token":         {"mail", own.Access, nil, "invalid_request"},
		"a public client":              {"app", a.Access, nil, "unauthorized_client"},
		"a foreign audience":           {"chat", a.Access, []string{"audience", "cli_app_staff"}, "invalid_target"},
		"a foreign resource":           {"chat", a.Access, []string{"resource", "https://other.example/"}, "invalid_target"},
		"a longer resource":            {"chat", a.Access, []string{"resource", calendar + "x"}, "invalid_target"},
		"a resource with a fragment":   {"chat", a.Access, []string{"resource", calendar + "#x"}, "invalid_target"},
		"a relative resource":          {"chat", a.Access, []string{"resource", "/calendar"}, "invalid_target"},
		"back to the first client":     {"mail", passed.Access, []string{"audience", "cli_chat_staff"}, "invalid_target"},
		"scopes of the other client":   {"mail", passed.Access, []string{"scope", "events.write"}, "invalid_scope"},
		"scopes beyond the subject's":  {"chat", a.Access, []string{"scope", "openid profile email"}, "invalid_scope"},
		"another client's actor":       {"chat", a.Access, []string{"actor_token", own.Access, "actor_token_type", oauth.TokenTypeAccessToken}, "invalid_request"},
		"an actor without type":        {"chat", a.Access, []string{"actor_token", a.Access}, "invalid_request"},
		"an actor's type without more": {"chat", a.Access, []string{"actor_token_type", oauth.TokenTypeAccessToken}, "invalid_request"},
		"an ID token as actor":         {"chat", a.Access, []string{"actor_token", a.ID, "actor_token_type", oauth.TokenTypeJWT}, "invalid_request"},
	} {
		w.bad(what, w.exchange(c.client, c.subject, c.params...), 400, c.code)
	}
	w.good(w.exchange("chat", a.Access, "audience", "cli_mail_staff"))
	if !slices.Contains(w.reasons(), "subject_token is another client's") {
		t.Errorf("the log does not have it: %q", w.reasons())
	}

	token := a.Access
	for range 8 {
		token = w.good(w.exchange("chat", token)).Access
	}
	w.bad("a chain without end", w.exchange("chat", token), 400, "invalid_request")
	w.editUser(func(u *userpool.User) { u.Disabled = true })
	w.bad("a disabled user", w.exchange("chat", a.Access), 400, "invalid_request")
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	w.allowExchange()
	conf := clientcredentials.Config{ClientID: "cli_mail_staff", ClientSecret: w.secrets["cli_mail_staff"].RevealString(),
		TokenURL: w.url + "/userpool/staff/oauth/token", Scopes: []string{"events.read"}, EndpointParams: url.Values{"resource": {calendar}}}
	token, err := conf.Token(t.Context())
	w.must(err)
	c := w.claims(token.AccessToken)
	if c["sub"] != "cli_mail_staff" || c["client_id"] != "cli_mail_staff" || c["aud"] != calendar || c["scope"] != "events.read" || c["auth_time"] != nil || c["sid"] != nil {
		t.Errorf("claims %v", c)
	}
	all := w.good(w.grant("staff", "mail", oauth.GrantClientCredentials))
	if all.Scope != "events.read events.write" || all.Refresh+all.ID != "" || w.claims(all.Access)["aud"] != "cli_mail_staff" {
		t.Errorf("without parameters: %+v", all)
	}
	if active, v := w.active("staff", "mail", all.Access); !active || v["sub"] != "cli_mail_staff" || v["username"] != nil {
		t.Errorf("introspection: %v", v)
	}
	if shown := userInfo(w.person(), "staff", all.Access); shown.status != 403 {
		t.Errorf("userinfo of a client: %d", shown.status)
	}
	w.bad("revocation", w.call("staff", "mail", "/oauth/revoke", url.Values{"token": {all.Access}}), 400, "unsupported_token_type")
	w.bad("a public client", w.grant("staff", "app", oauth.GrantClientCredentials), 400, "unauthorized_client")
	w.bad("a client without the grant", w.grant("staff", "chat", oauth.GrantClientCredentials), 400, "unauthorized_client")
	w.bad("a person's scope", w.grant("staff", "mail", oauth.GrantClientCredentials, "scope", "openid"), 400, "invalid_scope")
	w.bad("a foreign scope", w.grant("staff", "mail", oauth.GrantClientCredentials, "scope", "events.delete"), 400, "invalid_scope")
	w.bad("a foreign resource", w.grant("staff", "mail", oauth.GrantClientCredentials, "resource", "https://other.example/"), 400, "invalid_target")

	gone := userpool.ClientResource("staff", "cli_mail_staff")
	w.edit("staff", "chat", func(c *userpool.Client) { c.Audiences = nil })
	w.must(w.stores.DeleteClient(t.Context(), w.permit(userpool.ActionDeleteClient, gone), "staff", gone.ID))
	if shown := userInfo(w.person(), "staff", all.Access); shown.status != 401 {
		t.Errorf("userinfo of a client that is gone: %d", shown.status)
	}
}

// TestResources (RFC 8707): what is granted at the authorization endpoint may be narrowed afterwards.
func TestResources(t *testing.T) {
	w := newWorld(t)
	w.edit("staff", "chat", func(c *userpool.Client) { c.Audiences = []string{calendar, "https://a.example/"} })
	p := w.person()
	p.logIn("staff")
	ask := func(resources ...string) string {
		return w.ask("staff") + "&" + url.Values{"resource": resources}.Encode()
	}
	if shown := p.get(ask(calendar)); !strings.Contains(shown.body, "Act for you at another service") || !strings.Contains(shown.body, calendar) {
		t.Errorf("the consent page does not name the resource: %s", shown.body)
	}
	both := w.good(w.redeem("staff", "chat", p.code(ask(calendar, "https://a.example/"))))
	if aud, ok := w.claims(both.Access)["aud"].([]any); !ok || len(aud) != 2 {
		t.Errorf("for both: %v", w.claims(both.Access)["aud"])
	}
	if w.claims(both.ID)["aud"] != "cli_chat_staff" {
		t.Errorf("the ID token is for %v", w.claims(both.ID)["aud"])
	}
	one := w.good(w.redeem("staff", "chat", p.code(ask(calendar, "https://a.example/")), "resource", calendar))
	if aud := w.claims(one.Access)["aud"]; aud != calendar {
		t.Errorf("narrowed at the token endpoint: %v", aud)
	}
	other := w.good(w.refresh("staff", "chat", one.Refresh, "resource", "https://a.example/"))
	if aud := w.claims(other.Access)["aud"]; aud != "https://a.example/" {
		t.Errorf("another of what was granted, by refresh: %v", aud)
	}
	if active, _ := w.active("staff", "mail", other.Access); active {
		t.Error("a client that a token does not name is told about it")
	}
	w.bad("what was not granted", w.refresh("staff", "chat", w.good(w.redeem("staff", "chat", p.code(ask(calendar)))).Refresh, "resource", "https://a.example/"), 400, "invalid_target")
	w.bad("at the token endpoint alone", w.redeem("staff", "chat", p.code(w.ask("staff")), "resource", calendar), 400, "invalid_target")
	for _, bad := range []string{"https://other.example/", calendar + "#x", "calendar", "%"} {
		if shown := p.get(ask(bad)); !strings.Contains(shown.to, "error=invalid_target") {
			t.Errorf("%q: %d %s", bad, shown.status, shown.to)
		}
	}
	w.edit("staff", "chat", func(c *userpool.Client) { c.Audiences = nil })
	w.bad("an audience that the client has lost", w.refresh("staff", "chat", other.Refresh), 400, "invalid_target")
}

// TestAlgorithms: each client's tokens are signed with its own, and each is verified.
func TestAlgorithms(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	for _, algorithm := range []string{"", jwt.EdDSA, jwt.RS256} {
		w.edit("staff", "chat", func(c *userpool.Client) { c.Algorithm = algorithm })
		a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
		want := algorithm
		if want == "" {
			want = jwt.ES256
		}
		for _, token := range []string{a.Access, a.ID} {
			if header := w.claims("." + strings.Split(token, ".")[0] + "."); header["alg"] != want {
				t.Errorf("%q: signed with %v", algorithm, header["alg"])
			}
		}
		if shown := userInfo(p, "staff", a.Access); shown.status != http.StatusOK {
			t.Errorf("%q: userinfo %d %s", algorithm, shown.status, shown.body)
		}
		set, err := jwt.ParseSet([]byte(p.get("/userpool/staff/keys").body))
		w.must(err)
		_, err = set.Verify(a.ID, jwt.Expect{Issuer: w.url + "/userpool/staff", Audience: "cli_chat_staff", Types: []string{"JWT"}, Algorithms: []string{want}})
		w.must(err)
	}
}
