package agent_test

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

func TestParseTheTutorialsFile(t *testing.T) {
	text, err := os.ReadFile("testdata/tutorial.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, warnings, err := agent.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := agent.Definition{
		Name: "feishu-doc-agent", EntryPoint: "agent.go", Description: "reads documents", Language: agent.Golang,
		LanguageVersion: "1.24", Type: "Basic App", DependenciesFile: "go.mod", LaunchType: agent.Cloud,
		Env: agent.Environment{"FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth", "MODEL_API_KEY": "sk-visible", "RATE": "1.10"},
		Inbound: agent.Inbound{
			DiscoveryURL:   "https://id.example/userpool/main/.well-known/openid-configuration",
			AllowedClients: []string{"cli_web"},
		},
		Image: agent.Image{Platform: "linux/amd64"},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("definition (-want +got):\n%s", diff)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, fmt.Sprintf("%d %s", w.Line, w.Field))
		if strings.Contains(w.String(), "sk-visible") {
			t.Errorf("the warning shows the value: %s", w)
		}
	}
	wantWarnings := []string{
		"11 common.runtime_envs.MODEL_API_KEY", "16 launch_types.cloud.region", "24 launch_types.cloud.build_timeout",
		"25 launch_types.local", "29 docker_build.platform",
	}
	if diff := cmp.Diff(wantWarnings, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

const (
	head = "common: {agent_name: a, entry_point: main.go, language: Golang, launch_type: local}\n"
	tail = "launch_types: {local: {runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: 'http://127.0.0.1:8080/.well-known/openid-configuration', runtime_jwt_allowed_clients: [c]}}\n"
)

func TestParseAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"minimal":        head + tail,
		"byte order":     "\ufeff" + head + tail,
		"aliases":        "common: &c {agent_name: a, entry_point: a.sh, launch_type: local, runtime_envs: &e {A: b}}\n" + tail,
		"null sections":  head + tail + "docker_build:\n",
		"a nested entry": strings.Replace(head, "main.go", "./cmd/agent", 1) + tail,
	} {
		t.Run(name, func(t *testing.T) {
			if _, warnings, err := agent.Parse([]byte(text)); err != nil || len(warnings) > 0 {
				t.Errorf("%v, %v", err, warnings)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	common := func(fields string) string { return "common: {" + fields + "}\n" + tail }
	inbound := func(fields string) string { return head + "launch_types: {local: {" + fields + "}}\n" }
	jwt := func(u string) string {
		return inbound("runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: '" + u + "'")
	}
	for name, c := range map[string]struct{ text, code, says string }{
		"nothing":                {"", "agentkit_invalid", "empty"},
		"only a comment":         {"# nothing\n", "agentkit_invalid", "empty"},
		"a list":                 {"- a\n", "agentkit_invalid", "must be a mapping"},
		"broken YAML":            {"common: {\n", "agentkit_invalid", "agentkit.yaml line"},
		"two documents":          {head + tail + "---\n" + head, "agentkit_invalid", "more than one"},
		"broken second document": {head + tail + "---\n{", "agentkit_invalid", "well-formed"},
		"too large":              {strings.Repeat("#", agent.MaxDefinition+1), "agentkit_too_large", "larger"},
		"no common":              {tail, "agentkit_missing_field", "common is missing"},
		"unknown field":          {"common:\n  agent_nam: a\n", "agentkit_unknown_field", "line 2: common.agent_nam); did you mean agent_name?"},
		"unknown section":        {head + tail + "extra: 1\n", "agentkit_unknown_field", "line 3"},
		"unknown unused field":   {head + "launch_types: {cloud: {x: 1}}", "agentkit_unknown_field", "launch_types.cloud.x"},
		"merge key":              {"common: {<<: {agent_name: a}}\n", "agentkit_unknown_field", "<<"},
		"field twice":            {"common: {agent_name: a, agent_name: b}\n", "agentkit_invalid", "twice"},
		"composite key":          {"? [a]\n: b\n", "agentkit_invalid", "plain text"},
		"no name":                {common("entry_point: a.go"), "agentkit_missing_field", "common.agent_name"},
		"bad name":               {common("agent_name: a b, entry_point: a.go"), "name_invalid", "line 1"},
		"name of wrong type":     {common("agent_name: [a]"), "agentkit_invalid", "single value"},
		"no entry":               {common("agent_name: a"), "agentkit_missing_field", "common.entry_point"},
		"absolute entry":         {common("agent_name: a, entry_point: /bin/sh"), "agentkit_invalid", "inside"},
		"entry outside":          {common("agent_name: a, entry_point: x/../../b.go"), "agentkit_invalid", "inside"},
		"entry with a flag":      {common("agent_name: a, entry_point: 'a.go; rm'"), "agentkit_invalid", "inside"},
		"unknown language":       {common("agent_name: a, entry_point: a.go, language: Golan"), "agentkit_invalid", "did you mean Golang?"},
		"unknown launch type":    {common("agent_name: a, entry_point: a.go, launch_type: moon"), "agentkit_invalid", "use one of cloud, hybrid, local"},
		"no auth type":           {inbound("runtime_envs: {}"), "agentkit_missing_field", "custom_jwt"},
		"no launch block":        {head, "agentkit_missing_field", "launch_types.local.runtime_auth_type"},
		"unknown auth type":      {inbound("runtime_auth_type: custom_jwd"), "agentkit_invalid", "did you mean custom_jwt?"},
		"no discovery URL":       {inbound("runtime_auth_type: custom_jwt"), "agentkit_missing_field", "runtime_jwt_discovery_url"},
		"http elsewhere":         {jwt("http://id.example/.well-known/openid-configuration"), "agentkit_invalid", "not an https URL"},
		"http at localhost.evil": {jwt("http://localhost.evil/.well-known/openid-configuration"), "agentkit_invalid", "not an https URL"},
		"another scheme":         {jwt("file:///.well-known/openid-configuration"), "agentkit_invalid", "absolute"},
		"the issuer instead":     {jwt("https://id.example"), "agentkit_invalid", "discovery document"},
		"a user in the URL":      {jwt("https://u:p@id.example/.well-known/openid-configuration"), "agentkit_invalid", "a user"},
		"a query in the URL":     {jwt("https://id.example/.well-known/openid-configuration?"), "agentkit_invalid", "a query"},
		"clients of wrong type":  {inbound("runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: 'https://x/.well-known/openid-configuration', runtime_jwt_allowed_clients: c"), "agentkit_invalid", "list"},
		"an empty client":        {inbound("runtime_auth_type: custom_jwt, runtime_jwt_discovery_url: 'https://x/.well-known/openid-configuration', runtime_jwt_allowed_clients: ['']"), "agentkit_invalid", "no client id"},
		"env of the runtime":     {common("agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: {PORT: 1}"), "agentkit_reserved_env", "common.runtime_envs.PORT"},
		"env of deputy":          {common("agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: {deputy_url: x}"), "agentkit_reserved_env", "deputy_url"},
		"env with a bad name":    {common("agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: {'A=B': x}"), "agentkit_invalid", "environment variable"},
		"env of wrong type":      {common("agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: {A: [x]}"), "agentkit_invalid", "single value"},
		"env list":               {common("agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: [A]"), "agentkit_invalid", "must be a mapping"},
		"env with NUL":           {common(`agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: {A: "x\0hidden-value"}`), "agentkit_invalid", "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := agent.Parse([]byte(c.text))
			if !fault.HasCode(err, c.code) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v (code %s), want code %s and %q", err, fault.As(err).Code, c.code, c.says)
			}
			if strings.Contains(err.Error(), "hidden-value") {
				t.Errorf("the message shows a value: %v", err)
			}
		})
	}
}

func TestAnyClientIsWarnedOf(t *testing.T) {
	text := head + strings.Replace(tail, "[c]", "[]", 1)
	_, warnings, err := agent.Parse([]byte(text))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Reason, "every client") {
		t.Errorf("got %v, %v", warnings, err)
	}
}

