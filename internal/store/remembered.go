package store

import (
	"slices"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/deputy-id/deputy/internal/guard"
)

// remembered keeps what a question found that is asked all the time. It exists
// on SQLite only, where all writes go through this process, and is exact: each
// change that could matter counts the generation up once it may have been
// committed, and what was read in an older generation is not used. A reader
// notes the generation before it reads, so what it finds is never remembered
// under a generation that is newer than itself. What is remembered is as sealed
// as in the database, and shared: who finds it must not change it.
type remembered[K comparable, V any] struct {
	generation atomic.Uint64
	found      *otter.Cache[K, ofGeneration[V]]
}

type ofGeneration[V any] struct {
	generation uint64
	value      V
}

// newRemembered remembers the answers that were asked for last, at most count.
func newRemembered[K comparable, V any](count int) *remembered[K, V] {
	return &remembered[K, V]{found: otter.Must(&otter.Options[K, ofGeneration[V]]{MaximumSize: count})}
}

// changed makes everything that was read before be read again. Where nothing is
// remembered (nil), there is nothing to forget.
func (c *remembered[K, V]) changed() {
	if c != nil {
		c.generation.Add(1)
	}
}

// find returns what is remembered, or asks read and remembers what it found. The
// error that there is no such thing is not remembered.
func (c *remembered[K, V]) find(k K, read func() (V, error)) (V, error) {
	if c == nil {
		return read()
	}
	generation := c.generation.Load()
	if o, ok := c.found.GetIfPresent(k); ok && o.generation == generation {
		return o.value, nil
	}
	v, err := read()
	if err == nil {
		c.found.Set(k, ofGeneration[V]{generation, v})
	}
	return v, err
}

// loginKinds are the kinds of resource whose changes leave pools and clients as
// they are. They are most of what a pool writes.
func loginKinds() []string { return []string{"code", "consent", "device", "family", "session", "user"} }

// changed forgets what a change of r may have changed.
func (db *DB) changed(r guard.Resource) {
	db.delegated.changed()
	if !slices.Contains(loginKinds(), r.Kind) {
		db.pools.changed()
		db.clients.changed()
	}
}
