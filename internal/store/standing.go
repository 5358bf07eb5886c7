package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/workload"
)

// RevokeTokens implements [workload.Store].
func (s Workloads) RevokeTokens(ctx context.Context, p guard.Permit, w name.Workload, since time.Time) error {
	return s.DB.change(ctx, p, workload.ActionRevokeTokens, workload.Resource(w), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, workload.NotFound(w, nil), `UPDATE workloads SET tokens_since = $1 WHERE pool = $2 AND name = $3`, ms(since), w.Pool, w.Name)
	})
}

// RevokeUserTokens implements [workload.Store].
func (s Workloads) RevokeUserTokens(ctx context.Context, p guard.Permit, u name.User, since, old time.Time) error {
	return s.DB.change(ctx, p, workload.ActionRevokeUserTokens, workload.UserTokensResource(u), func(ctx context.Context, tx *txn) error {
		if _, err := exec(ctx, tx, `DELETE FROM user_tokens WHERE since < $1`, ms(old)); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO user_tokens (issuer, subject, since) VALUES ($1, $2, $3)
			ON CONFLICT (issuer, subject) DO UPDATE SET since = excluded.since`, u.Issuer, u.Subject, ms(since))
		return err
	})
}

// Standings says how it stands with tokens; it implements [workload.Standings].
type Standings struct {
	DB        *DB
	PublicURL string // of the identity service: its pools' users are known by their issuer
}

// standingKey is what a standing is asked of, and what it depends on besides
// workloads and revocations, each of which makes all of them be read again.
type standingKey struct {
	workload name.Workload
	user     name.User
	subject  string
}

// userSubject is what depends on a user of a pool.
func userSubject(pool, id string) string { return pool + "/" + id }

// findStandingText finds all in one look. Deleted workloads have no row.
const findStandingText = `SELECT w.disabled, w.created, w.tokens_since, u.disabled, t.since
	FROM workloads w LEFT JOIN users u ON u.pool = $3 AND u.id = $5 LEFT JOIN user_tokens t ON t.issuer = $4 AND t.subject = $5
	WHERE w.pool = $1 AND w.name = $2`

// Standing implements [workload.Standings].
func (s Standings) Standing(ctx context.Context, w name.Workload, u name.User) (time.Time, error) {
	pool, ours := userpool.PoolOfIssuer(s.PublicURL, u.Issuer)
	key := standingKey{w, u, userSubject(pool, u.Subject)}
	return s.DB.standings.find(key, func() (time.Time, error) {
		ctx, cancel := s.DB.bounded(ctx)
		defer cancel()
		var off bool
		var created, since int64
		var barred sql.NullBool
		var revoked sql.NullInt64
		err := s.DB.findStanding.QueryRowContext(ctx, w.Pool, w.Name, pool, u.Issuer, u.Subject).Scan(&off, &created, &since, &barred, &revoked)
		switch {
		case errors.Is(err, sql.ErrNoRows), unstorable(err), err == nil && off:
			return time.Time{}, workload.Gone(w)
		case err != nil:
			return time.Time{}, unavailable(err)
		case ours && (!barred.Valid || barred.Bool):
			return time.Time{}, workload.UserGone()
		}
		return time.UnixMilli(max(created, since, revoked.Int64)).UTC(), nil
	})
}
