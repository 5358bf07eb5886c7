package op_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	active, v := w.active("staff", "chat", a.Access)
	for member, want := range map[string]any{
		"iss": w.url + "/userpool/staff", "sub": "usr_zhang_staff", "username": "zhang", "aud": "cli_chat_staff", "client_id": "cli_chat_staff",
		"scope": "openid profile", "token_type": "Bearer", "acr": userpool.ACRSingle,
	} {
		if v[member] != want {
			t.Errorf("%s = %v, want %v", member, v[member], want)
		}
	}
	if !active || v["exp"].(float64)-v["iat"].(float64) != 36000 || !strings.HasPrefix(v["jti"].(string), "fam_") || !strings.HasPrefix(v["sid"].(string), "ses_") {
		t.Errorf("access token: %v", v)
	}
	if active, v = w.active("staff", "chat", a.Refresh); !active || v["scope"] != "openid profile" || v["token_type"] != nil {
		t.Errorf("refresh token: %v", v)
	}
	next := w.good(w.refresh("staff", "chat", a.Refresh))
	if active, _ = w.active("staff", "chat", a.Refresh); !active {
		t.Error("in the grace the former token still holds")
	}
	w.revoke("staff", "chat", next.Access)
	for _, token := range []string{a.Access, a.Refresh, next.Access, next.Refresh} {
		if active, _ = w.active("staff", "chat", token); active {
			t.Error("revoked, and told to hold")
		}
	}
}

// TestHostileIntrospection asks about tokens of others, and about what is no access token.
func TestHostileIntrospection(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	header, rest, _ := strings.Cut(a.Access, ".")
	for what, c := range map[string]struct{ pool, client, token string }{
		"another client's":     {"staff", "mail", a.Access},
		"its refresh token":    {"staff", "mail", a.Refresh},
		"another pool's":       {"guests", "chat", a.Access},
		"its refresh tokens":   {"guests", "chat", a.Refresh},
		"ID token":             {"staff", "chat", a.ID},
		"garbage":              {"staff", "chat", "garbage"},
		"three parts":          {"staff", "chat", "a.b.c"},
		"NUL":                  {"staff", "chat", "rt_\x00"},
		"NUL in a token":       {"staff", "chat", "\x00.a.b"},
		"alg none":             {"staff", "chat", "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + rest[:strings.IndexByte(rest, '.')+1]},
		"alg HS256":            {"staff", "chat", "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9." + rest},
		"cut":                  {"staff", "chat", a.Access[:len(a.Access)-2]},
		"payload of the other": {"staff", "chat", header + "." + strings.Split(a.ID, ".")[1] + "." + strings.Split(a.Access, ".")[2]},
		"large":                {"staff", "chat", strings.Repeat("a.", 10000)},
	} {
		if active, _ := w.active(c.pool, c.client, c.token); active {
			t.Errorf("%s: told to hold", what)
		}
	}
	for what, c := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"nobody":          {url.Values{"token": {a.Access}}, 401, "invalid_client"},
		"public client":   {url.Values{"token": {a.Access}, "client_id": {"cli_app_staff"}}, 401, "invalid_client"},
		"wrong secret":    {url.Values{"token": {a.Access}, "client_id": {"cli_chat_staff"}, "client_secret": {"cs_x"}}, 401, "invalid_client"},
		"foreign client":  {url.Values{"token": {a.Access}, "client_id": {"cli_chat_guests"}, "client_secret": {w.secrets["cli_chat_guests"].RevealString()}}, 401, "invalid_client"},
		"no token":        {url.Values{"client_id": {"cli_chat_staff"}, "client_secret": {w.secrets["cli_chat_staff"].RevealString()}}, 400, "invalid_request"},
		"oversize":        {url.Values{"token": {strings.Repeat("x", 40000)}}, 413, "invalid_request"},
		"token twice":     {url.Values{"token": {"a", "b"}}, 400, "invalid_request"},
		"token as bearer": {url.Values{}, 401, "invalid_client"},
	} {
		for _, endpoint := range []string{"introspect", "revoke"} {
			if endpoint == "revoke" && what == "public client" {
				continue // it may, for its own tokens
			}
			w.bad(endpoint+", "+what, w.person().post("/userpool/staff/oauth/"+endpoint, c.form), c.status, c.code)
		}
	}
	if active, _ := w.active("staff", "chat", a.Access); !active {
		t.Error("after all that, the good token does not hold")
	}
	w.pass(10 * time.Hour)
	if active, _ := w.active("staff", "chat", a.Access); active {
		t.Error("expired, and told to hold")
	}
}

