package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// OAuthClient is an application that logs users of a pool in, or that gets
// tokens for itself.
type OAuthClient struct {
	ID                     string          `json:"id"`
	Name                   string          `json:"name"`
	DisplayName            string          `json:"displayName,omitempty"`
	Type                   string          `json:"type"`   // "web" or "public"
	Origin                 string          `json:"origin"` // "operator", "registered" or "document"
	AuthMethod             string          `json:"authMethod"`
	Keys                   json.RawMessage `json:"keys,omitempty"`
	KeysURI                string          `json:"keysUri,omitempty"`
	Algorithm              string          `json:"algorithm,omitempty"`
	Grants                 []string        `json:"grants"`
	RedirectURIs           []string        `json:"redirectUris"`
	PostLogoutRedirectURIs []string        `json:"postLogoutRedirectUris,omitempty"`
	BackchannelLogoutURI   string          `json:"backchannelLogoutUri,omitempty"`
	Scopes                 []string        `json:"scopes"`
	Audiences              []string        `json:"audiences,omitempty"`
	RequirePushed          bool            `json:"requirePushed"`
	AccessTokenLifetime    int             `json:"accessTokenLifetime"` // seconds
	RefreshLifetime        int             `json:"refreshLifetime"`     // seconds
	RefreshIdle            int             `json:"refreshIdle"`         // seconds
	CreatedAt              time.Time       `json:"createdAt"`
	Version                int64           `json:"version"`
}

// ClientSettings is what a client is made from, and what is to change of one; what
// is nil or 0 is the default, or stays.
type ClientSettings struct {
	Version                int64           `json:"version,omitempty"` // if not 0, the one that a client to change must have
	Name                   string          `json:"name,omitempty"`
	DisplayName            *string         `json:"displayName,omitempty"`
	Type                   string          `json:"type,omitempty"`
	AuthMethod             *string         `json:"authMethod,omitempty"`
	Keys                   json.RawMessage `json:"keys,omitempty"` // null: none
	KeysURI                *string         `json:"keysUri,omitempty"`
	Algorithm              *string         `json:"algorithm,omitempty"`
	Grants                 []string        `json:"grants,omitempty"`
	RedirectURIs           []string        `json:"redirectUris,omitempty"`
	PostLogoutRedirectURIs []string        `json:"postLogoutRedirectUris,omitempty"`
	BackchannelLogoutURI   *string         `json:"backchannelLogoutUri,omitempty"`
	Scopes                 []string        `json:"scopes,omitempty"`
	Audiences              []string        `json:"audiences,omitempty"`
	RequirePushed          *bool           `json:"requirePushed,omitempty"`
	AccessTokenLifetime    int             `json:"accessTokenLifetime,omitempty"` // seconds
	RefreshLifetime        int             `json:"refreshLifetime,omitempty"`     // seconds
	RefreshIdle            int             `json:"refreshIdle,omitempty"`         // seconds
}

// OAuthClients returns the clients of a pool.
func (c *Client) OAuthClients(ctx context.Context, pool string) ([]OAuthClient, error) {
	var all list[OAuthClient]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "clients"), nil, nil, &all)
	return all.Items, err
}

// OAuthClient returns the client with that id or name.
func (c *Client) OAuthClient(ctx context.Context, pool, idOrName string) (OAuthClient, error) {
	all, err := c.OAuthClients(ctx, pool)
	if err != nil {
		return OAuthClient{}, err
	}
	names := make([]string, len(all))
	for i, found := range all {
		if found.ID == idOrName || found.Name == idOrName {
			return found, nil
		}
		names[i] = found.Name
	}
	return OAuthClient{}, fault.New(fault.NotFound, "client_not_found", "user pool %q has no client %q", pool, name.Clip(idOrName, 80)).
		WithFix("%s", name.DidYouMean(idOrName, names, "see deputy client list "+pool))
}

// withSecret is a client in the answer that shows its secret.
type withSecret struct {
	OAuthClient
	Secret secret.Text `json:"secret"`
}

// CreateOAuthClient makes a client. Its secret, if it has one, is never shown
// again.
func (c *Client) CreateOAuthClient(ctx context.Context, pool string, s ClientSettings) (OAuthClient, secret.Text, error) {
	var made withSecret
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "clients"), nil, s, &made)
	return made.OAuthClient, made.Secret, err
}

// ChangeOAuthClient changes a client. If that gives it a secret, the secret is
// never shown again.
func (c *Client) ChangeOAuthClient(ctx context.Context, pool, id string, s ClientSettings) (OAuthClient, secret.Text, error) {
	var made withSecret
	err := c.call(ctx, http.MethodPatch, path("user-pools", pool, "clients", id), nil, s, &made)
	return made.OAuthClient, made.Secret, err
}

// DeleteOAuthClient deletes a client.
func (c *Client) DeleteOAuthClient(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "clients", id), nil, nil, nil)
}

// ReplaceSecret gives a client a new secret; the old one is void.
func (c *Client) ReplaceSecret(ctx context.Context, pool, id string) (secret.Text, error) {
	var made withSecret
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "clients", id, "secret"), nil, nil, &made)
	return made.Secret, err
}

// InitialToken lets clients register themselves.
type InitialToken struct {
	ID        string    `json:"id"`
	Note      string    `json:"note,omitempty"`
	Uses      int       `json:"uses"` // left
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// InitialTokens returns the initial access tokens of a pool.
func (c *Client) InitialTokens(ctx context.Context, pool string) ([]InitialToken, error) {
	var all list[InitialToken]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "initial-tokens"), nil, nil, &all)
	return all.Items, err
}

// CreateInitialToken makes an initial access token, whose value is never shown
// again.
func (c *Client) CreateInitialToken(ctx context.Context, pool, note string, uses int, lifetime time.Duration) (InitialToken, secret.Text, error) {
	in := struct {
		Note     string `json:"note,omitempty"`
		Uses     int    `json:"uses"`
		Lifetime int    `json:"lifetime"`
	}{note, uses, int(lifetime / time.Second)}
	var made struct {
		InitialToken
		Token secret.Text `json:"token"`
	}
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "initial-tokens"), nil, in, &made)
	return made.InitialToken, made.Token, err
}

// DeleteInitialToken revokes an initial access token.
func (c *Client) DeleteInitialToken(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "initial-tokens", id), nil, nil, nil)
}
