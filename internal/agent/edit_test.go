package agent_test

import (
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

const edited = `# My agent.
common:
  agent_name: doc # its name
  entry_point: main.go
  launch_type: local

launch_types:
  local:
    # Who may call it.
    runtime_auth_type: custom_jwt
    runtime_jwt_discovery_url: ${ISSUER}/.well-known/openid-configuration
    runtime_jwt_allowed_clients: [web]
    runtime_envs:
      KEY: a-secret
`

func TestChange(t *testing.T) {
	got, err := agent.Change([]byte(edited), []agent.Edit{
		{Field: "agent_name", Value: "reader"}, {Field: "language", Value: "Golang"}, {Field: "runtime_jwt_allowed_clients", Value: "[web, phone]"},
		{Field: "launch_types.local.runtime_envs.KEY", Unset: true}, {Field: "launch_types.local.runtime_envs.MODEL", Value: "small"},
		{Field: "launch_types.local.runtime_paths.mcp", Value: "/tools"}, {Field: "description", Unset: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `# My agent.
common:
  agent_name: reader # its name
  entry_point: main.go
  launch_type: local
  language: Golang
launch_types:
  local:
    # Who may call it.
    runtime_auth_type: custom_jwt
    runtime_jwt_discovery_url: ${ISSUER}/.well-known/openid-configuration
    runtime_jwt_allowed_clients: [web, phone]
    runtime_envs:
      MODEL: small
    runtime_paths:
      mcp: /tools
`
	if string(got) != want {
		t.Errorf("got:\n%s", got)
	}
	if _, err := agent.Change(got, nil); err != nil {
		t.Errorf("what it makes is not taken: %v", err)
	}
}

func TestChangeRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		edit       agent.Edit
		code, says string
	}{
		"a typing mistake":    {agent.Edit{Field: "runtime_auth_typ", Value: "none"}, "agentkit_unknown_field", "runtime_auth_type"},
		"a wrong value":       {agent.Edit{Field: "runtime_auth_type", Value: "nobody"}, "agentkit_invalid", "none"},
		"what is required":    {agent.Edit{Field: "agent_name", Unset: true}, "agentkit_missing_field", "agent_name"},
		"a field of a text":   {agent.Edit{Field: "common.agent_name.x", Value: "a"}, "agentkit_field", "common.agent_name.x"},
		"one from the middle": {agent.Edit{Field: "runtime_paths.mcp", Value: "/mcp"}, "agentkit_unknown_field", "runtime_paths"},
		"no field":            {agent.Edit{Field: "common.", Value: "a"}, "agentkit_field", "common."},
		"YAML that is broken": {agent.Edit{Field: "description", Value: "[a"}, "agentkit_value", "description"},
		"several lines":       {agent.Edit{Field: "description", Value: "a: b\nc: d"}, "agentkit_value", "description"},
	} {
		if _, err := agent.Change([]byte(edited), []agent.Edit{c.edit}); !fault.HasCode(err, c.code) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, text := range []string{"", "- a", "a: [", "a: b\n---\nc: d"} {
		if _, err := agent.Change([]byte(text), nil); err == nil {
			t.Errorf("%q is taken", text)
		}
		if _, err := agent.Fields([]byte(text)); err == nil {
			t.Errorf("%q has fields", text)
		}
	}
}

func TestFields(t *testing.T) {
	list, err := agent.Fields([]byte(edited + "    memory_limit: 1g\n"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range list {
		b.WriteString(f.Field + "=" + f.Value + " " + f.Note + "\n")
	}
	for _, want := range []string{"common.agent_name=doc \n", "launch_types.local.runtime_jwt_allowed_clients=[web] \n", "launch_types.local.runtime_envs=[KEY] \n", "launch_types.local.memory_limit=1g the process driver limits"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "a-secret") {
		t.Error("the value of a variable is shown")
	}
}

func FuzzChange(f *testing.F) {
	f.Add(edited, "agent_name", "reader")
	f.Add("common: {agent_name: a}", "launch_types.local", "{a: b}")
	f.Add("a: &x [*x]", "a.b.c", "*x")
	f.Fuzz(func(t *testing.T, text, field, value string) {
		got, err := agent.Change([]byte(text), []agent.Edit{{Field: field, Value: value}})
		if err != nil {
			return
		}
		if _, _, err := agent.Shape(got); err != nil {
			t.Errorf("what it made is no definition: %v", err)
		}
	})
}
