// Package attached runs an agent that its developer starts himself, in a terminal or a debugger: it has the agent's environment ready, and waits for somebody to listen.
//
// Whoever listens at the address is taken for the agent. That is for a
// developer's own machine, and for nothing else.
package attached

import (
	"context"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
)

// lookEvery is how often it is looked whether the agent is there: nobody tells
// when another process begins to listen.
const lookEvery = 200 * time.Millisecond

// Driver implements fleet.Driver. All fields are required.
type Driver struct {
	fleet.Driver // runs all other agents
	// Workload is the agent that its developer starts.
	Workload name.Workload
	// URL is where it listens: scheme and loopback address, no path.
	URL string
	// Begin is told, before each run, what has to be in the agent's environment. An
	// error ends the run.
	Begin func(environment map[string]string) error
	// Found is told when the agent answers.
	Found func()
}

var _ fleet.Driver = (*Driver)(nil)

// Build implements fleet.Driver: the developer builds it.
func (d *Driver) Build(ctx context.Context, a agent.Agent) error {
	if a.Workload() != d.Workload {
		return d.Driver.Build(ctx, a)
	}
	return nil
}

// Start implements fleet.Driver. It returns when the agent answers, which may take
// its developer hours.
func (d *Driver) Start(ctx context.Context, r fleet.Run) (fleet.Instance, error) {
	if r.Agent.Workload() != d.Workload {
		return d.Driver.Start(ctx, r)
	}
	environment := map[string]string{}
	for _, from := range []map[string]string{r.Agent.Definition.Env, r.Env} {
		for variable, value := range from {
			environment[variable] = value
		}
	}
	// The developer starts the agent again and again, and his tools may start it for him: each process is another one.
	environment["DEPUTY_WORKLOAD_BINDING"] = "off"
	if err := d.Begin(environment); err != nil {
		return nil, err
	}
	i := &instance{health: fleet.NewHealth(d.URL), done: make(chan struct{})}
	for {
		if err := i.Probe(ctx); err == nil {
			d.Found()
			return i, nil
		}
		next := time.NewTimer(lookEvery)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return nil, ctx.Err()
		}
	}
}

// Logs implements fleet.Driver.
func (d *Driver) Logs(ctx context.Context, w name.Workload, n int) ([]string, error) {
	if w != d.Workload {
		return d.Driver.Logs(ctx, w, n)
	}
	return nil, elsewhere(w)
}

// Follow implements fleet.Driver.
func (d *Driver) Follow(ctx context.Context, w name.Workload, place string, n int) ([]string, string, error) {
	if w != d.Workload {
		return d.Driver.Follow(ctx, w, place, n)
	}
	return nil, place, elsewhere(w)
}

func elsewhere(w name.Workload) error {
	return fault.New(fault.Conflict, "agent_log_elsewhere", "what %s writes is in the terminal that it was started in", w).WithFix("look there: Deputy did not start it")
}

// Remove implements fleet.Driver: nothing is kept about it.
func (d *Driver) Remove(ctx context.Context, w name.Workload) error {
	if w != d.Workload {
		return d.Driver.Remove(ctx, w)
	}
	return nil
}

// instance is somebody else's process.
type instance struct {
	health *fleet.Health
	once   sync.Once
	done   chan struct{}
}

// URL implements fleet.Instance.
func (i *instance) URL() string { return i.health.URL() }

// Probe implements fleet.Instance.
func (i *instance) Probe(ctx context.Context) error { return i.health.Ask(ctx) }

// Done implements fleet.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Reason implements fleet.Instance.
func (i *instance) Reason() string { return "it is left to its developer" }

// Stop implements fleet.Instance: the process is its developer's to end.
func (i *instance) Stop(context.Context) { i.once.Do(func() { close(i.done) }) }
