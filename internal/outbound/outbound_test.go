package outbound_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/outbound"
)

func client(t *testing.T, c outbound.Config) *outbound.Client {
	t.Helper()
	cl, err := outbound.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func serve(t *testing.T, h http.HandlerFunc) (server *httptest.Server, hostPort string) {
	t.Helper()
	server = httptest.NewServer(h)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server, u.Host
}

func TestDo(t *testing.T) {
	server, hostPort := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("User-Agent")+" "+r.Header.Get("X-Mine")+" "+r.Header.Get("Accept-Encoding"))
		w.WriteHeader(418)
		_, _ = w.Write(append([]byte("got "), body...))
	})
	c := client(t, outbound.Config{Allow: []string{hostPort}, UserAgent: "deputy/1.2"})
	header := http.Header{"X-Mine": {"m"}}
	resp, err := c.Do(t.Context(), outbound.Request{Method: "POST", URL: server.URL + "/a?b=c", Header: header, Body: []byte("body")})
	if err != nil || resp.Status != 418 || string(resp.Body) != "got body" || resp.Header.Get("X-Seen") != "POST /a?b=c deputy/1.2 m" {
		t.Errorf("got %d %q %v, %v", resp.Status, resp.Body, resp.Header, err)
	}
	if len(header) != 1 {
		t.Errorf("the caller's header was changed: %v", header)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var hits atomic.Int32
	server, hostPort := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	resp, err := client(t, outbound.Config{Allow: []string{hostPort}}).Do(t.Context(), outbound.Request{Method: "POST", URL: server.URL, Body: []byte("secret")})
	if err != nil || resp.Status != 307 || hits.Load() != 1 {
		t.Errorf("got %d after %d requests, %v", resp.Status, hits.Load(), err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := client(t, outbound.Config{Allow: []string{"127.0.0.1"}})
	for range 5 {
		if _, err := c.Get(t.Context(), server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 5 requests", n)
	}
}

func TestTheEnvironmentsProxyIsIgnored(t *testing.T) {
	proxy, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(v, proxy.URL)
	}
	server, hostPort := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") })
	if resp, err := client(t, outbound.Config{Allow: []string{hostPort}}).Get(t.Context(), server.URL); err != nil || string(resp.Body) != "direct" {
		t.Errorf("got %q, %v", resp.Body, err)
	}
}

func TestConfiguredProxy(t *testing.T) {
	var asked atomic.Value
	proxy, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI)
		_, _ = io.WriteString(w, "by proxy")
	})
	c := client(t, outbound.Config{Allow: []string{"allowed.example:80"}, Proxy: proxy.URL})
	resp, err := c.Get(t.Context(), "http://allowed.example/doc")
	if err != nil || string(resp.Body) != "by proxy" || asked.Load() != "GET http://allowed.example/doc" {
		t.Errorf("got %q %v, %v", resp.Body, asked.Load(), err)
	}
	asked.Store("nothing")
	for _, u := range []string{"http://other.example/", "http://127.0.0.1/", "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/"} {
		if _, err := c.Get(t.Context(), u); !fault.HasCode(err, "outbound_address_refused") {
			t.Errorf("%s: %v", u, err)
		}
	}
	if asked.Load() != "nothing" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
	if _, err := c.Get(t.Context(), "https://public.example/"); !fault.HasCode(err, "outbound_failed") || asked.Load() != "CONNECT public.example:443" {
		t.Errorf("got %v, %v", asked.Load(), err)
	}
	for _, p := range []string{"proxy:3128", "socks5://proxy:1", "http://"} {
		if _, err := outbound.New(outbound.Config{Proxy: p}); !fault.HasCode(err, "outbound_proxy_invalid") {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestBounds(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	server, hostPort := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 2000))
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		case "/hang", "/drip":
			if r.URL.Path == "/drip" {
				_, _ = io.WriteString(w, "a")
				w.(http.Flusher).Flush()
			}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	c := client(t, outbound.Config{Allow: []string{hostPort}, MaxBody: 1000, Timeout: 100 * time.Millisecond})
	for path, code := range map[string]string{"/big": "outbound_body_too_large", "/headers": "outbound_failed", "/cut": "outbound_failed", "/hang": "outbound_timeout", "/drip": "outbound_timeout"} {
		if _, err := c.Get(t.Context(), server.URL+path); !fault.HasCode(err, code) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if resp, err := c.Do(t.Context(), outbound.Request{URL: server.URL + "/big", MaxBody: 2000}); err != nil || len(resp.Body) != 2000 {
		t.Errorf("got %d bytes, %v", len(resp.Body), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, server.URL+"/hang"); !fault.HasCode(err, "outbound_failed") || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFetch(t *testing.T) {
	server, hostPort := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ok" {
			w.WriteHeader(404)
		}
		_, _ = io.WriteString(w, "{}")
	})
	c := client(t, outbound.Config{Allow: []string{hostPort}})
	if b, err := c.Fetch(t.Context(), server.URL+"/ok"); err != nil || string(b) != "{}" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := c.Fetch(t.Context(), server.URL+"/no"); !fault.HasCode(err, "outbound_status") {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	start := func(version uint16) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	modern, old := start(tls.VersionTLS13), start(tls.VersionTLS11)
	roots := x509.NewCertPool()
	roots.AddCert(modern.Certificate())
	trusting := client(t, outbound.Config{Allow: []string{"127.0.0.1"}, Roots: roots})
	if _, err := trusting.Get(t.Context(), modern.URL); err != nil {
		t.Error(err)
	}
	if _, err := trusting.Get(t.Context(), old.URL); !fault.HasCode(err, "outbound_failed") {
		t.Errorf("TLS 1.1: %v", err)
	}
	if _, err := client(t, outbound.Config{Allow: []string{"127.0.0.1"}}).Get(t.Context(), modern.URL); !fault.HasCode(err, "outbound_failed") {
		t.Errorf("unknown authority: %v", err)
	}
	plain, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	if _, err := trusting.Get(t.Context(), strings.Replace(plain.URL, "http:", "https:", 1)); !fault.HasCode(err, "outbound_failed") {
		t.Errorf("plain server: %v", err)
	}
}

func TestURLs(t *testing.T) {
	c := client(t, outbound.Config{})
	for _, u := range []string{"", "/x", "file:///etc/passwd", "gopher://x/", "https://", "https:opaque", "https://user:pass@x.example/", "https://x.example/%zz?token=s3cret", "https://x.example:port/", "http://[::1", "https://x.example/\n?token=s3cret"} {
		_, err := c.Get(t.Context(), u)
		if !fault.HasCode(err, "outbound_url_invalid") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", u, err)
		}
	}
	if _, err := c.Do(t.Context(), outbound.Request{Method: "BAD METHOD", URL: "https://x.example/"}); !fault.HasCode(err, "outbound_url_invalid") {
		t.Errorf("got %v", err)
	}
}

