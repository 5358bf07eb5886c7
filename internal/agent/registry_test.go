package agent_test

import (
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

func TestMemoryPassesTheSuite(t *testing.T) { agenttest.TestStore(t, &agenttest.Memory{}) }

func TestRegistry(t *testing.T) {
	ctx, operator := t.Context(), name.Caller{Kind: name.Operator, Operator: "root"}
	store := &agenttest.Memory{}
	r := &agent.Registry{Store: store, Guard: agenttest.Guard()}
	d, _, err := agent.Parse([]byte(head + tail))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Deploy(ctx, operator, "default", "/srv/a/../a", d)
	if err != nil || first.Version != 1 || first.Desired != agent.Running || first.Directory != "/srv/a" || first.CreatedAt.IsZero() {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := r.Deploy(ctx, operator, "default", "/srv/b", d)
	if err != nil || second.Version != 2 || second.CreatedAt != first.CreatedAt {
		t.Errorf("%+v, %v", second, err)
	}
	third, err := r.SetDesired(ctx, operator, "default", "a", agent.Stopped)
	if err != nil || third.Version != 3 || third.Desired != agent.Stopped || third.Directory != "/srv/b" {
		t.Errorf("%+v, %v", third, err)
	}
	for what, call := range map[string]struct {
		err  error
		code string
	}{
		"a relative directory": {errOf(r.Deploy(ctx, operator, "default", "a", d)), "agent_directory"},
		"a bad pool":           {errOf(r.Deploy(ctx, operator, "../x", "/a", d)), "name_invalid"},
		"no definition":        {errOf(r.Deploy(ctx, operator, "default", "/a", agent.Definition{})), "name_invalid"},
		"an agent's own wish":  {errOf(r.Deploy(ctx, name.Caller{Kind: name.Agent}, "default", "/a", d)), "not_allowed"},
		"an unknown state":     {errOf(r.SetDesired(ctx, operator, "default", "a", "asleep")), "agent_desired"},
		"an unknown agent":     {errOf(r.SetDesired(ctx, operator, "default", "b", agent.Stopped)), "agent_not_found"},
		"deleting as a person": {r.Delete(ctx, name.Caller{Kind: name.Person}, "default", "a"), "not_allowed"},
	} {
		if !fault.HasCode(call.err, call.code) {
			t.Errorf("%s: %v, want %s", what, call.err, call.code)
		}
	}
	if err := r.Delete(ctx, operator, "default", "a"); err != nil {
		t.Error(err)
	}
	if again, err := r.Deploy(ctx, operator, "default", "/srv/a", d); err != nil || again.Version != 1 {
		t.Errorf("after deletion: %+v, %v", again, err)
	}
}

func errOf[T any](_ T, err error) error { return err }
