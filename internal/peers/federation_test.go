package peers_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/visitor"
)

// TestFederation logs somebody in whom another provider knows: a client sends
// him to the pool, the pool to Dex or oidc-provider, and all the way back.
func TestFederation(t *testing.T) {
	for what, start := range providers() {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, jwt.ES256)
			c, s := w.client(userpool.Web, nil)
			issuer := start(t, "upstream-secret", w.issuer()+"/login/upstream/callback")
			w.identityProvider(map[string]any{
				"name": "upstream", "type": "oidc", "title": "Elsewhere", "clientId": "deputy", "clientSecret": "upstream-secret", "issuer": issuer, "createUsers": true, "linkByVerifiedEmail": true,
			})
			provider, err := oidc.NewProvider(t.Context(), w.issuer())
			w.must(err)
			app := oauth2.Config{ClientID: c.ID, ClientSecret: s.RevealString(), RedirectURL: redirectURI, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile", "email"}}
			verifier := oauth2.GenerateVerifier()
			at, err := url.Parse(w.person().comeFrom("upstream", app.AuthCodeURL("s1", oauth2.S256ChallengeOption(verifier))))
			w.must(err)
			token, err := app.Exchange(t.Context(), at.Query().Get("code"), oauth2.VerifierOption(verifier))
			w.must(err)
			info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
			w.must(err)
			if info.Email != "li.si@example.com" || !info.EmailVerified || info.Subject == w.user.ID || !strings.HasPrefix(info.Subject, "usr_") {
				t.Errorf("%+v", info)
			}
		})
	}
}

// identityProvider adds an external provider to the pool.
func (w *world) identityProvider(settings map[string]any) {
	w.t.Helper()
	w.call(w.operator(), "/user-pools/"+pool+"/identity-providers", settings, nil)
}

// operator returns the operator's token.
func (w *world) operator() string {
	w.t.Helper()
	token, err := os.ReadFile(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	return strings.TrimSpace(string(token))
}

// call posts to the native API as whoever has the token, and reads the answer
// into out unless that is nil.
func (w *world) call(token, path string, in, out any) {
	w.t.Helper()
	body, err := json.Marshal(in)
	w.must(err)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.URL+"/api/v1"+path, bytes.NewReader(body))
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		w.t.Fatalf("POST %s: %d %s %v", path, resp.StatusCode, answer, err)
	}
	if out != nil {
		w.must(json.Unmarshal(answer, out))
	}
}

// comeFrom opens an address that asks for a login, chooses an external provider
// there, does what that one asks, and returns where the browser ends.
func (p *person) comeFrom(idp, address string) string {
	t := p.w.t
	t.Helper()
	var end string
	on := func(next *url.URL) bool {
		if strings.HasPrefix(next.String(), w9) {
			end = next.String()
			return false
		}
		return true
	}
	at, err := p.Get(t.Context(), address, on)
	p.w.must(err)
	_, rest, found := strings.Cut(at.Body, `href="/userpool/`+pool+`/login/`+idp+`/begin`)
	if !found {
		t.Fatalf("no button for %s at %s\n%s", idp, at.URL, at.Body)
	}
	query, _, _ := strings.Cut(rest, `"`)
	at, err = p.Get(t.Context(), p.w.issuer()+"/login/"+idp+"/begin"+strings.ReplaceAll(query, "&amp;", "&"), on)
	for range 5 {
		p.w.must(err)
		if end != "" {
			return end
		}
		var asked bool
		if at, asked, err = p.answerElsewhere(at, on); !asked {
			t.Fatalf("%d %s\n%s", at.Status, at.URL, at.Body)
		}
	}
	t.Fatalf("the questions do not end: %s\n%s", at.URL, at.Body)
	return ""
}

// answerElsewhere answers a page of somebody else's, or one of the pool, if it
// asks anything.
func (p *person) answerElsewhere(at visitor.Page, on func(*url.URL) bool) (visitor.Page, bool, error) {
	ctx := p.w.t.Context()
	if login, err := at.Find("login", "password"); err == nil { // Dex
		at, err = p.Submit(ctx, at, login, url.Values{"login": {"li.si@example.com"}, "password": {"password"}}, "", "", on)
		return at, true, err
	}
	if approval, err := at.Find("approval"); err == nil {
		approval.Action = at.URL.RequestURI() // Dex leaves it out
		at, err = p.Submit(ctx, at, approval, nil, "", "", on)
		return at, true, err
	}
	if login, err := at.Find("user_name", "password"); err == nil { // Gitea
		at, err = p.Submit(ctx, at, login, url.Values{"user_name": {giteaUser}, "password": {giteaPassword}}, "", "", on)
		return at, true, err
	}
	if grant, err := at.Find("granted"); err == nil {
		at, err = p.Submit(ctx, at, grant, nil, "granted", "true", on)
		return at, true, err
	}
	return p.answer(at, on)
}
