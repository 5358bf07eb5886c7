package rest

import (
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

type sessionJSON struct {
	ID         string    `json:"id"`
	Methods    []string  `json:"methods" nullable:"false" doc:"How the user proved who he is (RFC 8176)" example:"[\"pwd\",\"otp\",\"mfa\"]"`
	Address    string    `json:"address,omitempty"`
	Agent      string    `json:"agent,omitempty" doc:"The browser, in its own words"`
	AuthTime   time.Time `json:"authTime"`
	LastUsedAt time.Time `json:"lastUsedAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

func session(s userpool.Session) sessionJSON {
	return sessionJSON{s.ID, slices.Concat([]string{}, s.Methods), s.Address, s.Agent, s.AuthTime, s.LastUsedAt, s.ExpiresAt}
}

// listSessions lists those that still hold.
func (a *API) listSessions(c *call) (any, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	if err != nil {
		return nil, err
	}
	all, err := a.Sessions.SessionsOf(c.ctx, u.Pool, u.ID)
	now := a.now()
	return listOf(slices.DeleteFunc(all, func(s userpool.Session) bool { return !s.Alive(u, now) }), session), err
}

func (a *API) endSession(c *call) (any, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	if err != nil {
		return nil, err
	}
	all, err := a.Sessions.SessionsOf(c.ctx, u.Pool, u.ID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(s userpool.Session) bool { return s.ID == c.path("session") })
	if i < 0 {
		return nil, userpool.NotFound("session", c.path("session"))
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionEndSession, all[i].Resource())
	if err != nil {
		return nil, err
	}
	return nil, a.Sessions.EndSession(c.ctx, p.Detail(map[string]string{"user": u.ID}), u.Pool, all[i].ID)
}

func (a *API) endAllSessions(c *call) (any, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	if err != nil {
		return nil, err
	}
	return nil, a.endSessions(c, u)
}

type consentJSON struct {
	ClientID   string      `json:"clientId"`
	ClientName string      `json:"clientName"`
	Scopes     name.Scopes `json:"scopes"`
	GrantedAt  time.Time   `json:"grantedAt"`
}

func (a *API) listConsents(c *call) (any, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	if err != nil {
		return nil, err
	}
	clients, err := a.Clients.Clients(c.ctx, u.Pool)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, client := range clients {
		names[client.ID] = client.Name
	}
	all, err := a.Consents.ConsentsOf(c.ctx, u.Pool, u.ID)
	return listOf(all, func(c userpool.Consent) consentJSON {
		return consentJSON{c.ClientID, names[c.ClientID], c.Scopes, c.GrantedAt}
	}), err
}

func (a *API) deleteConsent(c *call) (any, error) {
	consent := userpool.Consent{Pool: c.path("pool"), UserID: c.path("user"), ClientID: c.path("client")}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionDeleteConsent, consent.Resource())
	if err != nil {
		return nil, err
	}
	return nil, a.Consents.DeleteConsent(c.ctx, p.Detail(map[string]string{"client": consent.ClientID}), consent)
}
