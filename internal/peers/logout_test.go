package peers_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/userpool"
)

// TestBackchannelLogout logs in, logs out, and lets go-oidc validate what the
// client is told (OpenID Connect Back-Channel Logout 1.0, section 2.6).
func TestBackchannelLogout(t *testing.T) {
	for _, algorithm := range userpool.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			told := make(chan string, 1)
			app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.PostFormValue("logout_token") }))
			t.Cleanup(app.Close)
			w := newWorld(t, algorithm)
			c, s := w.client(userpool.Web, func(c *userpool.Client) { c.BackchannelLogoutURI = app.URL + "/logout" })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			provider, err := oidc.NewProvider(ctx, w.issuer())
			w.must(err)
			var metadata struct {
				EndSession string `json:"end_session_endpoint"`
			}
			w.must(provider.Claims(&metadata))
			login := oauth2.Config{ClientID: c.ID, ClientSecret: s.RevealString(), RedirectURL: redirectURI, Endpoint: provider.Endpoint(), Scopes: []string{"openid"}}
			person := w.person()
			at, err := url.Parse(person.visit(login.AuthCodeURL("s1")))
			w.must(err)
			token, err := login.Exchange(ctx, at.Query().Get("code"))
			w.must(err)
			raw, _ := token.Extra("id_token").(string)
			verifier := provider.VerifierContext(ctx, &oidc.Config{ClientID: c.ID, SupportedSigningAlgs: []string{algorithm}})
			id, err := verifier.Verify(ctx, raw)
			w.must(err)
			var session struct {
				ID string `json:"sid"`
			}
			w.must(id.Claims(&session))
			person.visit(metadata.EndSession + "?" + url.Values{"id_token_hint": {raw}}.Encode())

			select {
			case raw = <-told:
			case <-ctx.Done():
				t.Fatal("the client is told nothing")
			}
			signed, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			w.must(err)
			if typ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != "logout+jwt" {
				t.Errorf("typ is %v", typ)
			}
			logout, err := verifier.Verify(ctx, raw) // signature, iss, aud and exp
			w.must(err)
			var claims struct {
				ID      string                     `json:"jti"`
				Session string                     `json:"sid"`
				Events  map[string]json.RawMessage `json:"events"`
				Nonce   *string                    `json:"nonce"`
			}
			w.must(logout.Claims(&claims))
			event := string(claims.Events["http://schemas.openid.net/event/backchannel-logout"])
			if logout.Subject != w.user.ID || logout.IssuedAt.IsZero() || claims.ID == "" || claims.Session == "" || claims.Session != session.ID ||
				len(claims.Events) != 1 || event != "{}" || claims.Nonce != nil {
				t.Errorf("%+v of session %q", claims, session.ID)
			}
		})
	}
}
