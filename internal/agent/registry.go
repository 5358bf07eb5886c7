package agent

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
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
	if err := checkNew(pool, directory, d); err != nil {
		return Agent{}, err
	}
	next, err := r.next(ctx, pool, d.Name)
	if err != nil {
		return Agent{}, err
	}
	return r.put(ctx, c, pool, d.Name, map[string]string{"build": strconv.FormatInt(next, 10)}, func(a *Agent, now time.Time) {
		if a.Version == 0 {
			a.CreatedAt = now
		}
		a.Definition, a.Directory, a.Desired, a.Build, a.Repeats = d, filepath.Clean(directory), Running, next, false
	})
}

// Prepare stores a new build of the agent that d names, after build has made it of
// the agent as it would be; nothing of what runs changes. An agent that there is not
// yet is stored with it, to be stopped.
func (r *Registry) Prepare(ctx context.Context, c name.Caller, pool, directory string, d Definition, build func(Agent) error) (Build, error) {
	if err := checkNew(pool, directory, d); err != nil {
		return Build{}, err
	}
	p, err := r.Guard.Allow(ctx, c, ActionPut, Resource(pool, d.Name))
	if err != nil {
		return Build{}, err
	}
	a, err := r.Store.Agent(ctx, pool, d.Name)
	fresh := fault.Is(err, fault.NotFound)
	if err != nil && !fresh {
		return Build{}, err
	}
	now := r.now()
	if fresh {
		a = Agent{Pool: pool, Name: d.Name, Version: 1, Desired: Stopped, CreatedAt: now}
	}
	if a.Build, err = r.next(ctx, pool, d.Name); err != nil {
		return Build{}, err
	}
	a.Definition, a.Directory, a.Repeats, a.UpdatedAt = d, filepath.Clean(directory), false, now
	if err := build(a); err != nil {
		return Build{}, err
	}
	b := Build{pool, d.Name, a.Build, d, a.Directory, now}
	p = p.Detail(map[string]string{"build": strconv.FormatInt(b.Number, 10)})
	if fresh {
		return b, r.Store.PutAgent(ctx, p, a)
	}
	return b, r.Store.AddBuild(ctx, p, b)
}

// Numbers of builds that [Registry.Run] finds out.
const (
	NewestBuild   = 0
	PreviousBuild = -1 // the newest before the one that the agent runs
)

// Run makes an agent run a build that is kept, by its number or one of
// [NewestBuild] and [PreviousBuild], which is how a bad version is taken back.
func (r *Registry) Run(ctx context.Context, c name.Caller, pool, agent string, number int64) (Agent, error) {
	a, err := r.Store.Agent(ctx, pool, agent)
	if err != nil {
		return Agent{}, err
	}
	builds, err := r.Store.Builds(ctx, pool, agent)
	if err != nil {
		return Agent{}, err
	}
	i := slices.IndexFunc(builds, func(b Build) bool {
		return number == NewestBuild || b.Number == number || number == PreviousBuild && b.Number < a.Build
	})
	if i < 0 && number == PreviousBuild {
		return Agent{}, fault.New(fault.Conflict, "agent_build_first", "agent %q has no earlier build", name.Clip(agent, 80))
	}
	if i < 0 {
		return Agent{}, BuildNotFound(agent, number)
	}
	b := builds[i]
	detail := map[string]string{"build": strconv.FormatInt(b.Number, 10)}
	return r.put(ctx, c, pool, agent, detail, func(a *Agent, _ time.Time) {
		a.Desired, a.Build, a.Definition, a.Directory, a.Repeats = Running, b.Number, b.Definition, b.Directory, i > 0
	})
}

// next returns the number of an agent's next build. Whoever else takes it, one of
// both gets the fault of [Changed].
func (r *Registry) next(ctx context.Context, pool, agent string) (int64, error) {
	builds, err := r.Store.Builds(ctx, pool, agent)
	if err != nil || len(builds) == 0 {
		return 1, err
	}
	return builds[0].Number + 1, nil
}

func checkNew(pool, directory string, d Definition) error {
	if err := name.Check("workload pool", pool); err != nil {
		return err
	}
	if err := name.Check("agent", d.Name); err != nil {
		return err
	}
	if filepath.IsAbs(directory) {
		return nil
	}
	return fault.New(fault.Invalid, "agent_directory", "directory %q is not an absolute path", name.Clip(directory, 200)).
		WithFix("name the directory that holds agentkit.yaml by its absolute path")
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
	return r.put(ctx, c, pool, agent, nil, func(a *Agent, _ time.Time) { a.Desired = desired })
}

// Delete removes an agent; the fleet stops it.
func (r *Registry) Delete(ctx context.Context, c name.Caller, pool, agent string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(pool, agent))
	if err != nil {
		return err
	}
	return r.Store.DeleteAgent(ctx, p, pool, agent)
}

func (r *Registry) put(ctx context.Context, c name.Caller, pool, agent string, detail map[string]string, change func(*Agent, time.Time)) (Agent, error) {
	p, err := r.Guard.Allow(ctx, c, ActionPut, Resource(pool, agent))
	if err != nil {
		return Agent{}, err
	}
	a, err := r.Store.Agent(ctx, pool, agent)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Agent{}, err
	}
	at := r.now()
	a.Pool, a.Name, a.UpdatedAt = pool, agent, at
	change(&a, at)
	a.Version++
	if err := r.Store.PutAgent(ctx, p.Detail(detail), a); err != nil {
		return Agent{}, err
	}
	return a, nil
}

// now is in milliseconds and UTC, so that what is returned is what is read back.
func (r *Registry) now() time.Time {
	if r.Now == nil {
		return time.Now().UTC().Truncate(time.Millisecond)
	}
	return r.Now().UTC().Truncate(time.Millisecond)
}
