package userpooltest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// CreateClient implements [userpool.Clients].
func (m *Memory) CreateClient(_ context.Context, p guard.Permit, c userpool.Client) error {
	return m.change(p, userpool.ActionCreateClient, c.Resource(), func() error {
		if _, ok := m.pools[c.Pool]; !ok {
			return userpool.NotFound("userpool", c.Pool)
		}
		if m.clientNameTaken(c) {
			return userpool.Exists("client", c.Name)
		}
		c.Version, c.CreatedAt = 1, kept(c.CreatedAt)
		m.clients[key{c.Pool, c.ID}] = c
		return nil
	})
}

func (m *Memory) clientNameTaken(c userpool.Client) bool {
	for _, o := range m.clients {
		if o.Pool == c.Pool && o.ID != c.ID && o.Name == c.Name {
			return true
		}
	}
	return false
}

// Client implements [userpool.Clients].
func (m *Memory) Client(_ context.Context, pool, id string) (userpool.Client, error) {
	return find(m, m.clients, key{pool, id}, userpool.NotFound("client", id))
}

// Clients implements [userpool.Clients].
func (m *Memory) Clients(_ context.Context, pool string) ([]userpool.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []userpool.Client
	for _, c := range m.clients {
		if c.Pool == pool {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b userpool.Client) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// UpdateClient implements [userpool.Clients].
func (m *Memory) UpdateClient(_ context.Context, p guard.Permit, c userpool.Client) error {
	return m.change(p, userpool.ActionUpdateClient, c.Resource(), func() error {
		old, ok := m.clients[key{c.Pool, c.ID}]
		switch {
		case !ok:
			return userpool.NotFound("client", c.ID)
		case old.Version != c.Version:
			return userpool.Changed("client", c.ID)
		case m.clientNameTaken(c):
			return userpool.Exists("client", c.Name)
		}
		c.Version, c.CreatedAt = old.Version+1, old.CreatedAt
		m.clients[key{c.Pool, c.ID}] = c
		return nil
	})
}

// DeleteClient implements [userpool.Clients].
func (m *Memory) DeleteClient(_ context.Context, p guard.Permit, pool, id string) error {
	return m.change(p, userpool.ActionDeleteClient, userpool.ClientResource(pool, id), func() error {
		if _, ok := m.clients[key{pool, id}]; !ok {
			return userpool.NotFound("client", id)
		}
		delete(m.clients, key{pool, id})
		drop(m.codes, func(c userpool.Code) bool { return c.Pool == pool && c.ClientID == id })
		drop(m.consents, func(c userpool.Consent) bool { return c.Pool == pool && c.ClientID == id })
		return nil
	})
}

// CreateSession implements [userpool.Sessions].
func (m *Memory) CreateSession(_ context.Context, p guard.Permit, s userpool.Session) error {
	return m.change(p, userpool.ActionCreateSession, s.Resource(), func() error {
		s.AuthTime, s.LastUsedAt, s.ExpiresAt = kept(s.AuthTime), kept(s.LastUsedAt), kept(s.ExpiresAt)
		m.sessions[key{s.Pool, s.ID}] = s
		return nil
	})
}

// Session implements [userpool.Sessions].
func (m *Memory) Session(_ context.Context, pool string, tokenHash secret.Hash) (userpool.Session, error) {
	return first(m, m.sessions, func(s userpool.Session) bool { return s.Pool == pool && s.TokenHash == tokenHash },
		userpool.NotFound("session", ""))
}

// ExtendSession implements [userpool.Sessions].
func (m *Memory) ExtendSession(_ context.Context, p guard.Permit, pool, id string, usedAt time.Time) error {
	return m.change(p, userpool.ActionExtendSession, userpool.SessionResource(pool, id), func() error {
		s, ok := m.sessions[key{pool, id}]
		if !ok {
			return userpool.NotFound("session", id)
		}
		s.LastUsedAt = kept(usedAt)
		m.sessions[key{pool, id}] = s
		return nil
	})
}

// EndSession implements [userpool.Sessions].
func (m *Memory) EndSession(_ context.Context, p guard.Permit, pool, id string) error {
	return m.change(p, userpool.ActionEndSession, userpool.SessionResource(pool, id), func() error {
		if _, ok := m.sessions[key{pool, id}]; !ok {
			return userpool.NotFound("session", id)
		}
		delete(m.sessions, key{pool, id})
		return nil
	})
}

// CreateCode implements [userpool.Codes].
func (m *Memory) CreateCode(_ context.Context, p guard.Permit, c userpool.Code) error {
	return m.change(p, userpool.ActionCreateCode, c.Resource(), func() error {
		c.AuthTime, c.ExpiresAt = kept(c.AuthTime), kept(c.ExpiresAt)
		m.codes[key{c.Pool, c.ID}] = c
		return nil
	})
}

// Code implements [userpool.Codes].
func (m *Memory) Code(_ context.Context, pool string, hash secret.Hash) (userpool.Code, error) {
	return first(m, m.codes, func(c userpool.Code) bool { return c.Pool == pool && c.Hash == hash }, userpool.NotFound("code", ""))
}

// RedeemCode implements [userpool.Codes].
func (m *Memory) RedeemCode(_ context.Context, p guard.Permit, pool, id string, at time.Time) error {
	return m.change(p, userpool.ActionRedeemCode, userpool.CodeResource(pool, id), func() error {
		c, ok := m.codes[key{pool, id}]
		switch {
		case !ok:
			return userpool.NotFound("code", id)
		case !c.RedeemedAt.IsZero():
			return userpool.CodeUsed()
		}
		c.RedeemedAt = kept(at)
		m.codes[key{pool, id}] = c
		return nil
	})
}
