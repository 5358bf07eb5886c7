package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

const familyColumns = `f.pool, f.id, f.client_id, f.user_id, f.session_id, f.offline, f.scopes, f.resources, f.auth_time, f.methods, f.created, f.expires, f.idle,
 f.ended, f.ending, f.head, f.advanced`

func familyFields(f *userpool.Family) []any {
	return []any{&f.Pool, &f.ID, &f.ClientID, &f.UserID, &f.SessionID, &f.Offline, scopesText{&f.Scopes}, jsonText{&f.Resources}, timeMS{&f.AuthTime}, jsonText{&f.Methods},
		timeMS{&f.CreatedAt}, timeMS{&f.ExpiresAt}, timeMS{&f.IdleExpiresAt}, timeMS{&f.EndedAt}, &f.Ending, &f.Head, timeMS{&f.AdvancedAt}}
}

// Family implements [userpool.Families].
func (s UserPools) Family(ctx context.Context, pool, id string) (userpool.Family, error) {
	var f userpool.Family
	err := row(ctx, s.DB.read, userpool.NotFound("family", id), func(sc scanner) error { return sc.Scan(familyFields(&f)...) },
		`SELECT `+familyColumns+` FROM families f WHERE f.pool = $1 AND f.id = $2`, pool, id)
	return f, err
}

// FamilyOf implements [userpool.Families].
func (s UserPools) FamilyOf(ctx context.Context, pool string, token secret.Hash) (userpool.Family, int64, error) {
	var f userpool.Family
	var generation int64
	err := row(ctx, s.DB.read, userpool.NotFound("family", ""), func(sc scanner) error { return sc.Scan(append(familyFields(&f), &generation)...) },
		`SELECT `+familyColumns+`, t.generation FROM refresh_tokens t JOIN families f ON f.pool = t.pool AND f.id = t.family WHERE t.hash = $1 AND t.pool = $2`,
		token.String(), pool)
	return f, generation, err
}

// beginFamily adds a family and its first refresh token. The caller's
// transaction keeps user and client from being deleted until it ends.
func beginFamily(ctx context.Context, tx *txn, b userpool.Beginning) error {
	f := b.Family
	resources, err := toJSON(f.Resources)
	if err != nil {
		return err
	}
	methods, err := toJSON(f.Methods)
	if err != nil {
		return err
	}
	err = must(ctx, tx, userpool.Exists("family", f.ID),
		`INSERT INTO families (pool, id, client_id, user_id, session_id, offline, scopes, resources, auth_time, methods, created, expires, idle, ended, ending, head, advanced)
		 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT DO NOTHING`,
		f.Pool, f.ID, f.ClientID, f.UserID, f.SessionID, f.Offline, f.Scopes.String(), resources, ms(f.AuthTime), methods, ms(f.CreatedAt), ms(f.ExpiresAt), ms(f.IdleExpiresAt),
		ms(f.EndedAt), string(f.Ending), f.Head, ms(f.AdvancedAt))
	if err != nil || f.Head == 0 {
		return err
	}
	return addRefresh(ctx, tx, f, b.First)
}

func addRefresh(ctx context.Context, tx *txn, f userpool.Family, t userpool.RefreshToken) error {
	return must(ctx, tx, userpool.Exists("refresh token", ""), `INSERT INTO refresh_tokens (hash, pool, family, generation) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		t.Hash.String(), f.Pool, f.ID, t.Generation)
}

// trimEvery is how many generations pass between two removals of old ones.
const trimEvery = 16

// AdvanceFamily implements [userpool.Families].
func (s UserPools) AdvanceFamily(ctx context.Context, p guard.Permit, f userpool.Family, next userpool.RefreshToken, at, idle time.Time) error {
	return s.DB.change(ctx, p, userpool.ActionAdvanceFamily, f.Resource(), func(ctx context.Context, tx *txn) error {
		advanced := at
		if next.Generation == f.Head {
			advanced = f.AdvancedAt // a repetition does not prolong its own grace
		}
		err := must(ctx, tx, userpool.Changed("family", f.ID),
			`UPDATE families SET head = $1, advanced = $2, idle = $3 WHERE pool = $4 AND id = $5 AND head = $6 AND ended = 0`,
			next.Generation, ms(advanced), ms(idle), f.Pool, f.ID, f.Head)
		if err != nil {
			return changedOrGone(ctx, tx, err, "family", f.Pool, f.ID, countFamily)
		}
		if next.Generation%trimEvery == 0 {
			if _, err := exec(ctx, tx, `DELETE FROM refresh_tokens WHERE pool = $1 AND family = $2 AND generation < $3`, f.Pool, f.ID, next.Generation-userpool.RefreshKept); err != nil {
				return err
			}
		}
		return addRefresh(ctx, tx, f, next)
	})
}

const countFamily = `SELECT COUNT(*) FROM families WHERE pool = $1 AND id = $2`

// EndFamily implements [userpool.Families].
func (s UserPools) EndFamily(ctx context.Context, p guard.Permit, pool, id string, why userpool.Ending, at time.Time) error {
	return s.DB.change(ctx, p, why.Action(), userpool.FamilyResource(pool, id), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.Changed("family", id), `UPDATE families SET ended = $1, ending = $2 WHERE pool = $3 AND id = $4 AND ended = 0`, ms(at), string(why), pool, id)
		return changedOrGone(ctx, tx, err, "family", pool, id, countFamily)
	})
}

// endWithSession does what is due when a session has ended, at the time of the
// permit's entry: the clients that got tokens in it are to be told, and the
// families that do not outlive it end.
func endWithSession(ctx context.Context, tx *txn, p guard.Permit, v userpool.Session) error {
	if err := noteLogouts(ctx, tx, p, v); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE families SET ended = $1, ending = $2 WHERE pool = $3 AND user_id = $4 AND session_id = $5 AND NOT offline AND ended = 0`,
		ms(p.Entry().Time), string(userpool.EndedByLogout), v.Pool, v.UserID, v.ID)
	return err
}

// endWithConsent ends the families of what the user allowed the client.
func endWithConsent(ctx context.Context, tx *txn, p guard.Permit, c userpool.Consent) error {
	_, err := exec(ctx, tx, `UPDATE families SET ended = $1, ending = $2 WHERE pool = $3 AND user_id = $4 AND client_id = $5 AND ended = 0`,
		ms(p.Entry().Time), string(userpool.EndedByUser), c.Pool, c.UserID, c.ClientID)
	return err
}

// sweepFamilies removes the families of all pools that ended or expired before t.
func sweepFamilies(ctx context.Context, tx *txn, t time.Time) (int64, error) {
	ended, err := exec(ctx, tx, `DELETE FROM families WHERE ended > 0 AND ended < $1`, ms(t))
	if err != nil {
		return 0, err
	}
	expired, err := exec(ctx, tx, `DELETE FROM families WHERE expires < $1`, ms(t))
	return ended + expired, err
}
