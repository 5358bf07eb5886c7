package op

import (
	"net/http"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// userInfo is the userinfo endpoint (OpenID Connect Core 1.0, section 5.3).
type userInfo struct {
	base
	access accessTokens
}

func (e userInfo) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	bearer, err := bearerToken(r)
	if err != nil {
		return err
	}
	a, err := e.access.check(r.Context(), pool, bearer)
	if fault.Is(err, fault.Unauthenticated) {
		return invalidToken(fault.As(err).Message)
	}
	if err != nil {
		return err
	}
	if !slices.Contains(a.Audience, a.ClientID) { // a resource that was sent this token is not its client
		return invalidToken("the token was made for a resource, not for its client")
	}
	if a.family.ID == "" || !a.scopes.Has(oauth.ScopeOpenID) {
		refusal := refuse(http.StatusForbidden, oauth.CodeInsufficientScope, "the token lacks the scope openid")
		refusal.challenge = `Bearer realm="deputy", error="insufficient_scope", scope="openid"`
		return refusal
	}
	wire.Write(w, http.StatusOK, struct {
		Subject string `json:"sub"`
		profile
	}{a.user.ID, profileOf(a.user, a.scopes)})
	return nil
}

// bearerToken returns the token of the Authorization header. Tokens in queries
// end in logs, and in forms nobody sends them (RFC 6750, section 2).
func bearerToken(r *http.Request) (string, error) {
	all := r.Header["Authorization"]
	if len(all) == 0 {
		e := refuse(http.StatusUnauthorized, oauth.CodeInvalidToken, "the request has no bearer token")
		e.challenge = `Bearer realm="deputy"` // without error: nothing was tried (RFC 6750, section 3.1)
		return "", e
	}
	scheme, token, _ := strings.Cut(all[0], " ")
	if len(all) != 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", invalidToken("the Authorization header is not one bearer token")
	}
	return token, nil
}

func invalidToken(description string) error {
	e := refuse(http.StatusUnauthorized, oauth.CodeInvalidToken, description)
	e.challenge = `Bearer realm="deputy", error="invalid_token", error_description="` + e.err.Description + `"`
	return e
}
