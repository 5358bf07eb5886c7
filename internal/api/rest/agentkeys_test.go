package rest_test

import (
	"strings"
	"testing"
	"time"
)

func TestAgentKeys(t *testing.T) {
	w := newWorld(t)
	const keys = "/workload-pools/default/agents/doc/keys"
	definition := `common: {agent_name: doc, entry_point: main.go}\nlaunch_types: {cloud: {runtime_auth_type: WAY}}\n`
	deploy := func(way string) {
		t.Helper()
		w.create("/workload-pools/default/agents", `{"directory":"/srv/doc","definition":"`+strings.Replace(definition, "WAY", way, 1)+`"}`, nil)
	}
	deploy("none")
	type key struct {
		ID, Name, Key, Warning string
		User                   *struct{ Issuer, Subject string }
		CreatedAt, ExpiresAt   time.Time
	}
	var front, nightly key
	w.create(keys, `{"name":"front"}`, &front)
	if !strings.HasPrefix(front.Key, "dak_") || !strings.Contains(front.Warning, "key_auth") || front.User != nil || front.ExpiresAt.Sub(front.CreatedAt) != 90*24*time.Hour {
		t.Errorf("%+v", front)
	}
	deploy("[key_auth, none]") // a new version keeps them
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	w.create(keys, `{"name":"nightly","user":{"issuer":"https://id.example","subject":"u1"},"expiresAt":"`+until+`"}`, &nightly)
	if nightly.Warning != "" || nightly.User == nil || nightly.User.Subject != "u1" || nightly.ExpiresAt.Format(time.RFC3339) != until {
		t.Errorf("%+v", nightly)
	}
	list := w.call("GET", keys, w.operator, "")
	if strings.Contains(list.body, "dak_") || strings.Index(list.body, `"front"`) > strings.Index(list.body, `"nightly"`) || !strings.Contains(list.body, nightly.ID) {
		t.Errorf("the list: %s", list.body)
	}
	for body, code := range map[string]string{
		`{"name":"front"}`: "agent-key_exists", `{"name":"a b"}`: "name_invalid", `{}`: "name_invalid", `{"name":"x","expiresAt":"2020-01-01T00:00:00Z"}`: "agent-key_life",
		`{"name":"x","expiresAt":"2999-01-01T00:00:00Z"}`: "agent-key_life", `{"name":"x","user":{"issuer":"","subject":""}}`: "agent-key_user",
		`{"name":"x","user":{"issuer":"https://id.example","subject":"usr_gone"}}`: "agent-key_user", `{"name":"x","user":{"issuer":"https://id.example","subject":"a\nb"}}`: "agent-key_user",
	} {
		if got := w.call("POST", keys, w.operator, body); !strings.Contains(got.body, `"`+code+`"`) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	for _, c := range []struct{ method, path, token, code string }{
		{"GET", strings.Replace(keys, "doc", "nobody", 1), w.operator, "agent_not_found"},
		{"POST", strings.Replace(keys, "doc", "nobody", 1), w.operator, "agent_not_found"},
		{"DELETE", keys + "/agk_1", w.operator, "agent-key_not_found"},
		{"DELETE", strings.Replace(keys, "default", "other", 1) + "/" + front.ID, w.operator, "agent-key_not_found"},
	} {
		body := ""
		if c.method == "POST" {
			body = `{"name":"x"}`
		}
		if got := w.call(c.method, c.path, c.token, body); !strings.Contains(got.body, `"`+c.code+`"`) {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
	}
	for _, method := range []string{"GET", "POST"} {
		if got := w.call(method, keys, w.agent, `{"name":"x"}`); got.status != 403 {
			t.Errorf("an agent's %s: %d %s", method, got.status, got.body)
		}
	}
	if got := w.call("DELETE", keys+"/"+front.ID, w.operator, ""); got.status != 204 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if list := w.call("GET", keys, w.operator, ""); strings.Contains(list.body, front.ID) || !strings.Contains(list.body, nightly.ID) {
		t.Errorf("the list: %s", list.body)
	}
	audit := w.call("GET", "/audit?limit=1000", w.operator, "").body
	if strings.Contains(audit, "dak_") || !strings.Contains(audit, `"agent-key.create"`) || !strings.Contains(audit, `"agent-key.delete"`) || !strings.Contains(audit, `"u1@https://id.example"`) {
		t.Errorf("the log: %s", audit)
	}
	shown := w.call("GET", "/workload-pools/default/agents/doc", w.operator, "").body
	if !strings.Contains(shown, `"inbound":["key_auth","none"]`) || !strings.Contains(shown, `"protocols":["invoke"]`) {
		t.Errorf("the agent: %s", shown)
	}
}
