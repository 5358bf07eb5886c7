package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

func TestLifeOfAUserPool(t *testing.T) {
	w := newWorld(t)
	var pool struct{ Issuer, DiscoveryURL string }
	w.expect(200, "GET", "/user-pools/people", "", &pool)
	if pool.Issuer != publicURL+"/userpool/people" || pool.DiscoveryURL != pool.Issuer+"/.well-known/openid-configuration" {
		t.Errorf("got %+v", pool)
	}
	const users = "/user-pools/people/users"
	var first struct{ ID, UserName string }
	for i := range 5 {
		into := any(nil)
		if i == 0 {
			into = &first
		}
		w.create(users, fmt.Sprintf(`{"userName":"user-%d","password":%q,"email":"u%d@example.com"}`, i, password, i), into)
	}
	var seen []string
	for after := ""; ; {
		var page struct {
			Items []struct{ UserName string }
			Next  string
		}
		w.expect(200, "GET", users+"?limit=2&after="+after, "", &page)
		for _, u := range page.Items {
			seen = append(seen, u.UserName)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "user-0 user-1 user-2 user-3 user-4" {
		t.Errorf("the pages have %s", got)
	}
	w.expect(200, "GET", users+"/"+first.ID, "", &first)
	w.expect(204, "DELETE", users+"/"+first.ID, "", nil)
	w.expect(404, "GET", users+"/"+first.ID, "", nil)
	if got := w.call("GET", users, w.operator, "").body; strings.Contains(got, password) || strings.Contains(got, "argon2") {
		t.Errorf("the list shows passwords: %s", got)
	}
}

func TestASecretIsShownOnce(t *testing.T) {
	w := newWorld(t)
	const clients = "/user-pools/people/clients"
	var made, again, public struct{ ID, Secret string }
	w.create(clients, `{"name":"chat","redirectUris":["https://chat.example/callback"]}`, &made)
	w.create(clients, `{"name":"phone","type":"public","redirectUris":["http://127.0.0.1/callback"]}`, &public)
	if made.Secret == "" || public.Secret != "" {
		t.Fatalf("got %+v and %+v", made, public)
	}
	w.expect(200, "POST", clients+"/"+made.ID+"/secret", "", &again)
	if again.ID != made.ID || again.Secret == "" || again.Secret == made.Secret {
		t.Errorf("got %+v", again)
	}
	w.expect(400, "POST", clients+"/"+public.ID+"/secret", "", nil)
	for _, path := range []string{clients, clients + "/" + made.ID, "/audit?limit=1000"} {
		if got := w.call("GET", path, w.operator, ""); strings.Contains(got.body, made.Secret) || strings.Contains(got.body, again.Secret) || strings.Contains(got.body, `"secret":`) {
			t.Errorf("%s shows it again: %s", path, got.body)
		}
	}
	w.expect(204, "DELETE", clients+"/"+made.ID, "", nil)
	w.expect(404, "GET", clients+"/"+made.ID, "", nil)
}

func TestLifeOfAProvider(t *testing.T) {
	w := newWorld(t)
	const one = "/workload-pools/default/providers/feishu"
	var p struct {
		Type, Vendor, Flow, ClientID, CallbackURL string
		Scopes                                    []string
		Version                                   int
	}
	w.expect(200, "GET", one, "", &p)
	if p.Type != "oauth2" || p.Vendor != "feishu" || p.Flow != "USER_FEDERATION" || p.ClientID != "cli_1" || p.CallbackURL != publicURL+"/api/v1/oauth2callback" || p.Version != 1 {
		t.Errorf("got %+v", p)
	}
	// Without a secret the old one is kept.
	w.expect(200, "PUT", one, `{"vendor":"feishu","clientId":"cli_2","scopes":["`+readDoc+`"]}`, &p)
	if p.ClientID != "cli_2" || p.Version != 2 {
		t.Errorf("got %+v", p)
	}
	for _, path := range []string{one, "/workload-pools/default/providers", "/audit?limit=1000"} {
		if got := w.call("GET", path, w.operator, "").body; strings.Contains(got, appSecret) || strings.Contains(got, "clientSecret") {
			t.Errorf("%s shows the secret: %s", path, got)
		}
	}
	w.expect(204, "DELETE", one, "", nil)
	w.expect(404, "DELETE", one, "", nil)
	if got := w.call("GET", "/vendors", w.operator, "").body; !strings.Contains(got, `"id":"feishu"`) || !strings.Contains(got, readDoc) {
		t.Errorf("the catalogue lacks feishu: %s", got)
	}
}

func TestLifeOfAnAgent(t *testing.T) {
	w := newWorld(t)
	const all, one = "/workload-pools/default/agents", "/workload-pools/default/agents/reader"
	definition := `common: {agent_name: reader, entry_point: main.py, language: Python, launch_type: local}\n` +
		`launch_types: {local: {runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: '` + publicURL + `/.well-known/openid-configuration', runtime_jwt_allowed_clients: [c]}}\n`
	var a struct {
		Name, Workload, Desired, Endpoint string
		Version                           int
	}
	w.create(all, `{"directory":"/srv/reader","definition":"`+definition+`"}`, &a)
	if a.Name != "reader" || a.Workload != "spiffe://deputy.local/default/reader" || a.Desired != "running" || a.Version != 1 || a.Endpoint != "https://run.example/agents/default/reader" {
		t.Errorf("got %+v", a)
	}
	w.expect(200, "POST", one+"/stop", "", &a)
	if a.Desired != "stopped" {
		t.Errorf("got %+v", a)
	}
	w.expect(200, "POST", one+"/start", "", &a)
	if a.Desired != "running" || a.Version != 3 {
		t.Errorf("got %+v", a)
	}
	w.expect(404, "GET", one+"/logs", "", nil) // the fleet of this test never looks
	w.expect(204, "DELETE", one, "", nil)
	w.expect(404, "GET", one, "", nil)
	// Without a runtime there is nobody to run it.
	w.api.Fleet = nil
	if got := w.call("POST", all, w.operator, `{"directory":"/srv/reader","definition":"`+definition+`"}`); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, `"runtime_off"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestWhoIsAsking(t *testing.T) {
	w := newWorld(t)
	var minted struct{ Token, Workload string }
	w.expectFrom(w.launch, 200, "POST", "/workload-tokens", "{}", &minted)
	if minted.Workload != "spiffe://deputy.local/default/doc" {
		t.Errorf("got %+v", minted)
	}
	tokens, err := w.api.Operators.Store.Tokens(t.Context())
	must(t, err)
	for token, want := range map[string]string{
		w.operator:   `{"kind":"operator","operator":"root","token":"` + tokens[0].ID + `","role":"owner"}`,
		w.agent:      `{"kind":"agent","workload":"spiffe://deputy.local/default/doc","user":{"issuer":"` + zhang.Issuer + `","subject":"usr_zhang"}}`,
		minted.Token: `{"kind":"agent","workload":"spiffe://deputy.local/default/doc"}`,
	} {
		if got := strings.TrimSpace(w.call("GET", "/whoami", token, "").body); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestEveryChangeIsRecorded finds each change in the audit log, with who made
// it and in which request.
func TestEveryChangeIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.create("/workload-pools", `{"name":"other"}`, nil)
	w.expect(204, "DELETE", "/workload-pools/default/workloads/doc", "", nil)
	for _, action := range []string{"userpool.create", "workload-pool.create", "workload.create", "workload.delete", "provider.create"} {
		var log struct {
			Items []struct {
				Entry struct {
					RequestID, Outcome string
					Caller             name.Caller
				}
			}
		}
		w.expect(200, "GET", "/audit?newest=true&limit=1&action="+action, "", &log)
		if len(log.Items) != 1 || log.Items[0].Entry.RequestID != "req_test" || log.Items[0].Entry.Outcome != "allowed" || log.Items[0].Entry.Caller.Operator != "root" {
			t.Errorf("%s: %+v", action, log)
		}
	}
	var chain struct {
		OK      bool
		Records int
	}
	w.expect(200, "GET", "/audit/verify", "", &chain)
	if !chain.OK || chain.Records < 6 {
		t.Errorf("got %+v", chain)
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready"}`} {
		if got := w.send("GET", path, "", nil); got.status != 200 || strings.TrimSpace(got.body) != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	got := w.send("GET", "/.well-known/jwks.json", "", nil)
	if got.status != 200 || got.header.Get("Content-Type") != "application/jwk-set+json" || !strings.Contains(got.body, `"kty":"EC"`) || strings.Contains(got.body, `"d":`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	w.api.Ready = func(context.Context) error {
		return fault.New(fault.Unavailable, "store_unavailable", "the database does not answer")
	}
	checkProblem(t, w.send("GET", "/readyz", "", nil), hostile{status: 503, code: "store_unavailable"})
}
