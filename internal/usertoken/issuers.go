// Package usertoken judges the tokens that prove users to agents: whether their issuer made them, and whether they are meant for the agent.
package usertoken

import (
	"context"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/wire"
)

// Issuers verifies the tokens of every issuer that an agent names, and remembers
// verdicts for up to a minute. The zero value needs Fetch.
type Issuers struct {
	// Fetch gets a document; see jwt.IssuerConfig.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	Now   func() time.Time // nil means time.Now

	mu     sync.Mutex
	issuer map[string]*issuer // by discovery URL; only operators add to it
}

type issuer struct {
	remote   *jwt.Issuer
	verdicts *jwt.Verdicts[Claims]
}

// Verify implements the verifier of package ingress.
func (s *Issuers) Verify(ctx context.Context, discoveryURL, token string) (Claims, error) {
	i, err := s.get(discoveryURL)
	if err != nil {
		return Claims{}, err
	}
	return i.verdicts.Verify(token, func(token string) (Claims, time.Time, error) {
		verified, err := i.remote.Verify(ctx, token, jwt.Expect{
			Types:      []string{"at+jwt", "JWT"},
			Algorithms: []string{"ES256", "EdDSA", "RS256", "PS256", "ES384", "RS384", "PS384", "ES512", "RS512", "PS512"},
			Skew:       jwt.MaxSkew, Now: s.Now,
		})
		claims := Claims{Claims: verified}
		if err == nil {
			if err = wire.DecodeForeign(verified.Raw, &claims.more); err != nil {
				err = fault.Wrap(err, fault.Unauthenticated, "token_malformed", "the token's claims are malformed")
			}
		}
		return claims, verified.ExpiresAt, err
	})
}

// Issuer implements the verifier of package ingress.
func (s *Issuers) Issuer(ctx context.Context, discoveryURL string) (string, error) {
	i, err := s.get(discoveryURL)
	if err != nil {
		return "", err
	}
	return i.remote.Issuer(ctx)
}

func (s *Issuers) get(discoveryURL string) (*issuer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.issuer[discoveryURL]; ok {
		return i, nil
	}
	remote, err := jwt.NewIssuer(jwt.IssuerConfig{DiscoveryURL: discoveryURL, Fetch: s.Fetch, Now: s.Now})
	if err != nil {
		return nil, err
	}
	if s.issuer == nil {
		s.issuer = map[string]*issuer{}
	}
	i := &issuer{remote, jwt.NewVerdicts[Claims](s.Now)}
	s.issuer[discoveryURL] = i
	return i, nil
}
