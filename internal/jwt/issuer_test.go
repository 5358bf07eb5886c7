package jwt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
)

// provider is a small OpenID provider over real HTTP.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	set     jwt.Set
	issuer  string // what discovery names; "" = the server's own address
	jwks    string // what discovery names; "" = /keys
	down    bool
	answer  func(w http.ResponseWriter, r *http.Request) bool // true = it has answered
	fetches atomic.Int64                                      // of discovery documents
}

func newProvider(t *testing.T, keys ...jwt.Key) *provider {
	t.Helper()
	p := &provider{set: jwt.NewSet(keys...)}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(r.URL.Path, "well-known") {
		p.fetches.Add(1)
	}
	switch {
	case p.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case p.answer != nil && p.answer(w, r):
	case r.URL.Path == "/keys":
		_, _ = w.Write(p.set.JWKS())
	default:
		doc := map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"}
		if p.issuer != "" {
			doc["issuer"] = p.issuer
		}
		if p.jwks != "" {
			doc["jwks_uri"] = p.jwks
		}
		_ = json.NewEncoder(w).Encode(doc)
	}
}

func (p *provider) change(f func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *provider) fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(resp.Body)
}

func (p *provider) token(t *testing.T, k jwt.Key) string {
	return sign(t, k, "at+jwt", claims(map[string]any{"iss": p.URL, "exp": epoch.Add(100 * time.Hour).Unix()}))
}

// remote returns a verifier whose clock the test moves.
func remote(t *testing.T, p *provider, now *atomic.Int64) (*jwt.Issuer, jwt.Expect) {
	t.Helper()
	now.Store(epoch.Unix())
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	i, err := jwt.NewIssuer(jwt.IssuerConfig{DiscoveryURL: p.URL + "/.well-known/openid-configuration", Fetch: p.fetch, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	e := expect()
	e.Issuer, e.Now = "", clock
	return i, e
}

func TestIssuerRotationAndUnknownKeyFlood(t *testing.T) {
	first, second, stranger := generate(t, jwt.ES256), generate(t, jwt.ES256), generate(t, jwt.ES256)
	p := newProvider(t, first)
	var now atomic.Int64
	i, e := remote(t, p, &now)
	ctx := t.Context()

	if _, err := i.Verify(ctx, p.token(t, first), e); err != nil {
		t.Fatal(err)
	}
	if name, err := i.Issuer(ctx); err != nil || name != p.URL {
		t.Errorf("issuer %q, %v", name, err)
	}
	flood := func() {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := i.Verify(ctx, p.token(t, stranger), e)
				check(t, err, "token_unknown_key")
			})
		}
		wg.Wait()
	}
	flood()
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches after a flood in the first 30 seconds, want 1", n)
	}
	now.Add(31)
	flood()
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("%d fetches after a flood after 30 seconds, want 2", n)
	}
	now.Add(31)
	p.change(func(p *provider) { p.set = jwt.NewSet(first, second) })
	if _, err := i.Verify(ctx, p.token(t, second), e); err != nil {
		t.Errorf("a fresh key is not found: %v", err)
	}
	if _, err := i.Verify(ctx, p.token(t, first), e); err != nil {
		t.Error(err)
	}
	if n := p.fetches.Load(); n != 3 {
		t.Errorf("%d fetches, want 3", n)
	}
}

func TestIssuerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := generate(t, jwt.ES256)
		set, down, fetches := jwt.NewSet(k), false, 0
		const url = "https://idp.example"
		i, err := jwt.NewIssuer(jwt.IssuerConfig{
			DiscoveryURL: url + "/.well-known/openid-configuration",
			Fetch: func(_ context.Context, u string) ([]byte, error) {
				fetches++
				if down {
					return nil, errors.New("connection refused")
				}
				if strings.HasSuffix(u, "/keys") {
					return set.JWKS(), nil
				}
				return fmt.Appendf(nil, `{"issuer":%q,"jwks_uri":%q}`, url, url+"/keys"), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		e := expect()
		e.Issuer, e.Now = "", nil
		token := sign(t, k, "at+jwt", claims(map[string]any{"iss": url, "iat": time.Now().Unix(), "exp": time.Now().Add(90 * time.Hour).Unix()}))
		verify := func() error { _, err := i.Verify(t.Context(), token, e); return err }

		down = true
		for range 100 {
			if err := verify(); !fault.HasCode(err, "issuer_unreachable") || !fault.Is(err, fault.Unavailable) {
				t.Fatalf("got %v", err)
			}
		}
		if fetches != 1 {
			t.Errorf("%d fetches in one second of an outage, want 1", fetches)
		}
		down = false
		time.Sleep(time.Second)
		if err := verify(); err != nil {
			t.Fatalf("after the outage: %v", err)
		}
		down = true
		time.Sleep(23 * time.Hour)
		if err := verify(); err != nil {
			t.Fatalf("in an outage of less than a day: %v", err)
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		if err := verify(); !fault.HasCode(err, "issuer_unreachable") {
			t.Fatalf("in an outage of a day: %v", err)
		}
		down = false
		time.Sleep(time.Second)
		if err := verify(); err != nil {
			t.Fatalf("after the outage: %v", err)
		}

		// A withdrawn key is forgotten by the refresh in the background.
		set = jwt.NewSet(generate(t, jwt.ES256))
		time.Sleep(10 * time.Minute)
		if err := verify(); err != nil {
			t.Errorf("the call that starts the refresh must not wait for it: %v", err)
		}
		synctest.Wait()
		check(t, verify(), "token_unknown_key")
	})
}

func TestIssuerWaitsNoLongerThanItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := generate(t, jwt.ES256)
		i, err := jwt.NewIssuer(jwt.IssuerConfig{
			DiscoveryURL: "https://idp.example/.well-known/openid-configuration",
			Fetch: func(ctx context.Context, _ string) ([]byte, error) {
				<-ctx.Done() // an issuer that never answers
				return nil, ctx.Err()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		e := expect()
		start := time.Now()
		_, err = i.Verify(ctx, sign(t, k, "at+jwt", claims(nil)), e)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		time.Sleep(time.Minute) // the fetch ends by its own deadline: no goroutine is left
	})
}

func TestIssuerAnswersThatAreNotUsable(t *testing.T) {
	k := generate(t, jwt.ES256)
	text := func(s string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, s); return true }
	}
	for name, c := range map[string]struct {
		change func(*provider)
		code   string
	}{
		"another issuer":      {func(p *provider) { p.issuer = "https://other.example" }, "issuer_invalid"},
		"issuer below":        {func(p *provider) { p.issuer = p.URL + "/realm" }, "issuer_invalid"},
		"issuer with a query": {func(p *provider) { p.issuer = p.URL + "?x" }, "issuer_invalid"},
		"no issuer":           {func(p *provider) { p.answer = text(`{"jwks_uri":"https://x.example/"}`) }, "issuer_invalid"},
		"HTML":                {func(p *provider) { p.answer = text("<html>login</html>") }, "issuer_invalid"},
		"empty":               {func(p *provider) { p.answer = text("") }, "issuer_invalid"},
		"giant":               {func(p *provider) { p.answer = text(`{"x":"` + strings.Repeat("x", 600<<10) + `"}`) }, "issuer_invalid"},
		"no keys address":     {func(p *provider) { p.jwks = "/keys" }, "issuer_invalid"},
		"keys from a file":    {func(p *provider) { p.jwks = "file:///etc/passwd" }, "issuer_invalid"},
		"no keys":             {func(p *provider) { p.set = jwt.NewSet() }, "issuer_invalid"},
		"keys are HTML":       {func(p *provider) { p.jwks = p.URL + "/html"; p.answer = htmlAt("/html") }, "jwks_invalid"},
		"down":                {func(p *provider) { p.down = true }, "issuer_unreachable"},
		"issuer with a slash": {func(p *provider) { p.issuer = p.URL + "/" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, k)
			p.change(c.change)
			var now atomic.Int64
			i, e := remote(t, p, &now)
			named := p.URL
			if p.issuer != "" {
				named = p.issuer
			}
			_, err := i.Verify(t.Context(), sign(t, k, "at+jwt", claims(map[string]any{"iss": named})), e)
			if c.code == "" {
				check(t, err, "")
			} else if !fault.HasCode(err, c.code) || fault.Is(err, fault.Unauthenticated) {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
}

func htmlAt(path string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		_, _ = io.WriteString(w, "<html>")
		return true
	}
}

func TestIssuerDoesNotFetchForNonsense(t *testing.T) {
	p := newProvider(t, generate(t, jwt.ES256))
	var now atomic.Int64
	i, e := remote(t, p, &now)
	for _, token := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30."} {
		if _, err := i.Verify(t.Context(), token, e); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("got %v", err)
		}
	}
	if n := p.fetches.Load(); n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func TestIssuerAlsoAtTheAddressOfRFC8414(t *testing.T) {
	k := generate(t, jwt.ES256)
	p := newProvider(t, k)
	p.issuer = p.URL + "/pool/a"
	for path, ok := range map[string]bool{
		"/pool/a/.well-known/openid-configuration":       true,
		"/.well-known/oauth-authorization-server/pool/a": true,
		"/.well-known/openid-configuration/pool/a":       true,
		"/.well-known/openid-configuration":              false,
		"/pool/a/.well-known/openid-configuration/":      false,
		"/pool/.well-known/openid-configuration":         false,
		"/pool/a/x/.well-known/openid-configuration":     false,
	} {
		i, err := jwt.NewIssuer(jwt.IssuerConfig{DiscoveryURL: p.URL + path, Fetch: p.fetch})
		if err != nil {
			t.Fatal(err)
		}
		name, err := i.Issuer(t.Context())
		if ok && name != p.issuer || !ok && !fault.HasCode(err, "issuer_invalid") {
			t.Errorf("%s: %q, %v", path, name, err)
		}
	}
}

