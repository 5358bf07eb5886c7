package op

import (
	"context"
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// revoke lets a client give its tokens back (RFC 7009). Access and refresh
// tokens of one family go together, as section 2.1 has it. To a token that does
// not hold the answer is the same as to one that was revoked (section 2.2).
type revoke struct {
	clientAuth
	access   accessTokens
	families userpool.Families
	guard    *guard.Guard
	base
}

func (e revoke) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	client, err := e.authenticate(r, pool, form)
	if err != nil {
		return err
	}
	if !form.Has("token") {
		return refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "token is missing")
	}
	f, err := e.find(r.Context(), pool, form.Get("token"))
	if err == nil {
		err = e.end(r.Context(), pool, client, f)
	}
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unauthenticated) {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// find returns the family of a token, or a fault of kind NotFound or
// Unauthenticated if the token does not hold.
func (e revoke) find(ctx context.Context, pool userpool.Pool, token string) (userpool.Family, error) {
	if !looksSigned(token) {
		f, _, err := e.families.FamilyOf(ctx, pool.Name, userpool.HashRefresh(secret.FromString(token)))
		return f, err
	}
	a, err := e.access.check(ctx, pool, token)
	if err == nil && (a.family.ID == "" || a.ClientID != a.family.ClientID) {
		// A client's own token, or one that came of an exchange: it has no family that would be its client's to end.
		return userpool.Family{}, refuse(http.StatusBadRequest, oauth.CodeUnsupportedTokenType, "this token cannot be revoked; it expires by itself, or with the login that it came of")
	}
	return a.family, err
}

func (e revoke) end(ctx context.Context, pool userpool.Pool, client userpool.Client, f userpool.Family) error {
	caller := e.person(pool, f.UserID)
	if f.ClientID != client.ID { // section 2.1: the client is told
		return invalidGrant(ctx, e.guard, caller, userpool.ActionEndFamily, f.Resource(), client, "the token was made for another client")
	}
	return endFamily(ctx, e.guard, e.families, caller, f.Resource(), userpool.EndedByClient, client, e.Now())
}

// looksSigned reports whether a token can be one of our access tokens: refresh
// tokens have no dots.
func looksSigned(token string) bool { return strings.Contains(token, ".") }
