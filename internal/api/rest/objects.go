package rest

import (
	"encoding/json"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

type objectsJSON struct {
	Objects  []json.RawMessage `json:"objects" doc:"What the agent would be in the cluster, in the order in which it is applied"`
	Warnings []warningJSON     `json:"warnings,omitempty" doc:"What the definition has that Deputy does not use"`
}

// showObjects tells what deployAgent would apply, and changes nothing.
func (a *API) showObjects(c *call) (any, error) {
	var in newAgent
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if a.Objects == nil {
		return nil, fault.New(fault.Invalid, "driver_has_no_objects", "agents are processes here, and there is nothing to apply").
			WithSource("--driver").WithFix("ask a Deputy that was started with --driver kubernetes")
	}
	d, warnings, err := in.read()
	if err != nil {
		return nil, err
	}
	pool := c.path("pool")
	if err := name.Check("agent", d.Name); err != nil {
		return nil, err
	}
	if _, err := a.Workloads.Store.WorkloadPool(c.ctx, pool); err != nil {
		return nil, err
	}
	next, err := a.Agents.Store.Agent(c.ctx, pool, d.Name)
	if fault.Is(err, fault.NotFound) {
		next, err = agent.Agent{Pool: pool, Name: d.Name, CreatedAt: a.Now()}, nil
	}
	if err != nil {
		return nil, err
	}
	next.Definition, next.Version = d, next.Version+1
	objects, err := a.Objects(next)
	if err != nil {
		return nil, err
	}
	return objectsJSON{objects, warned(warnings)}, nil
}
