package apiclient

import (
	"context"
	"net/http"
	"net/url"

	"github.com/deputy-id/deputy/internal/secret"
)

// OAuthClient is an application that logs users of a pool in.
type OAuthClient struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Type         string   `json:"type"` // "web" or "public"
	RedirectURIs []string `json:"redirectUris"`
	Scopes       []string `json:"scopes"`
}

// NewOAuthClient is what a client is made from.
type NewOAuthClient struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	RedirectURIs []string `json:"redirectUris"`
	Scopes       []string `json:"scopes,omitempty"`
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

// OAuthClients returns the clients of a pool.
func (c *Client) OAuthClients(ctx context.Context, pool string) ([]OAuthClient, error) {
	var all list[OAuthClient]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "clients"), nil, nil, &all)
	return all.Items, err
}

// withSecret is a client in the answer that shows its secret.
type withSecret struct {
	OAuthClient
	Secret secret.Text `json:"secret"`
}

// CreateOAuthClient makes a client. Its secret is never shown again.
func (c *Client) CreateOAuthClient(ctx context.Context, pool string, n NewOAuthClient) (OAuthClient, secret.Text, error) {
	var made withSecret
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "clients"), nil, n, &made)
	return made.OAuthClient, made.Secret, err
}

// ReplaceSecret gives a client a new secret; the old one is void.
func (c *Client) ReplaceSecret(ctx context.Context, pool, id string) (secret.Text, error) {
	var made withSecret
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "clients", id, "secret"), nil, nil, &made)
	return made.Secret, err
}
