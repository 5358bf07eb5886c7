package op

import (
	"context"
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// actor is who acts for the subject of a token, and before it who acted for the
// subject of the token that this one came of (RFC 8693, section 4.1).
type actor struct {
	Subject string `json:"sub"`
	Before  *actor `json:"act,omitempty"`
}

// maxActors bounds the chain: each exchange makes it and the token longer.
const maxActors = 8

func (a *actor) depth() int {
	n := 0
	for ; a != nil; a = a.Before {
		n++
	}
	return n
}

// actionExchange is that a user's token becomes one for another audience.
const actionExchange guard.Action = "token.exchange"

// exchange turns a user's access token into one for another audience (RFC
// 8693). Whoever holds a token that was made for him, or that names him as its
// audience, may pass the user on to where his client's audiences allow; a token
// that came to him by chance is of no use. What comes out never says more, and
// never lives longer, than what went in, and it ends with the same family.
type exchange struct {
	minter
	held  accessTokens
	guard *guard.Guard
}

func (e exchange) answer(ctx context.Context, q tokenRequest) (tokens, error) {
	if q.client.Type == userpool.Public {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeUnauthorizedClient, "a client without credentials cannot exchange tokens")
	}
	if t := q.form.Get("requested_token_type"); t != "" && !accessType(t) {
		return tokens{}, badExchange("only access tokens are issued: requested_token_type is not " + oauth.TokenTypeAccessToken)
	}
	subject, err := e.presented(ctx, q, "subject_token")
	if err != nil {
		return tokens{}, err
	}
	if subject.family.ID == "" {
		return tokens{}, badExchange("subject_token is not about a user")
	}
	act := &actor{Subject: q.client.ID, Before: subject.actor}
	if q.form.Has("actor_token") {
		a, err := e.presented(ctx, q, "actor_token")
		if err != nil {
			return tokens{}, err
		}
		act.Subject = a.Subject
	} else if q.form.Has("actor_token_type") { // section 2.1: only together
		return tokens{}, badExchange("actor_token_type is there without actor_token")
	}
	if act.depth() > maxActors {
		return tokens{}, badExchange("the chain of actors is too long")
	}
	o := order{pool: q.pool, client: q.client, user: subject.user, family: subject.family, notAfter: subject.ExpiresAt, actor: act}
	if o.scopes, err = narrowScopes(q.form, subject.scopes.Intersect(q.client.Scopes)); err != nil {
		return tokens{}, err
	}
	resources, refusal := askedResources(q.form, q.client)
	if refusal == nil {
		o.audience, refusal = targets(append(resources, q.form[paramAudience]...), q.client)
	}
	if refusal != nil {
		return tokens{}, &apiError{status: http.StatusBadRequest, err: refusal}
	}
	return e.issue(ctx, o)
}

func (e exchange) issue(ctx context.Context, o order) (tokens, error) {
	t, err := e.access(ctx, o)
	if err != nil {
		return tokens{}, err
	}
	t.IssuedTokenType = oauth.TokenTypeAccessToken
	p, err := e.guard.Allow(ctx, name.Caller{Kind: name.Client, Client: o.client.ID, User: e.person(o.pool, o.user.ID).User}, actionExchange, o.family.Resource())
	if err != nil {
		return tokens{}, err
	}
	return t, e.guard.Record(ctx, p.With("", o.scopes, map[string]string{"client": o.client.ID, "token": t.id}))
}

// presented returns one of the request's tokens, which must be an access token
// of this pool, and be the client's: made for it, or with it as audience.
func (e exchange) presented(ctx context.Context, q tokenRequest, param string) (accessToken, error) {
	if !q.form.Has(param) {
		return accessToken{}, badExchange(param + " is missing")
	}
	if !accessType(q.form.Get(param + "_type")) {
		return accessToken{}, badExchange(param + "_type is not " + oauth.TokenTypeAccessToken)
	}
	a, err := e.held.check(ctx, q.pool, q.form.Get(param))
	if fault.Is(err, fault.Unauthenticated) {
		return accessToken{}, badExchange(param + " is not valid: " + fault.As(err).Message)
	}
	if err != nil {
		return accessToken{}, err
	}
	if a.ClientID != q.client.ID && !slices.Contains(a.Audience, q.client.ID) {
		if err := e.guard.Refuse(ctx, name.Caller{}, actionExchange, q.client.Resource(), param+" is another client's", nil); err != nil {
			return accessToken{}, err
		}
		return accessToken{}, badExchange(param + " was not made for this client")
	}
	return a, nil
}

// accessType reports whether a token type identifier (section 3) stands for our
// access tokens, which are JWTs.
func accessType(t string) bool { return t == oauth.TokenTypeAccessToken || t == oauth.TokenTypeJWT }

// badExchange is what RFC 8693, section 2.2.2, says of tokens that are not
// acceptable: invalid_request, not invalid_grant.
func badExchange(description string) error {
	return refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, description)
}
