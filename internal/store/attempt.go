package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
)

// Attempts keeps logins that are under way; it implements [signin.Attempts].
type Attempts struct{ DB *DB }

// nullable is a text that is stored as null if it is empty.
func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// BeginAttempt implements [signin.Attempts].
func (s Attempts) BeginAttempt(ctx context.Context, p guard.Permit, a signin.Attempt) error {
	methods, err := toJSON(a.Methods)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, signin.ActionBegin, a.Resource(), func(ctx context.Context, tx *txn) error {
		// Neither user nor pool goes meanwhile; while nobody is known, the pool alone.
		lock := func() error { return lockUserPool(ctx, tx, a.Pool) }
		if a.UserID != "" {
			lock = func() error { return lockUser(ctx, tx, a.Pool, a.UserID) }
		}
		if err := lock(); err != nil {
			return err
		}
		return must(ctx, tx, signin.AttemptGone(),
			`INSERT INTO login_attempts (token_hash, id, pool, user_id, methods, challenge, tries, created, expires, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1) ON CONFLICT DO NOTHING`,
			a.TokenHash.String(), a.ID, a.Pool, nullable(a.UserID), methods, a.Challenge, a.Tries, ms(a.CreatedAt), ms(a.ExpiresAt))
	})
}

// Attempt implements [signin.Attempts].
func (s Attempts) Attempt(ctx context.Context, pool string, tokenHash secret.Hash) (signin.Attempt, error) {
	a := signin.Attempt{Pool: pool, TokenHash: tokenHash}
	var user sql.NullString
	err := row(ctx, s.DB.read, signin.AttemptGone(), func(sc scanner) error {
		return sc.Scan(&a.ID, &user, jsonText{&a.Methods}, &a.Challenge, &a.Tries, timeMS{&a.CreatedAt}, timeMS{&a.ExpiresAt}, &a.Version)
	}, `SELECT id, user_id, methods, challenge, tries, created, expires, version FROM login_attempts WHERE token_hash = $1 AND pool = $2`, tokenHash.String(), pool)
	a.UserID = user.String
	return a, err
}

// TryAttempt implements [signin.Attempts].
func (s Attempts) TryAttempt(ctx context.Context, p guard.Permit, a signin.Attempt, next []byte) error {
	return s.DB.change(ctx, p, signin.ActionTry, a.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, signin.AttemptGone(),
			`UPDATE login_attempts SET challenge = $1, tries = tries + 1, version = version + 1 WHERE pool = $2 AND id = $3 AND version = $4`,
			next, a.Pool, a.ID, a.Version)
	})
}

// EndAttempt implements [signin.Attempts].
func (s Attempts) EndAttempt(ctx context.Context, p guard.Permit, a signin.Attempt) error {
	return s.DB.change(ctx, p, signin.ActionEnd, a.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, signin.AttemptGone(), `DELETE FROM login_attempts WHERE pool = $1 AND id = $2`, a.Pool, a.ID)
	})
}

// SweepAttempts implements [signin.Attempts].
func (s Attempts) SweepAttempts(ctx context.Context, p guard.Permit, t time.Time) (int, error) {
	return s.DB.sweep(ctx, p, signin.ActionSweep, signin.SweepResource(), func(ctx context.Context, tx *txn) (int64, error) {
		return exec(ctx, tx, `DELETE FROM login_attempts WHERE expires < $1`, ms(t))
	})
}
