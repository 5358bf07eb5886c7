package e2e_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
)

// startTalker runs a Deputy with the pool people and an agent that has a page of
// its own, and returns that page's address.
func startTalker(t *testing.T) string {
	t.Helper()
	r := servertest.StartNamed(t, server.Config{Data: servertest.DataDir(t), Logger: slog.New(slog.DiscardHandler)})
	token, err := apiclient.ReadToken(filepath.Join(r.Dir, "operator.token"))
	must(t, err)
	api, err := apiclient.New(apiclient.Config{URL: r.URL, Token: token})
	must(t, err)
	pool, err := api.CreateUserPool(t.Context(), "people", "研发团队 People", nil)
	must(t, err)
	_, err = api.CreateUser(t.Context(), pool.Name, apiclient.NewUser{UserName: "zhang", Password: secret.FromString(loginPassword)})
	must(t, err)
	page := r.Ingress + "/agents/default/talker/"
	client, _, err := api.CreateOAuthClient(t.Context(), pool.Name, apiclient.ClientSettings{Name: "talk", Type: "public", RedirectURIs: []string{page + "callback"}})
	must(t, err)
	dir, err := filepath.Abs("testdata/talker")
	must(t, err)
	_, err = api.LaunchAgent(t.Context(), "default", dir, fmt.Sprintf("common: {agent_name: talker, entry_point: agent.py, language: Python, launch_type: local}\n"+
		"launch_types: {local: {runtime_auth_type: pool_session, runtime_jwt_discovery_url: '%s', runtime_session_client: %s}}\n", pool.DiscoveryURL, client.ID))
	must(t, err)
	a, err := api.AwaitAgent(t.Context(), "default", "talker", func(apiclient.Agent) {})
	must(t, err)
	if a.State != "ready" {
		t.Fatalf("the agent is %s: %s", a.State, a.Reason)
	}
	return page
}

// say types a message, sends it by the Enter key, and waits until the page has
// shown so many messages and the answer is over.
func (p tab) say(text string, messages int) string {
	p.t.Helper()
	p.do(write("#prompt", text+"\n"), see(fmt.Sprintf(".talk > .message:nth-of-type(%d)", messages)), see("#send:not([disabled])"))
	if n := p.count(".talk > .message"); n != messages {
		p.t.Fatalf("%d messages are shown, not %d\n%s", n, messages, p.shown())
	}
	return p.text(".talk > .message:last-of-type")
}

// TestTalkInABrowser has a person log in on an agent's own page and talk to it.
func TestTalkInABrowser(t *testing.T) {
	page := startTalker(t)
	p := openBrowser(t, "en-US")
	p.do(open(page))
	p.shootBoth("talk-login", pageLanguage)
	p.do(click("a.button.main"), write("#username", "zhang"), write("#password", loginPassword), click("#submit"), see("#allow, #say"))
	if p.count("#allow") > 0 {
		p.do(click("#allow"), see("#say"))
	}
	p.at(strings.TrimSuffix(page, "/agents/default/talker/"))
	p.shootBoth("talk-empty", pageLanguage)

	if got := p.say("hello", 2); got != "talker\nYou said: <img src=x onerror=alert(1)>hello\n\nAnything else?" {
		t.Errorf("the answer is shown as %q", got)
	}
	if got := p.say("json", 4); got != "talker\na plain answer" {
		t.Errorf("the answer is shown as %q", got)
	}
	if got := p.say("permission", 7); got != "talker\nNow I may." {
		t.Errorf("the answer after the permission is %q", got)
	}
	if link := read(p, chromedp.Evaluate[string](`document.querySelector(".talk a.button").href`)); !strings.HasSuffix(link, "/authorize/some-link") {
		t.Errorf("the link leads to %s", link)
	}
	p.shoot("talk")
	if got := p.say("phishing", 10); !strings.Contains(got, "was not opened") || p.count(".talk a.button") != 1 {
		t.Errorf("the agent's links are shown: %s", p.shown())
	}
	if got := p.say("trouble", 12); got != "the tool broke <b>down</b>" {
		t.Errorf("the error is shown as %q", got)
	}
	p.do(click("#logout"), see(`a[href$="/login"]`))
	if p.count("#say") != 0 {
		t.Error("still logged in")
	}
}
