package apiclient

import (
	"context"
	"net/http"
	"time"
)

// Workload is an agent's identity, and what it may do with it.
type Workload struct {
	Name     string `json:"name"`
	Pool     string `json:"pool"`
	SPIFFEID string `json:"spiffeId"`
	WorkloadSettings
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
}

// WorkloadSettings is what can be said about a workload.
type WorkloadSettings struct {
	Description string     `json:"description,omitempty"`
	ReturnURLs  []string   `json:"returnUrls,omitempty"`
	Disabled    bool       `json:"disabled,omitempty"`
	AssertsFor  []string   `json:"assertsFor,omitempty"` // issuers
	Callers     []string   `json:"callers,omitempty"`    // workloads of the pool
	UserTokens  UserTokens `json:"userTokens,omitzero"`
}

// UserTokens says whose tokens prove a user to a workload that is no agent of the
// runtime.
type UserTokens struct {
	DiscoveryURL     string   `json:"discoveryUrl"`
	AllowedClients   []string `json:"allowedClients,omitempty"`
	AllowedAudiences []string `json:"allowedAudiences,omitempty"`
}

// Workloads returns the workloads of a pool.
func (c *Client) Workloads(ctx context.Context, pool string) ([]Workload, error) {
	var all list[Workload]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "workloads"), nil, nil, &all)
	return all.Items, err
}

// Workload returns a workload.
func (c *Client) Workload(ctx context.Context, pool, workload string) (Workload, error) {
	var w Workload
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "workloads", workload), nil, nil, &w)
	return w, err
}

// CreateWorkload makes a workload that Deputy does not launch.
func (c *Client) CreateWorkload(ctx context.Context, pool, workload string, s WorkloadSettings) (Workload, error) {
	var made Workload
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "workloads"), nil, struct {
		Name string `json:"name"`
		WorkloadSettings
	}{workload, s}, &made)
	return made, err
}

// UpdateWorkload replaces a workload's settings.
func (c *Client) UpdateWorkload(ctx context.Context, pool, workload string, s WorkloadSettings) (Workload, error) {
	var now Workload
	err := c.call(ctx, http.MethodPut, path("workload-pools", pool, "workloads", workload), nil, s, &now)
	return now, err
}

// DeleteWorkload deletes a workload and what was delegated to it.
func (c *Client) DeleteWorkload(ctx context.Context, pool, workload string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "workloads", workload), nil, nil, nil)
}

// RevokeWorkloadTokens ends all access tokens that a workload has.
func (c *Client) RevokeWorkloadTokens(ctx context.Context, pool, workload string) error {
	return c.call(ctx, http.MethodPost, path("workload-pools", pool, "workloads", workload, "revoke-tokens"), nil, nil, nil)
}

// RevokeUserTokens ends all access tokens that agents have for a user of a pool.
func (c *Client) RevokeUserTokens(ctx context.Context, pool, user string) error {
	return c.call(ctx, http.MethodPost, path("user-pools", pool, "users", user, "revoke-tokens"), nil, nil, nil)
}

// RevokeForeignTokens does that for a user of any issuer.
func (c *Client) RevokeForeignTokens(ctx context.Context, u AgentFor) error {
	return c.call(ctx, http.MethodPost, "/foreign-users/revoke-tokens", nil, u, nil)
}
