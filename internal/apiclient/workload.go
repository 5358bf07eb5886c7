package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
)

// WorkloadPool is a namespace of workloads and credential providers.
type WorkloadPool struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Agent is an agent with what the runtime knows about it.
type Agent struct {
	Pool      string    `json:"pool"`
	Name      string    `json:"name"`
	Version   int64     `json:"version"`
	Build     int64     `json:"build"`  // which of its builds the version runs
	State     string    `json:"state"`  // "ready" when requests are forwarded to it; "" before the runtime has seen it
	Reason    string    `json:"reason"` // why it is in this state
	Since     time.Time `json:"since"`  // when the state began
	Restarts  int       `json:"restarts"`
	Serving   int64     `json:"serving"`   // the version before, while it takes the requests; 0 = this one, or none
	Endpoint  string    `json:"endpoint"`  // the service endpoint, without /invoke
	UpdatedAt time.Time `json:"updatedAt"` // when this version was deployed

	Workload string         `json:"workload"` // SPIFFE ID
	Desired  string         `json:"desired"`  // "running" or "stopped"
	Warnings []AgentWarning `json:"warnings,omitempty"`

	Inbound   []string `json:"inbound,omitempty"`   // who is let in: "custom_jwt", "key_auth", "pool_session", "none"
	Protocols []string `json:"protocols,omitempty"` // how it is talked to: "invoke", "websocket", "a2a", "mcp"
}

// AgentWarning says of a field of an agent's definition that it is not used, and
// why. It comes with the answer to a launch.
type AgentWarning struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// WorkloadPools returns all workload pools.
func (c *Client) WorkloadPools(ctx context.Context) ([]WorkloadPool, error) {
	var all list[WorkloadPool]
	err := c.call(ctx, http.MethodGet, "/workload-pools", nil, nil, &all)
	return all.Items, err
}

// LaunchAgent deploys the agent in a directory of the server's machine, or its
// next version. An empty definition means the agentkit.yaml in the directory.
func (c *Client) LaunchAgent(ctx context.Context, pool, directory, definition string) (Agent, error) {
	return c.DeployAgent(ctx, pool, NewAgent{Directory: directory, Definition: definition})
}

// NewAgent is what is said to deploy an agent.
type NewAgent struct {
	Directory  string `json:"directory"`            // absolute, on the server's machine
	Definition string `json:"definition,omitempty"` // text of agentkit.yaml; "" for that of the directory
	Image      string `json:"image,omitempty"`      // on Kubernetes: to run in place of the definition's
}

// DeployAgent deploys an agent, or its next version.
func (c *Client) DeployAgent(ctx context.Context, pool string, in NewAgent) (Agent, error) {
	var made Agent
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agents"), nil, in, &made)
	return made, err
}

// AgentObjects returns what an agent would be in the server's cluster, in the order
// in which it would be applied, without deploying it.
func (c *Client) AgentObjects(ctx context.Context, pool string, in NewAgent) ([]json.RawMessage, []AgentWarning, error) {
	var shown struct {
		Objects  []json.RawMessage `json:"objects"`
		Warnings []AgentWarning    `json:"warnings"`
	}
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agent-objects"), nil, in, &shown)
	return shown.Objects, shown.Warnings, err
}

// Agents returns the agents of a pool with their states.
func (c *Client) Agents(ctx context.Context, pool string) ([]Agent, error) {
	var all list[Agent]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "agents"), nil, nil, &all)
	return all.Items, err
}

// Agent returns an agent and its state.
func (c *Client) Agent(ctx context.Context, pool, agent string) (Agent, error) {
	var a Agent
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "agents", agent), nil, nil, &a)
	return a, err
}

const (
	// statePause is the pause between two looks at an agent's state.
	statePause = 100 * time.Millisecond
	// maxRestarts is how often an agent may end before it is taken for one that does not come up.
	maxRestarts = 3
)