func TestRevocation(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	w.bad("another client's token", w.call("staff", "mail", "/oauth/revoke", url.Values{"token": {a.Refresh}}), 400, "invalid_grant")
	w.bad("by a public client", w.call("staff", "app", "/oauth/revoke", url.Values{"token": {a.Refresh}}), 400, "invalid_grant")
	for _, token := range []string{"rt_x", "a.b.c", a.ID, "\x00", a.Access + "x"} {
		w.revoke("staff", "chat", token)
	}
	w.revoke("guests", "chat", a.Refresh) // unknown there
	if active, _ := w.active("staff", "chat", a.Access); !active {
		t.Fatal("the token went with what was none of it")
	}
	// With a hint that is wrong, which does not matter (section 2.1).
	if shown := w.call("staff", "chat", "/oauth/revoke", url.Values{"token": {a.Refresh}, "token_type_hint": {"access_token"}}); shown.status != http.StatusOK {
		t.Errorf("%d %s", shown.status, shown.body)
	}
	if shown := userInfo(p, "staff", a.Access); shown.status != 401 {
		t.Errorf("userinfo after the revocation: %d", shown.status)
	}
	w.revoke("staff", "chat", a.Refresh) // once more is no error

	// An exchanged token is not the exchanger's to end the login with.
	w.allowExchange()
	a = w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	passed := w.good(w.exchange("chat", a.Access, "audience", "cli_mail_staff"))
	other := w.good(w.exchange("mail", passed.Access, "resource", calendar))
	w.bad("by who exchanged it", w.call("staff", "mail", "/oauth/revoke", url.Values{"token": {other.Access}}), 400, oauth.CodeUnsupportedTokenType)
	w.bad("by whom it was passed to", w.call("staff", "mail", "/oauth/revoke", url.Values{"token": {passed.Access}}), 400, "invalid_grant")
	if active, _ := w.active("staff", "chat", a.Access); !active {
		t.Error("another client ended the login")
	}
}

// TestMetadata: one document at four addresses.
func TestMetadata(t *testing.T) {
	w := newWorld(t)
	first := w.person().get("/userpool/staff/.well-known/openid-configuration")
	var doc map[string]any
	w.must(json.Unmarshal([]byte(first.body), &doc))
	issuer := w.url + "/userpool/staff"
	if doc["introspection_endpoint"] != issuer+"/oauth/introspect" || doc["revocation_endpoint"] != issuer+"/oauth/revoke" {
		t.Errorf("endpoints %v, %v", doc["introspection_endpoint"], doc["revocation_endpoint"])
	}
	for _, grant := range []string{"authorization_code", "refresh_token", "client_credentials", oauth.GrantTokenExchange} {
		if !strings.Contains(first.body, `"`+grant+`"`) {
			t.Errorf("no %s", grant)
		}
	}
	for _, address := range []string{"/userpool/staff/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/userpool/staff",
		"/.well-known/openid-configuration/userpool/staff"} {
		shown := w.person().get(address)
		if shown.status != http.StatusOK || shown.body != first.body || shown.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %s", address, shown.status, shown.body)
		}
	}
	if shown := w.person().get("/.well-known/oauth-authorization-server/userpool/nobody"); shown.status != http.StatusNotFound {
		t.Errorf("a pool that there is not: %d", shown.status)
	}
}