func TestIssuerWithoutDiscovery(t *testing.T) {
	key := generate(t, jwt.EdDSA)
	p := newProvider(t, key)
	i, err := jwt.NewIssuer(jwt.IssuerConfig{KeysURL: p.URL + "/keys?client=1", Fetch: p.fetch, Now: func() time.Time { return epoch }})
	if err != nil {
		t.Fatal(err)
	}
	e := expect()
	e.Algorithms, e.Now = []string{jwt.EdDSA}, func() time.Time { return epoch }
	e.Issuer = p.URL
	if _, err := i.Verify(t.Context(), p.token(t, key), e); err != nil {
		t.Error(err)
	}
	if n := p.fetches.Load(); n != 0 {
		t.Errorf("%d discovery documents were fetched", n)
	}
	e.Issuer = ""
	if _, err := i.Verify(t.Context(), p.token(t, key), e); !fault.Is(err, fault.Internal) {
		t.Errorf("without an issuer: %v", err)
	}
	for _, c := range []jwt.IssuerConfig{
		{KeysURL: p.URL, DiscoveryURL: p.URL, Fetch: p.fetch}, {KeysURL: "ftp://a.example/", Fetch: p.fetch}, {KeysURL: "https://u:p@a.example/", Fetch: p.fetch},
	} {
		if _, err := jwt.NewIssuer(c); !fault.HasCode(err, "discovery_url_invalid") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestNewIssuerChecksTheAddress(t *testing.T) {
	for _, u := range []string{"", "idp.example", "ftp://idp.example/x", "https://", "https://u:p@idp.example/x", "https://idp.example/?x=1", "https://idp.example/#x", "https://idp.example/%zz"} {
		if _, err := jwt.NewIssuer(jwt.IssuerConfig{DiscoveryURL: u, Fetch: func(context.Context, string) ([]byte, error) { return nil, nil }}); !fault.HasCode(err, "discovery_url_invalid") {
			t.Errorf("%q: %v", u, err)
		}
	}
	if _, err := jwt.NewIssuer(jwt.IssuerConfig{DiscoveryURL: "https://idp.example/x"}); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
	p := newProvider(t)
	var now atomic.Int64
	i, e := remote(t, p, &now)
	e.Skew = time.Hour
	if _, err := i.Verify(t.Context(), "x", e); !fault.Is(err, fault.Internal) {
		t.Errorf("got %v", err)
	}
}
