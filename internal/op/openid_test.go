package op_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// told returns what an answer tells the client by redirect: an error, or that there is a code.
func (w *world) told(shown page) string {
	w.t.Helper()
	u, err := url.Parse(shown.to)
	w.must(err)
	if q := u.Query(); strings.HasPrefix(shown.to, callbackURL+"?") && q.Get("code") != "" {
		return "code"
	} else if strings.HasPrefix(shown.to, callbackURL+"?") && q.Get("state") == "s1" && q.Get("iss") == w.url+"/userpool/staff" {
		return q.Get("error")
	}
	return shown.to
}

// TestNobodyIsSentAwayByALink: a link of ours leads to a client only for who has
// logged in, even if it is wrong (RFC 9700, section 4.11.2).
func TestNobodyIsSentAwayByALink(t *testing.T) {
	w := newWorld(t)
	for changes, want := range map[[2]string]string{
		{"response_type", "token"}: "unsupported_response_type", {"scope", "nonsense"}: "invalid_scope", {"request", "e30."}: "request_not_supported",
		{"prompt", "create"}: "invalid_request", {"max_age", "x"}: "invalid_request", {"client_id", "cli_app_staff"}: "invalid_request",
		{"id_token_hint", "x"}: "invalid_request",
	} {
		p := w.person()
		toLogin := p.get(w.ask("staff", changes[0], changes[1]))
		if !strings.HasPrefix(toLogin.to, "/userpool/staff/login?return=") {
			t.Errorf("%s: a stranger is sent to %s", changes, toLogin.to)
			continue
		}
		back := p.submit(p.get(toLogin.to), "username", "zhang", "password", password)
		if got := w.told(p.get(back.to)); got != want || back.status != http.StatusSeeOther {
			t.Errorf("%s: after the login: %s, want %s", changes, got, want)
		}
	}
	for what, target := range map[string]string{
		"login_required": w.ask("staff", "prompt", "none"), "invalid_scope": w.ask("staff", "prompt", "none", "scope", "nonsense"),
	} {
		if got := w.told(w.person().get(target)); got != what { // what asks for silence is answered at once
			t.Errorf("silent: %s, want %s", got, what)
		}
	}
}

// TestStrangersApplicationsAreNotSentAnybody: the author of a metadata document
// registers whatever address he likes.
func TestStrangersApplicationsAreNotSentAnybody(t *testing.T) {
	w := newWorld(t)
	w.settings("staff", func(s *userpool.Settings) { s.MetadataDocuments = true })
	id := w.document("/stranger", "")
	far, near := w.away.URL+"/cb", "http://localhost/cb"
	v := oauth.NewVerifier()
	ask := func(redirectURI string, changes ...string) string {
		return w.ask("staff", append([]string{"client_id", id, "redirect_uri", redirectURI, "code_challenge", oauth.Challenge(v), "code_challenge_method", "S256"}, changes...)...)
	}
	p, nobody := w.person(), w.person()
	p.logIn("staff")
	for what, c := range map[string]struct {
		who     *person
		changes []string
		want    string
	}{
		"nobody, silently": {nobody, []string{"prompt", "none"}, "login_required"}, "somebody, silently": {p, []string{"prompt", "none"}, "consent_required"},
		"wrong, silently": {nobody, []string{"prompt", "none", "scope", "nonsense"}, "invalid_scope"}, "wrong": {p, []string{"response_type", "token"}, "unsupported_response_type"},
	} {
		if shown := c.who.get(ask(far, c.changes...)); shown.status != http.StatusBadRequest || shown.to != "" || !strings.Contains(shown.body, "<code>"+c.want+"</code>") {
			t.Errorf("%s: %d %s, want a page with %s", what, shown.status, shown.to, c.want)
		}
		if shown := c.who.get(ask(near, c.changes...)); !strings.HasPrefix(shown.to, near+"?") || !strings.Contains(shown.to, "error="+c.want) {
			t.Errorf("%s, on this machine: %d %s", what, shown.status, shown.to)
		}
	}
	// Who decides, decides.
	if shown := p.submit(p.get(ask(far)), "decision", "deny"); !strings.HasPrefix(shown.to, far+"?") || !strings.Contains(shown.to, "error=access_denied") {
		t.Errorf("denied: %d %s", shown.status, shown.to)
	}
	p.code(ask(far))
	if shown := p.get(ask(far, "prompt", "none")); !strings.Contains(shown.to, "code=") {
		t.Errorf("once it is let in: %d %s", shown.status, shown.to)
	}
}

