package op

import (
	"context"
	"net/http"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// actionIssue is that a token is made for which nothing is stored.
const actionIssue guard.Action = "token.issue"

// credentials gives clients tokens of their own (RFC 6749, section 4.4). The
// subject of such a token is the client.
type credentials struct {
	minter
	guard *guard.Guard
}

func (e credentials) answer(ctx context.Context, q tokenRequest) (tokens, error) {
	if q.client.Type == userpool.Public { // section 4.4: only confidential clients
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeUnauthorizedClient, "a client without credentials cannot act for itself")
	}
	personal, err := name.NewScopes(userpool.KnownScopes()...)
	if err != nil {
		return tokens{}, err
	}
	scopes, err := narrowScopes(q.form, personal.Missing(q.client.Scopes))
	if err != nil {
		return tokens{}, err
	}
	audience, refusal := askedResources(q.form, q.client)
	if refusal != nil {
		return tokens{}, &apiError{status: http.StatusBadRequest, err: refusal}
	}
	t, err := e.access(ctx, order{pool: q.pool, client: q.client, scopes: scopes, audience: audience})
	if err != nil {
		return tokens{}, err
	}
	p, err := e.guard.Allow(ctx, name.Caller{Kind: name.Client, Client: q.client.ID}, actionIssue, q.client.Resource())
	if err != nil {
		return tokens{}, err
	}
	return t, e.guard.Record(ctx, p.With("", scopes, map[string]string{"client": q.client.ID, "token": t.id}))
}
