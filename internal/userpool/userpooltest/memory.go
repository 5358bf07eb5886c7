package userpooltest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Memory is an implementation of all stores for tests of other packages. It is
// also a recorder for a guard, so that one log has refusals and changes.
type Memory struct {
	mu       sync.Mutex
	pools    map[string]userpool.Pool
	users    map[key]userpool.User
	clients  map[key]userpool.Client
	sessions map[key]userpool.Session
	codes    map[key]userpool.Code
	consents map[key]userpool.Consent
	entries  []audit.Entry
}

type key struct{ pool, id string }

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		pools: map[string]userpool.Pool{}, users: map[key]userpool.User{}, clients: map[key]userpool.Client{},
		sessions: map[key]userpool.Session{}, codes: map[key]userpool.Code{}, consents: map[key]userpool.Consent{},
	}
}

var _ userpool.Stores = (*Memory)(nil)

// Append implements guard.Recorder.
func (m *Memory) Append(_ context.Context, e audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, e)
	return nil
}

// Entries returns the log.
func (m *Memory) Entries(context.Context) ([]audit.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries), nil
}

// change runs do under the lock and, if it succeeds, records the permit's entry.
func (m *Memory) change(p guard.Permit, a guard.Action, r guard.Resource, do func() error) error {
	if err := p.Check(a, r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	m.entries = append(m.entries, p.Entry())
	return nil
}

// find returns the value of a map under the lock.
func find[K comparable, V any](m *Memory, in map[K]V, k K, missing error) (V, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := in[k]
	if !ok {
		return v, missing
	}
	return v, nil
}

// first returns the value that is wanted, under the lock.
func first[K comparable, V any](m *Memory, in map[K]V, wanted func(V) bool, missing error) (V, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range in {
		if wanted(v) {
			return v, nil
		}
	}
	var none V
	return none, missing
}

// CreatePool implements [userpool.Pools].
func (m *Memory) CreatePool(_ context.Context, p guard.Permit, pool userpool.Pool) error {
	return m.change(p, userpool.ActionCreatePool, pool.Resource(), func() error {
		if _, ok := m.pools[pool.Name]; ok {
			return userpool.Exists("userpool", pool.Name)
		}
		pool.CreatedAt = kept(pool.CreatedAt)
		m.pools[pool.Name] = pool
		return nil
	})
}

// Pool implements [userpool.Pools].
func (m *Memory) Pool(_ context.Context, poolName string) (userpool.Pool, error) {
	return find(m, m.pools, poolName, userpool.NotFound("userpool", poolName))
}

// Pools implements [userpool.Pools].
func (m *Memory) Pools(context.Context) ([]userpool.Pool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []userpool.Pool
	for _, p := range m.pools {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b userpool.Pool) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// CreateUser implements [userpool.Users].
func (m *Memory) CreateUser(_ context.Context, p guard.Permit, u userpool.User) error {
	return m.change(p, userpool.ActionCreateUser, u.Resource(), func() error {
		if _, ok := m.pools[u.Pool]; !ok {
			return userpool.NotFound("userpool", u.Pool)
		}
		if m.userNameTaken(u) {
			return userpool.Exists("user", u.UserName)
		}
		u.Version, u.CreatedAt, u.PasswordChangedAt = 1, kept(u.CreatedAt), kept(u.PasswordChangedAt)
		m.users[key{u.Pool, u.ID}] = u
		return nil
	})
}

func (m *Memory) userNameTaken(u userpool.User) bool {
	for _, o := range m.users {
		if o.Pool == u.Pool && o.ID != u.ID && userpool.LoginName(o.UserName) == userpool.LoginName(u.UserName) {
			return true
		}
	}
	return false
}

// User implements [userpool.Users].
func (m *Memory) User(_ context.Context, pool, id string) (userpool.User, error) {
	return find(m, m.users, key{pool, id}, userpool.NotFound("user", id))
}

// UserByName implements [userpool.Users].
func (m *Memory) UserByName(_ context.Context, pool, userName string) (userpool.User, error) {
	return first(m, m.users, func(u userpool.User) bool {
		return u.Pool == pool && userpool.LoginName(u.UserName) == userpool.LoginName(userName)
	}, userpool.NotFound("user", userName))
}

// Users implements [userpool.Users].
func (m *Memory) Users(_ context.Context, pool, after string, limit int) ([]userpool.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []userpool.User
	for _, u := range m.users {
		if u.Pool == pool && userpool.LoginName(u.UserName) > after {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b userpool.User) int {
		return cmp.Compare(userpool.LoginName(a.UserName), userpool.LoginName(b.UserName))
	})
	return all[:min(limit, len(all))], nil
}

// UpdateUser implements [userpool.Users].
func (m *Memory) UpdateUser(_ context.Context, p guard.Permit, u userpool.User) error {
	return m.change(p, userpool.ActionUpdateUser, u.Resource(), func() error {
		old, ok := m.users[key{u.Pool, u.ID}]
		switch {
		case !ok:
			return userpool.NotFound("user", u.ID)
		case old.Version != u.Version:
			return userpool.Changed("user", u.ID)
		case m.userNameTaken(u):
			return userpool.Exists("user", u.UserName)
		}
		u.Version, u.CreatedAt, u.PasswordChangedAt = old.Version+1, old.CreatedAt, kept(u.PasswordChangedAt)
		m.users[key{u.Pool, u.ID}] = u
		return nil
	})
}

// UpgradePassword implements [userpool.Users].
func (m *Memory) UpgradePassword(_ context.Context, p guard.Permit, pool, id string, old, upgraded secret.Text) error {
	return m.change(p, userpool.ActionUpgradePassword, userpool.UserResource(pool, id), func() error {
		u, ok := m.users[key{pool, id}]
		switch {
		case !ok:
			return userpool.NotFound("user", id)
		case !secret.Equal(u.PasswordHash, old):
			return userpool.Changed("user", id)
		}
		u.PasswordHash, u.Version = upgraded, u.Version+1
		m.users[key{pool, id}] = u
		return nil
	})
}

// DeleteUser implements [userpool.Users].
func (m *Memory) DeleteUser(_ context.Context, p guard.Permit, pool, id string) error {
	return m.change(p, userpool.ActionDeleteUser, userpool.UserResource(pool, id), func() error {
		if _, ok := m.users[key{pool, id}]; !ok {
			return userpool.NotFound("user", id)
		}
		delete(m.users, key{pool, id})
		drop(m.sessions, func(s userpool.Session) bool { return s.Pool == pool && s.UserID == id })
		drop(m.codes, func(c userpool.Code) bool { return c.Pool == pool && c.UserID == id })
		drop(m.consents, func(c userpool.Consent) bool { return c.Pool == pool && c.UserID == id })
		return nil
	})
}

// drop removes the values that are unwanted and returns how many.
func drop[K comparable, V any](from map[K]V, unwanted func(V) bool) int {
	n := len(from)
	for k, v := range from {
		if unwanted(v) {
			delete(from, k)
		}
	}
	return n - len(from)
}

// Sweep implements [userpool.Sessions].
func (m *Memory) Sweep(_ context.Context, p guard.Permit, t time.Time) (int, error) {
	if err := p.Check(userpool.ActionSweep, userpool.SweepResource()); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := drop(m.sessions, func(s userpool.Session) bool { return s.ExpiresAt.Before(t) }) +
		drop(m.codes, func(c userpool.Code) bool { return c.ExpiresAt.Before(t) })
	if n > 0 {
		m.entries = append(m.entries, p.Entry())
	}
	return n, nil
}

// Consent implements [userpool.Consents].
func (m *Memory) Consent(_ context.Context, pool, userID, clientID string) (name.Scopes, error) {
	c, _ := find(m, m.consents, key{pool, userID + "/" + clientID}, nil)
	return c.Scopes, nil
}

// SetConsent implements [userpool.Consents].
func (m *Memory) SetConsent(_ context.Context, p guard.Permit, c userpool.Consent) error {
	return m.change(p, userpool.ActionSetConsent, c.Resource(), func() error {
		m.consents[key{c.Pool, c.UserID + "/" + c.ClientID}] = c
		return nil
	})
}