// TestNoSecretInErrorsAndLogs makes each kind of failure happen with secrets in
// query, header and body, and with an answer that echoes them in its framing.
func TestNoSecretInErrorsAndLogs(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	go func() {
		for {
			conn, err := raw.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "s3cret is not HTTP\r\n\r\n")
			_ = conn.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	_, fine := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("s3cret"), 100)) })

	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := client(t, outbound.Config{Allow: []string{raw.Addr().String(), gone.Addr().String(), fine}, Log: logger, Timeout: time.Second})
	for _, host := range []string{raw.Addr().String(), gone.Addr().String(), fine, "127.0.0.1:1", "no-such-host.invalid"} {
		_, err := c.Do(t.Context(), outbound.Request{
			Method: "POST", URL: "http://" + host + "/token?token=s3cret", Header: http.Header{"Authorization": {"Bearer s3cret"}},
			Body: []byte("secret=s3cret"), MaxBody: 10, Purpose: "test",
		})
		if err == nil {
			t.Errorf("%s: no error", host)
		}
		logger.Error("seen", "err", err)
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%s: %v", host, e)
			}
		}
		if !strings.Contains(err.Error(), "test at http://"+host+"/token") {
			t.Errorf("%s: the message does not say where: %v", host, err)
		}
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("log:\n%s", &log)
	}
	if !strings.Contains(log.String(), "outbound request") {
		t.Error("nothing was logged")
	}
}

func TestAPostIsNeverSentTwice(t *testing.T) {
	var requests atomic.Int32
	server, hostPort := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			return // a good answer, so that the connection is kept
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close() // acted, and the answer was lost
		}
	})
	c := client(t, outbound.Config{Allow: []string{hostPort}})
	for i := range 2 {
		_, err := c.Do(t.Context(), outbound.Request{Method: "POST", URL: server.URL, Body: []byte("refresh_token=once")})
		if (err == nil) != (i == 0) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("the server saw %d requests, want 2", n)
	}
}

// TestUnsent tells requests that nobody got from those that were perhaps carried out.
func TestUnsent(t *testing.T) {
	server, hostPort := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	closed, closedPort := serve(t, nil)
	closed.Close()
	c := client(t, outbound.Config{Allow: []string{hostPort, closedPort}})
	for what, want := range map[string]struct {
		url    string
		unsent bool
	}{
		"the connection is cut": {server.URL, false},
		"nobody listens":        {closed.URL, true},
		"refused by the guard":  {"https://127.0.0.1:1/", true},
		"TLS fails":             {strings.Replace(server.URL, "http:", "https:", 1), true},
	} {
		_, err := c.Do(t.Context(), outbound.Request{Method: "POST", URL: want.url, Body: []byte("refresh_token=once")})
		if err == nil || outbound.Unsent(err) != want.unsent {
			t.Errorf("%s: unsent %v, %v", what, outbound.Unsent(err), err)
		}
	}
	if _, err := c.Do(t.Context(), outbound.Request{URL: server.URL, Timeout: time.Nanosecond}); !fault.HasCode(err, "outbound_timeout") || !outbound.Unsent(err) {
		t.Errorf("a timeout of its own: %v", err)
	}
}

func TestTimeoutCoversConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		c, err := outbound.New(outbound.Config{Allow: []string{"127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, "http://127.0.0.1:9/"); !fault.HasCode(err, "outbound_timeout") {
			t.Errorf("got %v", err)
		}
	})
}
