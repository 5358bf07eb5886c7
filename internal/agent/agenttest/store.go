// Package agenttest has the suite that every agent.Store passes, and a store in memory for the tests of what is built on one.
package agenttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Memory is an agent.Store that forgets. The zero Memory is empty and usable.
type Memory struct {
	mu     sync.Mutex
	agents map[name.Workload]agent.Agent
	builds map[name.Workload][]agent.Build // the newest first
	broken error
}

// Break makes every later call return err, until it is called with nil.
func (m *Memory) Break(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// PutAgent implements agent.Store.
func (m *Memory) PutAgent(_ context.Context, p guard.Permit, a agent.Agent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	if err := p.Check(agent.ActionPut, agent.Resource(a.Pool, a.Name)); err != nil {
		return err
	}
	if m.agents[a.Workload()].Version+1 != a.Version {
		return agent.Changed(a.Pool, a.Name)
	}
	if m.agents == nil {
		m.agents = map[name.Workload]agent.Agent{}
	}
	m.agents[a.Workload()] = a
	m.add(agent.Build{Pool: a.Pool, Agent: a.Name, Number: a.Build, Definition: a.Definition, Directory: a.Directory, CreatedAt: a.UpdatedAt})
	return nil
}

// add stores a build unless its number is taken, and reports whether it did.
func (m *Memory) add(b agent.Build) bool {
	w := name.Workload{Pool: b.Pool, Name: b.Agent}
	if slices.ContainsFunc(m.builds[w], func(old agent.Build) bool { return old.Number == b.Number }) {
		return false
	}
	if m.builds == nil {
		m.builds = map[name.Workload][]agent.Build{}
	}
	kept := slices.DeleteFunc(slices.Clone(m.builds[w]), func(old agent.Build) bool {
		return old.Number <= b.Number-agent.KeptBuilds && old.Number != m.agents[w].Build
	})
	m.builds[w] = append(kept, b)
	slices.SortFunc(m.builds[w], func(a, b agent.Build) int { return int(b.Number - a.Number) })
	return true
}

// AddBuild implements agent.Store.
func (m *Memory) AddBuild(_ context.Context, p guard.Permit, b agent.Build) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	if err := p.Check(agent.ActionPut, agent.Resource(b.Pool, b.Agent)); err != nil {
		return err
	}
	if _, ok := m.agents[name.Workload{Pool: b.Pool, Name: b.Agent}]; !ok {
		return agent.NotFound(b.Pool, b.Agent)
	}
	if !m.add(b) {
		return agent.Changed(b.Pool, b.Agent)
	}
	return nil
}

// Builds implements agent.Store.
func (m *Memory) Builds(_ context.Context, pool, agentName string) ([]agent.Build, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.builds[name.Workload{Pool: pool, Name: agentName}]), m.broken
}

// Agent implements agent.Store.
func (m *Memory) Agent(_ context.Context, pool, agentName string) (agent.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return agent.Agent{}, m.broken
	}
	a, ok := m.agents[name.Workload{Pool: pool, Name: agentName}]
	if !ok {
		return agent.Agent{}, agent.NotFound(pool, agentName)
	}
	return a, nil
}

// Agents implements agent.Store.
func (m *Memory) Agents(_ context.Context, pool string) ([]agent.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	var list []agent.Agent
	for w, a := range m.agents {
		if pool == "" || w.Pool == pool {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b agent.Agent) int {
		return strings.Compare(a.Pool+"\x00"+a.Name, b.Pool+"\x00"+b.Name)
	})
	return list, nil
}

// DeleteAgent implements agent.Store.
func (m *Memory) DeleteAgent(_ context.Context, p guard.Permit, pool, agentName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	if err := p.Check(agent.ActionDelete, agent.Resource(pool, agentName)); err != nil {
		return err
	}
	w := name.Workload{Pool: pool, Name: agentName}
	if _, ok := m.agents[w]; !ok {
		return agent.NotFound(pool, agentName)
	}
	delete(m.agents, w)
	delete(m.builds, w)
	return nil
}

