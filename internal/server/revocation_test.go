package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/server"
)

// upstream waits until the audit log tells what became of n grants at the third
// party.
func (w *world) upstream(n int) []audit.Entry {
	w.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		list := w.entries(url.Values{"action": {"grant.revoke-upstream"}})
		if len(list) >= n {
			return list
		}
		select {
		case <-look.C:
		case <-deadline.C:
			w.t.Fatalf("%d of %d grants were dealt with", len(list), n)
		}
	}
}

// TestWhoeverGoesLeavesNoGrantBehind deletes a user and a provider through the
// API: agents have nothing any more, at once, and for each grant there is a
// record of its end and of what became of it at the third party.
func TestWhoeverGoesLeavesNoGrantBehind(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan, lisi := w.person("zhangsan").logIn(), w.person("lisi").logIn()
	a := w.wat("a", "zhangsan")
	zhangsan.authorize(w.link(a).URL)
	zhangsan.delegate(w.link(w.wat("b", "zhangsan")).URL, "allow")
	lisi.authorize(w.link(w.wat("a", "lisi")).URL)
	remove := func(path string) {
		t.Helper()
		if got := w.api("DELETE", path, w.operator, ""); got.status != http.StatusNoContent {
			t.Fatalf("DELETE %s: %d %s", path, got.status, got.body)
		}
	}
	remove("/user-pools/people/users/" + w.subject["zhangsan"])
	if got := w.api("POST", "/credentials", a, `{"provider":"feishu_oauth"}`); got.status != http.StatusUnauthorized {
		t.Errorf("the grant of a user who is gone: %d %s", got.status, got.body)
	}
	if got := w.ask(w.wat("a", "lisi"), "feishu_oauth"); got.Status != "ready" {
		t.Errorf("the grant of another user: %s", got.Status)
	}
	remove("/workload-pools/default/providers/feishu_oauth")
	causes := map[string]bool{}
	for _, e := range w.upstream(2) {
		causes[e.Detail["cause"]+" "+e.Detail["subject"]] = true
		if e.Detail["outcome"] == "" || e.Detail["issuer"] != w.issuer() {
			t.Errorf("recorded: %+v", e)
		}
	}
	if !causes["user.delete "+w.subject["zhangsan"]] || !causes["provider.delete "+w.subject["lisi"]] {
		t.Errorf("causes: %v", causes)
	}
	for _, issued := range w.feishu.Issued() {
		if strings.Contains(w.log.String(), issued.Value) {
			t.Errorf("a %s is in the log", issued.Kind)
		}
	}
}

// TestPeopleTakeBackWhatTheyGave withdraws one agent's delegation on the page,
// and then the whole grant. Another person's forms do not work for these.
func TestPeopleTakeBackWhatTheyGave(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan, lisi := w.person("zhangsan").logIn(), w.person("lisi").logIn()
	a, b := w.wat("a", "zhangsan"), w.wat("b", "zhangsan")
	zhangsan.authorize(w.link(a).URL)
	zhangsan.delegate(w.link(b).URL, "allow")
	const page = "/userpool/people/account/agents"
	shown := zhangsan.get(page)
	for _, text := range []string{"feishu_oauth · 张三", "Agent a", "Agent b", "Disconnect", "Withdraw"} {
		if !strings.Contains(shown.body, text) {
			t.Errorf("the page does not show %q:\n%s", text, shown.body)
		}
	}
	if his := lisi.get(page); strings.Contains(his.body, "feishu_oauth") || !strings.Contains(his.body, "No agent") {
		t.Errorf("another person sees:\n%s", his.body)
	}
	if home := zhangsan.get("/userpool/people/account"); !strings.Contains(home.body, page) {
		t.Error("the account's page does not lead there")
	}
	action, form := zhangsan.fill(shown, "delegation")
	if got := lisi.post(action, form); got.status == http.StatusSeeOther {
		t.Errorf("another person's browser sends the form: %d", got.status)
	}
	tampered := maps.Clone(form)
	tampered.Set("delegation", "dlg_x")
	if got := zhangsan.post(action, tampered); got.status == http.StatusSeeOther {
		t.Errorf("a form for something else: %d", got.status)
	}
	if got := zhangsan.post(action, form); got.status != http.StatusSeeOther {
		t.Fatalf("withdraw: %d\n%s", got.status, got.body)
	}
	ready := 0
	for _, agent := range []string{a, b} {
		if w.ask(agent, "feishu_oauth").Status == "ready" {
			ready++
		}
	}
	if ready != 1 {
		t.Errorf("%d agents have the credential after one was withdrawn", ready)
	}
	action, form = zhangsan.fill(zhangsan.get(page), "grant")
	if got := zhangsan.post(action, form); got.status != http.StatusSeeOther {
		t.Fatalf("disconnect: %d\n%s", got.status, got.body)
	}
	for _, agent := range []string{a, b} {
		if w.ask(agent, "feishu_oauth").Status == "ready" {
			t.Error("an agent has the credential after it was disconnected")
		}
	}
	if e := w.upstream(1)[0]; e.Detail["cause"] != "grant.delete" || e.Detail["subject"] != w.subject["zhangsan"] {
		t.Errorf("recorded: %+v", e)
	}
}

