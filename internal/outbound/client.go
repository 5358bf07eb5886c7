// Package outbound is the only HTTP client: address guard, bounds and redaction.
//
// Addresses of third parties come from configuration, and some of it from
// strangers (discovery documents). So the client refuses private, loopback,
// link-local and other non-public addresses unless the operator allowed them,
// checks each address in the moment it is dialed, follows no redirect, sends
// nothing twice, takes no proxy from the environment, and bounds time and size.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/wire"
)

// Config says whom a [Client] may reach, and its bounds. The zero Config
// reaches public addresses over https.
type Config struct {
	// Allow lists what may be reached although it is not public, and also over
	// plain http: "host:port" (a name or an address), an IP, or a CIDR range.
	// A name is allowed wherever it resolves to.
	Allow     []string
	Timeout   time.Duration  // of one request, answer included; zero = 10 s
	MaxBody   int64          // bytes of an answer; zero = 1 MiB
	UserAgent string         // zero = "deputy"
	Roots     *x509.CertPool // certificate authorities; nil = the system's
	// Proxy is the address of an HTTP proxy for everything. The proxy resolves
	// the names then, so the guard sees only addresses that are written in
	// URLs, and the proxy has to keep private ones off. Empty = none; the
	// environment is never asked.
	Proxy string
	Log   *slog.Logger // one debug line for each request; nil = none
}

// Client sends requests. It may be used concurrently and keeps connections open
// for the next request.
type Client struct {
	config  Config
	allow   allowList
	proxied bool
	https   *http.Transport
	http    *http.Transport
}

// Request is one request. Secrets belong into Header and Body, which appear in
// no error and no log; of URL, the query does not either.
type Request struct {
	Method  string // empty = GET
	URL     string // absolute, http or https
	Header  http.Header
	Body    []byte
	MaxBody int64         // bytes of the answer; zero = Config.MaxBody
	Timeout time.Duration // answer included; zero = Config.Timeout
	Purpose string        // what it is for ("token exchange with feishu"), for messages
}

// Response is an answer of any status, redirects included.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// New returns a client. It returns a fault of kind Invalid
// (outbound_allow_invalid, outbound_proxy_invalid) that names the entry which
// is wrong.
func New(c Config) (*Client, error) {
	allow, err := parseAllow(c.Allow)
	if err != nil {
		return nil, err
	}
	proxy, err := parseProxy(c.Proxy)
	if err != nil {
		return nil, err
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.UserAgent == "" {
		c.UserAgent = "deputy"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	client := &Client{config: c, allow: allow, proxied: proxy != nil}
	client.https = client.transport(proxy, false)
	client.http = client.transport(proxy, true)
	return client, nil
}

func parseProxy(proxy string) (*url.URL, error) {
	if proxy == "" {
		return nil, nil
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fault.New(fault.Invalid, "outbound_proxy_invalid", "the proxy is not an http or https address").
			WithFix("write for instance http://proxy.internal:3128").WithSource("--outbound-proxy")
	}
	return u, nil
}

// transport returns one transport for each scheme, because the dialer is told
// the address only and must know whether the connection will be encrypted.
func (c *Client) transport(proxy *url.URL, plain bool) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, target string) (net.Conn, error) {
			d := net.Dialer{Timeout: c.config.Timeout, KeepAlive: 30 * time.Second}
			if proxy == nil {
				d.Control = c.allow.control(target, plain)
			}
			return d.DialContext(ctx, network, target)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.config.Roots},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // the bound on the body is then one on the wire as well
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    c.config.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

// Close ends the connections that are kept for reuse.
func (c *Client) Close() {
	c.https.CloseIdleConnections()
	c.http.CloseIdleConnections()
}

// Do sends r once and returns the answer, whatever its status. Redirects are
// not followed. It returns a fault of kind
//   - Invalid (outbound_url_invalid) for an address that cannot be asked at all,
//   - Forbidden (outbound_address_refused) for one that the guard refuses,
//   - Unavailable (outbound_timeout, outbound_failed) when no whole answer came,
//     with ctx's error as the cause if ctx ended,
//   - Upstream (outbound_body_too_large) for an answer beyond the bound.
//
// Messages name purpose, scheme, host and path of the request. [Unsent] tells
// whether the request of an error may have reached anybody.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	u, err := checkURL(r.URL)
	if err != nil {
		return Response{}, err
	}
	req, err := c.request(r)
	if err != nil {
		return Response{}, err
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = c.config.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	resp, err := c.send(req.WithContext(traced), u, r.MaxBody)
	if err != nil {
		err = explain(ctx, err, r.Purpose+" at "+redact(u), allowTarget(u))
		if !connected.Load() {
			err = unsent{err}
		}
	}
	c.config.Log.DebugContext(ctx, "outbound request", "purpose", r.Purpose, "method", req.Method, "url", redact(u),
		"status", resp.Status, "duration", time.Since(start), "err", err)
	return resp, err
}

// unsent marks the error of a request that never had a connection.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// Unsent reports whether err, of [Client.Do], is about a request of which
// certainly nothing was sent. Any other one may have been carried out.
func Unsent(err error) bool {
	var u unsent
	return errors.As(err, &u)
}

// Get asks for a JSON document.
func (c *Client) Get(ctx context.Context, url string) (Response, error) {
	return c.Do(ctx, Request{URL: url, Header: http.Header{"Accept": {"application/json"}}, Purpose: "document"})
}

// Fetch is Get for callers that need the document: an answer with a status
// other than 200 is a fault of kind Upstream (outbound_status).
func (c *Client) Fetch(ctx context.Context, url string) ([]byte, error) {
	resp, err := c.Get(ctx, url)
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, fault.New(fault.Upstream, "outbound_status", "a document was expected and status %d answered", resp.Status)
	}
	return resp.Body, nil
}

