package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/secret"
)

// Operators keeps the operators' API tokens; it implements [operator.Store].
type Operators struct{ DB *DB }

const operatorColumns = `id, name, role, pools, hash, created, expires, used`

func scanOperator(t *operator.Token) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&t.ID, &t.Name, &t.Role, jsonText{&t.Pools}, hashText{&t.Hash}, timeMS{&t.CreatedAt}, timeMS{&t.ExpiresAt}, timeMS{&t.UsedAt})
	}
}

// lockOwners makes those who change operators wait for each other, so that what
// is counted holds: there is always an owner, but before the first token.
func lockOwners(ctx context.Context, tx *txn) error {
	_, err := exec(ctx, tx, `UPDATE operator_tokens SET role = role WHERE role = $1`, operator.Owner)
	return err
}

// AddToken implements [operator.Store].
func (s Operators) AddToken(ctx context.Context, p guard.Permit, t operator.Token) error {
	return s.DB.change(ctx, p, operator.ActionCreateToken, t.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockOwners(ctx, tx); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM operator_tokens`).Scan(&n); err != nil {
			return err
		}
		if n >= operator.MaxTokens {
			return operator.TokensFull()
		}
		pools, err := toJSON(t.Pools)
		if err != nil {
			return err
		}
		return must(ctx, tx, operator.TokenExists(t.Name), `INSERT INTO operator_tokens (`+operatorColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			t.ID, t.Name, t.Role, pools, t.Hash.String(), ms(t.CreatedAt), ms(t.ExpiresAt), ms(t.UsedAt))
	})
}

// Token implements [operator.Store].
func (s Operators) Token(ctx context.Context, hash secret.Hash) (operator.Token, error) {
	var t operator.Token
	err := row(ctx, s.DB.read, operator.TokenNotFound(""), scanOperator(&t), `SELECT `+operatorColumns+` FROM operator_tokens WHERE hash = $1`, hash.String())
	return t, err
}

// Tokens implements [operator.Store].
func (s Operators) Tokens(ctx context.Context) ([]operator.Token, error) {
	var list []operator.Token
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var t operator.Token
		err := scanOperator(&t)(sc)
		list = append(list, t)
		return err
	}, `SELECT `+operatorColumns+` FROM operator_tokens ORDER BY name`)
	return list, err
}

// DeleteToken implements [operator.Store].
func (s Operators) DeleteToken(ctx context.Context, p guard.Permit, id string, now time.Time) error {
	return s.DB.change(ctx, p, operator.ActionDeleteToken, operator.Resource(id), func(ctx context.Context, tx *txn) error {
		if err := lockOwners(ctx, tx); err != nil {
			return err
		}
		if err := must(ctx, tx, operator.TokenNotFound(id), `DELETE FROM operator_tokens WHERE id = $1`, id); err != nil {
			return err
		}
		has, err := hasOwner(ctx, tx, now)
		if err == nil && !has {
			err = operator.LastOwner()
		}
		return err
	})
}

// NoteUse implements [operator.Store].
func (s Operators) NoteUse(ctx context.Context, id string, at time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `UPDATE operator_tokens SET used = $1 WHERE id = $2 AND used < $1`, ms(at), id)
		return err
	})
}

// HasOwner implements [operator.Store].
func (s Operators) HasOwner(ctx context.Context, now time.Time) (bool, error) {
	return hasOwner(ctx, s.DB.read, now)
}

func hasOwner(ctx context.Context, q querier, now time.Time) (bool, error) {
	var n int64
	err := row(ctx, q, nil, func(sc scanner) error { return sc.Scan(&n) },
		`SELECT COUNT(*) FROM operator_tokens WHERE role = $1 AND (expires = 0 OR expires > $2)`, operator.Owner, ms(now))
	return n > 0, err
}
