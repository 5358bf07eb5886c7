package store

import (
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
)

// remembered keeps what the database answered to one question that is asked all
// the time. It exists on SQLite only, where all writes go through this process,
// and is exact: each change counts the generation up once it may have been
// committed, and what was read in an older generation is not used. A reader notes
// the generation before it reads, so what it finds is never remembered under a
// generation that is newer than itself. Nobody changes what he was given. Secrets
// are remembered as sealed as they are in the database.
type remembered[K comparable, V any] struct {
	generation atomic.Uint64
	found      *otter.Cache[K, answer[V]]
}

type answer[V any] struct {
	generation uint64
	value      V
}

func remember[K comparable, V any](count int) *remembered[K, V] {
	return &remembered[K, V]{found: otter.Must(&otter.Options[K, answer[V]]{MaximumSize: count})}
}

// changed makes everything that was read before be read again. If nothing is
// remembered at all, there is nothing to forget.
func (c *remembered[K, V]) changed() {
	if c != nil {
		c.generation.Add(1)
	}
}

// find returns what is remembered, or asks read and remembers what it found.
func (c *remembered[K, V]) find(k K, read func() (V, error)) (V, error) {
	if c == nil {
		return read()
	}
	generation := c.generation.Load()
	if a, ok := c.found.GetIfPresent(k); ok && a.generation == generation {
		return a.value, nil
	}
	v, err := read()
	if err == nil {
		c.found.Set(k, answer[V]{generation, v})
	}
	return v, err
}

// memory has all that is remembered; its zero value is that of PostgreSQL, which
// remembers nothing.
type memory struct {
	delegated *remembered[delegatedKey, delegated] // of [Vault.FindDelegated]: about 10 MB
	pools     *remembered[string, userpool.Pool]
	clients   *remembered[clientKey, userpool.Client]
}

type delegatedKey struct {
	workload name.Workload
	provider string
	user     name.User
}

type delegated struct {
	grant      vault.Grant
	delegation vault.Delegation
}

type clientKey struct{ pool, id string }

func newMemory() memory {
	return memory{remember[delegatedKey, delegated](10_000), remember[string, userpool.Pool](1_000), remember[clientKey, userpool.Client](10_000)}
}

// changed forgets what a permitted change of r may have changed.
func (m memory) changed(r guard.Resource) {
	m.delegated.changed()
	if r.Kind == userpool.Resource("").Kind || r.Kind == userpool.ClientResource("", "").Kind {
		m.pools.changed()
		m.clients.changed()
	}
}
