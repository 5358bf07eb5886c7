package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

const sessionColumns = `token_hash, id, pool, user_id, methods, address, agent, auth_time, last_used, expires`

func scanSession(v *userpool.Session) func(scanner) error {
	return func(sc scanner) error {
		var hash string
		if err := sc.Scan(&hash, &v.ID, &v.Pool, &v.UserID, jsonText{&v.Methods}, &v.Address, &v.Agent, timeMS{&v.AuthTime}, timeMS{&v.LastUsedAt}, timeMS{&v.ExpiresAt}); err != nil {
			return err
		}
		var err error
		v.TokenHash, err = secret.ParseHash(hash)
		return err
	}
}

// CreateSession implements [userpool.Sessions].
func (s UserPools) CreateSession(ctx context.Context, p guard.Permit, v userpool.Session) error {
	methods, err := toJSON(v.Methods)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionCreateSession, v.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUser(ctx, tx, v.Pool, v.UserID); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("session", v.ID),
			`INSERT INTO sessions (`+sessionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
			v.TokenHash.String(), v.ID, v.Pool, v.UserID, methods, v.Address, v.Agent, ms(v.AuthTime), ms(v.LastUsedAt), ms(v.ExpiresAt))
	})
}

// lockUser returns NotFound unless the user exists, and keeps him from being
// deleted until the transaction ends.
func lockUser(ctx context.Context, tx *txn, pool, id string) error {
	return must(ctx, tx, userpool.NotFound("user", id), `UPDATE users SET version = version WHERE pool = $1 AND id = $2`, pool, id)
}

// Session implements [userpool.Sessions].
func (s UserPools) Session(ctx context.Context, pool string, tokenHash secret.Hash) (userpool.Session, error) {
	var v userpool.Session
	err := row(ctx, s.DB.read, userpool.NotFound("session", ""), scanSession(&v),
		`SELECT `+sessionColumns+` FROM sessions WHERE token_hash = $1 AND pool = $2`, tokenHash.String(), pool)
	return v, err
}

// SessionsOf implements [userpool.Sessions].
func (s UserPools) SessionsOf(ctx context.Context, pool, userID string) ([]userpool.Session, error) {
	return sessionList(ctx, s.DB.read, `SELECT `+sessionColumns+` FROM sessions WHERE pool = $1 AND user_id = $2 ORDER BY auth_time DESC, id LIMIT 1000`, pool, userID)
}

func sessionList(ctx context.Context, q querier, text string, args ...any) ([]userpool.Session, error) {
	var list []userpool.Session
	err := rows(ctx, q, func(sc scanner) error {
		var v userpool.Session
		err := scanSession(&v)(sc)
		list = append(list, v)
		return err
	}, text, args...)
	return list, err
}

// ExtendSession implements [userpool.Sessions].
func (s UserPools) ExtendSession(ctx context.Context, p guard.Permit, pool, id string, usedAt time.Time) error {
	return s.DB.change(ctx, p, userpool.ActionExtendSession, userpool.SessionResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("session", id), `UPDATE sessions SET last_used = $1 WHERE pool = $2 AND id = $3`, ms(usedAt), pool, id)
	})
}

// EndSession implements [userpool.Sessions].
func (s UserPools) EndSession(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionEndSession, userpool.SessionResource(pool, id), func(ctx context.Context, tx *txn) error {
		var v userpool.Session
		err := row(ctx, tx, userpool.NotFound("session", id), scanSession(&v), `DELETE FROM sessions WHERE pool = $1 AND id = $2 RETURNING `+sessionColumns, pool, id)
		if err != nil {
			return err
		}
		return endWithSession(ctx, tx, p, v)
	})
}

// EndSessions implements [userpool.Sessions].
func (s UserPools) EndSessions(ctx context.Context, p guard.Permit, pool, userID, except string) ([]userpool.Session, error) {
	var ended []userpool.Session
	err := s.DB.change(ctx, p, userpool.ActionEndSession, userpool.UserResource(pool, userID), func(ctx context.Context, tx *txn) error {
		var err error
		ended, err = endSessions(ctx, tx, p, `id <> $3`, pool, userID, except)
		return err
	})
	return ended, err
}