// TestIDTokenHint: no code is for somebody else than the hint names (OpenID
// Connect Core 1.0, sections 3.1.2.1 and 3.1.2.2).
func TestIDTokenHint(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	hint := w.good(w.redeem("staff", "chat", p.code(w.ask("staff")))).ID
	list, err := w.keys.Signing(t.Context(), userpool.KeyOwner("staff"), jwt.ES256)
	w.must(err)
	claims := maps.Clone(w.claims(hint))
	claims["sub"] = "usr_li_staff"
	another, err := jwt.Sign(list[len(list)-1], "JWT", claims)
	w.must(err)
	w.pass(3 * time.Hour / 2) // the ID token has expired, the session has not
	for what, c := range map[string]struct{ hint, prompt, want string }{
		"himself": {hint, "", "code"}, "himself, silently": {hint, "none", "code"},
		"another": {another, "", "login_required"}, "another, silently": {another, "none", "login_required"},
		"forged": {hint[:len(hint)-8] + "AAAAAAAA", "none", "invalid_request"}, "no token": {"x", "", "invalid_request"},
	} {
		if got := w.told(p.get(w.ask("staff", "id_token_hint", c.hint, "prompt", c.prompt))); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
	q := w.person()
	if got := w.told(q.get(w.ask("staff", "id_token_hint", hint, "prompt", "none"))); got != "login_required" {
		t.Errorf("nobody is logged in: %s", got)
	}
	toLogin := q.get(w.ask("staff", "id_token_hint", another))
	back := q.submit(q.get(toLogin.to), "username", "zhang", "password", password)
	if got := w.told(q.get(back.to)); got != "login_required" {
		t.Errorf("after a login as somebody else: %s", got)
	}
	pushed := w.call("staff", "chat", "/par", url.Values{"response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {callbackURL}, "id_token_hint": {"x"}})
	w.bad("pushed", pushed, 400, "invalid_request")
}

// TestParametersThatChangeNothing: a provider need not heed them, and must not
// stumble over them (OpenID Connect Core 1.0, sections 3.1.2.1, 5.5 and 15.1).
func TestParametersThatChangeNothing(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	p.code(w.ask("staff"))
	for parameter, value := range map[string]string{
		"display": "touch", "ui_locales": "fr-CA fr en", "claims_locales": "de", "acr_values": "urn:x:gold urn:x:silver", "login_hint": "li@example.com",
		"claims": `{"userinfo":{"name":{"essential":true}}}`, "unknown": "x", "nonce": "", "display_": "popup",
	} {
		shown := p.get(w.ask("staff", parameter, value))
		if w.told(shown) != "code" {
			t.Errorf("%s: %d %s", parameter, shown.status, shown.to)
		}
	}
}

// TestStrangeScopesAreLeftOut (OpenID Connect Core 1.0, section 3.1.2.1), and the
// answer says what was granted (RFC 6749, section 5.1).
func TestStrangeScopesAreLeftOut(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid no-such-scope"))))
	if a.Scope != "openid" || a.ID == "" || w.claims(a.Access)["scope"] != "openid" {
		t.Errorf("granted: %+v", a)
	}
}

// TestAuthTime is in every ID token, and says when the person logged in (OpenID
// Connect Core 1.0, sections 2 and 3.1.2.1).
func TestAuthTime(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	at := w.now().Unix()
	w.pass(time.Minute)
	for _, maxAge := range []string{"", "3600"} {
		claims := w.claims(w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "max_age", maxAge)))).ID)
		if then, _ := claims["auth_time"].(float64); int64(then) < at-10 || int64(then) > at {
			t.Errorf("max_age=%q: auth_time %v, the login was at %d", maxAge, claims["auth_time"], at)
		}
	}
}

// TestUserInfoByPost (OpenID Connect Core 1.0, section 5.3.1). The token in the
// form is a way that resource servers may have (RFC 6750, section 2.2); this one
// has not.
func TestUserInfoByPost(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff", "scope", "openid profile email"))))
	bearer := http.Header{"Authorization": {"Bearer " + a.Access}}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		answer := p.send(method, "/userpool/staff/userinfo", nil, bearer)
		var info map[string]any
		w.must(json.Unmarshal([]byte(answer.body), &info))
		if answer.status != http.StatusOK || info["sub"] != w.claims(a.ID)["sub"] || info["email_verified"] != true ||
			answer.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v %s", method, answer.status, answer.header, answer.body)
		}
	}
	if answer := p.post("/userpool/staff/userinfo", url.Values{"access_token": {a.Access}}); answer.status != 401 {
		t.Errorf("in the form: %d %s", answer.status, answer.body)
	}
}

