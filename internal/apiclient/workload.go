package apiclient

import (
	"context"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// WorkloadPool is a namespace of workloads and credential providers.
type WorkloadPool struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Provider is a configured credential provider.
type Provider struct {
	Name        string           `json:"name"`
	Vendor      string           `json:"vendor"`
	Flow        string           `json:"flow"`
	ClientID    string           `json:"clientId"`
	Scopes      []string         `json:"scopes"`
	Endpoints   vendor.Endpoints `json:"endpoints"`
	CallbackURL string           `json:"callbackUrl"`
}

// ProviderSettings is what a provider is made from.
type ProviderSettings struct {
	Vendor       string
	ClientID     string
	ClientSecret secret.Text
	Scopes       []string
	Endpoints    vendor.Endpoints // replace the vendor's where set
}

type providerBody struct {
	Name         string           `json:"name,omitempty"`
	Vendor       string           `json:"vendor"`
	ClientID     string           `json:"clientId"`
	ClientSecret string           `json:"clientSecret,omitempty"`
	Scopes       []string         `json:"scopes"`
	Endpoints    vendor.Endpoints `json:"endpoints,omitzero"`
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

// Provider returns a credential provider.
func (c *Client) Provider(ctx context.Context, pool, provider string) (Provider, error) {
	var p Provider
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "providers", provider), nil, nil, &p)
	return p, err
}

// CreateProvider makes a credential provider.
func (c *Client) CreateProvider(ctx context.Context, pool, provider string, s ProviderSettings) (Provider, error) {
	var made Provider
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "providers"), nil, s.body(provider), &made)
	return made, err
}

// UpdateProvider replaces the settings of a credential provider; an empty
// secret keeps the old one.
func (c *Client) UpdateProvider(ctx context.Context, pool, provider string, s ProviderSettings) (Provider, error) {
	var now Provider
	err := c.call(ctx, http.MethodPut, path("workload-pools", pool, "providers", provider), nil, s.body(""), &now)
	return now, err
}

func (s ProviderSettings) body(name string) providerBody {
	return providerBody{name, s.Vendor, s.ClientID, s.ClientSecret.RevealString(), s.Scopes, s.Endpoints}
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

// Agent returns an agent and its state.
func (c *Client) Agent(ctx context.Context, pool, agent string) (Agent, error) {
	var a Agent
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "agents", agent), nil, nil, &a)
	return a, err
}