// Sweep implements [userpool.Sessions].
func (s UserPools) Sweep(ctx context.Context, p guard.Permit, t time.Time) (int, error) {
	return s.DB.sweep(ctx, p, userpool.ActionSweep, userpool.SweepResource(), func(ctx context.Context, tx *txn) (int64, error) {
		sessions, err := exec(ctx, tx, `DELETE FROM sessions WHERE expires < $1`, ms(t))
		if err != nil {
			return 0, err
		}
		codes, err := exec(ctx, tx, `DELETE FROM codes WHERE expires < $1`, ms(t))
		if err != nil {
			return 0, err
		}
		clients, err := sweepClients(ctx, tx, t)
		if err != nil {
			return 0, err
		}
		devices, err := exec(ctx, tx, sweepDevices, ms(t))
		if err != nil {
			return 0, err
		}
		families, err := sweepFamilies(ctx, tx, t)
		return sessions + codes + clients + devices + families, err
	})
}

// sweep runs do, which removes what has expired, and returns how much that was.
// The permit's entry is committed only when something was removed.
func (db *DB) sweep(ctx context.Context, p guard.Permit, action guard.Action, r guard.Resource, do func(ctx context.Context, tx *txn) (int64, error)) (int, error) {
	if err := p.Check(action, r); err != nil {
		return 0, err
	}
	var swept int64
	err := db.transact(ctx, func(ctx context.Context, tx *txn) error {
		var err error
		if swept, err = do(ctx, tx); err != nil || swept == 0 {
			return err
		}
		return db.appendAudit(ctx, tx, p.Entry())
	})
	return int(swept), err
}

const codeColumns = `id, pool, client_id, redirect_uri, challenge, nonce, scopes, resources, user_id, session_id, methods, family_id, auth_time, expires, redeemed`

// CreateCode implements [userpool.Codes].
func (s UserPools) CreateCode(ctx context.Context, p guard.Permit, c userpool.Code) error {
	resources, err := toJSON(c.Resources)
	if err != nil {
		return err
	}
	methods, err := toJSON(c.Methods)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionCreateCode, c.Resource(), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.Exists("code", c.ID),
			`INSERT INTO codes (hash, `+codeColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING`,
			c.Hash.String(), c.ID, c.Pool, c.ClientID, c.RedirectURI, c.Challenge, c.Nonce, c.Scopes.String(), resources, c.UserID, c.SessionID, methods, c.FamilyID,
			ms(c.AuthTime), ms(c.ExpiresAt), ms(c.RedeemedAt))
		if foreign(err) {
			return userpool.NotFound("user", c.UserID)
		}
		return err
	})
}

// Code implements [userpool.Codes].
func (s UserPools) Code(ctx context.Context, pool string, hash secret.Hash) (userpool.Code, error) {
	c := userpool.Code{Hash: hash}
	err := row(ctx, s.DB.read, userpool.NotFound("code", ""), func(sc scanner) error {
		return sc.Scan(&c.ID, &c.Pool, &c.ClientID, &c.RedirectURI, &c.Challenge, &c.Nonce, scopesText{&c.Scopes}, jsonText{&c.Resources}, &c.UserID, &c.SessionID, jsonText{&c.Methods}, &c.FamilyID,
			timeMS{&c.AuthTime}, timeMS{&c.ExpiresAt}, timeMS{&c.RedeemedAt})
	}, `SELECT `+codeColumns+` FROM codes WHERE hash = $1 AND pool = $2`, hash.String(), pool)
	return c, err
}

// RedeemCode implements [userpool.Codes].
func (s UserPools) RedeemCode(ctx context.Context, p guard.Permit, pool, id string, at time.Time, b userpool.Beginning) error {
	return s.DB.change(ctx, p, userpool.ActionRedeemCode, userpool.CodeResource(pool, id), func(ctx context.Context, tx *txn) error {
		n, err := exec(ctx, tx, `UPDATE codes SET redeemed = $1 WHERE pool = $2 AND id = $3 AND redeemed = 0`, ms(at), pool, id)
		if err == nil && n == 1 {
			err = beginFamily(ctx, tx, b)
		}
		if err != nil || n == 1 {
			return err
		}
		err = row(ctx, tx, userpool.NotFound("code", id), func(sc scanner) error { return sc.Scan(&n) }, `SELECT 1 FROM codes WHERE pool = $1 AND id = $2`, pool, id)
		if err == nil {
			err = userpool.CodeUsed()
		}
		return err
	})
}
