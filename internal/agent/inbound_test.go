package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// letting returns a definition whose launch block has the fields.
func letting(fields string) []byte {
	return []byte(head + "launch_types: {local: {" + fields + "}}\n")
}

const issuer = "runtime_jwt_discovery_url: 'https://id.example/.well-known/openid-configuration', runtime_jwt_allowed_clients: [c]"

func TestWhoIsLetIn(t *testing.T) {
	tokens := agent.Inbound{DiscoveryURL: "https://id.example/.well-known/openid-configuration", AllowedClients: []string{"c"}}
	with := func(change func(*agent.Inbound)) agent.Inbound {
		in := tokens
		change(&in)
		return in
	}
	for what, c := range map[string]struct {
		fields   string
		want     agent.Inbound
		warnings string // fields
	}{
		"tokens":          {"runtime_auth_type: custom_jwt, " + issuer, tokens, ""},
		"tokens, as list": {"runtime_auth_type: [custom_jwt], " + issuer, tokens, ""},
		"keys":            {"runtime_auth_type: key_auth, runtime_jwt_allowed_clients: []", agent.Inbound{APIKeys: true}, ""},
		"tokens and keys": {"runtime_auth_type: [key_auth, custom_jwt], " + issuer, with(func(in *agent.Inbound) { in.APIKeys = true }), ""},
		"everybody":       {"runtime_auth_type: none", agent.Inbound{Open: true}, "runtime_auth_type"},
		"everybody, and users by name": {"runtime_auth_type: [none, custom_jwt], " + issuer,
			with(func(in *agent.Inbound) { in.Open = true }), "runtime_auth_type"},
		"keys, with what is for tokens": {"runtime_auth_type: key_auth, " + issuer, agent.Inbound{APIKeys: true}, "runtime_jwt_allowed_clients runtime_jwt_discovery_url"},
		"logins": {"runtime_auth_type: pool_session, runtime_session_client: web, runtime_jwt_required_scopes: [chat], " + issuer,
			agent.Inbound{Session: &agent.Session{DiscoveryURL: tokens.DiscoveryURL, Client: "web"}, AllowedClients: []string{"c"}, RequiredScopes: []string{"chat"}}, "runtime_jwt_allowed_clients"},
		"logins and tokens": {"runtime_auth_type: [pool_session, custom_jwt], runtime_session_client: web, " + issuer,
			with(func(in *agent.Inbound) { in.Session = &agent.Session{DiscoveryURL: tokens.DiscoveryURL, Client: "web"} }), ""},
		"tokens, with what is for logins": {"runtime_auth_type: custom_jwt, runtime_session_client: web, " + issuer, tokens, "runtime_session_client"},
		"all that a token must have": {"runtime_auth_type: custom_jwt, " + issuer + ", runtime_jwt_allowed_audiences: [api], runtime_jwt_required_scopes: [chat, 'docs:read']," +
			" runtime_jwt_required_claims: {email_verified: true, groups: [staff, board], level: 2}",
			with(func(in *agent.Inbound) {
				in.AllowedAudiences, in.RequiredScopes = []string{"api"}, []string{"chat", "docs:read"}
				in.RequiredClaims = map[string][]string{"email_verified": {"true"}, "groups": {"staff", "board"}, "level": {"2"}}
			}), ""},
	} {
		t.Run(what, func(t *testing.T) {
			d, warnings, err := agent.Parse(letting(c.fields))
			if diff := cmp.Diff(c.want, d.Inbound, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			var fields []string
			for _, w := range warnings {
				fields = append(fields, strings.TrimPrefix(w.Field, "launch_types.local."))
			}
			if got := strings.Join(fields, " "); got != c.warnings {
				t.Errorf("warnings for %q, want %q", got, c.warnings)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	for fields, want := range map[string]agent.Paths{
		"":                                   nil,
		", runtime_paths: {}":                nil,
		", runtime_paths: {mcp: }":           {agent.MCP: "/mcp"},
		", runtime_paths: {invoke: , a2a: }": {agent.Invoke: "/invoke", agent.A2A: "/"},
		", runtime_paths: {websocket: /chat/v1/}": {agent.WebSocket: "/chat/v1/"},
	} {
		d, warnings, err := agent.Parse(letting("runtime_auth_type: custom_jwt, " + issuer + fields))
		if diff := cmp.Diff(want, d.Paths); err != nil || diff != "" || len(warnings) > 0 {
			t.Errorf("%s: %v %v\n%s", fields, err, warnings, diff)
		}
	}
	for _, c := range []struct {
		paths    agent.Paths
		protocol agent.Protocol
		at       string
		ok       bool
	}{
		{nil, agent.Invoke, "/invoke", true},
		{nil, agent.MCP, "", false},
		{agent.Paths{agent.MCP: "/m"}, agent.MCP, "/m", true},
		{agent.Paths{agent.MCP: "/m"}, agent.Invoke, "", false},
	} {
		if at, ok := c.paths.Of(c.protocol); ok != c.ok || ok && at != c.at {
			t.Errorf("%v of %v: %q %v", c.protocol, c.paths, at, ok)
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, ", runtime_idle_timeout: ": 0, ", runtime_idle_timeout: 15m": 15 * time.Minute, ", runtime_idle_timeout: 1h30m": 90 * time.Minute} {
		if d, _, err := agent.Parse(letting("runtime_auth_type: custom_jwt, " + issuer + text)); err != nil || d.IdleTimeout != want {
			t.Errorf("%q: %v, %v", text, d.IdleTimeout, err)
		}
	}
	for _, text := range []string{"15", "1s", "-1m", "1000h", "soon", "[1m]"} {
		if _, _, err := agent.Parse(letting("runtime_auth_type: custom_jwt, " + issuer + ", runtime_idle_timeout: " + text)); !fault.HasCode(err, "agentkit_invalid") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestInboundRefuses(t *testing.T) {
	jwt := func(fields string) string { return "runtime_auth_type: custom_jwt, " + issuer + ", " + fields }
	for what, c := range map[string]struct{ fields, code, says string }{
		"an empty list":                {"runtime_auth_type: []", "agentkit_missing_field", "runtime_auth_type"},
		"an empty word":                {"runtime_auth_type: ''", "agentkit_missing_field", "runtime_auth_type"},
		"a mapping":                    {"runtime_auth_type: {a: b}", "agentkit_invalid", "a text or a list"},
		"an unknown way in a list":     {"runtime_auth_type: [custom_jwt, key_aut], " + issuer, "agentkit_invalid", "did you mean key_auth?"},
		"an empty way in a list":       {"runtime_auth_type: [key_auth, '']", "agentkit_invalid", "pool_session and none"},
		"a login as no client":         {"runtime_auth_type: pool_session, " + issuer, "agentkit_missing_field", "runtime_session_client"},
		"a login nowhere":              {"runtime_auth_type: pool_session, runtime_session_client: c", "agentkit_missing_field", "runtime_jwt_discovery_url"},
		"a login as two clients":       {"runtime_auth_type: pool_session, " + issuer + ", runtime_session_client: [a, b]", "agentkit_invalid", "runtime_session_client"},
		"a list that also has tokens":  {"runtime_auth_type: [key_auth, custom_jwt]", "agentkit_missing_field", "runtime_jwt_discovery_url"},
		"an audience that is no text":  {jwt("runtime_jwt_allowed_audiences: [[a]]"), "agentkit_invalid", "no audience"},
		"a scope with a space":         {jwt("runtime_jwt_required_scopes: ['a b']"), "agentkit_invalid", "no scope"},
		"claims as a list":             {jwt("runtime_jwt_required_claims: [a]"), "agentkit_invalid", "must be a mapping"},
		"a claim without a value":      {jwt("runtime_jwt_required_claims: {a: }"), "agentkit_invalid", "value of a claim"},
		"a claim without values":       {jwt("runtime_jwt_required_claims: {a: []}"), "agentkit_invalid", "no value that will do"},
		"a claim inside a claim":       {jwt("runtime_jwt_required_claims: {a: {b: c}}"), "agentkit_invalid", "list of texts"},
		"more scopes than anybody has": {jwt("runtime_jwt_required_scopes: [" + strings.Repeat("a,", 101) + "]"), "agentkit_invalid", "more than 100"},
		"an unknown protocol":          {jwt("runtime_paths: {mpc: /mcp}"), "agentkit_unknown_field", "use a2a, invoke, mcp, websocket"},
		"paths as a list":              {jwt("runtime_paths: [mcp]"), "agentkit_invalid", "must be a mapping"},
		"a path that climbs":           {jwt("runtime_paths: {mcp: /a/../b}"), "agentkit_invalid", "not a path"},
		"a path with two slashes":      {jwt("runtime_paths: {mcp: //evil.example/mcp}"), "agentkit_invalid", "not a path"},
		"a path with a query":          {jwt("runtime_paths: {mcp: '/mcp?a=b'}"), "agentkit_invalid", "not a path"},
		"a path that is encoded":       {jwt("runtime_paths: {mcp: /m%63p}"), "agentkit_invalid", "not a path"},
		"a path from nowhere":          {jwt("runtime_paths: {mcp: mcp}"), "agentkit_invalid", "not a path"},
	} {
		_, _, err := agent.Parse(letting(c.fields))
		if !fault.HasCode(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
