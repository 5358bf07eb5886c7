package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
)

// sealedColumn says where sealed records are and which place each is sealed for.
// A wrong place does no harm: the record does not open, and stays as it is.
type sealedColumn struct {
	table, column string
	// The fields of the row's [keys.Place], in SQL.
	kind, pool, provider, issuer, subject, record, version string
}

func (c sealedColumn) name() string { return c.table + "." + c.column }

// sealedColumns are all columns that hold sealed records. A test compares them
// with the schema: what is missing here would be lost when data keys rotate.
var sealedColumns = []sealedColumn{
	{"signing_keys", "sealed", `'signingkey/' || owner`, `'default'`, `''`, `''`, `''`, `id`, `generation`},
	{"providers", "sealed_secret", `'provider.secret'`, `pool`, `name`, `''`, `''`, `id`, `version`},
	{"grants", "sealed", `'grant.tokens'`, `pool`, `provider`, `issuer`, `subject`, `id`, `version`},
	{"revocations", "sealed", `'grant.tokens'`, `pool`, `provider`, `issuer`, `subject`, `grant_id`, `version`},
	{"former_providers", "sealed_secret", `'provider.secret'`, `pool`, `name`, `''`, `''`, `id`, `version`},
	{"webhooks", "sealed", `'webhook.secret'`, `pool`, `''`, `''`, `''`, `id`, `0`},
	{"attestors", "sealed", `'attestor.reviewer'`, `pool`, `''`, `''`, `''`, `id`, `version`},
	{"access_keys", "sealed", `'access-key.secret'`, `pool`, `''`, `''`, `''`, `id`, `0`},
	{"authorizations", "sealed", `'authorization'`, `pool`, `provider`, `issuer`, `subject`, `id`, `0`},
	{"consent_devices", "sealed", `'authorization.device'`, `pool`, `provider`, `issuer`, `subject`, `authorization_id`, `0`},
	{"trials", "sealed", `'trial'`, `pool`, `provider`, `''`, `''`, `id`, `0`},
	{"factors", "sealed_seed", `'factor.seed'`, `'userpool/' || pool`, `''`, `''`, `user_id`, `id`, `1`},
	{"identity_providers", "sealed_secret", `'idp.secret'`, `'userpool/' || pool`, `''`, `''`, `''`, `id`, `version`},
	{"identity_logins", "sealed_verifier", `'idp.verifier'`, `'userpool/' || pool`, `''`, `''`, `''`, `id`, `0`},
}

// keyVersion is the data key's version within a sealed record: eight bytes, big
// endian, so that they sort as numbers do. Where nothing is sealed, as in a
// factor that is a passkey, there is none.
func (c sealedColumn) keyVersion() string { return `substr(` + c.column + `, 2, 8)` }

func (c sealedColumn) isSealed() string { return `length(` + c.column + `) > 8` }

// SealedColumns implements [keys.Store].
func (s Keys) SealedColumns() []string {
	list := make([]string, len(sealedColumns))
	for i, c := range sealedColumns {
		list[i] = c.name()
	}
	return list
}

func sealedIn(column string) (sealedColumn, error) {
	for _, c := range sealedColumns {
		if c.name() == column {
			return c, nil
		}
	}
	return sealedColumn{}, fault.New(fault.Internal, "sealed_column_unknown", "nothing is sealed in %q", column)
}

// SealedBefore implements [keys.Store].
func (s Keys) SealedBefore(ctx context.Context, column, pool string, version int64, after string, limit int) ([]keys.Sealed, error) {
	c, err := sealedIn(column)
	if err != nil {
		return nil, err
	}
	var list []keys.Sealed
	err = rows(ctx, s.DB.read, func(sc scanner) error {
		v := keys.Sealed{Column: column}
		p := &v.Place
		err := sc.Scan(&p.Kind, &p.Pool, &p.Provider, &p.User.Issuer, &p.User.Subject, &p.Record, &p.Version, &v.Bytes)
		list = append(list, v)
		return err
	}, fmt.Sprintf(`SELECT %s, %s, %s, %s, %s, %s, %s, %s FROM %s WHERE %s = $1 AND %s > $2 AND %s AND %s < $3 ORDER BY %s LIMIT $4`,
		c.kind, c.pool, c.provider, c.issuer, c.subject, c.record, c.version, c.column, c.table, c.pool, c.record, c.isSealed(), c.keyVersion(), c.record),
		pool, after, keys.VersionBytes(version), limit)
	return list, err
}

