package op_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// serve sends a request past the network, so that what is measured is Deputy.
func (w *world) serve(method, target, cookie string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	answer := httptest.NewRecorder()
	w.mux.ServeHTTP(answer, r)
	return answer
}

// token sends a token request of the client chat.
func (w *world) token(form url.Values) answer {
	form.Set("client_id", "cli_chat_staff")
	form.Set("client_secret", w.secrets["cli_chat_staff"].RevealString())
	got := w.serve(http.MethodPost, "/userpool/staff/oauth/token", "", form)
	var a answer
	if err := json.Unmarshal(got.Body.Bytes(), &a); err != nil || got.Code != http.StatusOK {
		w.t.Fatalf("%d %s", got.Code, got.Body)
	}
	return a
}

// BenchmarkRefresh is one refresh, with its rotation and its audit entry durable in SQLite, an access token and an ID token.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	for b.Loop() {
		a = w.token(url.Values{"grant_type": {oauth.GrantRefreshToken}, "refresh_token": {a.Refresh}})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}

// BenchmarkCodeFlow is an authorization request of somebody who is logged in and has consented, and the redemption of the
// code with PKCE. It reports how much cheaper that is than one password hash, the floor for a login.
func BenchmarkCodeFlow(b *testing.B) {
	w := newWorld(b)
	p := w.person()
	p.logIn("staff")
	p.code(w.ask("staff"))
	site, err := url.Parse(w.url)
	w.must(err)
	var cookies []string
	for _, c := range p.client.Jar.Cookies(site) {
		cookies = append(cookies, c.String())
	}
	cookie := strings.Join(cookies, "; ")
	begin := time.Now()
	const hashes = 10
	for range hashes {
		_, err := userpool.NewHasher(1).Hash(b.Context(), secret.FromString(password))
		w.must(err)
	}
	hash := time.Since(begin) / hashes
	v := oauth.NewVerifier()
	ask := w.ask("staff", "nonce", "n", "code_challenge", oauth.Challenge(v), "code_challenge_method", "S256")
	for b.Loop() {
		to, err := url.Parse(w.serve(http.MethodGet, ask, cookie, nil).Header().Get("Location"))
		w.must(err)
		w.token(url.Values{"grant_type": {oauth.GrantAuthorizationCode}, "code": {to.Query().Get("code")}, "redirect_uri": {callbackURL},
			"code_verifier": {v.RevealString()}})
	}
	b.ReportMetric(float64(hash)*float64(b.N)/float64(b.Elapsed()), "flows/hash")
}
