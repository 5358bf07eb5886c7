package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// fakeAPI keeps what is created and notes every write.
type fakeAPI struct {
	lists  map[string][]map[string]any // by path
	agent  map[string]any
	writes []string
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
	var in map[string]any
	if r.Method != http.MethodGet {
		f.writes = append(f.writes, r.Method+" "+path)
		_ = json.NewDecoder(r.Body).Decode(&in) // a body is optional
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case strings.HasSuffix(path, "/agents"):
		definition, _, err := agent.Parse([]byte(in["definition"].(string)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		now := time.Now().UTC()
		f.agent = map[string]any{"name": definition.Name, "state": "ready", "since": now, "updatedAt": now, "endpoint": "http://127.0.0.1:2/agents/default/" + definition.Name,
			"inbound": definition.Inbound.Ways(), "env": definition.Env}
		answer(f.agent)
	case strings.Contains(path, "/agents/"):
		answer(f.agent)
	case strings.HasSuffix(path, "/secret"):
		answer(map[string]any{"id": "cli_1", "secret": "cs_new"})
	case strings.Contains(path, "/providers/"):
		if len(f.lists["workload-pools/default/providers"]) == 0 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"code":"provider_not_found","detail":"none"}`)
			return
		}
		answer(map[string]any{"name": "feishu_oauth"})
	case r.Method == http.MethodGet:
		answer(map[string]any{"items": f.lists[path]})
	default:
		in["id"] = fmt.Sprintf("id_%d", len(f.lists[path])+1)
		in["issuer"], in["discoveryUrl"] = "http://localhost:1/userpool/people", "http://localhost:1/userpool/people/.well-known/openid-configuration"
		f.lists[path] = append(f.lists[path], in)
		if strings.HasSuffix(path, "/clients") {
			in["secret"] = "cs_first"
		}
		answer(in)
	}
}

func newSetup(t *testing.T, api http.Handler) *setup {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	client, err := apiclient.New(apiclient.Config{URL: server.URL, Token: secret.FromString("dop_token")})
	if err != nil {
		t.Fatal(err)
	}
	state, err := loadState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &setup{api: client, state: state, examples: filepath.Join("..", "..", "examples"), told: t.Logf,
		urls: urls{"http://localhost:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4"}}
}

func TestSetupTwice(t *testing.T) {
	api := &fakeAPI{lists: map[string][]map[string]any{"workload-pools": {{"name": "default"}}}}
	s := newSetup(t, api)
	first, err := s.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"POST user-pools", "POST user-pools/people/users", "POST user-pools/people/users", "POST user-pools/people/clients",
		"POST workload-pools/default/providers", "POST workload-pools/default/agents",
	}
	if diff := cmp.Diff(want, api.writes); diff != "" {
		t.Error("the first run:", diff)
	}
	if !first.fresh || first.clientID != "id_1" || s.state.ClientSecret != "cs_first" || first.subjects["lisi"] != "id_2" {
		t.Errorf("the first run: %+v, %q", first, s.state.ClientSecret)
	}

	// The second run begins from what is on disk.
	if s.state, err = loadState(filepath.Dir(s.state.path)); err != nil {
		t.Fatal(err)
	}
	api.writes = nil
	second, err := s.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PUT workload-pools/default/providers/feishu_oauth", "POST workload-pools/default/agents"}, api.writes); diff != "" {
		t.Error("the second run:", diff)
	}
	if second.fresh || second.clientID != first.clientID || s.state.ClientSecret != "cs_first" {
		t.Errorf("the second run: %+v", second)
	}

	// Lost secrets: a client's is replaced, a user's password cannot be.
	api.writes, s.state.ClientSecret = nil, ""
	if _, err := s.run(t.Context()); err != nil || s.state.ClientSecret != "cs_new" {
		t.Errorf("after the secret was lost: %v, %q", err, s.state.ClientSecret)
	}
	delete(s.state.Users, "lisi")
	if _, err := s.run(t.Context()); !fault.HasCode(err, "demo_password_lost") {
		t.Errorf("after a password was lost: %v", err)
	}
	s.state.Users["lisi"] = "x"
	s.urls.chat = "http://127.0.0.1:33"
	if _, err := s.run(t.Context()); !fault.HasCode(err, "demo_ports_changed") {
		t.Errorf("at other ports: %v", err)
	}
}

// TestDefinition: the sample agent's own definition, with the demo's values, whatever
// the environment has.
func TestDefinition(t *testing.T) {
	t.Setenv("OAUTH2_ISSUER_URI", "https://elsewhere.example")
	expanded, err := definition(filepath.Join("..", "..", "examples", agentDirectory), ownValues(world{urls: urls{sandbox: "http://127.0.0.1:4"}, issuer: "http://localhost:1/userpool/people", clientID: "cli_1"}))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := agent.Parse(expanded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(agent.Inbound{DiscoveryURL: "http://localhost:1/userpool/people/.well-known/openid-configuration", AllowedClients: []string{"cli_1"}}, got.Inbound); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(agent.Environment{"FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth", "FEISHU_API_BASE": "http://127.0.0.1:4"}, got.Env); diff != "" {
		t.Error(diff)
	}
}

func TestStateIsPrivateAndStrict(t *testing.T) {
	dir := t.TempDir()
	s, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	writeFile(t, s.path, `{"users":{},"appSecret":"x","other":1}`)
	if _, err := loadState(dir); !fault.HasCode(err, "json_unknown_field") || fault.As(err).Source != s.path {
		t.Errorf("error %v", err)
	}
	writeFile(t, s.path, `{"users":{}}`)
	if _, err := loadState(dir); !fault.HasCode(err, "demo_state_malformed") {
		t.Errorf("error %v", err)
	}
}
