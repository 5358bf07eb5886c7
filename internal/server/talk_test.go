package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const agentPage = "/agents/default/a/"

// withPage launches the agent for people who log in on its own page.
func (w *world) withPage(more string) {
	w.t.Helper()
	var client struct{ ID string }
	w.make("/user-pools/people/clients", fmt.Sprintf(`{"name":"talk","type":"public","redirectUris":[%q]}`, w.ingress+agentPage+"callback"), &client)
	w.launchFor("pool_session, runtime_session_client: " + client.ID + more)
}

// begun presses the login button of the agent's page and returns where the pool
// sends the browser back to.
func (p *person) begun() string {
	p.t.Helper()
	shown := p.get(p.location(p.get(p.w.ingress + agentPage + "login")))
	if shown.status == http.StatusOK {
		action, form := p.fill(shown, "decision", "decision", "allow")
		shown = p.post(action, form)
	}
	return p.location(shown)
}

// say sends a message as the agent's page does.
func (p *person) say(header http.Header) answer {
	p.t.Helper()
	header.Set("Content-Type", "application/json")
	return send(p.t, p.http, "POST", p.w.ingress+agentPage+"invoke", strings.NewReader(`{"prompt":"hello"}`), header)
}

func (p *person) fromPage() http.Header { return http.Header{"Origin": {p.w.ingress}} }

// TestTalk has people log in on an agent's own page and talk to it.
func TestTalk(t *testing.T) {
	w := newWorld(t, nil)
	w.withPage("")
	page := w.ingress + agentPage
	zhangsan, lisi := w.person("zhangsan").logIn(), w.person("lisi").logIn()
	if shown := zhangsan.get(page); shown.status != http.StatusOK || !strings.Contains(shown.body, w.issuer()) || !strings.Contains(shown.body, `href="`+agentPage+`login"`) {
		t.Fatalf("before the login: %d\n%s", shown.status, shown.body)
	}
	if a := zhangsan.say(zhangsan.fromPage()); a.status != http.StatusUnauthorized || code(a) != "token_missing" {
		t.Errorf("before the login: %d %s", a.status, a.body)
	}
	for _, p := range []*person{zhangsan, lisi} {
		if to := p.location(p.get(p.begun())); to != agentPage {
			t.Fatalf("the login leads to %s", to)
		}
		if shown := p.get(page); !strings.Contains(shown.body, "Logged in as "+p.who) || !strings.Contains(shown.body, `id="say"`) {
			t.Errorf("after the login: %d\n%s", shown.status, shown.body)
		}
		if me := w.whoIs(p.say(p.fromPage())); !strings.Contains(me, w.subject[p.who]) {
			t.Errorf("the agent acts for %s", me)
		}
	}
	// The cookie alone is not enough: pages of others send it along.
	for what, header := range map[string]http.Header{"no page": {}, "another site's": {"Origin": {"https://evil.example"}}, "one of nowhere": {"Origin": {"null"}}, "two": {"Origin": {w.ingress, w.ingress}}} {
		if a := zhangsan.say(header); a.status != http.StatusForbidden || code(a) != "origin_not_allowed" {
			t.Errorf("from %s: %d %s", what, a.status, a.body)
		}
	}
	// The agent gets no cookie, and the session is no bearer token.
	if a := zhangsan.say(zhangsan.fromPage()); strings.Contains(a.body, "Cookie") || strings.Contains(a.body, "agents-") {
		t.Errorf("the agent got %s", a.body)
	}
	if a := w.invoke("a", "{}", http.Header{"Authorization": {"Bearer " + zhangsan.accessToken()}}); a.status != http.StatusUnauthorized || code(a) != "tokens_not_taken" {
		t.Errorf("a token: %d %s", a.status, a.body)
	}

	if a := zhangsan.post(page+"logout", url.Values{}); a.status != http.StatusForbidden || !strings.Contains(a.body, "form_foreign") {
		t.Errorf("a logout from elsewhere: %d", a.status)
	}
	_, form := zhangsan.fill(zhangsan.get(page), "csrf")
	if to := zhangsan.location(zhangsan.post(page+"logout", form)); to != agentPage {
		t.Errorf("the logout leads to %s", to)
	}
	if a := zhangsan.say(zhangsan.fromPage()); a.status != http.StatusUnauthorized {
		t.Errorf("after the logout: %d %s", a.status, a.body)
	}
	if me := w.whoIs(lisi.say(lisi.fromPage())); !strings.Contains(me, w.subject["lisi"]) {
		t.Errorf("another's logout ended this login: %s", me)
	}
	w.clock.pass(13 * time.Hour)
	if a := lisi.say(lisi.fromPage()); a.status != http.StatusUnauthorized {
		t.Errorf("after the token's life: %d %s", a.status, a.body)
	}
}

// TestTalkLogins has answers to logins come where they should not.
func TestTalkLogins(t *testing.T) {
	w := newWorld(t, nil)
	w.withPage("")
	zhangsan, lisi := w.person("zhangsan").logIn(), w.person("lisi").logIn()
	refused := func(what string, p *person, target, want string) {
		t.Helper()
		if a := p.get(target); a.status/100 != 4 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d\n%s", what, a.status, a.body)
		}
		if shown := p.get(w.ingress + agentPage); strings.Contains(shown.body, `id="say"`) {
			t.Errorf("%s: logged in", what)
		}
	}
	// lisi's answer, in the browser of zhangsan, would have him talk as her.
	refused("another browser's answer", zhangsan, lisi.begun(), "login_foreign")
	refused("an answer that nobody asked for", zhangsan, w.ingress+agentPage+"callback?state=st_x&code=c", "login_foreign")
	refused("another issuer's answer", zhangsan, replaced(t, zhangsan.begun(), "iss", "https://other.example"), "issuer_mismatch")
	refused("nobody's answer", zhangsan, replaced(t, zhangsan.begun(), "iss", ""), "issuer_mismatch")
	refused("a code of no login", zhangsan, replaced(t, zhangsan.begun(), "code", "oc_x"), "code_refused")
	denied := replaced(t, replaced(t, zhangsan.begun(), "code", ""), "error", "access_denied")
	refused("a login that was cancelled", zhangsan, denied, "login_denied")
	again := lisi.begun()
	lisi.location(lisi.get(again))
	if a := lisi.get(again); a.status != http.StatusForbidden || !strings.Contains(a.body, "login_foreign") {
		t.Errorf("an answer twice: %d", a.status)
	}

	// An agent that says nothing of a login has no pages, and neither has one that is not there.
	for _, path := range []string{"/agents/default/b/", "/agents/default/b/login", "/agents/default/nobody/", "/agents/default/nobody/callback?state=x", "/agents/default/a/page"} {
		if a := zhangsan.get(w.ingress + path); a.status != http.StatusNotFound || code(a) != "route_not_found" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// TestTalkDemands has a login get a token that the agent does not take.
func TestTalkDemands(t *testing.T) {
	w := newWorld(t, nil)
	w.withPage(", runtime_jwt_required_claims: {level: 2}")
	zhangsan := w.person("zhangsan").logIn()
	if a := zhangsan.get(zhangsan.begun()); a.status != http.StatusForbidden || !strings.Contains(a.body, "claim_missing") {
		t.Errorf("%d\n%s", a.status, a.body)
	}
}
