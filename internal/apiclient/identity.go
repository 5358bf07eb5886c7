package apiclient

import (
	"context"
	"net/http"
	"net/url"
)

// UserPool is an OpenID provider.
type UserPool struct {
	Name         string `json:"name"`
	DisplayName  string `json:"displayName"`
	Issuer       string `json:"issuer"`
	DiscoveryURL string `json:"discoveryUrl"`
}

// path joins segments, each escaped.
func path(segments ...string) string {
	p := ""
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}

// list is how the API answers with several of a kind.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // the "after" of the next page; "" on the last one
}

// UserPools returns all user pools.
func (c *Client) UserPools(ctx context.Context) ([]UserPool, error) {
	var all list[UserPool]
	err := c.call(ctx, http.MethodGet, "/user-pools", nil, nil, &all)
	return all.Items, err
}

// CreateUserPool makes a user pool.
func (c *Client) CreateUserPool(ctx context.Context, name, displayName string) (UserPool, error) {
	in := struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName,omitempty"`
	}{name, displayName}
	var made UserPool
	err := c.call(ctx, http.MethodPost, "/user-pools", nil, in, &made)
	return made, err
}
