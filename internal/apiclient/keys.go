package apiclient

import (
	"context"
	"net/http"
	"time"
)

// SigningKey is a published key of a user pool.
type SigningKey struct {
	ID             string    `json:"id"`
	Algorithm      string    `json:"algorithm"`
	State          string    `json:"state"` // "waiting", "signs" or "former"
	CreatedAt      time.Time `json:"createdAt"`
	SignsFrom      time.Time `json:"signsFrom"`
	PublishedUntil time.Time `json:"publishedUntil,omitzero"` // zero: it has no successor yet
}

// SigningKeys returns the published keys of a pool, oldest first.
func (c *Client) SigningKeys(ctx context.Context, pool string) ([]SigningKey, error) {
	var all list[SigningKey]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "keys"), nil, nil, &all)
	return all.Items, err
}

// RotateSigningKey makes the next key of a pool, or returns the one that waits
// already. An empty algorithm is the pool's.
func (c *Client) RotateSigningKey(ctx context.Context, pool, algorithm string) (SigningKey, error) {
	in := struct {
		Algorithm string `json:"algorithm,omitempty"`
	}{algorithm}
	var made SigningKey
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "keys"), nil, in, &made)
	return made, err
}
