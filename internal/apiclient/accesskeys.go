package apiclient

import (
	"context"
	"net/http"
	"time"
)

// AccessKey lets a workload sign requests.
type AccessKey struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"createdAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
	LastUsedAt time.Time `json:"lastUsedAt,omitzero"` // zero: never yet
	Secret     string    `json:"secret,omitempty"`    // only of one that was just made
}

// AccessKeys returns the keys of a workload, in order of name.
func (c *Client) AccessKeys(ctx context.Context, pool, workload string) ([]AccessKey, error) {
	var all list[AccessKey]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "workloads", workload, "access-keys"), nil, nil, &all)
	return all.Items, err
}

// CreateAccessKey makes a key, whose secret is in the answer, this once.
func (c *Client) CreateAccessKey(ctx context.Context, pool, workload, keyName string, expires time.Time) (AccessKey, error) {
	in := struct {
		Name      string    `json:"name"`
		ExpiresAt time.Time `json:"expiresAt"`
	}{keyName, expires}
	var made AccessKey
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "workloads", workload, "access-keys"), nil, in, &made)
	return made, err
}

// DeleteAccessKey deletes a key at once.
func (c *Client) DeleteAccessKey(ctx context.Context, pool, workload, id string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "workloads", workload, "access-keys", id), nil, nil, nil)
}
