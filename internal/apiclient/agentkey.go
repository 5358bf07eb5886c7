package apiclient

import (
	"context"
	"net/http"
	"time"
)

// AgentKey lets programs call an agent.
type AgentKey struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	User      *AgentFor `json:"user,omitempty"` // nil: it stands for no user
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Key       string    `json:"key,omitempty"`     // only of one that was just made
	Warning   string    `json:"warning,omitempty"` // why it is of no use yet
}

// AgentFor is the user for whom a key calls.
type AgentFor struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// AgentKeys returns the keys of an agent.
func (c *Client) AgentKeys(ctx context.Context, pool, agent string) ([]AgentKey, error) {
	var all list[AgentKey]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "agents", agent, "keys"), nil, nil, &all)
	return all.Items, err
}

// CreateAgentKey makes a key, which is in the answer, this once. user may be nil.
func (c *Client) CreateAgentKey(ctx context.Context, pool, agent, keyName string, user *AgentFor, expires time.Time) (AgentKey, error) {
	in := struct {
		Name      string    `json:"name"`
		User      *AgentFor `json:"user,omitempty"`
		ExpiresAt time.Time `json:"expiresAt"`
	}{keyName, user, expires}
	var made AgentKey
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "agents", agent, "keys"), nil, in, &made)
	return made, err
}

// RevokeAgentKey ends a key at once.
func (c *Client) RevokeAgentKey(ctx context.Context, pool, agent, id string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "agents", agent, "keys", id), nil, nil, nil)
}
