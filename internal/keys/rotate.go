package keys

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// The times of a rotation.
const (
	// Lead is how long a new key is published before it signs. A process goes on
	// with the keys that it has seen for a minute, and a published key set may be
	// kept for five: twice their sum leaves room for clocks that differ.
	Lead = 12 * time.Minute
	// Overlap is how long a key stays published after its successor has begun to
	// sign: the longest that a token may live, a day, and an hour for processes
	// and clocks that are late.
	Overlap = 25 * time.Hour
	// DefaultLifetime is after how long keys are rotated when nothing is said.
	DefaultLifetime = 90 * 24 * time.Hour
)

// KeyState says what a published signing key does.
type KeyState string

// The states of a published key.
const (
	Waiting KeyState = "waiting" // published, so that everybody knows it when it begins to sign
	Signs   KeyState = "signs"
	Former  KeyState = "former" // published until the last token that it signed has expired
)

// KeyStatus is what may be told of a published signing key.
type KeyStatus struct {
	ID             string
	Algorithm      string
	State          KeyState
	Created        time.Time
	SignsFrom      time.Time
	PublishedUntil time.Time // zero: it has no successor yet
}

// SigningKeys tells of the owner's published keys, oldest first.
func (r *Ring) SigningKeys(ctx context.Context, owner string) ([]KeyStatus, error) {
	published, err := r.published(ctx, owner)
	list := make([]KeyStatus, len(published))
	for i, k := range published {
		list[i] = r.status(published, k)
	}
	return list, err
}

func (r *Ring) status(published []SigningKey, k SigningKey) KeyStatus {
	s := KeyStatus{ID: k.ID, Algorithm: k.Algorithm, State: Former, Created: k.Created, SignsFrom: k.SignsFrom, PublishedUntil: k.PublishedUntil}
	if s.SignsFrom.IsZero() {
		s.SignsFrom = s.Created
	}
	now := r.now()
	switch i := signerOf(published, k.Algorithm, now); {
	case k.waits(now):
		s.State = Waiting
	case i >= 0 && published[i].ID == k.ID:
		s.State = Signs
	}
	return s
}

// Rotate gives the owner a new key for algorithm on behalf of c. The key is
// published at once and signs after [Lead]; those before it stay published for
// [Overlap] from then. If a key of that algorithm waits for its time already,
// that one is the answer and none is made, so that several replicas, or a
// hurried operator, never make two. The first key of an algorithm signs at once.
func (r *Ring) Rotate(ctx context.Context, c name.Caller, owner, algorithm string) (KeyStatus, error) {
	for range tries {
		published, err := r.published(ctx, owner)
		if err != nil {
			return KeyStatus{}, err
		}
		if i := newestOf(published, algorithm); i >= 0 && published[i].waits(r.now()) {
			return r.status(published, published[i]), nil
		}
		next := SigningKey{Owner: owner, Generation: nextGeneration(published), Algorithm: algorithm}
		var othersUntil time.Time
		if signerOf(published, algorithm, r.now()) >= 0 {
			next.SignsFrom = r.now().UTC().Truncate(time.Millisecond).Add(Lead)
			othersUntil = next.SignsFrom.Add(Overlap)
		}
		made, err := r.addSigning(ctx, c, next, othersUntil)
		if err == nil {
			return r.status(append(published, made), made), nil
		}
		if !fault.Is(err, fault.Conflict) {
			return KeyStatus{}, err
		}
	}
	return KeyStatus{}, contended(owner)
}

// newestOf returns the index of the newest key of algorithm, or -1.
func newestOf(published []SigningKey, algorithm string) int {
	for i := len(published) - 1; i >= 0; i-- {
		if published[i].Algorithm == algorithm {
			return i
		}
	}
	return -1
}

// RotateDue rotates those of the owner's algorithms whose newest key was made
// lifetime ago or earlier. It is called now and then, by every replica.
func (r *Ring) RotateDue(ctx context.Context, owner string, lifetime time.Duration) error {
	published, err := r.published(ctx, owner)
	if err != nil {
		return err
	}
	for i, k := range published {
		if newestOf(published, k.Algorithm) != i || r.now().Sub(k.Created) < lifetime {
			continue
		}
		if _, err := r.Rotate(ctx, name.Caller{Kind: name.System}, owner, k.Algorithm); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the keys of all owners that are no longer published.
func (r *Ring) Sweep(ctx context.Context) error {
	p, err := r.guard.Allow(ctx, name.Caller{Kind: name.System}, ActionSweepSigningKeys, SweepResource())
	if err != nil {
		return err
	}
	return r.store.SweepSigningKeys(ctx, p, r.now())
}

// SweepResource is what guard permits about sweeping.
func SweepResource() guard.Resource { return guard.Resource{Kind: "signingkey"} }
