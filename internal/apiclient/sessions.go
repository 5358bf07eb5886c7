package apiclient

import (
	"context"
	"net/http"
	"time"
)

// Session is a browser's login at a user pool.
type Session struct {
	ID         string    `json:"id"`
	Methods    []string  `json:"methods"`
	Address    string    `json:"address,omitempty"`
	Agent      string    `json:"agent,omitempty"`
	AuthTime   time.Time `json:"authTime"`
	LastUsedAt time.Time `json:"lastUsedAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

// Sessions returns where a user is logged in.
func (c *Client) Sessions(ctx context.Context, pool, user string) ([]Session, error) {
	var all list[Session]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "users", user, "sessions"), nil, nil, &all)
	return all.Items, err
}

// EndSession ends a session of a user.
func (c *Client) EndSession(ctx context.Context, pool, user, session string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "users", user, "sessions", session), nil, nil, nil)
}

// EndSessions ends all sessions of a user.
func (c *Client) EndSessions(ctx context.Context, pool, user string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "users", user, "sessions"), nil, nil, nil)
}

// Consent is what a user allowed an application.
type Consent struct {
	ClientID   string    `json:"clientId"`
	ClientName string    `json:"clientName"`
	Scopes     []string  `json:"scopes"`
	GrantedAt  time.Time `json:"grantedAt"`
}

// Consents returns what a user allowed applications.
func (c *Client) Consents(ctx context.Context, pool, user string) ([]Consent, error) {
	var all list[Consent]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "users", user, "consents"), nil, nil, &all)
	return all.Items, err
}

// DeleteConsent takes back what a user allowed an application.
func (c *Client) DeleteConsent(ctx context.Context, pool, user, client string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "users", user, "consents", client), nil, nil, nil)
}
