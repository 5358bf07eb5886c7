package rest

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// buildJSON is what an agent was made of at one time.
type buildJSON struct {
	Build      int64         `json:"build"`
	EntryPoint string        `json:"entryPoint"`
	Directory  string        `json:"directory"`
	CreatedAt  time.Time     `json:"createdAt"`
	Running    bool          `json:"running" doc:"The agent's version runs it"`
	Warnings   []warningJSON `json:"warnings,omitempty" doc:"What the definition has that Deputy does not use"`
}

func build(b agent.Build) buildJSON {
	return buildJSON{Build: b.Number, EntryPoint: b.Definition.EntryPoint, Directory: b.Directory, CreatedAt: b.CreatedAt}
}

func (a *API) listBuilds(c *call) (any, error) {
	found, err := a.Agents.Store.Agent(c.ctx, c.path("pool"), c.path("agent"))
	if err != nil {
		return nil, err
	}
	builds, err := a.Agents.Store.Builds(c.ctx, found.Pool, found.Name)
	return listOf(builds, func(b agent.Build) buildJSON {
		shown := build(b)
		shown.Running = b.Number == found.Build && found.Desired == agent.Running
		return shown
	}), err
}

// buildTime bounds a build, with what it takes to keep it.
const buildTime = 6 * time.Minute

// buildAgent makes a build of an agent, and answers when it is made.
func (a *API) buildAgent(c *call) (any, error) {
	var in newAgent
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	d, warnings, err := a.definition(in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, buildTime)
	defer cancel()
	made, err := a.Agents.Prepare(ctx, c.caller, c.path("pool"), in.Directory, d, func(as agent.Agent) error { return a.Fleet.Build(ctx, as) })
	if err != nil {
		return nil, err
	}
	a.Fleet.Wake()
	shown := build(made)
	shown.Warnings = warned(warnings)
	return shown, nil
}

// runBuild says which build is to be run.
type runBuild struct {
	Build    int64 `json:"build,omitempty" minimum:"1" doc:"The newest if left out"`
	Previous bool  `json:"previous,omitempty" doc:"The newest before the one that runs"`
}

func (a *API) runBuild(c *call) (any, error) {
	var in runBuild
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	number := in.Build
	switch {
	case number < 0:
		return nil, fault.New(fault.Invalid, "agent_build_number", "%d is no build's number", number).WithSource("build")
	case in.Previous && number != 0:
		return nil, fault.New(fault.Invalid, "agent_build_number", "build and previous exclude each other").WithSource("previous")
	case in.Previous:
		number = agent.PreviousBuild
	}
	changed, err := a.Agents.Run(c.ctx, c.caller, c.path("pool"), c.path("agent"), number)
	if err != nil {
		return nil, err
	}
	a.wake()
	return a.agent(changed), nil
}
