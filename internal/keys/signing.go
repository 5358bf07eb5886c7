package keys

import (
	"context"
	"fmt"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// SigningKey is a private signing key as the store keeps it.
type SigningKey struct {
	Owner      string // "workload-tokens", "userpool/<name>": who signs with it
	Generation int64  // from 1; the greatest one signs, the others still verify
	ID         string // the JOSE "kid"
	Algorithm  string
	Sealed     []byte // PKCS #8
	Created    time.Time
}

func (k SigningKey) place() Place {
	return Place{Kind: "signingkey/" + k.Owner, Pool: name.DefaultPool, Record: k.ID, Version: k.Generation}
}

// Signing returns the owner's signing keys, oldest first: the last one signs.
// An owner without keys gets one of the given algorithm. Several replicas that
// ask at once all get the same key.
func (r *Ring) Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error) {
	stored, err := r.store.SigningKeys(ctx, owner)
	if err != nil {
		return nil, err
	}
	if len(stored) == 0 {
		if err := r.addSigning(ctx, owner, 1, algorithm); err != nil {
			return nil, err
		}
		if stored, err = r.store.SigningKeys(ctx, owner); err != nil {
			return nil, err
		}
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

func (r *Ring) addSigning(ctx context.Context, owner string, generation int64, algorithm string) error {
	k, err := jwt.Generate(algorithm)
	if err != nil {
		return err
	}
	der, err := k.Marshal()
	if err != nil {
		return err
	}
	stored := SigningKey{Owner: owner, Generation: generation, ID: k.ID, Algorithm: algorithm, Created: r.now()}
	plain := secret.New(der)
	defer plain.Clear()
	if stored.Sealed, err = r.Seal(ctx, stored.place(), plain); err != nil {
		return err
	}
	p, err := r.guard.Allow(ctx, name.Caller{Kind: name.System}, ActionCreateSigningKey, guard.Resource{Kind: "signingkey", Pool: owner, ID: k.ID})
	if err != nil {
		return err
	}
	err = r.store.AddSigningKey(ctx, p, stored)
	if fault.Is(err, fault.Conflict) {
		return nil // another replica made this generation; the caller reads it back
	}
	return err
}
