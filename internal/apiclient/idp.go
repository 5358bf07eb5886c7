package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
)

// IdentityProvider is an external identity provider of a user pool.
type IdentityProvider struct {
	Name                string            `json:"name,omitempty"`
	Type                string            `json:"type,omitempty"`
	Title               string            `json:"title,omitempty"`
	ClientID            string            `json:"clientId"`
	Issuer              string            `json:"issuer,omitempty"`
	Endpoints           map[string]string `json:"endpoints,omitempty"`
	Scopes              []string          `json:"scopes,omitempty"`
	Mapping             json.RawMessage   `json:"mapping,omitempty"`
	LinkByVerifiedEmail bool              `json:"linkByVerifiedEmail"`
	CreateUsers         bool              `json:"createUsers"`
	UpstreamLogout      bool              `json:"upstreamLogout,omitempty"`
	Disabled            bool              `json:"disabled,omitempty"`
}

// SavedIdentityProvider is one as the server has it, with what a live test found
// if there was one.
type SavedIdentityProvider struct {
	IdentityProvider
	CallbackURL       string                  `json:"callbackUrl"`       // to register at the provider
	SignupCallbackURL string                  `json:"signupCallbackUrl"` // answers are taken here too
	CreatedAt         time.Time               `json:"createdAt"`
	UpdatedAt         time.Time               `json:"updatedAt"`
	Checks            []IdentityProviderCheck `json:"checks,omitempty"`
}

// IdentityProviderCheck is one step of a live test.
type IdentityProviderCheck struct {
	Name    string `json:"name"` // "discovery", "authorization" or "client"
	OK      bool   `json:"ok"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// idpWithSecret is how settings are sent.
type idpWithSecret struct {
	IdentityProvider
	ClientSecret string `json:"clientSecret,omitempty"`
}

// IdentityProviders returns the external identity providers of a pool.
func (c *Client) IdentityProviders(ctx context.Context, pool string) ([]SavedIdentityProvider, error) {
	var all list[SavedIdentityProvider]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "identity-providers"), nil, nil, &all)
	return all.Items, err
}

// IdentityProvider returns one.
func (c *Client) IdentityProvider(ctx context.Context, pool, name string) (SavedIdentityProvider, error) {
	var p SavedIdentityProvider
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "identity-providers", name), nil, nil, &p)
	return p, err
}

// CreateIdentityProvider makes one and tests it.
func (c *Client) CreateIdentityProvider(ctx context.Context, pool string, p IdentityProvider, s secret.Text) (SavedIdentityProvider, error) {
	var made SavedIdentityProvider
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "identity-providers"), nil, idpWithSecret{p, s.RevealString()}, &made)
	return made, err
}

// UpdateIdentityProvider replaces all settings of the one with p's name, and
// tests them. An empty secret keeps the one that is there.
func (c *Client) UpdateIdentityProvider(ctx context.Context, pool string, p IdentityProvider, s secret.Text) (SavedIdentityProvider, error) {
	to := path("user-pools", pool, "identity-providers", p.Name)
	p.Name, p.Type = "", "" // they never change
	var changed SavedIdentityProvider
	err := c.call(ctx, http.MethodPut, to, nil, idpWithSecret{p, s.RevealString()}, &changed)
	return changed, err
}

// TestIdentityProvider asks a provider whether its settings work.
func (c *Client) TestIdentityProvider(ctx context.Context, pool, name string) (SavedIdentityProvider, error) {
	var p SavedIdentityProvider
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "identity-providers", name, "test"), nil, nil, &p)
	return p, err
}

// DeleteIdentityProvider deletes one. Its users stay.
func (c *Client) DeleteIdentityProvider(ctx context.Context, pool, name string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "identity-providers", name), nil, nil, nil)
}