// TestOtherOrigins: scripts of other origins read what is public, and what a
// browser is sent to they do not (RFC 9700, section 2.6).
func TestOtherOrigins(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	from := http.Header{"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"GET"}}
	for target, want := range map[string]string{
		w.ask("staff"): "", w.ask("staff", "prompt", "none"): "", "/userpool/staff/login": "", "/userpool/staff/logout": "",
		"/userpool/staff/keys": "*", "/userpool/staff/.well-known/openid-configuration": "*",
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			if method == http.MethodOptions && want != "" {
				continue // reading what is public needs no preflight
			}
			h := p.send(method, target, nil, from).header
			if h.Get("Access-Control-Allow-Origin") != want || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: %v", method, target, h)
			}
		}
	}
}

// TestFormsAreNotSentOn: a browser that is redirected after a password or a
// decision sends neither along (RFC 9700, section 4.12).
func TestFormsAreNotSentOn(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	back := p.submit(p.get(p.get(w.ask("staff")).to), "username", "zhang", "password", password)
	allowed := p.submit(p.get(back.to), "decision", "allow")
	denied := p.submit(p.get(w.ask("staff", "prompt", "consent")), "decision", "deny")
	out := p.submit(p.get("/userpool/staff/logout?"+url.Values{"client_id": {"cli_chat_staff"}, "post_logout_redirect_uri": {afterLogout}}.Encode()), "decision", "allow")
	for what, shown := range map[string]page{"login": back, "allowed": allowed, "denied": denied, "logout": out} {
		if shown.status != http.StatusSeeOther || shown.to == "" {
			t.Errorf("%s: %d %s", what, shown.status, shown.to)
		}
	}
}

// TestKeysChangeWhileTokensLive (OpenID Connect Core 1.0, section 10.1.1): what the
// former key signed holds, and every token says which key that was.
func TestKeysChangeWhileTokensLive(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	kid := func(token string) string {
		b, err := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')])
		w.must(err)
		var header struct {
			KeyID string `json:"kid"`
		}
		w.must(json.Unmarshal(b, &header))
		return header.KeyID
	}
	before := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	owner := userpool.KeyOwner("staff")
	w.keys.mu.Lock()
	w.keys.keys[owner] = append([]jwt.Key{newKey(t, jwt.ES256)}, w.keys.keys[owner]...) // the first signs
	w.keys.mu.Unlock()
	w.pass(2 * time.Minute)
	after := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	if kid(before.ID) == "" || kid(before.ID) != kid(before.Access) || kid(after.ID) != kid(after.Access) || kid(before.ID) == kid(after.ID) {
		t.Errorf("signed by %q and %q, then by %q and %q", kid(before.ID), kid(before.Access), kid(after.ID), kid(after.Access))
	}
	published := p.get("/userpool/staff/keys").body
	for _, a := range []answer{before, after} {
		if !strings.Contains(published, kid(a.ID)) || userInfo(p, "staff", a.Access).status != http.StatusOK {
			t.Errorf("what %s signed does not hold: %s", kid(a.ID), published)
		}
		if got := w.told(p.get(w.ask("staff", "id_token_hint", a.ID, "prompt", "none"))); got != "code" {
			t.Errorf("as a hint: %s", got)
		}
	}
}

// TestRequiredMetadata (OpenID Connect Discovery 1.0, section 3).
func TestRequiredMetadata(t *testing.T) {
	w := newWorld(t)
	answer := w.person().get("/userpool/staff/.well-known/openid-configuration")
	if answer.status != http.StatusOK || answer.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", answer.status, answer.header)
	}
	var doc map[string]any
	w.must(json.Unmarshal([]byte(answer.body), &doc))
	for member, want := range map[string][]string{
		"response_types_supported": {"code"}, "subject_types_supported": {"public"}, "id_token_signing_alg_values_supported": {"RS256", "ES256"},
		"scopes_supported": {"openid"}, "code_challenge_methods_supported": {"S256"}, "claims_supported": {"sub", "iss", "auth_time"},
		"token_endpoint_auth_methods_supported": {oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.PrivateKeyJWT, oauth.ClientAuthNone},
	} {
		list, _ := doc[member].([]any)
		for _, value := range want {
			if !slices.Contains(list, any(value)) {
				t.Errorf("%s lacks %s: %v", member, value, doc[member])
			}
		}
		if slices.Contains(list, any("none")) && member != "token_endpoint_auth_methods_supported" || slices.Contains(list, any("plain")) {
			t.Errorf("%s: %v", member, list)
		}
	}
	for member, value := range doc {
		if list, ok := value.([]any); ok && len(list) == 0 { // section 4.2
			t.Errorf("%s is empty", member)
		}
	}
	for _, flag := range []string{"request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"} {
		if doc[flag] != false {
			t.Errorf("%s = %v", flag, doc[flag])
		}
	}
}
