package store

import (
	"context"
	"database/sql"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// optional is an id that may be NULL in a foreign key.
func optional(id string) sql.NullString { return sql.NullString{String: id, Valid: id != ""} }

// UsersByEmail implements [userpool.Proofs].
func (s UserPools) UsersByEmail(ctx context.Context, pool, email string, limit int) ([]userpool.User, error) {
	return s.userList(ctx, `SELECT `+userColumns+` FROM users WHERE pool = $1 AND lower(email) = $2 ORDER BY login_name LIMIT $3`, pool, userpool.EmailKey(email), limit)
}

// PutProof implements [userpool.Proofs].
func (s UserPools) PutProof(ctx context.Context, p guard.Permit, v userpool.Proof) error {
	purpose, subject := v.Key()
	return s.DB.change(ctx, p, userpool.ActionPutProof, v.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, v.Pool); err != nil {
			return err
		}
		if v.UserID != "" {
			if err := lockUser(ctx, tx, v.Pool, v.UserID); err != nil {
				return err
			}
		}
		_, err := exec(ctx, tx,
			`INSERT INTO proofs (pool, purpose, subject, hash, id, user_id, email, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			 ON CONFLICT (pool, purpose, subject) DO UPDATE SET hash = excluded.hash, id = excluded.id, email = excluded.email, created = excluded.created, expires = excluded.expires`,
			v.Pool, purpose, subject, v.Hash.String(), v.ID, optional(v.UserID), v.Email, ms(v.CreatedAt), ms(v.ExpiresAt))
		return err
	})
}

// Proof implements [userpool.Proofs].
func (s UserPools) Proof(ctx context.Context, pool string, hash secret.Hash) (userpool.Proof, error) {
	v := userpool.Proof{Pool: pool, Hash: hash}
	err := row(ctx, s.DB.read, userpool.NotFound("proof", ""), func(sc scanner) error {
		var user sql.NullString
		err := sc.Scan(&v.ID, &v.Purpose, &user, &v.Email, timeMS{&v.CreatedAt}, timeMS{&v.ExpiresAt})
		v.UserID = user.String
		return err
	}, `SELECT id, purpose, user_id, email, created, expires FROM proofs WHERE hash = $1 AND pool = $2`, hash.String(), pool)
	return v, err
}

// UseProof implements [userpool.Proofs].
func (s UserPools) UseProof(ctx context.Context, p guard.Permit, v userpool.Proof, u userpool.User) error {
	return s.DB.change(ctx, p, v.Purpose.Action(), u.Resource(), func(ctx context.Context, tx *txn) error {
		if err := must(ctx, tx, userpool.ProofUsed(), `DELETE FROM proofs WHERE pool = $1 AND hash = $2 AND purpose = $3`, v.Pool, v.Hash.String(), string(v.Purpose)); err != nil {
			return err
		}
		if v.Purpose == userpool.SignUp {
			return insertUser(ctx, tx, u)
		}
		return updateUser(ctx, tx, p, u)
	})
}
