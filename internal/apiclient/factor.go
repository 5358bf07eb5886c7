package apiclient

import (
	"context"
	"net/http"
	"time"
)

// Factor is a second factor of a user.
type Factor struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"` // "totp" or "passkey"
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"createdAt"`
	LastUsedAt time.Time `json:"lastUsedAt"` // zero: never
}

// Factors are the second factors of a user, and how many recovery codes he has left.
type Factors struct {
	Items         []Factor `json:"items"`
	RecoveryCodes int      `json:"recoveryCodes"`
}

// Factors returns the second factors of a user.
func (c *Client) Factors(ctx context.Context, pool, userID string) (Factors, error) {
	var f Factors
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "users", userID, "factors"), nil, nil, &f)
	return f, err
}

// RemoveFactor removes one second factor of a user.
func (c *Client) RemoveFactor(ctx context.Context, pool, userID, id string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "users", userID, "factors", id), nil, nil, nil)
}

// ResetFactors removes all second factors and recovery codes of a user.
func (c *Client) ResetFactors(ctx context.Context, pool, userID string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "users", userID, "factors"), nil, nil, nil)
}
