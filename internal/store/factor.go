package store

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
)

// Factors keeps second factors and recovery codes; it implements
// [factor.Stores].
type Factors struct{ DB *DB }

const factorColumns = `pool, id, user_id, kind, name, sealed_seed, credential_id, credential, counter, created, last_used`

func scanFactor(f *factor.Factor) func(scanner) error {
	return func(sc scanner) error {
		var credentialID string
		err := sc.Scan(&f.Owner.Pool, &f.ID, &f.Owner.UserID, &f.Kind, &f.Name, &f.SealedSeed, &credentialID, jsonText{&f.Credential}, &f.Counter,
			timeMS{&f.CreatedAt}, timeMS{&f.LastUsedAt})
		if err == nil && credentialID != "" {
			f.Credential.ID, err = base64.RawURLEncoding.DecodeString(credentialID)
		}
		return err
	}
}

// AddFactor implements [factor.Store].
func (s Factors) AddFactor(ctx context.Context, p guard.Permit, f factor.Factor) error {
	credential, err := toJSON(f.Credential)
	if err != nil {
		return err
	}
	seed := f.SealedSeed
	if seed == nil {
		seed = []byte{} // a null would not be stored
	}
	return s.DB.change(ctx, p, factor.ActionAdd, f.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUser(ctx, tx, f.Owner.Pool, f.Owner.UserID); err != nil {
			return err
		}
		return must(ctx, tx, factor.Exists(f.Kind),
			`INSERT INTO factors (`+factorColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`,
			f.Owner.Pool, f.ID, f.Owner.UserID, string(f.Kind), f.Name, seed, f.Credential.Key(), credential, f.Counter, ms(f.CreatedAt), ms(f.LastUsedAt))
	})
}

// Factors implements [factor.Store].
func (s Factors) Factors(ctx context.Context, o factor.Owner) ([]factor.Factor, error) {
	var list []factor.Factor
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var f factor.Factor
		err := scanFactor(&f)(sc)
		list = append(list, f)
		return err
	}, `SELECT `+factorColumns+` FROM factors WHERE pool = $1 AND user_id = $2 ORDER BY created, id`, o.Pool, o.UserID)
	return list, err
}

// PasskeyOf implements [factor.Store].
func (s Factors) PasskeyOf(ctx context.Context, pool string, credentialID []byte) (factor.Factor, error) {
	var f factor.Factor
	err := row(ctx, s.DB.read, factor.NotFound(), scanFactor(&f),
		`SELECT `+factorColumns+` FROM factors WHERE pool = $1 AND credential_id = $2 AND kind = 'passkey'`, pool, factor.Credential{ID: credentialID}.Key())
	return f, err
}

// UseFactor implements [factor.Store].
func (s Factors) UseFactor(ctx context.Context, p guard.Permit, f factor.Factor, was int64) error {
	return s.DB.change(ctx, p, factor.ActionUse, f.Resource(), func(ctx context.Context, tx *txn) error {
		n, err := exec(ctx, tx, `UPDATE factors SET counter = $1, last_used = $2 WHERE pool = $3 AND id = $4 AND user_id = $5 AND counter = $6`,
			f.Counter, ms(f.LastUsedAt), f.Owner.Pool, f.ID, f.Owner.UserID, was)
		if err != nil || n > 0 {
			return err
		}
		var there int64
		if err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&there) },
			`SELECT COUNT(*) FROM factors WHERE pool = $1 AND id = $2 AND user_id = $3`, f.Owner.Pool, f.ID, f.Owner.UserID); err != nil {
			return err
		}
		if there == 0 {
			return factor.NotFound()
		}
		return factor.Used()
	})
}

// RenameFactor implements [factor.Store].
func (s Factors) RenameFactor(ctx context.Context, p guard.Permit, f factor.Factor) error {
	return s.DB.change(ctx, p, factor.ActionRename, f.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, factor.NotFound(), `UPDATE factors SET name = $1 WHERE pool = $2 AND id = $3 AND user_id = $4`, f.Name, f.Owner.Pool, f.ID, f.Owner.UserID)
	})
}

// RemoveFactor implements [factor.Store].
func (s Factors) RemoveFactor(ctx context.Context, p guard.Permit, f factor.Factor) error {
	return s.DB.change(ctx, p, factor.ActionRemove, f.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, factor.NotFound(), `DELETE FROM factors WHERE pool = $1 AND id = $2 AND user_id = $3`, f.Owner.Pool, f.ID, f.Owner.UserID)
	})
}

// ResetFactors implements [factor.Store].
func (s Factors) ResetFactors(ctx context.Context, p guard.Permit, o factor.Owner) error {
	return s.DB.change(ctx, p, factor.ActionReset, o.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUser(ctx, tx, o.Pool, o.UserID); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, `DELETE FROM factors WHERE pool = $1 AND user_id = $2`, o.Pool, o.UserID); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `DELETE FROM recovery_codes WHERE pool = $1 AND user_id = $2`, o.Pool, o.UserID)
		return err
	})
}

// SetRecovery implements [factor.Recovery].
func (s Factors) SetRecovery(ctx context.Context, p guard.Permit, o factor.Owner, hashes []secret.Hash) error {
	return s.DB.change(ctx, p, factor.ActionSetRecovery, o.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUser(ctx, tx, o.Pool, o.UserID); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, `DELETE FROM recovery_codes WHERE pool = $1 AND user_id = $2`, o.Pool, o.UserID); err != nil {
			return err
		}
		for _, h := range hashes {
			if _, err := exec(ctx, tx, `INSERT INTO recovery_codes (pool, user_id, hash, used) VALUES ($1, $2, $3, 0)`, o.Pool, o.UserID, h.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// RecoveryLeft implements [factor.Recovery].
func (s Factors) RecoveryLeft(ctx context.Context, o factor.Owner) (int, error) {
	var n int
	err := row(ctx, s.DB.read, nil, func(sc scanner) error { return sc.Scan(&n) },
		`SELECT COUNT(*) FROM recovery_codes WHERE pool = $1 AND user_id = $2 AND used = 0`, o.Pool, o.UserID)
	return n, err
}

// UseRecovery implements [factor.Recovery].
func (s Factors) UseRecovery(ctx context.Context, p guard.Permit, o factor.Owner, hash secret.Hash, at time.Time) error {
	return s.DB.change(ctx, p, factor.ActionUseRecovery, o.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, factor.NotFound(), `UPDATE recovery_codes SET used = $1 WHERE pool = $2 AND user_id = $3 AND hash = $4 AND used = 0`,
			ms(at), o.Pool, o.UserID, hash.String())
	})
}