// AwaitAgent waits until the version of an agent that was deployed last is ready,
// and tells of each state on the way. An agent that does not come up is a fault
// of kind Unavailable (agent_not_ready).
func (c *Client) AwaitAgent(ctx context.Context, pool, agent string, tell func(Agent)) (Agent, error) {
	tick := time.NewTicker(statePause)
	defer tick.Stop()
	for last := ""; ; {
		a, err := c.Agent(ctx, pool, agent)
		// A state from before the deployment is that of an earlier version.
		current := !a.Since.Before(a.UpdatedAt)
		switch {
		case err != nil:
			return a, err
		case current && a.State == "ready":
			return a, nil
		case current && (a.State == "failed" || a.State == "stopped" || a.State == "backoff" && a.Restarts >= maxRestarts):
			return a, fault.New(fault.Unavailable, "agent_not_ready", "the agent is %s: %s", a.State, a.Reason).WithFix("read its log: deputy logs %s", agent)
		case current && a.State != last:
			tell(a)
			last = a.State
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return a, fault.Wrap(ctx.Err(), fault.Unavailable, "agent_not_ready", "the agent is still %s: %s", a.State, a.Reason)
		}
	}
}

// Build is what an agent was made of at one time.
type Build struct {
	Number     int64          `json:"build"`
	EntryPoint string         `json:"entryPoint"`
	Directory  string         `json:"directory"`
	CreatedAt  time.Time      `json:"createdAt"`
	Running    bool           `json:"running"` // the agent's version runs it
	Warnings   []AgentWarning `json:"warnings,omitempty"`
}

// buildTime bounds a build. The server's own bound is shorter, and says what took
// so long.
const buildTime = 7 * time.Minute

// BuildAgent builds an agent without running it, and returns when it is built.
func (c *Client) BuildAgent(ctx context.Context, pool, directory, definition string) (Build, error) {
	in := struct {
		Directory  string `json:"directory"`
		Definition string `json:"definition,omitempty"`
	}{directory, definition}
	var made Build
	err := c.callWithin(ctx, buildTime, http.MethodPost, path("workload-pools", pool, "builds"), nil, in, &made)
	return made, err
}

// Builds returns what is kept of an agent's builds, the newest first.
func (c *Client) Builds(ctx context.Context, pool, agent string) ([]Build, error) {
	var all list[Build]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "agents", agent, "builds"), nil, nil, &all)
	return all.Items, err
}

// RunBuild has an agent run a build that is kept: that of the number; the newest for
// 0; or the newest before the one that it runs.
func (c *Client) RunBuild(ctx context.Context, pool, agent string, number int64, previous bool) (Agent, error) {
	in := struct {
		Build    int64 `json:"build,omitempty"`
		Previous bool  `json:"previous,omitempty"`
	}{number, previous}
	var a Agent
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agents", agent, "run"), nil, in, &a)
	return a, err
}

// StartAgent starts an agent, or starts it again.
func (c *Client) StartAgent(ctx context.Context, pool, agent string) (Agent, error) {
	var a Agent
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agents", agent, "start"), nil, nil, &a)
	return a, err
}

// StopAgent stops an agent.
func (c *Client) StopAgent(ctx context.Context, pool, agent string) (Agent, error) {
	var a Agent
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agents", agent, "stop"), nil, nil, &a)
	return a, err
}

// DeleteAgent stops and deletes an agent.
func (c *Client) DeleteAgent(ctx context.Context, pool, agent string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "agents", agent), nil, nil, nil)
}

// FollowAgentLogs calls each with the last lines that an agent wrote, at most 1,000,
// and then with every line that it writes, until ctx ends or each returns an error,
// which it returns. A broken connection is made anew, with no line lost but those
// that the server has dropped meanwhile; a refusal is returned.
func (c *Client) FollowAgentLogs(ctx context.Context, pool, agent string, lines int, each func(line string) error) error {
	place := ""
	from := func() url.Values {
		if place == "" {
			return url.Values{"lines": {strconv.Itoa(lines)}}
		}
		return url.Values{"after": {place}}
	}
	return c.follow(ctx, path("workload-pools", pool, "agents", agent, "logs", "stream"), from, func(event Event) error {
		var found struct {
			Lines []string `json:"lines"`
		}
		if event.Name != "lines" {
			return nil // the stream ends; the next request is told why
		}
		if err := wire.DecodeForeign(event.Data, &found); err != nil {
			return err
		}
		for _, line := range found.Lines {
			if err := each(line); err != nil {
				return &stopError{err}
			}
		}
		place = event.ID
		return nil
	})
}

// AgentLogs returns the last lines that an agent wrote, at most 1,000.
func (c *Client) AgentLogs(ctx context.Context, pool, agent string, lines int) ([]string, error) {
	var found struct {
		Lines []string `json:"lines"`
	}
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "agents", agent, "logs"), url.Values{"lines": {strconv.Itoa(lines)}}, nil, &found)
	return found.Lines, err
}
