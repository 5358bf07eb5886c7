// Package agent has definitions of agents (agentkit.yaml), their versions, and the state that is desired of them.
package agent

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Desired is the state that an agent should be in; package fleet brings it there.
type Desired string

// The desired states.
const (
	Running Desired = "running"
	Stopped Desired = "stopped"
)

// Agent is a definition with the workload that it runs as. Pool and Name are
// that workload's.
type Agent struct {
	Pool       string     `json:"pool"`
	Name       string     `json:"name"`
	Definition Definition `json:"definition"`
	Directory  string     `json:"directory"` // absolute; EntryPoint is relative to it
	Version    int64      `json:"version"`   // from 1, one more at each change
	Build      int64      `json:"build"`     // which [Build] it runs
	Repeats    bool       `json:"repeats"`   // that build was replaced by a later one, and is run again as it was
	Desired    Desired    `json:"desired"`
	CreatedAt  time.Time  `json:"createdAt"`
	UpdatedAt  time.Time  `json:"updatedAt"`
}

// Workload returns the identity that the agent runs under.
func (a Agent) Workload() name.Workload { return name.Workload{Pool: a.Pool, Name: a.Name} }

// The actions that permits are given for, all on [Resource].
const (
	ActionPut    guard.Action = "agent.put"
	ActionDelete guard.Action = "agent.delete"
)

// Resource is what permits for an agent name.
func Resource(pool, agent string) guard.Resource {
	return guard.Resource{Kind: "agent", Pool: pool, ID: agent}
}

// Build is what an agent was made of at one time. The definition and the directory
// of an [Agent] are those of its build.
type Build struct {
	Pool       string     `json:"pool"`
	Agent      string     `json:"agent"`
	Number     int64      `json:"number"` // from 1, in order
	Definition Definition `json:"definition"`
	Directory  string     `json:"directory"`
	CreatedAt  time.Time  `json:"createdAt"`
}

// KeptBuilds is how many builds of an agent are kept, with that which it runs.
const KeptBuilds = 5

// BuildNotFound is the fault for a build that does not exist.
func BuildNotFound(agent string, number int64) error {
	return fault.New(fault.NotFound, "agent_build_not_found", "build %d of agent %q is not kept", number, name.Clip(agent, 80)).WithFix("deputy versions %s shows those that are", name.Clip(agent, 80))
}

// Store keeps agents. A write begins with Permit.Check for the named action on
// [Resource] and commits the permit's entry together with the change. Package
// agenttest has the suite that every implementation passes.
type Store interface {
	// PutAgent stores a as version a.Version, if the stored version is exactly one
	// less (0 stands for none). Otherwise it changes nothing and returns a fault
	// of kind Conflict, code "agent_changed". It needs ActionPut. If there is no
	// build a.Build, it is stored too; of those before, the newest [KeptBuilds] stay.
	PutAgent(ctx context.Context, p guard.Permit, a Agent) error
	// AddBuild stores a build of an agent, which goes on with the one that it runs;
	// older ones go as above. A number that is taken is the fault of [Changed]. It
	// needs ActionPut.
	AddBuild(ctx context.Context, p guard.Permit, b Build) error
	// Builds returns the builds of an agent that are kept, the newest first; none for
	// an agent that does not exist.
	Builds(ctx context.Context, pool, agent string) ([]Build, error)
	// Agent returns an agent, or the fault of [NotFound].
	Agent(ctx context.Context, pool, agent string) (Agent, error)
	// Agents returns the agents of a pool, of every pool for "", in order of pool and name.
	Agents(ctx context.Context, pool string) ([]Agent, error)
	// DeleteAgent removes an agent, or returns the fault of [NotFound]. It needs ActionDelete.
	DeleteAgent(ctx context.Context, p guard.Permit, pool, agent string) error
}

// NotFound is the fault for an agent that does not exist.
func NotFound(pool, agent string) error {
	return fault.New(fault.NotFound, "agent_not_found", "there is no agent %q in workload pool %q", name.Clip(agent, 80), name.Clip(pool, 80))
}

// Changed is the fault for a write that lost against another one.
func Changed(pool, agent string) error {
	return fault.New(fault.Conflict, "agent_changed", "agent %s/%s was changed by somebody else in between", pool, agent).
		WithFix("read it again and repeat the change")
}
