package peers_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
)

// TestGoClients logs in as Go programs do: golang.org/x/oauth2 for the flow,
// coreos/go-oidc for discovery, keys and the ID token.
func TestGoClients(t *testing.T) {
	for _, algorithm := range userpool.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t, algorithm)
			c, s := w.client(userpool.Web, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			provider, err := oidc.NewProvider(ctx, w.issuer())
			w.must(err)
			app := oauth2.Config{ClientID: c.ID, ClientSecret: s.RevealString(), RedirectURL: redirectURI, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "email"}}
			verifier := oauth2.GenerateVerifier()
			at, err := url.Parse(w.person().visit(app.AuthCodeURL("s1", oidc.Nonce("n1"), oauth2.S256ChallengeOption(verifier))))
			w.must(err)
			if at.Query().Get("state") != "s1" {
				t.Fatalf("the browser ends at %s", at)
			}
			if _, err := app.Exchange(ctx, at.Query().Get("code")); err == nil {
				t.Error("a code is redeemed without its verifier")
			}
			token, err := app.Exchange(ctx, at.Query().Get("code"), oauth2.VerifierOption(verifier))
			w.must(err)
			raw, _ := token.Extra("id_token").(string)
			id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: c.ID, SupportedSigningAlgs: []string{algorithm}}).Verify(ctx, raw)
			w.must(err)
			if id.Subject != w.user.ID || id.Nonce != "n1" {
				t.Errorf("%+v", id)
			}
			w.must(id.VerifyAccessToken(token.AccessToken))
			info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
			w.must(err)
			if info.Subject != w.user.ID || info.Email != w.user.Email || !info.EmailVerified {
				t.Errorf("%+v", info)
			}
			var refused *oauth2.RetrieveError
			if _, err := app.Exchange(ctx, at.Query().Get("code"), oauth2.VerifierOption(verifier)); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
				t.Errorf("the code a second time: %v", err)
			}
		})
	}
}

// TestAlgorithms lets openid-client verify the signatures of each algorithm.
func TestAlgorithms(t *testing.T) {
	for _, algorithm := range []string{jwt.EdDSA, jwt.RS256} {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t, algorithm)
			c, s := w.client(userpool.Public, nil)
			task := w.task("codeFlow", c, "none", s)
			task["algorithm"] = algorithm
			want(t, w.person().run(task), w.codeFlow(c))
		})
	}
}