func TestSecretsAreWarnedOf(t *testing.T) {
	for variable, warned := range map[string]bool{
		"MODEL_API_KEY": true, "apikey": true, "DB_PASSWORD_FILE": true, "APP_SECRET": true, "GITHUB_TOKEN": true,
		"FEISHU_CREDENTIAL_PROVIDER": false, "MAX_TOKENS": false, "KEYBOARD": false,
	} {
		text := "common: {agent_name: a, entry_point: a.go, launch_type: local, runtime_envs: {" + variable + ": x}}\n" + tail
		_, warnings, err := agent.Parse([]byte(text))
		if err != nil || (len(warnings) == 1) != warned {
			t.Errorf("%s: %v, %v", variable, warnings, err)
		}
	}
}

func TestEnvironmentNeverPrintsValues(t *testing.T) {
	d := agent.Definition{Env: agent.Environment{"B": "hunter2", "A": "hunter3"}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "env", d.Env)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %q %x", d, d, d, d.Env, d.Env, d.Env), log.String()} {
		if strings.Contains(s, "hunter") || !strings.Contains(s, "A") {
			t.Errorf("got %s", s)
		}
	}
	if !slices.Equal(d.Env.Names(), []string{"A", "B"}) {
		t.Error(d.Env.Names())
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/tutorial.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(head + tail))
	f.Add([]byte("a: &a [*a]\ncommon: *a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, _, err := agent.Parse(text)
		if err != nil {
			if fault.As(err).Kind == fault.Internal {
				t.Errorf("not a fault of the file: %v", err)
			}
			return
		}
		if d.Name == "" || d.EntryPoint == "" || d.Inbound.DiscoveryURL == "" && !d.Inbound.APIKeys && !d.Inbound.Open || strings.HasPrefix(d.EntryPoint, "..") {
			t.Errorf("accepted %+v", d)
		}
		for variable := range d.Env {
			if up := strings.ToUpper(variable); up == "PORT" || strings.HasPrefix(up, "DEPUTY_") {
				t.Errorf("accepted variable %s", variable)
			}
		}
	})
}
