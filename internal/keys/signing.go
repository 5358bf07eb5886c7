package keys

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The owners of the keys for Deputy's own tokens. They are two, so that rotating
// one leaves the other alone.
const (
	WorkloadTokens = "workload-tokens"
	LaunchTokens   = "launch-tokens"
)

// SigningKey is a private signing key as the store keeps it. It is published
// from Created on.
type SigningKey struct {
	Owner          string // who signs with it: [WorkloadTokens], "userpool/<name>"
	Generation     int64  // from 1, in one row for all algorithms of the owner
	ID             string // the JOSE "kid"
	Algorithm      string
	Sealed         []byte // PKCS #8
	Created        time.Time
	SignsFrom      time.Time // zero: the first of its algorithm, which signs at once
	PublishedUntil time.Time // zero: it has no successor yet
}

func (k SigningKey) place() Place {
	return Place{Kind: "signingkey/" + k.Owner, Pool: name.DefaultPool, Record: k.ID, Version: k.Generation}
}

func (k SigningKey) resource() guard.Resource {
	return guard.Resource{Kind: "signingkey", Pool: k.Owner, ID: k.ID}
}

// waits reports whether k is published and does not sign yet.
func (k SigningKey) waits(now time.Time) bool { return now.Before(k.SignsFrom) }

// signerOf returns the index of the key that signs with algorithm: the newest
// one whose time has come. It is -1 if there is none.
func signerOf(list []SigningKey, algorithm string, now time.Time) int {
	for i, k := range slices.Backward(list) {
		if k.Algorithm == algorithm && !k.waits(now) {
			return i
		}
	}
	return -1
}

// tries bounds how often a change of the keys is begun again because another
// replica was faster. Each time, that one has made a key.
const tries = 8

// Signing returns the owner's published keys. The last one signs with the given
// algorithm; the others, of whatever algorithm, verify only: they have signed
// before, will sign later, or sign with another algorithm. An owner without a
// key of that algorithm gets one. Several replicas that ask at once all get the
// same keys.
//
// The answer is good for a minute; see [Lead].
func (r *Ring) Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error) {
	stored, err := r.ensure(ctx, owner, algorithm)
	if err != nil {
		return nil, err
	}
	list := make([]jwt.Key, 0, len(stored))
	for _, s := range stored {
		der, err := r.Open(ctx, s.place(), s.Sealed)
		if err != nil {
			return nil, err
		}
		k, err := jwt.ParseKey(s.ID, s.Algorithm, der.Reveal())
		der.Clear()
		if err != nil {
			return nil, fmt.Errorf("keys: signing key %s: %w", s.ID, err)
		}
		list = append(list, k)
	}
	return list, nil
}

// ensure returns the owner's published keys with the one that signs with
// algorithm at the end, and makes that one if there is none.
func (r *Ring) ensure(ctx context.Context, owner, algorithm string) ([]SigningKey, error) {
	for range tries {
		published, err := r.published(ctx, owner)
		if err != nil {
			return nil, err
		}
		if i := signerOf(published, algorithm, r.now()); i >= 0 {
			signer := published[i]
			return append(slices.Delete(published, i, i+1), signer), nil
		}
		// Nothing could sign until it is known everywhere, so it signs at once.
		first := SigningKey{Owner: owner, Generation: nextGeneration(published), Algorithm: algorithm}
		if _, err := r.addSigning(ctx, name.Caller{Kind: name.System}, first, time.Time{}); err != nil && !fault.Is(err, fault.Conflict) {
			return nil, err
		}
	}
	return nil, contended(owner)
}

// published returns the owner's keys that are not past their time, oldest first.
func (r *Ring) published(ctx context.Context, owner string) ([]SigningKey, error) {
	stored, err := r.store.SigningKeys(ctx, owner)
	now := r.now()
	return slices.DeleteFunc(stored, func(k SigningKey) bool {
		return !k.PublishedUntil.IsZero() && !now.Before(k.PublishedUntil)
	}), err
}

// nextGeneration follows the newest key, which is always a published one: keys
// end only after their successor has begun to sign.
func nextGeneration(published []SigningKey) int64 {
	if len(published) == 0 {
		return 1
	}
	return published[len(published)-1].Generation + 1
}

func contended(owner string) error {
	return fault.New(fault.Unavailable, "signingkey_contended", "the signing keys of %q change all the time", owner).WithFix("try again")
}

// addSigning fills k with a fresh key and adds it on behalf of c; the owner's
// other keys of its algorithm are published until the time given. A fault of
// kind Conflict says that another replica made this generation.
func (r *Ring) addSigning(ctx context.Context, c name.Caller, k SigningKey, othersUntil time.Time) (SigningKey, error) {
	made, err := jwt.Generate(k.Algorithm)
	if err != nil {
		return SigningKey{}, err
	}
	der, err := made.Marshal()
	if err != nil {
		return SigningKey{}, err
	}
	plain := secret.New(der)
	defer plain.Clear()
	k.ID, k.Created = made.ID, r.now().UTC().Truncate(time.Millisecond)
	if k.Sealed, err = r.Seal(ctx, k.place(), plain); err != nil {
		return SigningKey{}, err
	}
	p, err := r.guard.Allow(ctx, c, ActionCreateSigningKey, k.resource())
	if err != nil {
		return SigningKey{}, err
	}
	return k, r.store.AddSigningKey(ctx, p.Detail(map[string]string{"algorithm": k.Algorithm}), k, othersUntil)
}
