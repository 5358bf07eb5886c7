package server_test

import (
	"context"
	"database/sql"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// TestTheExchangeFails has Feishu fail in its ways. Nothing is stored, the agent
// is told why, and the next link works.
func TestTheExchangeFails(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	for _, fault := range []struct {
		what   string
		happen func()
		reason string
	}{
		{"the answer is lost", func() { w.feishu.DropNext(feishu.OpExchange, 1) }, "vendor_retry"},
		{"200 with an error", func() { w.feishu.RefuseNext(feishu.OpExchange, feishu.Refusal{Code: 20050, Status: 200}) }, "20050"},
		{"200 with an error word", func() { w.feishu.RefuseNext(feishu.OpExchange, feishu.Refusal{Status: 200, Error: "server_error"}) }, "server_error"},
		{"a server error", func() { w.feishu.RefuseNext(feishu.OpExchange, feishu.Refusal{Code: 20050, Status: 503}) }, "20050"},
		{"a refusal", func() { w.feishu.RefuseNext(feishu.OpExchange, feishu.Refusal{Code: 20002}) }, "20002"},
	} {
		t.Run(fault.what, func(t *testing.T) {
			asks := w.link(token)
			back := zhangsan.decide(zhangsan.begin(asks.URL), "allow")
			fault.happen()
			shown := zhangsan.finish(back)
			if !strings.Contains(shown.body, "Not authorized") || code(shown) != fault.reason {
				t.Errorf("the page: %d %q\n%s", shown.status, code(shown), shown.body)
			}
			if got := w.state(token, asks.ID); got.State != "failed" || got.Reason != fault.reason || got.Message == "" {
				t.Errorf("the agent is told %+v", got)
			}
			if again := w.link(token); again.ID == asks.ID {
				t.Error("the failed authorization is offered again")
			}
			if got := zhangsan.get(back); code(got) != "state_unknown" {
				t.Errorf("the callback again: %d %q", got.status, code(got))
			}
			if got := w.api("GET", "/workload-pools/default/grants", w.operator, ""); trim(got.body) != `{"items":[]}` {
				t.Errorf("there are grants: %s", got.body)
			}
		})
	}
	failed := w.entries(url.Values{"action": {"authorization.exchange"}, "outcome": {"failed"}})
	if len(failed) != 5 {
		t.Errorf("%d failures are recorded", len(failed))
	}
	zhangsan.authorize(w.link(token).URL)
	if got := w.ask(token, "feishu_oauth"); got.Status != "ready" {
		t.Errorf("after all failures: %s", got.Status)
	}
}

// TestAFailureLeavesTheOldGrantAlone asks for more scopes than there are and
// loses the answer: what was there before still works.
func TestAFailureLeavesTheOldGrantAlone(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	zhangsan.authorize(w.link(token).URL)
	before := w.ask(token, "feishu_oauth").Credential.AccessToken
	w.feishu.DropNext(feishu.OpExchange, 1)
	zhangsan.authorize(w.link(token, readDoc, writeDoc).URL)
	if got := w.ask(token, "feishu_oauth"); got.Credential.AccessToken != before {
		t.Errorf("the former credential is gone: %s", got.Status)
	}
	// The account's name is a convenience; without it, the authorization is as good.
	w.feishu.RefuseNext(feishu.OpUserInfo, feishu.Refusal{Code: 99991663})
	zhangsan.authorize(w.link(token, readDoc, writeDoc).URL)
	if got := w.ask(token, "feishu_oauth", writeDoc); got.Status != "ready" || got.Credential.AccessToken == before {
		t.Errorf("with more scopes: %s", got.Status)
	}
}

// TestTheBrowserLeavesDuringTheExchange has Feishu be slow and the person close
// the page: the code is single-use, so the exchange is seen through.
func TestTheBrowserLeavesDuringTheExchange(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	asks := w.link(token)
	back := zhangsan.decide(zhangsan.begin(asks.URL), "allow")
	w.feishu.SetLatency(feishu.OpExchange, 300*time.Millisecond)
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", back, nil)
	must(t, err)
	left := make(chan struct{})
	go func() {
		defer close(left)
		if res, err := zhangsan.http.Do(r); err == nil {
			_ = res.Body.Close()
			t.Error("the page came before the browser left")
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.exchanges() == 0 {
		<-tick.C
	}
	if got := w.state(token, asks.ID); got.State != string(consent.Exchanging) {
		t.Errorf("in between the authorization is %s", got.State)
	}
	leave()
	<-left
	if got := w.api("GET", "/authorizations/"+asks.ID+"?wait=30s", token, ""); !strings.Contains(got.body, `"completed"`) {
		t.Errorf("the agent is told %s", got.body)
	}
}

// TestOneOfManyCallbacksCounts sends the same callback many times at once.
func TestOneOfManyCallbacksCounts(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	back := zhangsan.decide(zhangsan.begin(w.link(token).URL), "allow")
	var mu sync.Mutex
	answers := map[string]int{}
	var group sync.WaitGroup
	for range 12 {
		r, err := http.NewRequestWithContext(t.Context(), "GET", back, nil)
		must(t, err)
		group.Go(func() {
			res, err := zhangsan.http.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			answers[res.Status]++
		})
	}
	group.Wait()
	if answers["303 See Other"] != 1 || answers["410 Gone"] != 11 {
		t.Errorf("answers: %v", answers)
	}
	if n := w.exchanges(); n != 1 {
		t.Errorf("%d exchanges reached Feishu", n)
	}
	if got := w.ask(token, "feishu_oauth"); w.owner(got.Credential.AccessToken) != "zhangsan" {
		t.Error("the credential is not there")
	}
}

// sqlite opens the server's database behind its back.
func (w *world) sqlite() *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "deputy.db")+"?_pragma=busy_timeout(10000)")
	must(w.t, err)
	return db
}

