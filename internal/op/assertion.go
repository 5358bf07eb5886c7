package op

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The bounds of client assertions. A long-lived one is a secret that travels.
const (
	assertionLifetime = 5 * time.Minute
	assertionSkew     = 30 * time.Second
	maxKeySources     = 1000 // clients whose keys are kept
)

// assertions verifies JWTs by which clients authenticate (RFC 7523, section 3;
// OpenID Connect Core 1.0, section 9).
type assertions struct {
	base
	store userpool.Assertions
	guard *guard.Guard
	keys  *clientKeys
}

// wrong says what is wrong with the assertion that c sent to endpoint; nothing if
// it is right, and then it is used up.
func (e assertions) wrong(ctx context.Context, pool userpool.Pool, c userpool.Client, endpoint, assertion string) (string, error) {
	claims, err := e.keys.verify(ctx, c, assertion, jwt.Expect{
		Issuer: c.ID, Types: []string{"JWT", "client-authentication+jwt"}, Untyped: true, Algorithms: registration.AssertionAlgorithms(), Skew: assertionSkew, Now: e.Now,
	})
	if fault.Is(err, fault.Unauthenticated) {
		return fault.As(err).Message, nil
	}
	if err != nil {
		return "", err
	}
	switch {
	case claims.Subject != c.ID:
		return "sub is not the client's id", nil
	case !e.meant(pool, endpoint, claims.Audience):
		return "aud is not this issuer alone", nil
	case claims.ID == "":
		return "jti is missing", nil
	case claims.ExpiresAt.After(e.Now().Add(assertionLifetime + assertionSkew)):
		return "exp is further away than five minutes", nil
	}
	a := userpool.Assertion{Pool: pool.Name, ClientID: c.ID, Hash: userpool.HashAssertion(claims.ID), ExpiresAt: claims.ExpiresAt.Add(assertionSkew)}
	p, err := e.guard.Allow(ctx, c.Caller(), userpool.ActionUseAssertion, a.Resource())
	if err != nil {
		return "", err
	}
	err = e.store.UseAssertion(ctx, p, a)
	if fault.HasCode(err, "assertion_used") {
		return fault.As(err).Message, nil
	}
	return "", err
}

// meant reports whether an assertion is for this issuer and nobody else: under
// its own name, as the OAuth working group demands by now, or under the address of
// the token endpoint or of the one that was called, as clients have done since RFC
// 7523. A further audience would be somebody who could send the assertion here in
// the client's name, and is refused.
func (e assertions) meant(pool userpool.Pool, endpoint string, audience []string) bool {
	issuer := e.Issuer(pool)
	ours := []string{issuer, issuer + "/oauth/token", endpoint}
	return len(audience) > 0 && !slices.ContainsFunc(audience, func(a string) bool { return !slices.Contains(ours, a) })
}

// clientKeys verifies with the public keys of clients: those that are registered
// inline, and those at an address, which are kept and fetched again as those of
// other issuers are.
type clientKeys struct {
	fetch func(ctx context.Context, url string) ([]byte, error)
	now   func() time.Time
	mu    sync.Mutex
	byURI map[string]*jwt.Issuer
}

func (k *clientKeys) verify(ctx context.Context, c userpool.Client, token string, e jwt.Expect) (jwt.Claims, error) {
	if c.KeysURI == "" {
		set, err := jwt.ParseSet([]byte(c.Keys))
		if err != nil {
			return jwt.Claims{}, err
		}
		return set.Verify(token, e)
	}
	source, err := k.source(c.KeysURI)
	if err != nil {
		return jwt.Claims{}, err
	}
	return source.Verify(ctx, token, e)
}

// source returns the keys at uri. Over the bound, any other goes: it is fetched
// again when its client comes.
func (k *clientKeys) source(uri string) (*jwt.Issuer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.byURI[uri]; ok {
		return known, nil
	}
	made, err := jwt.NewIssuer(jwt.IssuerConfig{KeysURL: uri, Fetch: k.fetch, Now: k.now})
	if err != nil {
		return nil, err
	}
	for other := range k.byURI {
		if len(k.byURI) < maxKeySources {
			break
		}
		delete(k.byURI, other)
	}
	k.byURI[uri] = made
	return made, nil
}
