package op_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestZZ(b *testing.T) {
	w := newWorld(b)
	p := w.person()
	p.logIn("staff")
	a := w.good(w.redeem("staff", "chat", p.code(w.ask("staff"))))
	site, _ := url.Parse(w.url)
	var cookies []string
	for _, c := range p.client.Jar.Cookies(site) {
		cookies = append(cookies, c.String())
	}
	cookie := strings.Join(cookies, "; ")
	v := oauth.NewVerifier()
	ask := w.ask("staff", "nonce", "n", "code_challenge", oauth.Challenge(v), "code_challenge_method", "S256")
	var hash, flow, auth, refresh time.Duration
	const rounds, n = 15, 60
	h := userpool.NewHasher(1)
	for range rounds {
		t := cpu()
		for range 4 {
			_, _ = h.Hash(b.Context(), secret.FromString(password))
		}
		hash += cpu() - t
		t = cpu()
		codes := []string{}
		for range n {
			to, _ := url.Parse(w.serve(http.MethodGet, ask, cookie, nil).Header().Get("Location"))
			codes = append(codes, to.Query().Get("code"))
		}
		auth += cpu() - t
		for _, c := range codes {
			w.token(url.Values{"grant_type": {oauth.GrantAuthorizationCode}, "code": {c}, "redirect_uri": {callbackURL}, "code_verifier": {v.RevealString()}})
		}
		flow += cpu() - t
		t = cpu()
		for range n {
			a = w.token(url.Values{"grant_type": {oauth.GrantRefreshToken}, "refresh_token": {a.Refresh}})
		}
		refresh += cpu() - t
	}
	hash /= rounds * 4
	flow /= rounds * n
	auth /= rounds * n
	refresh /= rounds * n
	fmt.Printf("cpu: hash %v, authorize %v, flow %v (1/%.1f), refresh %v (1/%.1f; %.0f/s at 28 ms a hash)\n", hash, auth, flow, float64(hash)/float64(flow), refresh, float64(hash)/float64(refresh),
		float64(hash)/float64(refresh)/0.028)
}