// checkURL parses s. The parser's errors quote the address with its query, so
// they are dropped.
func checkURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fault.New(fault.Invalid, "outbound_url_invalid", "the address of a third party is malformed")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "":
		return nil, fault.New(fault.Invalid, "outbound_url_invalid", "the address of a third party is not an absolute http or https one")
	case u.User != nil:
		return nil, fault.New(fault.Invalid, "outbound_url_invalid", "the address of a third party at %s contains user information", name.Clip(u.Host, 200))
	default:
		return u, nil
	}
}

func (c *Client) request(r Request) (*http.Request, error) {
	req, err := http.NewRequest(r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fault.New(fault.Invalid, "outbound_url_invalid", "a request to a third party is malformed")
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	req.Header.Set("User-Agent", c.config.UserAgent)
	return req, nil
}

// send calls the transport itself rather than an [http.Client], which would
// follow redirects, add a Referer and quote the query in its errors. The
// transport repeats a request only if nothing of it was written.
func (c *Client) send(req *http.Request, u *url.URL, maxBody int64) (Response, error) {
	t := c.https
	if u.Scheme == "http" {
		t = c.http
	}
	if c.proxied {
		if err := c.checkProxied(u); err != nil {
			return Response{}, err
		}
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return Response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if maxBody <= 0 {
		maxBody = c.config.MaxBody
	}
	body, err := wire.ReadAll(resp.Body, maxBody)
	if err != nil {
		return Response{}, err
	}
	return Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// checkProxied applies what can be known before the proxy resolves the name.
func (c *Client) checkProxied(u *url.URL) error {
	target := allowTarget(u)
	if c.allow.names(target) {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return c.allow.control(target, u.Scheme == "http")("", netip.AddrPortFrom(ip, 0).String(), nil)
	}
	if u.Scheme == "http" {
		return &refusal{why: "only to be reached over https"}
	}
	return nil
}

// allowTarget returns the host:port that an allow-list entry for u would name.
func allowTarget(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// redact returns what of an address may be shown.
func redact(u *url.URL) string {
	return name.Clip(u.Scheme+"://"+u.Host+u.EscapedPath(), 200)
}

// explain turns a transport's error into a fault.
func explain(ctx context.Context, err error, what, target string) error {
	var refused *refusal
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		return fault.Wrap(refused, fault.Forbidden, "outbound_address_refused", "%s: the address is %s", what, refused.why).
			WithFix("if this is meant to be reached, allow it with --allow-outbound %s", name.Clip(target, 100))
	case fault.HasCode(err, "body_too_large"):
		return fault.New(fault.Upstream, "outbound_body_too_large", "%s: the answer is too large", what)
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(ctx.Err(), fault.Unavailable, "outbound_failed", "%s: the request was cancelled", what)
	case ctx.Err() != nil:
		return fault.Wrap(ctx.Err(), fault.Unavailable, "outbound_timeout", "%s: no answer in time", what)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fault.Wrap(harmless(err), fault.Unavailable, "outbound_timeout", "%s: no answer in time", what)
	default:
		return fault.Wrap(harmless(err), fault.Unavailable, "outbound_failed", "%s: no usable answer", what)
	}
}

// harmless returns err if its text comes from the network stack, and otherwise
// only its type: net/http quotes what it cannot parse, and a third party may
// have put a secret there.
func harmless(err error) error {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op):
		return op
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &cert):
		return cert
	default:
		return fmt.Errorf("the connection failed (%T)", err)
	}
}
