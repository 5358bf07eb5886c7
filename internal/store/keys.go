package store

import (
	"context"
	"time"

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
		err := sc.Scan(&k.Pool, &k.Version, &k.Wrapped, &k.Root, timeMS{&k.Created})
		list = append(list, k)
		return err
	}, `SELECT pool, version, wrapped, root, created FROM data_keys ORDER BY pool, version`)
	return list, err
}

// AddDataKey implements [keys.Store].
func (s Keys) AddDataKey(ctx context.Context, p guard.Permit, k keys.DataKey) error {
	return s.DB.change(ctx, p, keys.ActionCreateDataKey, keys.DataKeyResource(k.Pool, k.Version), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "datakey_exists", "version %d of the data key of %q exists", k.Version, k.Pool),
			`INSERT INTO data_keys (pool, version, wrapped, root, created) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			k.Pool, k.Version, k.Wrapped, k.Root, ms(k.Created))
	})
}

const signingKeyColumns = `generation, id, algorithm, sealed, created, signs_from, published_until`

// SigningKeys implements [keys.Store].
func (s Keys) SigningKeys(ctx context.Context, owner string) ([]keys.SigningKey, error) {
	var list []keys.SigningKey
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		k := keys.SigningKey{Owner: owner}
		err := sc.Scan(&k.Generation, &k.ID, &k.Algorithm, &k.Sealed, timeMS{&k.Created}, timeMS{&k.SignsFrom}, timeMS{&k.PublishedUntil})
		list = append(list, k)
		return err
	}, `SELECT `+signingKeyColumns+` FROM signing_keys WHERE owner = $1 ORDER BY generation`, owner)
	return list, err
}

// AddSigningKey implements [keys.Store].
func (s Keys) AddSigningKey(ctx context.Context, p guard.Permit, k keys.SigningKey, othersUntil time.Time) error {
	r := guard.Resource{Kind: "signingkey", Pool: k.Owner, ID: k.ID}
	return s.DB.change(ctx, p, keys.ActionCreateSigningKey, r, func(ctx context.Context, tx *txn) error {
		if _, err := exec(ctx, tx, `UPDATE signing_keys SET published_until = $1 WHERE owner = $2 AND algorithm = $3 AND published_until = 0`,
			ms(othersUntil), k.Owner, k.Algorithm); err != nil {
			return err
		}
		return must(ctx, tx, fault.New(fault.Conflict, "signingkey_exists", "generation %d of the signing key of %q exists", k.Generation, k.Owner),
			`INSERT INTO signing_keys (owner, `+signingKeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			k.Owner, k.Generation, k.ID, k.Algorithm, k.Sealed, ms(k.Created), ms(k.SignsFrom), ms(k.PublishedUntil))
	})
}

// SweepSigningKeys implements [keys.Store].
func (s Keys) SweepSigningKeys(ctx context.Context, p guard.Permit, t time.Time) error {
	if err := p.Check(keys.ActionSweepSigningKeys, keys.SweepResource()); err != nil {
		return err
	}
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		swept, err := exec(ctx, tx, `DELETE FROM signing_keys WHERE published_until <> 0 AND published_until < $1`, ms(t))
		if err != nil || swept == 0 {
			return err
		}
		return s.DB.appendAudit(ctx, tx, p.Entry())
	})
}