// spoil makes the database refuse audit entries that match a condition, until
// the returned function is called.
func (w *world) spoil(condition string) (repair func()) {
	w.t.Helper()
	db := w.sqlite()
	_, err := db.ExecContext(w.t.Context(), `CREATE TRIGGER spoilt BEFORE INSERT ON audit WHEN `+condition+` BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`)
	must(w.t, err)
	return func() {
		w.t.Helper()
		_, err := db.ExecContext(w.t.Context(), `DROP TRIGGER spoilt`)
		must(w.t, err)
		must(w.t, db.Close())
	}
}

// TestNoRecordNoCredential has the audit log fail: everything that needs an
// entry is refused, and works again when the log does.
func TestNoRecordNoCredential(t *testing.T) {
	w := newWorld(t, nil)
	w.launch()
	zhangsan := w.person("zhangsan").logIn()
	user := zhangsan.accessToken()
	a, b := w.wat("a", "zhangsan"), w.wat("b", "zhangsan")
	zhangsan.authorize(w.link(a).URL)
	ready := w.ask(a, "feishu_oauth").Credential.AccessToken
	back := zhangsan.decide(zhangsan.begin(w.link(a, writeDoc).URL), "allow")

	repair := w.spoil("1")
	for what, got := range map[string]answer{
		"credential": w.api("POST", "/credentials", a, `{"provider":"feishu_oauth"}`),
		"link":       w.api("POST", "/credentials", b, `{"provider":"feishu_oauth"}`),
		"clear":      w.api("DELETE", "/credentials/feishu_oauth", a, ""),
		"callback":   zhangsan.get(back),
		"invocation": w.invoke("a", "{}", http.Header{"Authorization": {"Bearer " + user}}),
		"change":     w.api("POST", "/workload-pools", w.operator, `{"name":"more"}`),
		"refusal":    w.api("GET", "/authorizations/"+"auth_x", a, ""),
	} {
		want := map[string]int{"refusal": http.StatusNotFound}[what] // nothing is there to be refused
		if want == 0 {
			want = http.StatusServiceUnavailable
		}
		if got.status != want {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		leaks(t, got, ready)
	}
	if n := w.exchanges(); n != 1 {
		t.Errorf("%d exchanges reached Feishu", n)
	}
	repair()
	if got := w.ask(a, "feishu_oauth"); got.Credential.AccessToken != ready {
		t.Errorf("afterwards: %s", got.Status)
	}
	// The step that was not recorded did not happen: the same callback is good now.
	if shown := zhangsan.finish(back); !strings.Contains(shown.body, "Authorized") {
		t.Errorf("the callback afterwards: %d\n%s", shown.status, shown.body)
	}
}

// TestTheGrantCannotBeRecorded has the log fail between the exchange and the
// end: the tokens are of no use to anybody, and the agent is told at once.
func TestTheGrantCannotBeRecorded(t *testing.T) {
	w := newWorld(t, nil)
	zhangsan := w.person("zhangsan").logIn()
	token := w.wat("a", "zhangsan")
	asks := w.link(token)
	back := zhangsan.decide(zhangsan.begin(asks.URL), "allow")
	repair := w.spoil("NEW.action = 'authorization.finish'")
	if got := zhangsan.finish(back); !strings.Contains(got.body, "Not authorized") {
		t.Errorf("the callback: %d\n%s", got.status, got.body)
	}
	if got := w.state(token, asks.ID); got.State != "failed" || got.Reason != "store_unavailable" {
		t.Errorf("the authorization is %+v", got)
	}
	repair()
	if got := w.api("GET", "/workload-pools/default/grants", w.operator, ""); trim(got.body) != `{"items":[]}` {
		t.Errorf("there are grants: %s", got.body)
	}
	zhangsan.authorize(w.link(token).URL)
	if got := w.ask(token, "feishu_oauth"); got.Status != "ready" {
		t.Errorf("the next time: %s", got.Status)
	}
}
