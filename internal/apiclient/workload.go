package apiclient

import (
	"context"
	"net/http"
	"time"
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
	State     string    `json:"state"`  // "ready" when requests are forwarded to it; "" before the runtime has seen it
	Reason    string    `json:"reason"` // why it is in this state
	Since     time.Time `json:"since"`  // when the state began
	Restarts  int       `json:"restarts"`
	Endpoint  string    `json:"endpoint"`  // the service endpoint, without /invoke
	UpdatedAt time.Time `json:"updatedAt"` // when this version was deployed
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
	in := struct {
		Directory  string `json:"directory"`
		Definition string `json:"definition,omitempty"`
	}{directory, definition}
	var made Agent
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agents"), nil, in, &made)
	return made, err
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
