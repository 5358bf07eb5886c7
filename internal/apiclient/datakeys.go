package apiclient

import (
	"context"
	"net/http"
	"time"
)

// DataKey is a key that seals the records of a pool.
type DataKey struct {
	Pool      string    `json:"pool"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	Newest    bool      `json:"newest"`
	Records   int       `json:"records"` // how many are sealed with it
	Root      string    `json:"root,omitempty"`
}

// DataKeys returns the data keys of all pools, oldest first in each.
func (c *Client) DataKeys(ctx context.Context) ([]DataKey, error) {
	var all list[DataKey]
	err := c.call(ctx, http.MethodGet, path("data-keys"), nil, nil, &all)
	return all.Items, err
}

// RotateDataKeys makes every pool's next data key, or goes on with a rotation
// that is under way.
func (c *Client) RotateDataKeys(ctx context.Context) ([]DataKey, error) {
	var all list[DataKey]
	err := c.call(ctx, http.MethodPost, path("data-keys"), nil, nil, &all)
	return all.Items, err
}

// Reseal seals some records anew that former data keys seal. It returns how many
// it did, 0 when none is left, and how many are left.
func (c *Client) Reseal(ctx context.Context) (resealed, remaining int, err error) {
	var out struct{ Resealed, Remaining int }
	err = c.call(ctx, http.MethodPost, path("data-keys", "reseal"), nil, nil, &out)
	return out.Resealed, out.Remaining, err
}

// Rewrap wraps the data keys with the root key that the service was started
// with, and returns how many needed it.
func (c *Client) Rewrap(ctx context.Context) (int, error) {
	var out struct{ Rewrapped int }
	err := c.call(ctx, http.MethodPost, path("data-keys", "rewrap"), nil, nil, &out)
	return out.Rewrapped, err
}
