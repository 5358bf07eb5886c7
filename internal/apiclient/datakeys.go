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
	Former    bool      `json:"formerRoot,omitempty"` // another root key wraps it than the service was started with
}

// Resealed is what one request of [Client.Reseal] came to.
type Resealed struct {
	Resealed  int            `json:"resealed"`  // 0 when none is left but broken ones
	Remaining int            `json:"remaining"` // broken ones included
	Broken    []BrokenRecord `json:"broken,omitempty"`
}

// BrokenRecord is a record that does not open.
type BrokenRecord struct {
	In     string `json:"in"` // table and column
	Pool   string `json:"pool"`
	Record string `json:"record"`
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

// Reseal seals some records anew that former data keys seal.
func (c *Client) Reseal(ctx context.Context) (Resealed, error) {
	var out Resealed
	err := c.call(ctx, http.MethodPost, path("data-keys", "reseal"), nil, nil, &out)
	return out, err
}

// Rewrap wraps some of the data keys with the root key that the service was
// started with. It returns how many it did, and how many are left.
func (c *Client) Rewrap(ctx context.Context) (rewrapped, remaining int, err error) {
	var out struct {
		Rewrapped int `json:"rewrapped"`
		Remaining int `json:"remaining"`
	}
	err = c.call(ctx, http.MethodPost, path("data-keys", "rewrap"), nil, nil, &out)
	return out.Rewrapped, out.Remaining, err
}
