package apiclient

import (
	"context"
	"net/http"
	"time"
)

// OperatorToken lets somebody, or a program, administer Deputy.
type OperatorToken struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`            // auditor, operator or owner
	Pools      *PoolLimit `json:"pools,omitempty"` // nil: it is not limited
	CreatedAt  time.Time  `json:"createdAt"`
	ExpiresAt  time.Time  `json:"expiresAt,omitzero"`  // zero: never
	LastUsedAt time.Time  `json:"lastUsedAt,omitzero"` // zero: never yet
	Token      string     `json:"token,omitempty"`     // only of one that was just made
}

// PoolLimit are the pools that an operator sees, and no others.
type PoolLimit struct {
	User     []string `json:"user,omitempty"`
	Workload []string `json:"workload,omitempty"`
}

// OperatorTokens returns all tokens, in order of name.
func (c *Client) OperatorTokens(ctx context.Context) ([]OperatorToken, error) {
	var all list[OperatorToken]
	err := c.call(ctx, http.MethodGet, path("operator-tokens"), nil, nil, &all)
	return all.Items, err
}

// CreateOperatorToken makes a token, which is in the answer, this once. limit may
// be nil.
func (c *Client) CreateOperatorToken(ctx context.Context, tokenName, role string, limit *PoolLimit, expires time.Time) (OperatorToken, error) {
	in := struct {
		Name      string     `json:"name"`
		Role      string     `json:"role"`
		Pools     *PoolLimit `json:"pools,omitempty"`
		ExpiresAt time.Time  `json:"expiresAt"`
	}{tokenName, role, limit, expires}
	var made OperatorToken
	err := c.call(ctx, http.MethodPost, path("operator-tokens"), nil, in, &made)
	return made, err
}

// RevokeOperatorToken ends a token at once.
func (c *Client) RevokeOperatorToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, path("operator-tokens", id), nil, nil, nil)
}
