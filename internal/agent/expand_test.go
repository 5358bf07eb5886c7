package agent_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// expandable is a definition whose description is value.
func expandable(value string) string {
	return "common:\n  agent_name: a\n  entry_point: agent.py\n  language: Python\n  description: " + value +
		"\n  launch_type: local\nlaunch_types:\n  local:\n    runtime_auth_type: custom_jwt\n    runtime_jwt_discovery_url: https://login.example/.well-known/openid-configuration\n"
}

func lookup(variable string) (string, bool) {
	value, ok := map[string]string{"NAME": "value", "EMPTY": "", "YAML": "x\n  language: Golang # ${NAME}"}[variable]
	return value, ok
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"plain $NAME $ {NAME}": "plain $NAME $ {NAME}",
		"${NAME}":              "value",
		"a ${NAME} b ${NAME}":  "a value b value",
		"${NONE:-other}":       "other",
		"${EMPTY:-other}":      "other",
		"${NONE:-}":            "",
		"x${EMPTY}":            "x",
		"$${NAME}":             "${NAME}",
		"'${NAME}'":            "value",
		"${YAML}":              "x\n  language: Golang # ${NAME}", // text, whatever it looks like
	} {
		expanded, used, err := agent.Expand([]byte(expandable(text)), lookup)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		d, _, err := agent.Parse(expanded)
		if err != nil || d.Description != want || d.Language != agent.Python {
			t.Errorf("%s: %q %v", text, d.Description, err)
		}
		if slices.Contains(used, "NAME") != strings.Contains(text, "${NAME}") && !strings.Contains(text, "$${") {
			t.Errorf("%s: used %v", text, used)
		}
	}
	untouched := expandable("none # with a comment")
	if got, _, err := agent.Expand([]byte(untouched), lookup); err != nil || string(got) != untouched {
		t.Errorf("%q %v", got, err)
	}
}

func TestExpandRefuses(t *testing.T) {
	for text, code := range map[string]string{
		expandable("${NONE}"):                "agentkit_variable_missing",
		expandable("${}"):                    "agentkit_reference",
		expandable("${NA ME}"):               "agentkit_reference",
		expandable("${1}"):                   "agentkit_reference",
		"a: ${NAME}\nb: [":                   "agentkit_invalid",
		strings.Repeat("- ", 40) + "${NAME}": "agentkit_invalid",
	} {
		_, _, err := agent.Expand([]byte(text), lookup)
		if !fault.HasCode(err, code) || !strings.Contains(fault.As(err).Source, "line") && code != "agentkit_invalid" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAddEnvironment(t *testing.T) {
	variables := agent.Environment{"A": "of the file", "B": "1.10", "PORT": "1", "DEPUTY_TOKEN": "secret", "QUOTED": "x: \"y\" # z"}
	for what, c := range map[string]struct {
		envs string
		want map[string]string
	}{
		"none":  {"", map[string]string{"A": "of the file", "B": "1.10", "QUOTED": variables["QUOTED"]}},
		"empty": {"  runtime_envs:\n", map[string]string{"A": "of the file", "B": "1.10", "QUOTED": variables["QUOTED"]}},
		"some":  {"  runtime_envs: {A: its own}\n", map[string]string{"A": "its own", "B": "1.10", "QUOTED": variables["QUOTED"]}},
	} {
		text := strings.Replace(expandable("x"), "  launch_type:", c.envs+"  launch_type:", 1)
		with, added, err := agent.AddEnvironment([]byte(text), variables)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := agent.Parse(with)
		if err != nil {
			t.Fatal(err)
		}
		for variable, value := range c.want {
			if d.Env[variable] != value {
				t.Errorf("%s: %s is %q", what, variable, d.Env[variable])
			}
		}
		if len(d.Env) != len(c.want) || slices.Contains(added, "PORT") || slices.Contains(added, "DEPUTY_TOKEN") || slices.Contains(added, "A") != (what != "some") {
			t.Errorf("%s: added %v, now %v", what, added, d.Env)
		}
	}
	for _, text := range []string{"[]", "common: 1", "common: {runtime_envs: 1}"} {
		if got, added, err := agent.AddEnvironment([]byte(text), variables); err != nil || string(got) != text || added != nil {
			t.Errorf("%s: %q %v %v", text, got, added, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add([]byte(expandable("${NAME}")))
	f.Add([]byte("a: &x ${NAME}\nb: [*x, *x]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if expanded, _, err := agent.Expand(text, lookup); err == nil {
			_, _, _ = agent.AddEnvironment(expanded, agent.Environment{"A": "b"})
		}
	})
}
