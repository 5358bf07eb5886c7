package operator

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// useStep is how exactly the last use of a token is known: a write for each
// request would make reading as dear as changing.
const useStep = time.Minute

// Registry issues and verifies tokens.
type Registry struct {
	Store Store
	Guard *guard.Guard
	Now   func() time.Time
}

// First issues a token, which does not expire, for the owner "root" if no
// owner's token is good. It reports whether it did. So nobody is locked out for
// good: whoever can start the service has the store and its keys anyway.
func (r *Registry) First(ctx context.Context) (secret.Text, bool, error) {
	has, err := r.Store.HasOwner(ctx, r.Now())
	if err != nil || has {
		return secret.Text{}, false, err
	}
	token, err := r.add(ctx, name.Caller{Kind: name.System}, &Token{Name: root, Role: Owner, CreatedAt: r.now()})
	if fault.HasCode(err, "operator-token_exists") { // another replica was first
		return secret.Text{}, false, nil
	}
	return token, err == nil, err
}

// Create issues a token for the operator tokenName. The token itself is
// returned this once. A life of zero stands for [DefaultTokenLife].
func (r *Registry) Create(ctx context.Context, c name.Caller, tokenName string, role Role, pools Pools, life time.Duration) (Token, secret.Text, error) {
	if life == 0 {
		life = DefaultTokenLife
	}
	if life < time.Minute || life > MaxTokenLife {
		return Token{}, secret.Text{}, fault.New(fault.Invalid, "operator-token_life", "a token cannot live for %v", life).
			WithSource("expiresAt").WithFix("choose a minute to %d days", int(MaxTokenLife.Hours()/24))
	}
	now := r.now()
	t := Token{Name: tokenName, Role: role, Pools: Pools{sorted(pools.User), sorted(pools.Workload)}, CreatedAt: now, ExpiresAt: now.Add(life).Truncate(time.Millisecond)}
	if err := t.check(); err != nil {
		return Token{}, secret.Text{}, err
	}
	token, err := r.add(ctx, c, &t)
	return t, token, err
}

// add gives t an id and a hash, and keeps it.
func (r *Registry) add(ctx context.Context, c name.Caller, t *Token) (secret.Text, error) {
	token := secret.FromString(name.NewToken(TokenPrefix))
	t.ID, t.Hash = name.NewID("opt"), HashToken(token)
	p, err := r.Guard.Allow(ctx, c, ActionCreateToken, t.Resource())
	if err != nil {
		return secret.Text{}, err
	}
	detail := map[string]string{"name": t.Name, "role": string(t.Role)}
	if t.Pools.Limited() {
		detail["user_pools"], detail["workload_pools"] = strings.Join(t.Pools.User, " "), strings.Join(t.Pools.Workload, " ")
	}
	return token, r.Store.AddToken(ctx, p.Detail(detail), *t)
}

// Verify returns the token that token is. What proves nothing is a fault of kind
// Unauthenticated. A revoked token ends at once: the store is asked each time.
func (r *Registry) Verify(ctx context.Context, token secret.Text) (Token, error) {
	t, err := r.Store.Token(ctx, HashToken(token))
	now := r.Now()
	switch {
	case fault.Is(err, fault.NotFound):
		return Token{}, fault.New(fault.Unauthenticated, "operator_token_unknown", "the operator token is not valid").
			WithFix("use the token from the file operator.token in the data directory, or have an owner create one")
	case err != nil:
		return Token{}, err
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return Token{}, fault.New(fault.Unauthenticated, "operator_token_expired", "the operator token has expired").WithFix("have an owner create another one")
	}
	if now.Sub(t.UsedAt) >= useStep {
		// Nobody is refused because this could not be noted: when the store takes no writes, reading must go on.
		_ = r.Store.NoteUse(ctx, t.ID, r.now())
	}
	return t, nil
}

// Revoke removes a token, but never the last owner's.
func (r *Registry) Revoke(ctx context.Context, c name.Caller, id string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDeleteToken, Resource(id))
	if err != nil {
		return err
	}
	return r.Store.DeleteToken(ctx, p, id, r.Now())
}

// HashToken returns what is stored in place of a token: a plain hash is enough,
// for the token has 256 random bits.
func HashToken(token secret.Text) secret.Hash { return token.Digest("operator-token") }

func (r *Registry) now() time.Time { return r.Now().UTC().Truncate(time.Millisecond) }

// sorted returns names in order, each once.
func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
