// Package operator has the operators' API tokens: who may administer this Deputy.
package operator

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// TokenPrefix begins every operator token, for people and secret scanners.
const TokenPrefix = "dop"

// ActionCreateToken is what a permit for a new token is given for, on [Resource].
const ActionCreateToken guard.Action = "operator-token.create"

// Resource is what permits for an operator's tokens name.
func Resource(operator string) guard.Resource {
	return guard.Resource{Kind: "operator-token", ID: operator}
}

// Store keeps the hashes of tokens.
type Store interface {
	// AddOperatorToken needs a permit for ActionCreateToken.
	AddOperatorToken(ctx context.Context, p guard.Permit, operator, hash string, created time.Time) error
	// OperatorByToken returns whose token has the hash, or a fault of kind NotFound.
	OperatorByToken(ctx context.Context, hash string) (string, error)
	HasOperatorTokens(ctx context.Context) (bool, error)
}

// Registry issues and verifies tokens.
type Registry struct {
	Store Store
	Guard *guard.Guard
	Now   func() time.Time
}

// First issues a token for the operator "root" if no operator token exists yet.
// It reports whether it did.
func (r *Registry) First(ctx context.Context) (secret.Text, bool, error) {
	has, err := r.Store.HasOperatorTokens(ctx)
	if err != nil || has {
		return secret.Text{}, false, err
	}
	const root = "root"
	p, err := r.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionCreateToken, Resource(root))
	if err != nil {
		return secret.Text{}, false, err
	}
	token := secret.FromString(name.NewToken(TokenPrefix))
	return token, true, r.Store.AddOperatorToken(ctx, p, root, digest(token), r.Now())
}

// Verify returns the caller that a token proves. A token that proves nothing is
// a fault of kind Unauthenticated.
func (r *Registry) Verify(ctx context.Context, token secret.Text) (name.Caller, error) {
	operator, err := r.Store.OperatorByToken(ctx, digest(token))
	if fault.Is(err, fault.NotFound) {
		return name.Caller{}, fault.New(fault.Unauthenticated, "operator_token_unknown", "the operator token is not valid").
			WithFix("use the token from the file operator.token in the data directory")
	}
	if err != nil {
		return name.Caller{}, err
	}
	return name.Caller{Kind: name.Operator, Operator: operator}, nil
}

// digest is what is stored in place of a token: a plain hash is enough, for the
// token has 256 random bits.
func digest(token secret.Text) string { return token.Digest("operator-token").String() }
