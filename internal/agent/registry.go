package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Registry deploys, stops and deletes agents.
type Registry struct {
	Store Store
	Guard *guard.Guard
	Now   func() time.Time // nil means time.Now
}

// Deploy makes d the current version of the agent that it names, to be run from
// directory, and returns what was stored. An agent of that name gets a new
// version; if somebody else deploys at the same moment, one of both gets the
// fault of [Changed].
func (r *Registry) Deploy(ctx context.Context, c name.Caller, pool, directory string, d Definition) (Agent, error) {
	if err := name.Check("workload pool", pool); err != nil {
		return Agent{}, err
	}
	if err := name.Check("agent", d.Name); err != nil {
		return Agent{}, err
	}
	if !filepath.IsAbs(directory) {
		return Agent{}, fault.New(fault.Invalid, "agent_directory", "directory %q is not an absolute path", name.Clip(directory, 200)).
			WithFix("name the directory that holds agentkit.yaml by its absolute path")
	}
	return r.put(ctx, c, pool, d.Name, func(a *Agent, now time.Time) {
		if a.Version == 0 {
			a.CreatedAt = now
		}
		a.Definition, a.Directory, a.Desired = d, filepath.Clean(directory), Running
	})
}

// SetDesired asks for an agent to be run or stopped. Asking for what is already
// desired makes a new version all the same: it restarts the agent.
func (r *Registry) SetDesired(ctx context.Context, c name.Caller, pool, agent string, desired Desired) (Agent, error) {
	if desired != Running && desired != Stopped {
		return Agent{}, fault.New(fault.Invalid, "agent_desired", "desired state %q is not known", name.Clip(string(desired), 40)).
			WithFix("use %q or %q", Running, Stopped)
	}
	if _, err := r.Store.Agent(ctx, pool, agent); err != nil {
		return Agent{}, err
	}
	return r.put(ctx, c, pool, agent, func(a *Agent, _ time.Time) { a.Desired = desired })
}

// Delete removes an agent; the fleet stops it.
func (r *Registry) Delete(ctx context.Context, c name.Caller, pool, agent string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(pool, agent))
	if err != nil {
		return err
	}
	return r.Store.DeleteAgent(ctx, p, pool, agent)
}

func (r *Registry) put(ctx context.Context, c name.Caller, pool, agent string, change func(*Agent, time.Time)) (Agent, error) {
	p, err := r.Guard.Allow(ctx, c, ActionPut, Resource(pool, agent))
	if err != nil {
		return Agent{}, err
	}
	a, err := r.Store.Agent(ctx, pool, agent)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Agent{}, err
	}
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	// Milliseconds in UTC, so that what is returned is what is read back.
	at := now().UTC().Truncate(time.Millisecond)
	a.Pool, a.Name, a.UpdatedAt = pool, agent, at
	change(&a, at)
	a.Version++
	if err := r.Store.PutAgent(ctx, p, a); err != nil {
		return Agent{}, err
	}
	return a, nil
}
