package jwt

import (
	"crypto/sha256"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// The bounds of a [Verdicts].
const (
	verdictCount = 10_000 // tokens; about 10 MB
	verdictAge   = time.Minute
)

// Verdicts remembers which tokens one verifier has accepted, so that an agent
// that calls a hundred times with one token pays for one signature check.
// Refusals are not remembered: a flood of bad tokens must not push out good
// ones. Tokens are kept as SHA-256 digests.
//
// T is what an accepted token stands for: its [Claims], or what was made of them.
//
// A Verdicts belongs to exactly one pair of key set and Expect: the digest does
// not say what was expected of the token.
type Verdicts[T any] struct {
	now        func() time.Time
	generation atomic.Uint64
	cache      *otter.Cache[[sha256.Size]byte, verdict[T]]
}

type verdict[T any] struct {
	value      T
	until      time.Time
	generation uint64
}

// NewVerdicts returns an empty cache; a nil now means time.Now. It holds no
// goroutine and needs no closing.
func NewVerdicts[T any](now func() time.Time) *Verdicts[T] {
	if now == nil {
		now = time.Now
	}
	return &Verdicts[T]{now: now, cache: otter.Must(&otter.Options[[sha256.Size]byte, verdict[T]]{MaximumSize: verdictCount})}
}

// Verify returns what is remembered of token, or else asks verify, which also
// says when the token expires, and remembers its answer until then, at most for
// a minute. What is remembered is shared and must not be changed.
func (v *Verdicts[T]) Verify(token string, verify func(token string) (value T, expires time.Time, err error)) (T, error) {
	digest := sha256.Sum256([]byte(token))
	now, generation := v.now(), v.generation.Load()
	if known, ok := v.cache.GetIfPresent(digest); ok && known.generation == generation && now.Before(known.until) {
		return known.value, nil
	}
	value, expires, err := verify(token)
	if err != nil {
		var none T
		return none, err
	}
	until := now.Add(verdictAge)
	if expires.Before(until) {
		until = expires // without the skew: an almost dead token is checked each time
	}
	v.cache.Set(digest, verdict[T]{value, until, generation})
	return value, nil
}

// Until adds to the answer of a verification when its token expires: what
// [Verdicts.Verify] wants of a verifier of claims.
func Until(c Claims, err error) (Claims, time.Time, error) { return c, c.ExpiresAt, err }

// Forget drops all verdicts, also those that are being reached right now: after
// a signing key was withdrawn, no token that it signed is accepted from here on.
func (v *Verdicts[T]) Forget() {
	v.generation.Add(1)
	v.cache.InvalidateAll()
}
