package op

import (
	"context"
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// refresh turns refresh tokens into tokens (RFC 6749, section 6). Each is good
// once: the answer has the next one. See [userpool.Family.Use] for what becomes of
// a second use.
type refresh struct {
	minter
	families userpool.Families
	users    userpool.Users
	guard    *guard.Guard
}

// refreshTries bounds how often a refresh begins anew because another of the
// same family came between. Each time, that one has succeeded.
const refreshTries = 8

func (e refresh) answer(ctx context.Context, q tokenRequest) (tokens, error) {
	if !q.form.Has("refresh_token") {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "refresh_token is missing")
	}
	used := userpool.HashRefresh(secret.FromString(q.form.Get("refresh_token")))
	for range refreshTries {
		t, err := e.try(ctx, q, used)
		if !fault.HasCode(err, "family_changed") {
			return t, err
		}
	}
	return tokens{}, fault.New(fault.Unavailable, "refresh_busy", "this refresh token is used too often at once").WithFix("refresh in one place")
}

// try makes the tokens first and releases them last: the commit that moves the
// family's head, with its audit entry, stands between. It returns the fault
// family_changed if the family is no longer what it was read as.
func (e refresh) try(ctx context.Context, q tokenRequest, used secret.Hash) (tokens, error) {
	f, generation, err := e.families.FamilyOf(ctx, q.pool.Name, used)
	if fault.Is(err, fault.NotFound) {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, "the refresh token is unknown to this pool")
	}
	if err != nil {
		return tokens{}, err
	}
	now, caller := e.Now(), e.person(q.pool, f.UserID)
	if f.ClientID != q.client.ID {
		return tokens{}, e.refused(ctx, caller, f, q.client, "the refresh token was made for another client")
	}
	if !f.EndedAt.IsZero() {
		return tokens{}, e.refused(ctx, caller, f, q.client, "the tokens were revoked: "+string(f.Ending))
	}
	next := f.Head
	switch f.Use(generation, now, q.pool.Settings.RefreshGrace) {
	case userpool.RefreshRotates:
		next++
	case userpool.RefreshReused:
		if err := endFamily(ctx, e.guard, e.families, caller, f.Resource(), userpool.EndedRefreshReuse, q.client, now); err != nil {
			return tokens{}, err
		}
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, string(userpool.EndedRefreshReuse))
	}
	u, err := e.users.User(ctx, q.pool.Name, f.UserID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return tokens{}, err
	}
	if !f.Alive(u, now) || f.Idle(now) {
		return tokens{}, e.refused(ctx, caller, f, q.client, "the refresh token has expired, or the user is gone, disabled or has a new password")
	}
	return e.advance(ctx, q, caller, f, u, next)
}

// advance makes the tokens of a refresh and adds a refresh token of the
// generation next to the family.
func (e refresh) advance(ctx context.Context, q tokenRequest, caller name.Caller, f userpool.Family, u userpool.User, next int64) (tokens, error) {
	scopes, err := narrowScopes(q.form, f.Scopes.Intersect(q.client.Scopes))
	if err != nil {
		return tokens{}, err
	}
	audience, err := narrowResources(q.form, f.Resources, q.client)
	if err != nil {
		return tokens{}, err
	}
	// The ID token has no nonce: that belongs to the authorization request (OpenID Connect Core 1.0, section 12.2).
	t, err := e.mint(ctx, order{pool: q.pool, client: q.client, user: u, family: f, scopes: scopes, audience: audience})
	if err != nil {
		return tokens{}, err
	}
	token, value := userpool.NewRefresh(next)
	p, err := e.guard.Allow(ctx, caller, userpool.ActionAdvanceFamily, f.Resource())
	if err != nil {
		return tokens{}, err
	}
	now := e.Now()
	p = p.With("", scopes, map[string]string{"client": q.client.ID, "token": t.id})
	if err := e.families.AdvanceFamily(ctx, p, f, token, now, now.Add(q.client.RefreshIdle)); err != nil {
		return tokens{}, err
	}
	t.RefreshToken = value.RevealString()
	return t, nil
}

func (e refresh) refused(ctx context.Context, caller name.Caller, f userpool.Family, client userpool.Client, why string) error {
	return invalidGrant(ctx, e.guard, caller, userpool.ActionAdvanceFamily, f.Resource(), client, why)
}

// endFamily ends a family. That it ended before, or is gone, is as good.
func endFamily(ctx context.Context, g *guard.Guard, families userpool.Families, caller name.Caller, r guard.Resource,
	why userpool.Ending, client userpool.Client, now time.Time) error {
	p, err := g.Allow(ctx, caller, why.Action(), r)
	if err != nil {
		return err
	}
	err = families.EndFamily(ctx, p.Detail(map[string]string{"client": client.ID, "why": string(why)}), r.Pool, r.ID, why, now)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
