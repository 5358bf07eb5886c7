package attestor

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// Sender asks clusters and trust domains; [outbound.Client] is one.
type Sender interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Response, error)
}

// keysPath is where API servers publish the keys of service accounts' tokens.
const keysPath = "/openid/v1/jwks"

// source verifies the proofs that one cluster or trust domain makes.
type source struct {
	Settings
	audience string
	sender   Sender
	keys     *jwt.Issuer
	reviewer func(context.Context) (secret.Text, error)
	now      func() time.Time
}

func (t *Trust) newSource(s Settings, reviewer func(context.Context) (secret.Text, error)) (*source, error) {
	sender, err := t.Reach(s.Authority)
	if err != nil {
		return nil, err
	}
	src := &source{Settings: s, audience: s.Audience, sender: sender, reviewer: reviewer, now: t.Now}
	if src.audience == "" {
		src.audience = t.PublicURL
	}
	c := jwt.IssuerConfig{KeysURL: s.KeysURL, Fetch: src.fetch, Now: t.Now}
	switch {
	case s.BundleURL != "":
		c.KeysURL, c.Bundle = s.BundleURL, true
	case s.Server != "":
		c.KeysURL = s.Server + keysPath
	case s.discovers():
		c.DiscoveryURL = strings.TrimSuffix(s.Issuer, "/") + "/.well-known/openid-configuration"
	}
	src.keys, err = jwt.NewIssuer(c)
	if err != nil {
		return nil, fault.As(err).WithSource(src.keysField())
	}
	return src, nil
}

// discovers reports whether the issuer's own document says where its keys are.
func (s Settings) discovers() bool { return s.KeysURL+s.BundleURL+s.Server == "" }

// keysField names the setting that says where the keys are.
func (s Settings) keysField() string {
	switch {
	case s.KeysURL != "":
		return "keysUrl"
	case s.BundleURL != "":
		return "bundleUrl"
	case s.Server != "":
		return "server"
	default:
		return "issuer"
	}
}

// verify returns the subject of a token, as rules write it.
//
// An API server that reviews tokens gets to see none whose signature is not of its
// own keys: a cluster that calls itself as another one does must not be handed the
// other one's tokens, with which it could come here.
func (s *source) verify(ctx context.Context, token secret.Text) (string, error) {
	if s.Kind == SPIFFE {
		id, err := attest.SPIFFE{Keys: s.keys, TrustDomain: strings.TrimPrefix(s.Issuer, attest.SPIFFEScheme), Audience: s.audience, Now: s.now}.Verify(ctx, token)
		return id.Path, err
	}
	account, err := attest.Kubernetes{Keys: s.keys, Issuer: s.Issuer, Audience: s.audience, Now: s.now}.Verify(ctx, token)
	if err != nil || s.Server == "" {
		return account.Subject(), err
	}
	reviewed, err := attest.Review(ctx, s.post, token, s.audience)
	if err != nil {
		return "", err
	}
	if reviewed.Subject() != account.Subject() || reviewed.UID != account.UID {
		return "", fault.New(fault.Unauthenticated, "token_reviewed", "the cluster says that the token is somebody else's")
	}
	return account.Subject(), nil
}

// fetch gets a key set or a discovery document.
func (s *source) fetch(ctx context.Context, url string) ([]byte, error) {
	return s.ask(ctx, outbound.Request{URL: url, Purpose: "keys of an attestor"})
}

// post asks the API server for a review.
func (s *source) post(ctx context.Context, path string, body []byte) ([]byte, error) {
	return s.ask(ctx, outbound.Request{Method: http.MethodPost, URL: s.Server + path, Body: body, Purpose: "review of a token"})
}

// ask sends a request, to an API server with the reviewer's token.
func (s *source) ask(ctx context.Context, r outbound.Request) ([]byte, error) {
	r.Header = http.Header{"Accept": {"application/json, application/jwk-set+json"}}
	if r.Body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if s.Server != "" {
		token, err := s.reviewer(ctx)
		if err != nil {
			return nil, err
		}
		defer token.Clear()
		r.Header.Set("Authorization", "Bearer "+token.RevealString())
	}
	answer, err := s.sender.Do(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case answer.Status == http.StatusOK, answer.Status == http.StatusCreated:
		return answer.Body, nil
	case s.Server != "" && (answer.Status == http.StatusUnauthorized || answer.Status == http.StatusForbidden):
		return nil, fault.New(fault.Unavailable, "reviewer_denied", "the API server answers the %s with status %d", r.Purpose, answer.Status).
			WithFix("give the reviewer's service account the cluster role system:auth-delegator, and a token that has not expired")
	default:
		return nil, fault.New(fault.Unavailable, "attestor_status", "the %s was answered with status %d", r.Purpose, answer.Status)
	}
}
