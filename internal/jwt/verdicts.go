package jwt

import (
	"crypto/sha256"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// The bounds of a [Verdicts].
const (
	verdictCount = 10_000 // tokens; about 10 MB of claims
	verdictAge   = time.Minute
)

// Verdicts remembers which tokens one verifier has accepted, so that an agent
// that calls a hundred times with one token pays for one signature check.
// Refusals are not remembered: a flood of bad tokens must not push out good
// ones. Tokens are kept as SHA-256 digests.
//
// A Verdicts belongs to exactly one pair of key set and Expect: the digest does
// not say what was expected of the token.
type Verdicts struct {
	now        func() time.Time
	generation atomic.Uint64
	cache      *otter.Cache[[sha256.Size]byte, verdict]
}

type verdict struct {
	claims     Claims
	until      time.Time
	generation uint64
}

// NewVerdicts returns an empty cache; a nil now means time.Now. It holds no
// goroutine and needs no closing.
func NewVerdicts(now func() time.Time) *Verdicts {
	if now == nil {
		now = time.Now
	}
	return &Verdicts{now: now, cache: otter.Must(&otter.Options[[sha256.Size]byte, verdict]{MaximumSize: verdictCount})}
}

// Verify returns the remembered claims of token, or else asks verify and
// remembers the claims until the token expires, at most for a minute. Claims that were remembered are shared: see [Claims].
func (v *Verdicts) Verify(token string, verify func(token string) (Claims, error)) (Claims, error) {
	digest := sha256.Sum256([]byte(token))
	now, generation := v.now(), v.generation.Load()
	if known, ok := v.cache.GetIfPresent(digest); ok && known.generation == generation && now.Before(known.until) {
		return known.claims, nil
	}
	claims, err := verify(token)
	if err != nil {
		return Claims{}, err
	}
	until := now.Add(verdictAge)
	if claims.ExpiresAt.Before(until) {
		until = claims.ExpiresAt // without the skew: an almost dead token is checked each time
	}
	v.cache.Set(digest, verdict{claims, until, generation})
	return claims, nil
}

// Forget drops all verdicts, also those that are being reached right now: after
// a signing key was withdrawn, no token that it signed is accepted from here on.
func (v *Verdicts) Forget() {
	v.generation.Add(1)
	v.cache.InvalidateAll()
}
