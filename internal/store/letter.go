package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/userpool"
)

const letterColumns = `id, pool, kind, email, user_id, language, state, tries, owner, due, created`

// PostLetter implements [userpool.Letters].
func (s UserPools) PostLetter(ctx context.Context, p guard.Permit, l userpool.Letter) error {
	return s.DB.change(ctx, p, userpool.ActionPostLetter, l.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, l.Pool); err != nil {
			return err
		}
		return insertLetter(ctx, tx, l)
	})
}

func insertLetter(ctx context.Context, tx *txn, l userpool.Letter) error {
	return must(ctx, tx, userpool.Exists("letter", l.ID),
		`INSERT INTO letters (`+letterColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', $8, $9) ON CONFLICT DO NOTHING`,
		l.ID, l.Pool, string(l.Kind), l.Email, optional(l.UserID), l.Language, string(userpool.LetterWaiting), ms(l.DueAt), ms(l.CreatedAt))
}

// TakeLetter implements [userpool.Letters].
func (s UserPools) TakeLetter(ctx context.Context, owner string, now, until time.Time) (userpool.Letter, bool, error) {
	var l userpool.Letter
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		// Of two transactions that choose the same row, the second one waits, and then finds it not due.
		return row(ctx, tx, userpool.NotFound("letter", ""), func(sc scanner) error {
			var user sql.NullString
			err := sc.Scan(&l.ID, &l.Pool, &l.Kind, &l.Email, &user, &l.Language, &l.State, &l.Tries, &l.Owner, timeMS{&l.DueAt}, timeMS{&l.CreatedAt})
			l.UserID = user.String
			return err
		}, `UPDATE letters SET owner = $1, due = $2, tries = tries + 1
			WHERE id = (SELECT id FROM letters WHERE state = 'waiting' AND due <= $3 ORDER BY due LIMIT 1) AND state = 'waiting' AND due <= $3 RETURNING `+letterColumns,
			owner, ms(until), ms(now))
	})
	if fault.Is(err, fault.NotFound) {
		return userpool.Letter{}, false, nil
	}
	return l, err == nil, err
}

// PostponeLetter implements [userpool.Letters].
func (s UserPools) PostponeLetter(ctx context.Context, l userpool.Letter, due time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `UPDATE letters SET owner = '', due = $1 WHERE id = $2 AND pool = $3 AND owner = $4 AND state = 'waiting'`, ms(due), l.ID, l.Pool, l.Owner)
		return err
	})
}

// SettleLetter implements [userpool.Letters].
func (s UserPools) SettleLetter(ctx context.Context, p guard.Permit, l userpool.Letter) error {
	return s.DB.change(ctx, p, userpool.ActionSettleLetter, l.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("letter", l.ID),
			`UPDATE letters SET owner = '', state = $1 WHERE id = $2 AND pool = $3 AND owner = $4 AND state = 'waiting'`, string(l.State), l.ID, l.Pool, l.Owner)
	})
}

// LettersSent implements [userpool.Letters].
func (s UserPools) LettersSent(ctx context.Context, pool, email string, since time.Time) (int, error) {
	var n int
	err := row(ctx, s.DB.read, nil, func(sc scanner) error { return sc.Scan(&n) },
		`SELECT COUNT(*) FROM letters WHERE pool = $1 AND lower(email) = $2 AND created >= $3 AND state = 'sent'`, pool, userpool.EmailKey(email), ms(since))
	return n, err
}

// SweepLetters implements [userpool.Letters].
func (s UserPools) SweepLetters(ctx context.Context, p guard.Permit, t time.Time) (int, error) {
	if err := p.Check(userpool.ActionSweepLetters, userpool.LettersResource()); err != nil {
		return 0, err
	}
	var swept int64
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		proofs, err := exec(ctx, tx, `DELETE FROM proofs WHERE expires < $1`, ms(t))
		if err != nil {
			return err
		}
		letters, err := exec(ctx, tx, `DELETE FROM letters WHERE created < $1`, ms(t.Add(-userpool.LetterLifetime)))
		if swept = proofs + letters; err != nil || swept == 0 {
			return err
		}
		return s.DB.appendAudit(ctx, tx, p.Entry())
	})
	return int(swept), err
}