// TestEventsAreToldByStreamAndByWebhook follows one authorization from its
// completion to the end of the grant, in both ways.
func TestEventsAreToldByStreamAndByWebhook(t *testing.T) {
	heard := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var e struct{ Type string }
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Header.Get("Webhook-Signature") == "" {
			t.Errorf("a delivery: %v", err)
		}
		heard <- e.Type
		rw.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(hook.Close)
	w := newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, hook.Listener.Addr().String()) })
	var made struct{ ID, Secret string }
	w.make("/workload-pools/default/webhooks", fmt.Sprintf(`{"url":%q}`, hook.URL), &made)
	if !strings.HasPrefix(made.Secret, "whsec_") {
		t.Errorf("the secret is %q", made.Secret)
	}
	stream := w.events("/workload-pools/default/events", "")
	zhangsan := w.person("zhangsan").logIn()
	a := w.wat("a", "zhangsan")
	zhangsan.authorize(w.link(a).URL)
	w.clear(a)
	want := []string{"authorization.completed", "grant.revoked"}
	var last string
	for _, kind := range want {
		e := stream()
		if e.Name != kind || !strings.Contains(string(e.Data), w.subject["zhangsan"]) {
			t.Errorf("streamed: %s %s", e.Name, e.Data)
		}
		if last == "" {
			last = e.ID
		}
	}
	if e := w.events("/workload-pools/default/events", last)(); e.Name != "grant.revoked" {
		t.Errorf("after %s: %s", last, e.Name)
	}
	told := map[string]bool{} // in no order
	for range len(want) + 1 {
		select {
		case kind := <-heard:
			told[kind] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("told only %v", told)
		}
	}
	for _, kind := range append(want, "webhook.ping") {
		if !told[kind] {
			t.Errorf("not told of %s", kind)
		}
	}
	var shown struct{ Secret string }
	must(t, json.Unmarshal([]byte(w.api("GET", "/workload-pools/default/webhooks/"+made.ID, w.operator, "").body), &shown))
	if shown.Secret != "" || strings.Contains(w.log.String(), made.Secret) {
		t.Error("the secret is shown again")
	}
	if got := w.api("GET", "/workload-pools/default/events", a, ""); got.status != http.StatusForbidden {
		t.Errorf("an agent follows events: %d", got.status)
	}
}

// events follows a stream, after the event with the given id if there is one.
func (w *world) events(path, after string) (next func() apiclient.Event) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+"/api/v1"+path, nil)
	must(w.t, err)
	r.Header.Set("Authorization", "Bearer "+w.operator)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	must(w.t, err)
	w.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: status %d", path, res.StatusCode)
	}
	stream := apiclient.NewEvents(res.Body)
	return func() apiclient.Event {
		e, err := stream.Next()
		must(w.t, err)
		return e
	}
}
