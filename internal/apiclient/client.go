// Package apiclient is the native REST API's client, for the command line and the demo.
//
// It calls with an operator's token. A refusal of the API comes back as the
// [fault.Error] that the server raised: same code, same words, same fix.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

const (
	basePath    = "/api/v1"
	maxAnswer   = 8 << 20 // bytes
	maxProblem  = 64 << 10
	defaultTime = 30 * time.Second
)

// Config says whom to call and as whom.
type Config struct {
	URL     string        // the identity service's public URL; https, or http on loopback
	Token   secret.Text   // an operator's token
	Timeout time.Duration // of one call that is not a stream; 0 means 30 s
}

// Client calls the native REST API. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
}

// New returns a client. It returns a fault of kind Invalid for an address over
// which the token would travel in clear.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname()))) {
		return nil, fault.New(fault.Invalid, "api_url_invalid", "%q is not the address of an identity service", name.Clip(c.URL, 200)).
			WithFix("give its public URL, such as https://id.example.com; http is for this machine only")
	}
	if c.Token.Empty() {
		return nil, fault.New(fault.Invalid, "token_missing", "there is no operator token to call with")
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Timeout <= 0 {
		c.Timeout = defaultTime
	}
	return &Client{config: c, http: &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: c.Timeout},
		// The API redirects nowhere; something that does is not the API and must not see the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// maxTokenFile bounds a token file, in bytes.
const maxTokenFile = 4 << 10

// ReadToken reads an operator's token from a file that nobody but its owner may
// read.
func ReadToken(path string) (secret.Text, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return secret.Text{}, fault.Wrap(err, fault.NotFound, "token_file_missing", "there is no operator token").WithSource(path).
			WithFix("`deputy serve` writes the first one into its data directory; name that directory, or the file")
	}
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Invalid, "token_file_unreadable", "the operator token cannot be read").WithSource(path)
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Invalid, "token_file_unreadable", "the operator token cannot be read").WithSource(path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return secret.Text{}, fault.New(fault.Invalid, "token_file_exposed", "the operator token may be read by others (mode %04o)", info.Mode().Perm()).
			WithSource(path).WithFix("run: chmod 600 %s", path)
	}
	b, err := wire.ReadAll(f, maxTokenFile)
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Invalid, "token_file_unreadable", "the operator token cannot be read").WithSource(path)
	}
	token := bytes.TrimSpace(b)
	if len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return secret.Text{}, fault.New(fault.Invalid, "token_file_malformed", "the file does not hold one token").WithSource(path)
	}
	return secret.New(token), nil
}

// Answer is what came with a refusal besides the fault. It is in the error
// chain, for [errors.As].
type Answer struct {
	Status    int
	RequestID string // to quote to whoever runs the service; may be empty
}

// Error implements error.
func (a *Answer) Error() string {
	if a.RequestID == "" {
		return fmt.Sprintf("status %d", a.Status)
	}
	return fmt.Sprintf("status %d, request %s", a.Status, a.RequestID)
}

// call sends in as JSON (nil: no body) and decodes the answer into out (nil:
// there is nothing in it that matters).
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	return c.callWithin(ctx, c.config.Timeout, method, path, query, in, out)
}

// callWithin is call for what may take longer, or less.
func (c *Client) callWithin(ctx context.Context, limit time.Duration, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, in, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close() // read to the end, or given up
	b, err := wire.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return fault.Wrap(err, fault.Upstream, "api_answer_unusable", "%s answered more than can be read, or broke off", c.config.URL)
	}
	if out == nil {
		return nil
	}
	if err := wire.DecodeForeign(b, out); err != nil {
		return fault.Wrap(err, fault.Upstream, "api_answer_unusable", "%s answered something that is not this API", c.config.URL)
	}
	return nil
}

// send returns an answer of success; anything else is an error.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any, accept string) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := c.request(ctx, method, path, query, body, accept)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req)
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body io.Reader, accept string) (*http.Request, error) {
	target := c.config.URL + basePath + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Authorization", "Bearer "+c.config.Token.RevealString())
	return req, nil
}

// do returns an answer of success; anything else is an error.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	resp, err := c.http.Do(req)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return nil, ctx.Err()
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "api_unreachable", "%s does not answer", c.config.URL).
			WithFix("check that `deputy serve` is running there")
	case resp.StatusCode/100 == 2:
		return resp, nil
	}
	defer resp.Body.Close() // read as far as it matters
	return nil, refusal(resp)
}

// kinds is the inverse of the API's table from kind to status.
var kinds = map[int]fault.Kind{
	http.StatusBadRequest: fault.Invalid, http.StatusMethodNotAllowed: fault.Invalid,
	http.StatusUnsupportedMediaType: fault.Invalid, http.StatusUnauthorized: fault.Unauthenticated,
	http.StatusForbidden: fault.Forbidden, http.StatusNotFound: fault.NotFound, http.StatusConflict: fault.Conflict, http.StatusGone: fault.Gone,
	http.StatusRequestEntityTooLarge: fault.TooLarge, http.StatusTooManyRequests: fault.Throttled,
	http.StatusBadGateway: fault.Upstream, http.StatusServiceUnavailable: fault.Unavailable, http.StatusGatewayTimeout: fault.Unavailable,
}

// refusal reads a problem (RFC 9457). An answer that is none says only its
// status: its text is somebody else's.
func refusal(resp *http.Response) error {
	cause := &Answer{Status: resp.StatusCode, RequestID: requestID(resp.Header.Get("X-Request-Id"))}
	kind := kinds[resp.StatusCode] // Internal for others
	var problem struct {
		Detail    string `json:"detail"`
		Code      string `json:"code"`
		Fix       string `json:"fix"`
		Source    string `json:"source"`
		RequestID string `json:"requestId"`
	}
	b, err := wire.ReadAll(resp.Body, maxProblem)
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != "application/problem+json" || json.Unmarshal(b, &problem) != nil || problem.Code == "" {
		return fault.Wrap(cause, kind, "api_refused", "the API answered with status %d", resp.StatusCode).
			WithFix("check that the address is that of an identity service, with no other server in between")
	}
	if cause.RequestID == "" {
		cause.RequestID = requestID(problem.RequestID)
	}
	if problem.Detail == "" {
		problem.Detail = problem.Code
	}
	return fault.Wrap(cause, kind, problem.Code, "%s", problem.Detail).WithFix("%s", problem.Fix).WithSource(problem.Source)
}

// requestID returns id if it has the shape of one, and "" otherwise: it is
// printed.
func requestID(id string) string {
	if name.Check("request id", id) != nil {
		return ""
	}
	return id
}
