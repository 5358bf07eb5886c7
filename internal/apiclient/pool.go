package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// UserPool is an OpenID provider.
type UserPool struct {
	Name         string         `json:"name"`
	DisplayName  string         `json:"displayName,omitempty"`
	Issuer       string         `json:"issuer"`
	DiscoveryURL string         `json:"discoveryUrl"`
	CreatedAt    time.Time      `json:"createdAt"`
	Version      int64          `json:"version"`
	Settings     map[string]any `json:"settings"` // see the API's document
	LogoType     string         `json:"logoType,omitempty"`
	Mail         bool           `json:"mail"` // whether there is an SMTP server, which sign-up and recovery need
}

// UserPools returns all user pools.
func (c *Client) UserPools(ctx context.Context) ([]UserPool, error) {
	var all list[UserPool]
	err := c.call(ctx, http.MethodGet, "/user-pools", nil, nil, &all)
	return all.Items, err
}

// UserPool returns one user pool.
func (c *Client) UserPool(ctx context.Context, name string) (UserPool, error) {
	var pool UserPool
	err := c.call(ctx, http.MethodGet, path("user-pools", name), nil, nil, &pool)
	return pool, err
}

// CreateUserPool makes a user pool. Settings that are left out are the usual ones.
func (c *Client) CreateUserPool(ctx context.Context, name, displayName string, settings map[string]any) (UserPool, error) {
	in := struct {
		Name        string         `json:"name"`
		DisplayName string         `json:"displayName,omitempty"`
		Settings    map[string]any `json:"settings,omitempty"`
	}{name, displayName, settings}
	var made UserPool
	err := c.call(ctx, http.MethodPost, "/user-pools", nil, in, &made)
	return made, err
}

// UpdateUserPool changes what is given; displayName may be nil.
func (c *Client) UpdateUserPool(ctx context.Context, name string, displayName *string, settings map[string]any) (UserPool, error) {
	in := struct {
		DisplayName *string        `json:"displayName,omitempty"`
		Settings    map[string]any `json:"settings,omitempty"`
	}{displayName, settings}
	var changed UserPool
	err := c.call(ctx, http.MethodPatch, path("user-pools", name), nil, in, &changed)
	return changed, err
}

// DeleteUserPool deletes a pool with everything in it.
func (c *Client) DeleteUserPool(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", name), url.Values{"confirm": {name}}, nil, nil)
}

// SetLogo gives a pool's pages a logo, or Deputy's again if image is nil.
func (c *Client) SetLogo(ctx context.Context, name string, image []byte) (UserPool, error) {
	var changed UserPool
	if image == nil {
		err := c.call(ctx, http.MethodDelete, path("user-pools", name, "logo"), nil, nil, &changed)
		return changed, err
	}
	in := struct {
		Image []byte `json:"image"`
	}{image}
	err := c.call(ctx, http.MethodPut, path("user-pools", name, "logo"), nil, in, &changed)
	return changed, err
}
