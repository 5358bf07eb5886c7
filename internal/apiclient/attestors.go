package apiclient

import (
	"context"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
)

// Attestor vouches for workloads that Deputy did not launch.
type Attestor struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Pool string `json:"pool"`
	AttestorSettings
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// AttestorSettings is what can be said about an attestor.
type AttestorSettings struct {
	Kind      string         `json:"kind"`   // kubernetes or spiffe
	Issuer    string         `json:"issuer"` // of a cluster's tokens, or spiffe:// and a trust domain
	Audience  string         `json:"audience,omitempty"`
	KeysURL   string         `json:"keysUrl,omitempty"`
	BundleURL string         `json:"bundleUrl,omitempty"`
	Server    string         `json:"server,omitempty"`
	Authority string         `json:"authority,omitempty"` // PEM
	Rules     []AttestorRule `json:"rules"`
}

// AttestorRule says which workload a subject is.
type AttestorRule struct {
	Subject  string `json:"subject"`
	Workload string `json:"workload"`
}

// attestorChange are settings with the token that is never shown again.
type attestorChange struct {
	Name string `json:"name,omitempty"`
	AttestorSettings
	ReviewerToken string `json:"reviewerToken,omitempty"`
}

// Attestors returns who vouches for a pool's workloads, in order of name.
func (c *Client) Attestors(ctx context.Context, pool string) ([]Attestor, error) {
	var all list[Attestor]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "attestors"), nil, nil, &all)
	return all.Items, err
}

// Attestor returns one of them.
func (c *Client) Attestor(ctx context.Context, pool, attestor string) (Attestor, error) {
	var a Attestor
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "attestors", attestor), nil, nil, &a)
	return a, err
}

// CreateAttestor makes an attestor, once it was asked for its keys. reviewer may be
// empty.
func (c *Client) CreateAttestor(ctx context.Context, pool, attestor string, s AttestorSettings, reviewer secret.Text) (Attestor, error) {
	var made Attestor
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "attestors"), nil, attestorChange{attestor, s, reviewer.RevealString()}, &made)
	return made, err
}

// UpdateAttestor replaces an attestor's settings. Without a reviewer's token it
// keeps the one that it has, unless the API server is another one.
func (c *Client) UpdateAttestor(ctx context.Context, pool, attestor string, s AttestorSettings, reviewer secret.Text) (Attestor, error) {
	var now Attestor
	err := c.call(ctx, http.MethodPut, path("workload-pools", pool, "attestors", attestor), nil, attestorChange{"", s, reviewer.RevealString()}, &now)
	return now, err
}

// DeleteAttestor deletes an attestor.
func (c *Client) DeleteAttestor(ctx context.Context, pool, attestor string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "attestors", attestor), nil, nil, nil)
}
