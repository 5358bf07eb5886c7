package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMain lets the test binary be an agent that the runtime launches.
func TestMain(m *testing.M) {
	if os.Getenv("DEPUTY_WORKLOAD") != "" {
		fmt.Fprintln(os.Stderr, playAgent())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// playAgent answers every request with the headers that came and with the launch
// token, as no agent should.
func playAgent() error {
	return http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			_, _ = w.Write([]byte(`{"status":"Healthy"}`))
			return
		}
		if until := r.Header.Get("X-Until"); until != "" {
			hold(w, until)
			return
		}
		if line := r.Header.Get("X-Say"); line != "" {
			fmt.Fprintln(os.Stderr, line)
		}
		launch, err := os.ReadFile(os.Getenv("DEPUTY_WORKLOAD_TOKEN_FILE"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(seen{r.Header, string(launch)}) // whoever asked is gone
	}))
}

// hold answers as soon as there is a file: whether Deputy can be asked then.
func hold(w http.ResponseWriter, until string) {
	_, _ = io.WriteString(w, "it began\n") // whoever asked is gone
	_ = http.NewResponseController(w).Flush()
	tick, bound := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		if _, err := os.Stat(until); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-bound:
			return
		}
	}
	res, err := http.Get(os.Getenv("DEPUTY_URL") + "/openapi.json")
	if err != nil {
		_, _ = io.WriteString(w, err.Error())
		return
	}
	defer res.Body.Close()
	_, _ = fmt.Fprintf(w, "Deputy says %d", res.StatusCode)
}

// seen is what an agent was sent.
type seen struct {
	Header http.Header
	Launch string
}

// launch has the runtime start this very program as the agent a, for users.
func (w *world) launch() {
	w.t.Helper()
	w.launchFor("custom_jwt")
}

// launchFor does so, and says who is let in.
func (w *world) launchFor(ways string) {
	w.t.Helper()
	self, err := os.Executable()
	must(w.t, err)
	dir := w.t.TempDir()
	must(w.t, os.Symlink(self, filepath.Join(dir, "program")))
	w.deployFor(ways, "a", dir, "program", nil)
}

// deploy has the runtime start a program of a directory, for users, and waits
// until it is ready.
func (w *world) deploy(agent, dir, entry string, env map[string]string) {
	w.t.Helper()
	w.deployFor("custom_jwt", agent, dir, entry, env)
}

// deployFor does so, and says who is let in.
func (w *world) deployFor(ways, agent, dir, entry string, env map[string]string) {
	w.t.Helper()
	variables, err := json.Marshal(env) // JSON is YAML
	must(w.t, err)
	language := "Python"
	if filepath.Ext(entry) == ".go" {
		language = "Golang"
	}
	definition := fmt.Sprintf("common: {agent_name: %s, entry_point: %s, language: %s, launch_type: local}\n"+
		"launch_types: {local: {runtime_auth_type: %s, runtime_jwt_discovery_url: '%s/.well-known/openid-configuration', runtime_jwt_allowed_clients: [%s], runtime_envs: %s}}\n",
		agent, entry, language, ways, w.issuer(), w.client, variables)
	body, err := json.Marshal(map[string]string{"directory": dir, "definition": definition})
	must(w.t, err)
	w.make("/workload-pools/default/agents", string(body), nil)
	bound, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		var a struct{ State, Reason string }
		must(w.t, json.Unmarshal([]byte(w.api("GET", "/workload-pools/default/agents/"+agent, w.operator, "").body), &a))
		switch a.State {
		case "ready":
			return
		case "failed":
			w.t.Fatalf("the agent failed: %s", a.Reason)
		}
		select {
		case <-tick.C:
		case <-bound:
			w.t.Fatalf("the agent is %s: %s", a.State, a.Reason)
		}
	}
}

// invoke sends a request through the ingress.
func (w *world) invoke(agent, body string, header http.Header) answer {
	w.t.Helper()
	return send(w.t, noRedirects, "POST", w.ingress+"/agents/default/"+agent+"/invoke", reader(body), header)
}

// TestWhatTheIngressMints launches an agent, to see that the tokens that the
// other tests mint are the ones that agents get.
func TestWhatTheIngressMints(t *testing.T) {
	w := newWorld(t, nil)
	w.launch()
	zhangsan := w.person("zhangsan").logIn()
	a := w.invoke("a", "{}", http.Header{"Authorization": {"Bearer " + zhangsan.accessToken()}, "User_id": {"usr_forged"}, "Workloadaccesstoken": {w.wat("a", "lisi")}})
	var got seen
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("invoke: %d %s", a.status, a.body)
	}
	if id := got.Header["User_id"]; len(id) != 1 || id[0] != w.subject["zhangsan"] {
		t.Errorf("the agent acts for %v", id)
	}
	token := got.Header.Get("Workloadaccesstoken")
	self := w.api("GET", "/whoami", token, "").body
	if want := w.api("GET", "/whoami", w.wat("a", "zhangsan"), "").body; self != want {
		t.Errorf("the ingress's token says %s, ours %s", self, want)
	}
	// The launch token buys a token for the agent itself, which opens nothing of a person's.
	minted := w.api("POST", "/workload-tokens", trim(got.Launch), "{}")
	var own struct{ Token string }
	if err := json.Unmarshal([]byte(minted.body), &own); err != nil || minted.status != http.StatusOK {
		t.Fatalf("mint: %d %s", minted.status, minted.body)
	}
	if a := w.api("POST", "/credentials", own.Token, `{"provider":"feishu_oauth"}`); a.status != http.StatusForbidden || code(a) != "user_required" {
		t.Errorf("without a user: %d %s", a.status, a.body)
	}
	// It dies with the launch.
	if a := w.api("POST", "/workload-pools/default/agents/a/stop", w.operator, ""); a.status != http.StatusOK {
		t.Fatalf("stop: %d %s", a.status, a.body)
	}
	bound, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for code(w.api("POST", "/workload-tokens", trim(got.Launch), "{}")) != "launch_ended" {
		select {
		case <-tick.C:
		case <-bound:
			t.Fatal("the launch token outlives the launch")
		}
	}
}
