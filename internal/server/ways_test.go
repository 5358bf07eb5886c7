package server_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/name"
)

// whoIs returns whom the agent acts for after a request that it was sent.
func (w *world) whoIs(a answer) string {
	w.t.Helper()
	var got seen
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("invoke: %d %s", a.status, a.body)
	}
	return w.api("GET", "/whoami", got.Header.Get("Workloadaccesstoken"), "").body
}

// TestWaysInToAnAgent has programs and nobody call an agent, next to its users.
func TestWaysInToAnAgent(t *testing.T) {
	w := newWorld(t, nil)
	w.launchFor("[custom_jwt, key_auth, none]")
	const keys = "/workload-pools/default/agents/a/keys"
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	var own, bound struct{ ID, Key string }
	w.make(keys, `{"name":"nightly"}`, &own)
	w.make(keys, `{"name":"for-zhangsan","user":{"issuer":"`+w.issuer()+`","subject":"`+w.subject["zhangsan"]+`"}}`, &bound)
	alone := w.whoIs(w.invoke("a", "{}", bearer(own.Key)))
	zhangsan := w.whoIs(w.invoke("a", "{}", bearer(bound.Key)))
	if strings.Contains(alone, w.issuer()) || !strings.Contains(zhangsan, w.subject["zhangsan"]) || w.whoIs(w.invoke("a", "{}", nil)) != alone {
		t.Errorf("a program is %s, a user's key %s", alone, zhangsan)
	}
	if token := w.person("lisi").logIn().accessToken(); !strings.Contains(w.whoIs(w.invoke("a", "{}", bearer(token))), w.subject["lisi"]) {
		t.Error("a user's token is not that user's")
	}
	// What was not made for this way in.
	for what, c := range map[string]struct{ token, code string }{
		"a token of the agent's own":  {w.wat("a", "zhangsan"), "token_type"},
		"that of another agent":       {w.wat("b", "zhangsan"), "token_type"},
		"the operator's token":        {w.operator, "token_malformed"},
		"a key that never was":        {name.NewToken("dak"), "key_unknown"},
		"a key with a letter changed": {own.Key[:len(own.Key)-1] + "-", "key_unknown"},
	} {
		if a := w.invoke("a", "{}", bearer(c.token)); a.status != http.StatusUnauthorized || code(a) != c.code {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	// A key ends with its user, and at once when it is revoked.
	if a := w.api("PATCH", "/user-pools/people/users/"+w.subject["zhangsan"], w.operator, `{"disabled":true}`); a.status != http.StatusOK {
		t.Fatalf("disable: %d %s", a.status, a.body)
	}
	if a := w.invoke("a", "{}", bearer(bound.Key)); a.status != http.StatusUnauthorized || code(a) != "key_user_gone" {
		t.Errorf("a disabled user's key: %d %s", a.status, a.body)
	}
	if a := w.api("POST", keys, w.operator, `{"name":"another","user":{"issuer":"`+w.issuer()+`","subject":"`+w.subject["zhangsan"]+`"}}`); code(a) != "agent-key_user" {
		t.Errorf("a key for a disabled user: %d %s", a.status, a.body)
	}
	if a := w.api("DELETE", keys+"/"+own.ID, w.operator, ""); a.status != http.StatusNoContent {
		t.Fatalf("revoke: %d %s", a.status, a.body)
	}
	if a := w.invoke("a", "{}", bearer(own.Key)); a.status != http.StatusUnauthorized || code(a) != "key_unknown" {
		t.Errorf("a revoked key: %d %s", a.status, a.body)
	}
	said := map[string]int{}
	for _, action := range []string{"agent.invoke", "agent.invoke-open"} {
		for _, e := range w.entries(url.Values{"action": {action}}) {
			said[string(e.Caller.Kind)+" "+e.Action+" "+string(e.Outcome)+" "+e.Detail["key"]+e.Detail["code"]+" "+e.Detail["protocol"]]++
		}
	}
	for _, want := range []string{"client agent.invoke allowed nightly invoke", "client agent.invoke allowed for-zhangsan invoke", "person agent.invoke allowed  invoke",
		" agent.invoke-open allowed  invoke", " agent.invoke refused token_type invoke", " agent.invoke refused key_unknown invoke", " agent.invoke refused key_user_gone invoke"} {
		if said[want] == 0 {
			t.Errorf("the log does not tell of %q: %v", want, said)
		}
	}
	if log := w.log.String(); strings.Contains(log, own.Key) || strings.Contains(log, bound.Key) {
		t.Error("a key is in the log")
	}
}

// TestRequestsToAgentsEndFirst stops Deputy in the middle of a request: the agent
// goes on with it and may ask Deputy, while nobody else is let in.
func TestRequestsToAgentsEndFirst(t *testing.T) {
	w := newWorld(t, nil)
	w.launchFor("none")
	invoke := func(until string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.ingress+"/agents/default/a/invoke", strings.NewReader("{}"))
		must(t, err)
		req.Header.Set("X-Until", until)
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	until := filepath.Join(t.TempDir(), "go-on")
	answer := bufio.NewReader(invoke(until).Body)
	if line, err := answer.ReadString('\n'); err != nil || line != "it began\n" {
		t.Fatalf("%q %v", line, err)
	}
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	bound := time.After(time.Minute)
	for invoke(os.DevNull).StatusCode != http.StatusServiceUnavailable {
		select {
		case <-bound:
			t.Fatal("new requests are let in")
		default:
		}
	}
	must(t, os.WriteFile(until, nil, 0o600))
	if rest, err := io.ReadAll(answer); err != nil || string(rest) != "Deputy says 200" {
		t.Errorf("%q %v", rest, err)
	}
	<-stopped
}
