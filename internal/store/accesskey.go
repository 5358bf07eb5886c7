package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/accesskey"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

// AccessKeys keeps the access keys of workloads; it implements [accesskey.Store].
type AccessKeys struct{ DB *DB }

const accessKeyColumns = `id, pool, workload, name, sealed, created, expires, used`

func scanAccessKey(k *accesskey.Key) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&k.ID, &k.Workload.Pool, &k.Workload.Name, &k.Name, &k.Sealed, timeMS{&k.Created}, timeMS{&k.Expires}, timeMS{&k.Used})
	}
}

// AddAccessKey implements [accesskey.Store].
func (s AccessKeys) AddAccessKey(ctx context.Context, p guard.Permit, k accesskey.Key) error {
	return s.DB.change(ctx, p, accesskey.ActionCreate, accesskey.Resource(k.Workload.Pool, k.ID), func(ctx context.Context, tx *txn) error {
		// Writing to the workload's row makes those who add a key wait for each other, so that the count holds.
		if err := must(ctx, tx, workload.NotFound(k.Workload, nil), `UPDATE workloads SET version = version WHERE pool = $1 AND name = $2`, k.Workload.Pool, k.Workload.Name); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM access_keys WHERE pool = $1 AND workload = $2`, k.Workload.Pool, k.Workload.Name).Scan(&n); err != nil {
			return err
		}
		if n >= accesskey.MaxKeys {
			return accesskey.Full()
		}
		return must(ctx, tx, accesskey.Exists(k.Name), `INSERT INTO access_keys (`+accessKeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			k.ID, k.Workload.Pool, k.Workload.Name, k.Name, k.Sealed, ms(k.Created), ms(k.Expires), ms(k.Used))
	})
}

// AccessKey implements [accesskey.Store].
func (s AccessKeys) AccessKey(ctx context.Context, id string) (accesskey.Key, error) {
	var k accesskey.Key
	err := row(ctx, s.DB.read, accesskey.NotFound(id), scanAccessKey(&k), `SELECT `+accessKeyColumns+` FROM access_keys WHERE id = $1`, id)
	return k, err
}

// AccessKeys implements [accesskey.Store].
func (s AccessKeys) AccessKeys(ctx context.Context, w name.Workload) ([]accesskey.Key, error) {
	var list []accesskey.Key
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var k accesskey.Key
		err := scanAccessKey(&k)(sc)
		list = append(list, k)
		return err
	}, `SELECT `+accessKeyColumns+` FROM access_keys WHERE pool = $1 AND workload = $2 ORDER BY name`, w.Pool, w.Name)
	return list, err
}

// UseAccessKey implements [accesskey.Store].
func (s AccessKeys) UseAccessKey(ctx context.Context, id string, signature secret.Hash, at, until time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		// The row is held from here on, so that of two requests with one signature the second finds it.
		if err := must(ctx, tx, accesskey.NotFound(id), `UPDATE access_keys SET used = $1 WHERE id = $2`, ms(at), id); err != nil {
			return err
		}
		if signature == (secret.Hash{}) {
			return nil
		}
		if _, err := exec(ctx, tx, `DELETE FROM access_key_uses WHERE access_key = $1 AND until <= $2`, id, ms(at)); err != nil {
			return err
		}
		return must(ctx, tx, accesskey.Replayed(), `INSERT INTO access_key_uses (access_key, signature, until) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id, signature.String(), ms(until))
	})
}

// DeleteAccessKey implements [accesskey.Store].
func (s AccessKeys) DeleteAccessKey(ctx context.Context, p guard.Permit, w name.Workload, id string) error {
	return s.DB.change(ctx, p, accesskey.ActionDelete, accesskey.Resource(w.Pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, accesskey.NotFound(id), `DELETE FROM access_keys WHERE pool = $1 AND workload = $2 AND id = $3`, w.Pool, w.Name, id)
	})
}