// Reseal implements [keys.Store].
func (s Keys) Reseal(ctx context.Context, p guard.Permit, pool string, version int64, changes []keys.Resealed) (int, error) {
	done := 0
	err := s.DB.change(ctx, p, keys.ActionReseal, keys.DataKeyResource(pool, version), func(ctx context.Context, tx *txn) error {
		done = 0
		for _, change := range changes {
			c, err := sealedIn(change.Column)
			if err != nil {
				return err
			}
			n, err := exec(ctx, tx, fmt.Sprintf(`UPDATE %s SET %s = $1 WHERE %s = $2 AND %s = $3`, c.table, c.column, c.record, c.column),
				change.New, change.Place.Record, change.Bytes)
			if err != nil {
				return err
			}
			done += int(n)
			if c.table == "grants" {
				tx.regrant(change.Place.Record)
			}
		}
		return nil
	})
	return done, err
}

// SealedCounts implements [keys.Store].
func (s Keys) SealedCounts(ctx context.Context) (map[keys.DataKeyID]int, error) {
	counts := map[keys.DataKeyID]int{}
	each := make([]string, len(sealedColumns))
	for i, c := range sealedColumns {
		each[i] = fmt.Sprintf(`SELECT %s AS pool, %s AS version, COUNT(*) AS records FROM %s WHERE %s GROUP BY 1, 2`, c.pool, c.keyVersion(), c.table, c.isSealed())
	}
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var pool string
		var version []byte
		var records int
		err := sc.Scan(&pool, &version, &records)
		counts[keys.DataKeyID{Pool: pool, Version: keys.ParseVersion(version)}] += records
		return err
	}, strings.Join(each, ` UNION ALL `))
	return counts, err
}

// RewrapDataKey implements [keys.Store].
func (s Keys) RewrapDataKey(ctx context.Context, p guard.Permit, k keys.DataKey, former []byte) error {
	return s.DB.change(ctx, p, keys.ActionRewrapDataKey, keys.DataKeyResource(k.Pool, k.Version), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "datakey_changed", "version %d of the data key of %q was wrapped anew by somebody else", k.Version, k.Pool),
			`UPDATE data_keys SET wrapped = $1, root = $2 WHERE pool = $3 AND version = $4 AND wrapped = $5`, k.Wrapped, k.Root, k.Pool, k.Version, former)
	})
}

// RemoveDataKey implements [keys.Store].
func (s Keys) RemoveDataKey(ctx context.Context, p guard.Permit, pool string, version int64) error {
	return s.DB.change(ctx, p, keys.ActionRemoveDataKey, keys.DataKeyResource(pool, version), func(ctx context.Context, tx *txn) error {
		for _, c := range sealedColumns {
			var found bool
			if err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&found) },
				fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM %s WHERE %s = $1 AND %s AND %s = $2)`, c.table, c.pool, c.isSealed(), c.keyVersion()),
				pool, keys.VersionBytes(version)); err != nil {
				return err
			}
			if found {
				return fault.New(fault.Conflict, "datakey_used", "version %d of the data key of %q still seals records in %s", version, pool, c.name())
			}
		}
		return must(ctx, tx, fault.New(fault.NotFound, "datakey_not_found", "there is no version %d of the data key of %q", version, pool),
			`DELETE FROM data_keys WHERE pool = $1 AND version = $2`, pool, version)
	})
}
