package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

// happy plays the main flow for two people and two agents: authorize,
// credential, the second agent's page, clear.
func (w *world) happy(zhangsan, lisi *person) {
	w.t.Helper()
	a, b := w.wat("a", "zhangsan"), w.wat("b", "zhangsan")
	asks := w.link(a)
	if shown := zhangsan.authorize(asks.URL); shown.status != http.StatusOK || !strings.Contains(shown.body, "Authorized") {
		w.t.Fatalf("result: %d\n%s", shown.status, shown.body)
	}
	if got := w.state(a, asks.ID); got.State != "completed" {
		w.t.Fatalf("the authorization is %+v", got)
	}
	first := w.ask(a, "feishu_oauth")
	if first.Status != "ready" || w.owner(first.Credential.AccessToken) != "zhangsan" {
		w.t.Fatalf("agent a for zhangsan: %s", first.Status)
	}
	// The second agent asks on Deputy's own page, and Feishu hears nothing of it.
	before := w.feishu.Calls()[feishu.OpAuthorize]
	if shown := zhangsan.delegate(w.link(b).URL, "allow"); !strings.Contains(shown.body, "Authorized") {
		w.t.Fatalf("delegation: %d\n%s", shown.status, shown.body)
	}
	if got := w.ask(b, "feishu_oauth"); got.Credential.AccessToken != first.Credential.AccessToken || w.feishu.Calls()[feishu.OpAuthorize] != before {
		w.t.Fatalf("agent b for zhangsan: %s", got.Status)
	}
	// Another person has his own.
	for _, agent := range []string{"a", "b"} {
		if got := w.ask(w.wat(agent, "lisi"), "feishu_oauth"); got.Status != "authorization_required" {
			w.t.Fatalf("agent %s for lisi: %s", agent, got.Status)
		}
	}
	lisi.authorize(w.link(w.wat("a", "lisi")).URL)
	if got := w.ask(w.wat("a", "lisi"), "feishu_oauth"); w.owner(got.Credential.AccessToken) != "lisi" {
		w.t.Fatal("lisi got somebody else's credential")
	}
	// Clearing is the agent's own affair.
	w.clear(a)
	w.link(a)
	if got := w.ask(b, "feishu_oauth"); got.Status != "ready" {
		w.t.Fatal("clearing agent a's credential took agent b's")
	}
	w.clear(b)
	w.clear(w.wat("a", "lisi"))
}

func (w *world) clear(token string) {
	w.t.Helper()
	if got := w.api("DELETE", "/credentials/feishu_oauth", token, ""); got.status != http.StatusNoContent {
		w.t.Fatalf("clear: %d %s", got.status, got.body)
	}
}

func TestMainFlow(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan, lisi := w.person("zhangsan").logIn(), w.person("lisi").logIn()
	w.happy(zhangsan, lisi)
	w.happy(zhangsan, lisi)
	released := w.entries(url.Values{"action": {"credential.release"}, "outcome": {"allowed"}})
	if len(released) != 2*4 {
		t.Errorf("%d releases were recorded", len(released))
	}
	for _, issued := range w.feishu.Issued() {
		if strings.Contains(w.log.String(), issued.Value) {
			t.Errorf("a %s is in the log", issued.Kind)
		}
	}
}

// TestARefusedTokenIsRenewed has an agent come back with a token that the third
// party no longer accepts, long before it should have expired.
func TestARefusedTokenIsRenewed(t *testing.T) {
	w := newWorld(t, nil)
	w.person("zhangsan").logIn().authorize(w.link(w.wat("a", "zhangsan")).URL)
	old := w.ask(w.wat("a", "zhangsan"), "feishu_oauth").Credential.AccessToken
	again := func() string {
		t.Helper()
		got := w.api("POST", "/credentials", w.wat("a", "zhangsan"), `{"provider":"feishu_oauth","refused":"`+old+`"}`)
		var a asked
		if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.status != http.StatusOK {
			t.Fatal(got.status, got.body)
		}
		return a.Credential.AccessToken
	}
	if got := again(); got != old {
		t.Error("a new token was refreshed because one refusal was reported")
	}
	w.clock.pass(2 * time.Minute)
	renewed := again()
	if renewed == old || w.owner(renewed) != "zhangsan" {
		t.Errorf("got the same token, or one of %q", w.owner(renewed))
	}
	if again() != renewed || w.ask(w.wat("a", "zhangsan"), "feishu_oauth").Credential.AccessToken != renewed {
		t.Error("who comes later gets another token")
	}
	if strings.Contains(w.log.String(), old) {
		t.Error("the refused token is in the log")
	}
}

// TestTheWaitingAgentIsTold follows an authorization: each step is told when it
// is made.
func TestTheWaitingAgentIsTold(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	asks := w.link(token)
	events := w.follow(w.url, token, asks.ID)
	want := func(state string) {
		t.Helper()
		if got := events(); got != state {
			t.Fatalf("told %q, want %q", got, state)
		}
	}
	want("pending")
	at := zhangsan.begin(asks.URL)
	want("redirected")
	back := zhangsan.decide(at, "allow")
	zhangsan.finish(back)
	if got := events(); got != "completed" {
		if got != "exchanging" { // which may be over before it is looked at
			t.Fatalf("told %q", got)
		}
		want("completed")
	}
	want("")
}

// TestBackToTheApplication has the browser end at the application that sent it,
// from the third party's consent page and from Deputy's own.
func TestBackToTheApplication(t *testing.T) {
	const home = "https://app.example/done"
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	for _, agent := range []string{"a", "b"} {
		if got := w.api("PUT", "/workload-pools/default/workloads/"+agent, w.operator, `{"returnUrls":["`+home+`"]}`); got.status != http.StatusOK {
			t.Fatalf("update: %d %s", got.status, got.body)
		}
	}
	asks := func(agent string) string {
		t.Helper()
		got := w.api("POST", "/credentials", w.wat(agent, "zhangsan"), `{"provider":"feishu_oauth","returnUrl":"`+home+`","state":"`+agent+`"}`)
		var answer asked
		must(t, json.Unmarshal([]byte(got.body), &answer))
		return answer.Authorization.URL
	}
	ended := func(to, status, state string) {
		t.Helper()
		u, err := url.Parse(to)
		must(t, err)
		if q := u.Query(); !strings.HasPrefix(to, home+"?") || q.Get("status") != status || q.Get("state") != state || q.Get("authorization") == "" {
			t.Errorf("the browser ends at %s", to)
		}
	}
	ended(zhangsan.location(zhangsan.get(zhangsan.decide(zhangsan.begin(asks("a")), "deny"))), "failed", "a")
	ended(zhangsan.location(zhangsan.get(zhangsan.decide(zhangsan.begin(asks("a")), "allow"))), "completed", "a")
	action, form := zhangsan.fill(zhangsan.get(asks("b")), "decision", "decision", "allow")
	ended(zhangsan.location(zhangsan.post(action, form)), "completed", "b")
	if got := w.api("POST", "/credentials", w.wat("b", "lisi"), `{"provider":"feishu_oauth","returnUrl":"https://evil.example/"}`); got.status != http.StatusBadRequest || !strings.Contains(got.body, "return_url_not_allowed") {
		t.Errorf("a foreign return URL: %d %s", got.status, got.body)
	}
}
