package op

import (
	"context"
	"encoding/json"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// accessTokens tells which access tokens of a pool hold. Signature and time are
// not all: what a token belongs to must not have ended.
type accessTokens struct {
	base
	keys     *poolKeys
	users    userpool.Users
	clients  userpool.Clients
	families userpool.Families
}

// accessToken is an access token that holds.
type accessToken struct {
	jwt.Claims
	scopes name.Scopes
	actor  *actor
	family userpool.Family // zero: the token is a client's own
	user   userpool.User   // likewise
}

// check returns what a token says, or a fault of kind Unauthenticated if it does
// not hold.
func (e accessTokens) check(ctx context.Context, pool userpool.Pool, token string) (accessToken, error) {
	set, err := e.keys.set(ctx, pool)
	if err != nil {
		return accessToken{}, err
	}
	var a accessToken
	a.Claims, err = set.Verify(token, jwt.Expect{Issuer: e.Issuer(pool), Types: []string{accessTokenType}, Algorithms: userpool.Algorithms(), Now: e.Now})
	if err != nil {
		return accessToken{}, err
	}
	if a.scopes, err = name.ParseScopes(a.Scope); err != nil {
		return accessToken{}, fault.Wrap(err, fault.Unauthenticated, "token_malformed", "the token's scope is not valid")
	}
	var more struct {
		Actor *actor `json:"act"`
	}
	if err := json.Unmarshal(a.Raw, &more); err != nil {
		return accessToken{}, fault.Wrap(err, fault.Unauthenticated, "token_malformed", "the token's act is not valid")
	}
	a.actor = more.Actor
	if err := e.belongs(ctx, pool, &a); err != nil {
		if fault.Is(err, fault.NotFound) {
			return accessToken{}, ended("it belongs to a user, a client or a login that is gone")
		}
		return accessToken{}, err
	}
	return a, nil
}

// belongs finds what the token belongs to.
func (e accessTokens) belongs(ctx context.Context, pool userpool.Pool, a *accessToken) error {
	var err error
	id := familyID(a.ID)
	if id == "" && a.Subject != a.ClientID {
		return ended("it is about a user, and belongs to no login")
	}
	if id != "" {
		if a.family, err = e.families.Family(ctx, pool.Name, id); err != nil {
			return err
		}
		if a.user, err = e.users.User(ctx, pool.Name, a.Subject); err != nil {
			return err
		}
		if !a.family.Alive(a.user, e.Now()) {
			return ended("it was revoked, or the user is disabled or has a new password")
		}
	}
	if a.ClientID != a.family.ClientID { // a family's own client is there: its families go with it
		_, err = e.clients.Client(ctx, pool.Name, a.ClientID)
	}
	return err
}

func ended(why string) error {
	return fault.New(fault.Unauthenticated, "token_ended", "the token does not hold any longer: %s", why)
}
