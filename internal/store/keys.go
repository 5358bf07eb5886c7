package store

import (
	"context"
	"fmt"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
)

// Keys keeps wrapped and sealed keys; it implements [keys.Store].
type Keys struct{ DB *DB }

// DataKeys implements [keys.Store].
func (s Keys) DataKeys(ctx context.Context) ([]keys.DataKey, error) {
	var list []keys.DataKey
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var k keys.DataKey
		err := sc.Scan(&k.Pool, &k.Version, &k.Wrapped, timeMS{&k.Created})
		list = append(list, k)
		return err
	}, `SELECT pool, version, wrapped, created FROM data_keys ORDER BY pool, version`)
	return list, err
}

// AddDataKey implements [keys.Store].
func (s Keys) AddDataKey(ctx context.Context, p guard.Permit, k keys.DataKey) error {
	r := guard.Resource{Kind: "datakey", Pool: k.Pool, ID: fmt.Sprint(k.Version)}
	return s.DB.change(ctx, p, keys.ActionCreateDataKey, r, func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "datakey_exists", "version %d of the data key of %q exists", k.Version, k.Pool),
			`INSERT INTO data_keys (pool, version, wrapped, created) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			k.Pool, k.Version, k.Wrapped, ms(k.Created))
	})
}

// SigningKeys implements [keys.Store].
func (s Keys) SigningKeys(ctx context.Context, owner string) ([]keys.SigningKey, error) {
	var list []keys.SigningKey
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		k := keys.SigningKey{Owner: owner}
		err := sc.Scan(&k.Generation, &k.ID, &k.Algorithm, &k.Sealed, timeMS{&k.Created})
		list = append(list, k)
		return err
	}, `SELECT generation, id, algorithm, sealed, created FROM signing_keys WHERE owner = $1 ORDER BY generation`, owner)
	return list, err
}

// AddSigningKey implements [keys.Store].
func (s Keys) AddSigningKey(ctx context.Context, p guard.Permit, k keys.SigningKey) error {
	r := guard.Resource{Kind: "signingkey", Pool: k.Owner, ID: k.ID}
	return s.DB.change(ctx, p, keys.ActionCreateSigningKey, r, func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "signingkey_exists", "generation %d of the signing key of %q exists", k.Generation, k.Owner),
			`INSERT INTO signing_keys (owner, generation, id, algorithm, sealed, created) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			k.Owner, k.Generation, k.ID, k.Algorithm, k.Sealed, ms(k.Created))
	})
}
