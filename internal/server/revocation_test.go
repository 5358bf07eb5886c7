package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
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
	if got := w.ask(a, "feishu_oauth"); got.Status != "authorization_required" {
		t.Errorf("the grant of a user who is gone: %s", got.Status)
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
