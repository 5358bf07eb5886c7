package op_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestHostileHosts: whatever a request says about where it came to, addresses
// are made of the configured public URL, and nobody is led elsewhere.
func TestHostileHosts(t *testing.T) {
	w := newWorld(t)
	p := w.person()
	paths := []string{
		"/userpool/staff/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/userpool/staff", w.ask("staff"), w.ask("staff", "prompt", "none"),
		w.ask("staff", "redirect_uri", "https://evil.example/"), "/userpool/staff/login", "/userpool/staff/logout", "/userpool/staff/keys", "/userpool/staff/userinfo",
	}
	for _, c := range []struct{ header, value string }{
		{"X-Forwarded-Host", "evil.example"},
		{"X-Forwarded-Server", "evil.example"},
		{"X-Forwarded-Proto", "javascript"},
		{"X-Forwarded-Prefix", "//evil.example"},
		{"X-Host", "evil.example"},
		{"X-Original-Url", "//evil.example/"},
		{"X-Rewrite-Url", "//evil.example/"},
		{"Forwarded", `host=evil.example;proto="javascript"`},
		{"Host", "evil.example"},
		{"Host", "127.0.0.1:1@evil.example"},
		{"Origin", "https://evil.example"},
		{"Referer", "https://evil.example/"},
	} {
		for _, path := range paths {
			plain, got := p.get(path), p.sendTo(path, c.header, c.value)
			elsewhere := strings.Contains(got.to, "evil.example") || strings.Contains(got.body, "javascript") ||
				strings.Contains(strings.ReplaceAll(got.body, "redirect_uri", ""), "evil.example") && !strings.Contains(plain.body, "evil.example")
			if elsewhere || got.status != plain.status || got.to != plain.to {
				t.Errorf("%s: %s, %s: %d %q, want %d %q\n%s", c.header, c.value, path, got.status, got.to, plain.status, plain.to, got.body)
			}
			for _, cookie := range got.header["Set-Cookie"] {
				if strings.Contains(strings.ToLower(cookie), "domain=") {
					t.Errorf("%s: %s, %s: a cookie for a whole domain: %s", c.header, c.value, path, cookie)
				}
			}
		}
	}
}

// sendTo gets a path with a header that lies about where the request came to.
func (p *person) sendTo(path, header, value string) page {
	p.w.t.Helper()
	if header != "Host" {
		return p.send(http.MethodGet, path, nil, http.Header{header: {value}})
	}
	transport := p.client.Transport
	defer func() { p.client.Transport = transport }()
	p.client.Transport = hostChanger(value)
	return p.get(path)
}

// hostChanger sends requests where they belong, with another Host.
type hostChanger string

// RoundTrip implements [http.RoundTripper].
func (h hostChanger) RoundTrip(r *http.Request) (*http.Response, error) {
	changed := r.Clone(r.Context())
	changed.Host = string(h)
	return http.DefaultTransport.RoundTrip(changed)
}
