package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// noteLogouts writes the notices about a session that ends at the time of the
// permit's entry. It is called before the session's families go.
func noteLogouts(ctx context.Context, tx *txn, p guard.Permit, v userpool.Session) error {
	var told []string
	err := rows(ctx, tx, func(sc scanner) error {
		var id string
		var settings clientSettings
		err := sc.Scan(&id, jsonText{&settings})
		if settings.BackchannelLogoutURI != "" {
			told = append(told, id)
		}
		return err
	}, `SELECT c.id, c.settings FROM clients c WHERE c.pool = $1 AND c.id IN (SELECT client_id FROM families WHERE pool = $1 AND user_id = $2 AND session_id = $3) ORDER BY c.id`,
		v.Pool, v.UserID, v.ID)
	if err != nil || len(told) == 0 {
		return err
	}
	tx.topics = append(tx.topics, userpool.LogoutTopic)
	at := ms(p.Entry().Time)
	for _, client := range told {
		if _, err := exec(ctx, tx, `INSERT INTO logout_notices (id, pool, client_id, user_id, session_id, created, due, attempts) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)`,
			name.NewID("lo"), v.Pool, client, v.UserID, v.ID, at, at); err != nil {
			return err
		}
	}
	return nil
}

// endVoid ends the sessions of a user that a change of him has made void, as
// [userpool.Session.Alive] says.
func endVoid(ctx context.Context, tx *txn, p guard.Permit, u userpool.User) error {
	_, err := endSessions(ctx, tx, p, `($3 OR auth_time < $4)`, u.Pool, u.ID, u.Disabled, ms(u.PasswordChangedAt))
	return err
}

// endSessions ends the sessions of a user for which a condition holds; args
// begin with pool and user.
func endSessions(ctx context.Context, tx *txn, p guard.Permit, condition string, args ...any) ([]userpool.Session, error) {
	ended, err := sessionList(ctx, tx, `DELETE FROM sessions WHERE pool = $1 AND user_id = $2 AND `+condition+` RETURNING `+sessionColumns, args...)
	for _, v := range ended {
		if err == nil {
			err = endWithSession(ctx, tx, p, v)
		}
	}
	return ended, err
}

// TakeLogoutNotices implements [userpool.LogoutNotices].
func (s UserPools) TakeLogoutNotices(ctx context.Context, now, then time.Time, limit int) ([]userpool.LogoutNotice, error) {
	var list []userpool.LogoutNotice
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		list = nil
		return rows(ctx, tx, func(sc scanner) error {
			var n userpool.LogoutNotice
			err := sc.Scan(&n.ID, &n.Pool, &n.ClientID, &n.UserID, &n.SessionID, timeMS{&n.CreatedAt}, timeMS{&n.DueAt}, &n.Attempts)
			list = append(list, n)
			return err
		}, `UPDATE logout_notices SET due = $1 WHERE due <= $2 AND id IN (SELECT id FROM logout_notices WHERE due <= $2 ORDER BY due, id LIMIT $3)
		 RETURNING id, pool, client_id, user_id, session_id, created, due, attempts`, ms(then), ms(now), limit)
	})
	return list, err
}

// RetryLogoutNotice implements [userpool.LogoutNotices].
func (s UserPools) RetryLogoutNotice(ctx context.Context, n userpool.LogoutNotice, due time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `UPDATE logout_notices SET due = $1, attempts = attempts + 1 WHERE id = $2 AND pool = $3`, ms(due), n.ID, n.Pool)
		return err
	})
}

// FinishLogoutNotice implements [userpool.LogoutNotices].
func (s UserPools) FinishLogoutNotice(ctx context.Context, p guard.Permit, n userpool.LogoutNotice) error {
	return s.DB.change(ctx, p, userpool.ActionNotifyLogout, n.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("logout notice", ""), `DELETE FROM logout_notices WHERE id = $1 AND pool = $2`, n.ID, n.Pool)
	})
}