type forgetful struct{}

func (forgetful) Append(context.Context, audit.Entry) error { return nil }

// Guard returns a guard that keeps no log.
func Guard() *guard.Guard { return &guard.Guard{Log: forgetful{}} }

// Permit returns a permit of Deputy itself for an action on an agent.
func Permit(t testing.TB, action guard.Action, pool, agentName string) guard.Permit {
	t.Helper()
	p, err := Guard().Allow(t.Context(), name.Caller{Kind: name.System}, action, agent.Resource(pool, agentName))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestStore checks that s, which must be empty, does what agent.Store says. The
// workload pools "default" and "other" must exist if s asks for that.
func TestStore(t *testing.T, s agent.Store) {
	ctx := t.Context()
	at := time.Date(2026, 8, 1, 12, 0, 0, 5e6, time.UTC)
	make := func(pool, agentName string, version int64) agent.Agent {
		return agent.Agent{
			Pool: pool, Name: agentName, Directory: "/srv/agents/x", Version: version, Desired: agent.Running, CreatedAt: at, UpdatedAt: at.Add(time.Minute),
			Definition: agent.Definition{
				Name: agentName, EntryPoint: "main.go", Description: "文档", Language: agent.Golang, LanguageVersion: "1.24", Type: "Basic App",
				DependenciesFile: "go.mod", LaunchType: agent.Local, Env: agent.Environment{"A": "1", "B": ""},
				Inbound: agent.Inbound{DiscoveryURL: "https://id.example/.well-known/openid-configuration", AllowedClients: []string{"c", "b"}},
			},
		}
	}
	put := func(a agent.Agent) error {
		return s.PutAgent(ctx, Permit(t, agent.ActionPut, a.Pool, a.Name), a)
	}
	for _, a := range []agent.Agent{make("default", "b", 1), make("other", "a", 1), make("default", "a", 1)} {
		if err := put(a); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Agent(ctx, "default", "a")
	if diff := cmp.Diff(make("default", "a", 1), got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("read back: %v\n%s", err, diff)
	}
	names := func(pool string) string {
		list, err := s.Agents(ctx, pool)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, a := range list {
			b.WriteString(a.Workload().String() + " ")
		}
		return b.String()
	}
	if got := names(""); got != "default/a default/b other/a " {
		t.Errorf("all agents: %q", got)
	}
	if got := names("other"); got != "other/a " {
		t.Errorf("agents of a pool: %q", got)
	}
	for _, version := range []int64{0, 1, 3} {
		if err := put(make("default", "a", version)); !fault.HasCode(err, "agent_changed") {
			t.Errorf("version %d over version 1: %v", version, err)
		}
	}
	if err := put(make("default", "new", 2)); !fault.HasCode(err, "agent_changed") {
		t.Errorf("version 2 of nothing: %v", err)
	}
	second := make("default", "a", 2)
	second.Desired, second.Definition.Env = agent.Stopped, agent.Environment{}
	if err := put(second); err != nil {
		t.Error(err)
	}
	if got, err := s.Agent(ctx, "default", "a"); err != nil || !cmp.Equal(second, got, cmpopts.EquateEmpty()) {
		t.Errorf("second version: %v\n%s", err, cmp.Diff(second, got, cmpopts.EquateEmpty()))
	}
	testBuilds(t, s)
	testPermits(t, s, make("default", "a", 3))
	if err := s.DeleteAgent(ctx, Permit(t, agent.ActionDelete, "default", "a"), "default", "a"); err != nil {
		t.Error(err)
	}
	if _, err := s.Agent(ctx, "default", "a"); !fault.HasCode(err, "agent_not_found") {
		t.Errorf("after deletion: %v", err)
	}
	if err := s.DeleteAgent(ctx, Permit(t, agent.ActionDelete, "default", "a"), "default", "a"); !fault.HasCode(err, "agent_not_found") {
		t.Errorf("second deletion: %v", err)
	}
	if got := names(""); got != "default/b other/a " {
		t.Errorf("the others after deletion: %q", got)
	}
}

// testBuilds has builds of default/b come and go.
func testBuilds(t *testing.T, s agent.Store) {
	t.Helper()
	ctx, permit := t.Context(), Permit(t, agent.ActionPut, "default", "b")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	numbers := func() string {
		t.Helper()
		list, err := s.Builds(ctx, "default", "b")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, build := range list {
			fmt.Fprint(&b, build.Number, " ")
		}
		return b.String()
	}
	a, err := s.Agent(ctx, "default", "b")
	if err != nil {
		t.Fatal(err)
	}
	put := func(build int64, repeats bool) {
		t.Helper()
		a.Version, a.Build, a.Repeats, a.UpdatedAt = a.Version+1, build, repeats, at
		if err := s.PutAgent(ctx, permit, a); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Agent(ctx, "default", "b"); err != nil || got.Build != build || got.Repeats != repeats {
			t.Errorf("%+v, %v", got, err)
		}
	}
	put(1, false)
	want := agent.Build{Pool: "default", Agent: "b", Number: 2, Definition: agent.Definition{Name: "b", EntryPoint: "main.py", Env: agent.Environment{"A": "b"}}, Directory: "/srv/two", CreatedAt: at}
	if err := s.AddBuild(ctx, permit, want); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Builds(ctx, "default", "b"); err != nil || !cmp.Equal(want, list[0], cmpopts.EquateEmpty()) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, list[0], cmpopts.EquateEmpty()))
	}
	if err := s.AddBuild(ctx, permit, want); !fault.HasCode(err, "agent_changed") {
		t.Errorf("the same number twice: %v", err)
	}
	put(2, false)
	put(2, false) // another version of the same build
	for number := int64(3); number <= 8; number++ {
		want.Number = number
		if err := s.AddBuild(ctx, permit, want); err != nil {
			t.Fatal(err)
		}
	}
	if got := numbers(); got != "8 7 6 5 4 2 " {
		t.Errorf("kept are %s", got) // the newest, and the one that runs
	}
	put(4, true)
	put(9, false)
	if got := numbers(); got != "9 8 7 6 5 " {
		t.Errorf("kept are %s", got)
	}
	want.Agent = "nobody"
	if err := s.AddBuild(ctx, Permit(t, agent.ActionPut, "default", "nobody"), want); !fault.HasCode(err, "agent_not_found") {
		t.Errorf("a build of nobody: %v", err)
	}
	if err := s.AddBuild(ctx, permit, want); !fault.Is(err, fault.Internal) {
		t.Errorf("a build with another's permit: %v", err)
	}
	if list, err := s.Builds(ctx, "other", "b"); err != nil || len(list) != 0 {
		t.Errorf("builds elsewhere: %v, %v", list, err)
	}
}

func testPermits(t *testing.T, s agent.Store, next agent.Agent) {
	t.Helper()
	ctx := t.Context()
	for what, p := range map[string]guard.Permit{
		"none":                   {},
		"for another action":     Permit(t, agent.ActionDelete, next.Pool, next.Name),
		"for another pool":       Permit(t, agent.ActionPut, "other", next.Name),
		"for another agent":      Permit(t, agent.ActionPut, next.Pool, "b"),
		"for an agent elsewhere": Permit(t, agent.ActionPut, "other", "b"),
	} {
		if err := s.PutAgent(ctx, p, next); !fault.Is(err, fault.Internal) {
			t.Errorf("permit %s: %v", what, err)
		}
	}
	if err := s.DeleteAgent(ctx, Permit(t, agent.ActionPut, next.Pool, next.Name), next.Pool, next.Name); !fault.Is(err, fault.Internal) {
		t.Errorf("deletion with a permit to put: %v", err)
	}
}
