package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// colleagues launches two of the examples: front asks python-agent, which reads
// documents.
func (w *world) colleagues() {
	w.t.Helper()
	examples, err := filepath.Abs("../../examples")
	must(w.t, err)
	w.deploy("python-agent", filepath.Join(examples, "python-agent"), "agent.py", map[string]string{"FEISHU_API_BASE": w.party.URL, "FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth"})
	w.deploy("front", filepath.Join(examples, "agent-to-agent"), "main.go", map[string]string{"ASKED_AGENT": "python-agent"})
}

// letCall says who may call python-agent.
func (w *world) letCall(callers string) {
	w.t.Helper()
	if got := w.api("PUT", "/workload-pools/default/workloads/python-agent", w.operator, `{"callers":[`+callers+`]}`); got.status != http.StatusOK {
		w.t.Fatalf("callers: %d %s", got.status, got.body)
	}
}

// latest is the newest entry about an action.
func (w *world) latest(action string) audit.Entry {
	w.t.Helper()
	all := w.entries(url.Values{"action": {action}, "newest": {"true"}})
	if len(all) == 0 {
		w.t.Fatalf("there is no entry of %s", action)
	}
	return all[len(all)-1]
}

var pythonAgent, frontAgent = name.Workload{Pool: "default", Name: "python-agent"}, name.Workload{Pool: "default", Name: "front"}

// TestAnAgentCallsAnother has zhangsan ask an agent that asks another one, which
// needs his consent: he is asked through both, and answered through both.
func TestAnAgentCallsAnother(t *testing.T) {
	w := newWorld(t, nil)
	w.colleagues()
	zhangsan := w.person("zhangsan").logIn()
	bearer := http.Header{"Authorization": {"Bearer " + zhangsan.accessToken()}}
	prompt := fmt.Sprintf(`{"prompt":"How does https://acme.feishu.cn/docx/%s begin?"}`, feishu.DefaultDocuments()[0].ID)

	if a := w.invoke("front", prompt, bearer); !strings.Contains(a.body, "caller_not_allowed") {
		t.Fatalf("nobody let it: %d\n%s", a.status, a.body)
	}
	if e := w.latest("call-token.issue"); e.Outcome != audit.Refused || e.Caller.Workload != frontAgent || e.Caller.User != w.user("zhangsan") || e.Resource.ID != "python-agent" {
		t.Errorf("recorded %+v", e)
	}

	w.letCall(`"front"`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.ingress+"/agents/default/front/invoke", strings.NewReader(prompt))
	must(t, err)
	r.Header = bearer
	res, err := noRedirects.Do(r)
	must(t, err)
	defer func() { _ = res.Body.Close() }() // read to its end
	var told strings.Builder
	asked := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		told.WriteString(lines.Text() + "\n")
		if link := linkInAnswer.FindStringSubmatch(lines.Text()); link != nil {
			asked++
			zhangsan.authorize(link[1])
		}
	}
	if want := "It begins: " + feishu.DefaultDocuments()[0].Title; asked != 1 || !strings.Contains(told.String(), want) {
		t.Fatalf("asked %d times:\n%s", asked, told.String())
	}

	// Who acted for whom, on whose call, is in the log; and what he gave the one, he did not give the other.
	if e := w.latest("agent.invoke"); e.Outcome != audit.Allowed || e.Resource.ID != "python-agent" || e.Caller.Workload != frontAgent || e.Caller.User != w.user("zhangsan") {
		t.Errorf("recorded %+v", e)
	}
	if e := w.latest("credential.release"); e.Caller.Workload != pythonAgent || e.Caller.User != w.user("zhangsan") || len(e.Caller.Chain) != 1 || e.Caller.Chain[0] != frontAgent {
		t.Errorf("recorded %+v", e)
	}
	if got := w.ask(w.wat("front", "zhangsan"), "feishu_oauth"); got.Status != "authorization_required" {
		t.Errorf("the agent that called has a credential, too: %s", got.Status)
	}
}

