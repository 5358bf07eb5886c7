package store

import (
	"hash/maphash"
	"math"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
)

// remembered keeps what a question found that is asked all the time. It exists
// on SQLite only, where all writes go through this process, and is exact. On
// PostgreSQL it would have to hear of what other replicas committed, and a grant
// that was revoked there would be given away until it did: there each question
// is asked.
//
// An answer depends on a subject: a grant, a pool, a client. A transaction says
// which subjects it changes; from just before its commit until it is over their
// answers are read from the database, and what was read before it is over is
// not used again. A reader notes how many commits were over before it reads, so
// what it finds never counts as newer than it is. What is remembered is as
// sealed as in the database, and shared: who finds it must not change it.
type remembered[K comparable, V any] struct {
	subject func(K, V) string // that the answer V to K depends on
	seed    maphash.Seed
	over    atomic.Uint64           // how many commits are
	all     atomic.Uint64           // which commit was the last that changed all subjects; or changing
	some    [subjects]atomic.Uint64 // the same for the subjects with a hash
	found   *otter.Cache[K, known[V]]
}

// subjects bounds how many subjects are told apart. Who shares the hash of one
// that was changed is read again with it.
const subjects = 4096

// changing stands for a commit that is not over.
const changing = math.MaxUint64

type known[V any] struct {
	since   uint64         // how many commits were over when it was read
	changed *atomic.Uint64 // see remembered.some
	value   V
}

// newRemembered remembers the answers that were asked for last, at most count.
func newRemembered[K comparable, V any](count int, subject func(K, V) string) *remembered[K, V] {
	return &remembered[K, V]{subject: subject, seed: maphash.MakeSeed(), found: otter.Must(&otter.Options[K, known[V]]{MaximumSize: count})}
}

// find returns what is remembered, or asks read and remembers what it found. The
// error that there is no such thing is not remembered. Where nothing is
// remembered at all (nil), it asks.
func (c *remembered[K, V]) find(k K, read func() (V, error)) (V, error) {
	if c == nil {
		return read()
	}
	since := c.over.Load()
	if o, ok := c.found.GetIfPresent(k); ok && o.changed.Load() <= o.since && c.all.Load() <= o.since {
		return o.value, nil
	}
	v, err := read()
	if err == nil {
		c.found.Set(k, known[V]{since, c.changed(c.subject(k, v)), v})
	}
	return v, err
}

func (c *remembered[K, V]) changed(subject string) *atomic.Uint64 {
	return &c.some[maphash.String(c.seed, subject)%subjects]
}

// begin makes what a commit will change be read from the database, until end.
func (c *remembered[K, V]) begin(s stale) { c.set(s, changing) }

// end makes what a commit has changed be read once more. Commits are made one
// after the other: whatever is changing is so because of this one.
func (c *remembered[K, V]) end(s stale) {
	if c != nil && (s.all || len(s.some) > 0) {
		c.set(s, c.over.Add(1))
	}
}

func (c *remembered[K, V]) set(s stale, to uint64) {
	if c == nil {
		return
	}
	if s.all {
		c.all.Store(to)
	}
	for _, subject := range s.some {
		c.changed(subject).Store(to)
	}
}

// stale is which answers a transaction makes useless: all of them, or those that
// depend on some subjects.
type stale struct {
	all  bool
	some []string
}

// staleAnswers is that for each question. What a transaction undoes again is
// read once more in vain.
type staleAnswers struct{ grants, pools, clients, standings stale }

// regrant says that tx changes grants, or what is delegated of them.
func (tx *txn) regrant(ids ...string) { tx.stale.grants.some = append(tx.stale.grants.some, ids...) }

// touch says what a change of r makes useless: everything, unless it is known to
// be less.
func (tx *txn) touch(action guard.Action, r guard.Resource) {
	switch r.Kind {
	case "authorization", "datakey", "delegation", "grant": // grants, which say so themselves
	case "user":
		tx.stale.standings.some = append(tx.stale.standings.some, userSubject(r.Pool, r.ID))
	case "user-tokens":
		tx.stale.standings.all = true
	case "code", "consent", "device", "factor", "factors", "family", "group", "idplogin", "launch", "letter", "login", "proof", "pushed", "session", "trial": // none of them
	case "client":
		if action != userpool.ActionUseAssertion {
			tx.stale.clients.some = append(tx.stale.clients.some, clientSubject(r.Pool, r.ID))
		}
	case "provider":
		if action != vault.ActionClear { // which says so itself
			tx.stale.grants.all = true
		}
	default:
		tx.stale.grants.all, tx.stale.pools.all, tx.stale.clients.all, tx.stale.standings.all = true, true, true, true
	}
}

func clientSubject(pool, id string) string { return pool + "/" + id }

// commit commits tx. After an error, too, it may have happened.
func (db *DB) commit(tx *txn) error {
	db.delegated.begin(tx.stale.grants)
	db.pools.begin(tx.stale.pools)
	db.clients.begin(tx.stale.clients)
	db.standings.begin(tx.stale.standings)
	defer func() {
		db.delegated.end(tx.stale.grants)
		db.pools.end(tx.stale.pools)
		db.clients.end(tx.stale.clients)
		db.standings.end(tx.stale.standings)
	}()
	return tx.Commit()
}
