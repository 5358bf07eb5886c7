package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/operator"
)

// Operators keeps the hashes of operators' API tokens; it implements
// [operator.Store].
type Operators struct{ DB *DB }

// AddOperatorToken implements [operator.Store].
func (s Operators) AddOperatorToken(ctx context.Context, p guard.Permit, who, hash string, created time.Time) error {
	return s.DB.change(ctx, p, operator.ActionCreateToken, operator.Resource(who), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "operator_token_exists", "this operator token exists"),
			`INSERT INTO operator_tokens (hash, name, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, hash, who, ms(created))
	})
}

// OperatorByToken implements [operator.Store].
func (s Operators) OperatorByToken(ctx context.Context, hash string) (string, error) {
	var who string
	err := row(ctx, s.DB.read, fault.New(fault.NotFound, "operator_token_unknown", "the operator token is not known"),
		func(sc scanner) error { return sc.Scan(&who) }, `SELECT name FROM operator_tokens WHERE hash = $1`, hash)
	return who, err
}

// HasOperatorTokens implements [operator.Store].
func (s Operators) HasOperatorTokens(ctx context.Context) (bool, error) {
	var n int64
	err := row(ctx, s.DB.read, nil, func(sc scanner) error { return sc.Scan(&n) }, `SELECT COUNT(*) FROM operator_tokens`)
	return n > 0, err
}
