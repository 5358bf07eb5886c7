package peers_test

import (
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
	token, err := os.ReadFile(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	body, err := json.Marshal(settings)
	w.must(err)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.URL+"/api/v1/user-pools/"+pool+"/identity-providers", strings.NewReader(string(body)))
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		w.t.Fatalf("%d %s %v", resp.StatusCode, answer, err)
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
		at, err = p.answerElsewhere(at, on)
	}
	t.Fatalf("the questions do not end: %s\n%s", at.URL, at.Body)
	return ""
}

// answerElsewhere answers a page of Dex, or one of the pool.
func (p *person) answerElsewhere(at visitor.Page, on func(*url.URL) bool) (visitor.Page, error) {
	ctx := p.w.t.Context()
	if login, err := at.Find("login", "password"); err == nil {
		return p.Submit(ctx, at, login, url.Values{"login": {"li.si@example.com"}, "password": {"password"}}, "", "", on)
	}
	if approval, err := at.Find("approval"); err == nil {
		approval.Action = at.URL.RequestURI() // Dex leaves it out
		return p.Submit(ctx, at, approval, nil, "", "", on)
	}
	next, asked, err := p.answer(at, on)
	if !asked {
		p.w.t.Fatalf("%d %s\n%s", at.Status, at.URL, at.Body)
	}
	return next, err
}
