package store

import (
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vault"
)

// delegatedCache remembers what [Vault.FindDelegated] found: the one question
// that every use of every credential asks. It exists on SQLite only, where all
// writes go through this process, and is exact: each change counts the
// generation up once it may have been committed, and what was read in an older
// generation is not used. A reader notes the generation before it reads, so what
// it finds is never remembered under a generation that is newer than itself. What
// is remembered is as sealed as in the database.
type delegatedCache struct {
	generation atomic.Uint64
	found      *otter.Cache[delegatedKey, delegated]
}

// delegatedCount bounds the cache; about 10 MB.
const delegatedCount = 10_000

type delegatedKey struct {
	workload name.Workload
	provider string
	user     name.User
}

type delegated struct {
	generation uint64
	grant      vault.Grant
	delegation vault.Delegation
}

func newDelegatedCache() *delegatedCache {
	return &delegatedCache{found: otter.Must(&otter.Options[delegatedKey, delegated]{MaximumSize: delegatedCount})}
}

// changed makes everything that was read before be read again. The nil cache
// has nothing to forget.
func (c *delegatedCache) changed() {
	if c != nil {
		c.generation.Add(1)
	}
}

// find returns what is remembered, or asks read and remembers what it found.
func (c *delegatedCache) find(k delegatedKey, read func() (vault.Grant, vault.Delegation, bool, error)) (vault.Grant, vault.Delegation, bool, error) {
	if c == nil {
		return read()
	}
	generation := c.generation.Load()
	if d, ok := c.found.GetIfPresent(k); ok && d.generation == generation {
		return d.grant, d.delegation, true, nil
	}
	g, d, ok, err := read()
	if ok && err == nil {
		c.found.Set(k, delegated{generation, g, d})
	}
	return g, d, ok, err
}
