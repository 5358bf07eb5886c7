package agent_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

const withImage = `common: {agent_name: a, entry_point: agent.py, launch_type: local}
launch_types: {local: {runtime_auth_type: key_auth, LOCAL}}
docker_build: {DOCKER}
`

func parseImage(local, docker string) (agent.Image, error) {
	d, _, err := agent.Parse([]byte(strings.NewReplacer("LOCAL", local, "DOCKER", docker).Replace(withImage)))
	return d.Image, err
}

func TestImage(t *testing.T) {
	for name, test := range map[string]struct {
		local, docker string
		want          agent.Image
	}{
		"nothing":          {"", "base_image: null, platform: ''", agent.Image{}},
		"given":            {"image: 'registry.example:5000/a/b:1@sha256:00', runtime_health_path: none", "", agent.Image{Ref: "registry.example:5000/a/b:1@sha256:00", Health: agent.NoHealth}},
		"built":            {"runtime_health_path: /health/live", "base_image: 'python:3.12-alpine', platform: linux/arm64", agent.Image{Base: "python:3.12-alpine", Platform: "linux/arm64", Health: "/health/live"}},
		"built, of stages": {"", "base_image: {builder: golang, runtime: alpine}", agent.Image{Base: "alpine"}},
	} {
		got, err := parseImage(test.local, test.docker)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	for name, test := range map[string]struct{ local, docker, source string }{
		"image with a space":   {"image: 'a b'", "", "launch_types.local.image"},
		"image of two values":  {"image: [a]", "", "launch_types.local.image"},
		"base with a newline":  {"", "base_image: \"a\\nb\"", "docker_build.base_image"},
		"base of other stages": {"", "base_image: {other: a}", "docker_build.base_image.other"},
		"unknown platform":     {"", "platform: windows/amd64", "docker_build.platform"},
		"health elsewhere":     {"runtime_health_path: 'http://x/'", "", "launch_types.local.runtime_health_path"},
		"health with a query":  {"runtime_health_path: '/a?b'", "", "launch_types.local.runtime_health_path"},
	} {
		_, err := parseImage(test.local, test.docker)
		if f := fault.As(err); err == nil || f.Kind != fault.Invalid || !strings.Contains(f.Source, test.source) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := agent.CheckImage(strings.Repeat("a", 513)); !fault.HasCode(err, "image_invalid") {
		t.Errorf("a long name: %v", err)
	}
}
