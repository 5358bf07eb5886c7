package ingress

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/wire"
)

// bearer returns the one bearer token of a request (RFC 6750, section 2.1).
// Tokens in bodies and queries are not looked for.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
		return "", unauthenticated("token_missing", "there is no bearer token").WithFix("send Authorization: Bearer <access token>")
	case len(values) > 1:
		// Whoever stands in front of us may have looked at the other one.
		return "", unauthenticated("token_ambiguous", "there are %d Authorization headers", len(values)).WithFix("send one")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", unauthenticated("token_missing", "the Authorization header holds no bearer token").WithFix("send Authorization: Bearer <access token>")
	case len(token) > jwt.MaxToken:
		return "", unauthenticated("token_malformed", "the token is larger than %d bytes", jwt.MaxToken)
	case token == "" || strings.ContainsFunc(token, notB64Token):
		return "", unauthenticated("token_malformed", "the bearer token is malformed")
	}
	return token, nil
}

// notB64Token reports whether r may not be in a bearer token (RFC 6750, section
// 2.1, b64token).
func notB64Token(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("-._~+/=", r)
}

func unauthenticated(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthenticated, code, format, args...)
}

// Claims are what a verified token says, as far as the ingress wants to know.
type Claims struct {
	jwt.Claims
	more extra
}

// extra are claims besides those of jwt.Claims.
type extra struct {
	AuthorizedParty string `json:"azp"`     // OpenID Connect Core 1.0, section 2
	Nonce           *any   `json:"nonce"`   // in ID tokens
	AtHash          *any   `json:"at_hash"` // in ID tokens
	Events          *any   `json:"events"`  // in logout tokens
}

// authenticate fills in who is calling, or returns why he is not let in.
func (h *Handler) authenticate(ctx context.Context, in agent.Inbound, token string, d *Decision) error {
	claims, err := h.config.Verifier.Verify(ctx, in.DiscoveryURL, token)
	if err != nil {
		return err
	}
	more := claims.more
	if more.Nonce != nil || more.AtHash != nil || more.Events != nil {
		// They have type JWT like many access tokens, and travel through browsers.
		return unauthenticated("token_type", "this is an ID token or a logout token").WithFix("send the access token")
	}
	if !goodSubject(claims.Subject) {
		return unauthenticated("token_subject", "the token names no user that can be passed on").
			WithFix("its sub must be 1 to 255 printable ASCII characters")
	}
	d.User = name.User{Issuer: claims.Issuer, Subject: claims.Subject}
	if d.Client = claims.ClientID; d.Client == "" {
		d.Client = more.AuthorizedParty
	}
	if len(in.AllowedClients) == 0 {
		return nil
	}
	if d.Client == "" || !slices.Contains(in.AllowedClients, d.Client) {
		return fault.New(fault.Forbidden, "client_not_allowed", "client %q may not call this agent", name.Clip(d.Client, 80)).
			WithFix("add it to runtime_jwt_allowed_clients in agentkit.yaml")
	}
	// The token must be meant for the agent, or for a client that may call it: one
	// that such a client got for a third service does not open this one.
	own := h.config.URL + "/agents/" + d.Workload.Pool + "/" + d.Workload.Name
	for _, audience := range claims.Audience {
		if audience == own || slices.Contains(in.AllowedClients, audience) {
			return nil
		}
	}
	return unauthenticated("token_audience", "the token is not meant for this agent").
		WithFix("its audience must be an allowed client or %s", own)
}

// goodSubject reports whether a subject can be sent as a header without being
// changed on the way (OpenID Connect Core 1.0, section 2: at most 255 ASCII
// characters).
func goodSubject(s string) bool {
	if s == "" || len(s) > 255 || strings.TrimSpace(s) != s {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

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

// Verify implements [Verifier].
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