// TestTokensAreOfNoUseElsewhere has what one agent holds be shown where it does
// not belong.
func TestTokensAreOfNoUseElsewhere(t *testing.T) {
	w := newWorld(t, nil)
	w.colleagues()
	w.letCall(`"front"`)
	zhangsan := w.person("zhangsan").logIn()
	wat, users := w.wat("front", "zhangsan"), zhangsan.accessToken()
	var call struct{ Token, URL string }
	made := w.api("POST", "/call-tokens", wat, `{"agent":"python-agent"}`)
	must(t, json.Unmarshal([]byte(made.body), &call))
	if call.URL != w.ingress+"/agents/default/python-agent" {
		t.Fatalf("%d %s", made.status, made.body)
	}
	invoke := func(agent, token string) func() answer {
		return func() answer { return w.invoke(agent, `{}`, http.Header{"Authorization": {"Bearer " + token}}) }
	}
	api := func(method, path, token, body string) func() answer {
		return func() answer { return w.api(method, path, token, body) }
	}
	for _, c := range []struct {
		what   string
		do     func() answer
		status int
		code   string
	}{
		{"the call, where it belongs", invoke("python-agent", call.Token), 400, "prompt_missing"}, // the agent's own answer
		{"the call, to another agent", invoke("front", call.Token), 401, "token_audience"},
		{"the call, at the API", api("POST", "/credentials", call.Token, `{"provider":"feishu_oauth"}`), 401, "token_type"},
		{"the call, for another call", api("POST", "/call-tokens", call.Token, `{"agent":"front"}`), 401, "token_type"},
		{"the call, as a proof", api("POST", "/workload-tokens", call.Token, `{}`), 401, "proof_unknown"},
		{"an agent's token, at an agent", invoke("python-agent", wat), 401, "token_"},
		{"an agent's token, as a proof", api("POST", "/workload-tokens", wat, `{}`), 401, "proof_unknown"},
		{"a user's token, as an agent", api("POST", "/credentials", users, `{"provider":"feishu_oauth"}`), 401, "token_"},
	} {
		if a := c.do(); a.status != c.status || !strings.Contains(a.body, c.code) {
			t.Errorf("%s: %d %s", c.what, a.status, a.body)
		}
	}

	// What was revoked between two uses.
	if got := w.api("POST", "/user-pools/people/users/"+w.subject["zhangsan"]+"/revoke-tokens", w.operator, ""); got.status != http.StatusNoContent {
		t.Fatalf("revoke: %d %s", got.status, got.body)
	}
	if a := invoke("python-agent", call.Token)(); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "token_revoked") {
		t.Errorf("a revoked call: %d %s", a.status, a.body)
	}
	if e := w.latest("agent.invoke"); e.Outcome != audit.Refused || e.Caller.Workload != frontAgent || e.Caller.User != w.user("zhangsan") || e.Detail["code"] != "token_revoked" {
		t.Errorf("recorded %+v", e)
	}
	if a := w.api("GET", "/whoami", wat, ""); a.status != http.StatusUnauthorized || code(a) != "token_revoked" {
		t.Errorf("a revoked token: %d %s", a.status, a.body)
	}
	if a := invoke("python-agent", users)(); !strings.Contains(a.body, "prompt_missing") {
		t.Errorf("the user himself: %d %s", a.status, a.body)
	}

	// A user who is disabled keeps his access token for a while, but no agent acts for him.
	if got := w.api("PATCH", "/user-pools/people/users/"+w.subject["zhangsan"], w.operator, `{"disabled":true}`); got.status != http.StatusOK {
		t.Fatalf("disable: %d %s", got.status, got.body)
	}
	if a := invoke("python-agent", users)(); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "user_gone") {
		t.Errorf("a disabled user: %d %s", a.status, a.body)
	}
	if e := w.latest("agent.invoke"); e.Outcome != audit.Refused || e.Caller.User != w.user("zhangsan") || e.Detail["code"] != "user_gone" {
		t.Errorf("recorded %+v", e)
	}
}

// TestALaunchFileIsOfUseToItsProcessOnly has another program of the same account
// read the launch file of an agent that has said its binding.
func TestALaunchFileIsOfUseToItsProcessOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.launch()
	a := w.invoke("a", "{}", http.Header{"Authorization": {"Bearer " + w.person("zhangsan").logIn().accessToken()}})
	var got seen
	must(t, json.Unmarshal([]byte(a.body), &got))
	exchange := func(body string) answer { return w.api("POST", "/workload-tokens", trim(got.Launch), body) }
	const binding = "made up by the process, and kept"
	if a := exchange(`{"binding":"` + binding + `"}`); a.status != http.StatusOK {
		t.Fatalf("the process: %d %s", a.status, a.body)
	}
	for what, body := range map[string]string{"who read the file": `{}`, "who guesses": `{"binding":"0000000000000000000000"}`, "for a user": `{"user":{"issuer":"` + w.issuer() + `","subject":"` + w.subject["lisi"] + `"}}`} {
		if a := exchange(body); a.status != http.StatusUnauthorized || code(a) != "launch_bound" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		if e := w.latest("workload-token.issue"); e.Outcome != audit.Refused || e.Reason != "launch_bound" || e.Caller.Workload.Name != "a" || e.Detail["proof"] != "launch" {
			t.Errorf("%s: recorded %+v", what, e)
		}
	}
	if a := exchange(`{"binding":"` + binding + `","user":{"issuer":"` + w.issuer() + `","subject":"` + w.subject["lisi"] + `"}}`); a.status != http.StatusForbidden || code(a) != "user_not_assertable" {
		t.Errorf("for a user who did not ask: %d %s", a.status, a.body)
	}
	if w.latest("launch.bind").Caller.Workload.Name != "a" || w.latest("launch.begin").Detail["workload"] != "a" {
		t.Error("the launch is not in the log")
	}
}
