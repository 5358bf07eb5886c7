package op

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
)

// keysLife is how long a process goes on with the keys that it has seen, and so
// how long a key must be published before it signs.
const keysLife = time.Minute

// poolKeys keeps the opened signing keys of the pools at hand. There are as
// many entries as pools: who asks has found the pool.
type poolKeys struct {
	keys   Keys
	now    func() time.Time
	mu     sync.Mutex
	byPool map[string]cachedKeys
}

type cachedKeys struct {
	signers map[string]jwt.Key // by algorithm, those that were asked for
	set     jwt.Set
	until   time.Time
}

// signer returns the key that signs the client's tokens, with the algorithm
// that the client is pinned to, or the pool's.
func (k *poolKeys) signer(ctx context.Context, pool userpool.Pool, client userpool.Client) (jwt.Key, error) {
	algorithm := cmp.Or(client.Algorithm, pool.Settings.Algorithm)
	keys, err := k.of(ctx, pool, algorithm)
	return keys.signers[algorithm], err
}

// set returns what the tokens of the pool are verified with.
func (k *poolKeys) set(ctx context.Context, pool userpool.Pool) (jwt.Set, error) {
	keys, err := k.of(ctx, pool, pool.Settings.Algorithm)
	return keys.set, err
}

// of returns the pool's keys, with one of the algorithm among them.
func (k *poolKeys) of(ctx context.Context, pool userpool.Pool, algorithm string) (cachedKeys, error) {
	now := k.now()
	k.mu.Lock()
	cached, ok := k.byPool[pool.Name]
	k.mu.Unlock()
	fresh := ok && now.Before(cached.until)
	if _, has := cached.signers[algorithm]; fresh && has {
		return cached, nil
	}
	list, err := k.keys.Signing(ctx, userpool.KeyOwner(pool.Name), algorithm)
	if err != nil {
		return cachedKeys{}, err
	}
	next := cachedKeys{signers: map[string]jwt.Key{algorithm: list[len(list)-1]}, set: jwt.NewSet(list...), until: now.Add(keysLife)}
	if fresh { // the keys of other algorithms stay no longer than they would have
		next.until = cached.until
		maps.Copy(next.signers, cached.signers)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byPool[pool.Name] = next
	return next, nil
}

// published is the key set of a pool (RFC 7517, section 5).
type published struct{ keys *poolKeys }

func (e published) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	set, err := e.keys.set(r.Context(), pool)
	if err != nil {
		return err
	}
	publicJSON(w, "application/jwk-set+json", set.JWKS())
	return nil
}
