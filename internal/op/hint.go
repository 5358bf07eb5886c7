package op

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// hints reads ID tokens that come back as id_token_hint.
type hints struct {
	base
	keys *poolKeys
}

// read returns what an ID token of the pool says. It may have expired (OpenID
// Connect Core 1.0, section 3.1.2.1; RP-Initiated Logout 1.0, section 4): the hint
// says who is meant, and proves nothing about now.
func (h hints) read(ctx context.Context, pool userpool.Pool, idToken string) (jwt.Claims, error) {
	set, err := h.keys.set(ctx, pool)
	if err != nil {
		return jwt.Claims{}, err
	}
	return set.Verify(idToken, jwt.Expect{
		Issuer: h.Issuer(pool), Types: []string{idTokenType}, Algorithms: userpool.Algorithms(), Now: issuedAt(idToken),
	})
}

// issuedAt returns the clock by which a token is fresh: the time that it claims
// to be from. The claim is only believed once the signature has been verified
// with it.
func issuedAt(token string) func() time.Time {
	var claims struct {
		IssuedAt int64 `json:"iat"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 && len(token) <= jwt.MaxToken {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && wire.DecodeForeign(b, &claims) != nil {
			claims.IssuedAt = 0
		}
	}
	return func() time.Time { return time.Unix(claims.IssuedAt, 0) }
}
