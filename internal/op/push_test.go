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

// push pushes a request of a client and returns the answer. What ask takes, it takes.
func (w *world) push(pool, client string, changes ...string) page {
	w.t.Helper()
	u, err := url.Parse(w.ask(pool, changes...))
	w.must(err)
	form := u.Query()
	if len(changes) == 0 || !form.Has("client_id") {
		form.Del("client_id")
	}
	return w.call(pool, client, "/par", form)
}

// pushed pushes a good request and returns the address to send the browser to.
func (w *world) pushed(pool, client string, changes ...string) string {
	w.t.Helper()
	p := w.push(pool, client, changes...)
	var a struct {
		URI     string `json:"request_uri"`
		Seconds int    `json:"expires_in"`
	}
	if p.status != http.StatusCreated || json.Unmarshal([]byte(p.body), &a) != nil || !strings.HasPrefix(a.URI, oauth.PushedPrefix) || a.Seconds != 60 ||
		p.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("not pushed: %d %s", p.status, p.body)
	}
	return "/userpool/" + pool + "/authorize?" + url.Values{"client_id": {"cli_" + client + "_" + pool}, "request_uri": {a.URI}}.Encode()
}

func TestPushed(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	target := w.pushed("staff", "chat", "prompt", "login", "max_age", "0", "nonce", "n1")
	// The login page, the login, the consent page and its answer, all with the reference alone.
	login := p.get(p.get(target).to)
	if strings.Contains(login.body, "redirect_uri") {
		t.Error("the request itself is on the login page")
	}
	w.pass(10 * time.Minute) // longer than a pushed request lives by itself
	in := p.submit(login, "username", "zhang", "password", password)
	shown := p.get(in.to)
	if !strings.Contains(shown.body, "request_uri") || strings.Contains(shown.body, "nonce") {
		t.Fatalf("not the consent page for a reference: %d %s\n%s", shown.status, shown.to, shown.body)
	}
	answer := p.submit(shown, "decision", "allow")
	u, err := url.Parse(answer.to)
	w.must(err)
	if u.Query().Get("state") != "s1" || !strings.HasPrefix(answer.to, callbackURL) {
		t.Fatalf("answered %d %s", answer.status, answer.to)
	}
	tokens := w.good(w.redeem("staff", "chat", u.Query().Get("code")))
	if w.claims(tokens.ID)["nonce"] != "n1" {
		t.Errorf("the ID token is %v", w.claims(tokens.ID))
	}
	for what, again := range map[string]page{"reload": p.get(target), "form again": p.submit(shown, "decision", "allow")} {
		if again.status != http.StatusBadRequest || !strings.Contains(again.body, "request_uri_unknown") {
			t.Errorf("%s: %d %s", what, again.status, again.to)
		}
	}
	// Who is logged in already still has to log in if the request says so.
	if shown := p.get(w.pushed("staff", "chat", "prompt", "login")); !strings.Contains(shown.to, "/login") {
		t.Errorf("prompt=login led to %s", shown.to)
	}
}

func TestPushedByAPublicClient(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	v := oauth.NewVerifier()
	code := p.code(w.pushed("staff", "app", "code_challenge", oauth.Challenge(v), "code_challenge_method", "S256"))
	w.good(w.redeem("staff", "app", code, "code_verifier", v.RevealString()))
}

func TestHostilePushed(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	p.logIn("staff")
	w.addClient("guests", "mail", userpool.Web)
	for what, c := range map[string]struct {
		client  string
		changes []string
		status  int
		code    string
	}{
		"foreign redirect_uri": {"chat", []string{"redirect_uri", "https://evil.example/"}, 400, "invalid_request"},
		"no redirect_uri":      {"chat", []string{"redirect_uri", ""}, 400, "invalid_request"},
		"another type":         {"chat", []string{"response_type", "token"}, 400, "unsupported_response_type"},
		"request_uri":          {"chat", []string{"request_uri", oauth.PushedPrefix + "pr_x"}, 400, "invalid_request"},
		"request object":       {"chat", []string{"request", "e30."}, 400, "request_not_supported"},
		"no scope":             {"chat", []string{"scope", ""}, 400, "invalid_scope"},
		"public, no PKCE":      {"app", nil, 400, "invalid_request"},
		"oversize":             {"chat", []string{"state", strings.Repeat("x", 9000)}, 413, "invalid_request"},
	} {
		w.bad(what, w.push("staff", c.client, c.changes...), c.status, c.code)
	}
	w.bad("a wrong secret", w.person().post("/userpool/staff/par", url.Values{"client_id": {"cli_chat_staff"}, "client_secret": {"cs_x"}}), 401, "invalid_client")
	w.bad("no secret", w.person().post("/userpool/staff/par", url.Values{"client_id": {"cli_chat_staff"}}), 401, "invalid_client")

	good := w.pushed("staff", "chat")
	for what, target := range map[string]string{
		"another client":  strings.Replace(good, "cli_chat_staff", "cli_mail_staff", 1),
		"another pool":    strings.ReplaceAll(good, "staff", "guests"),
		"no client":       strings.Replace(good, "cli_chat_staff", "", 1),
		"made up":         good[:len(good)-4] + "0000",
		"empty":           w.ask("staff", "request_uri", oauth.PushedPrefix),
		"client_id twice": good + "&client_id=cli_mail_staff",
	} {
		if shown := p.get(target); shown.status != http.StatusBadRequest || shown.to != "" {
			t.Errorf("%s: %d %s", what, shown.status, shown.to)
		}
	}
	// What comes along in the browser does not count.
	shown := p.get(good + "&" + url.Values{"redirect_uri": {"https://evil.example/"}, "scope": {"openid email"}, "state": {"evil"}, "prompt": {"none"}}.Encode())
	if shown.status != http.StatusOK || strings.Contains(shown.body, `sent to https://evil`) || strings.Contains(shown.body, "e-mail address") {
		t.Errorf("parameters beside the reference: %d\n%s", shown.status, shown.body)
	}
	// Denied is answered, too.
	denied := p.submit(shown, "decision", "deny")
	if !strings.HasPrefix(denied.to, callbackURL) || !strings.Contains(denied.to, "access_denied") || p.get(good).status != http.StatusBadRequest {
		t.Errorf("denied: %s", denied.to)
	}

	late := w.pushed("staff", "chat")
	w.pass(userpool.PushedLifetime)
	if shown := p.get(late); shown.status != http.StatusBadRequest || !strings.Contains(shown.body, "request_uri_expired") {
		t.Errorf("too late: %d %s", shown.status, shown.to)
	}
	slow := w.pushed("staff", "chat")
	shown = p.get(slow)
	w.pass(userpool.PushedOpen)
	if again := p.submit(shown, "decision", "allow"); again.status != http.StatusBadRequest {
		t.Errorf("an old consent page: %d %s", again.status, again.to)
	}

	w.edit("staff", "chat", func(c *userpool.Client) { c.RequirePushed = true })
	if shown := p.get(w.ask("staff")); !strings.HasPrefix(shown.to, callbackURL) || !strings.Contains(shown.to, "error=invalid_request") {
		t.Errorf("not pushed: %d %s", shown.status, shown.to)
	}
	p.code(w.pushed("staff", "chat"))
}
