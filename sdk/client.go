package deputy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxAnswerSize  = 1 << 20
	answerTimeout  = 20 * time.Second // of a request that Deputy answers at once
	answerAttempts = 4
	apiPrefix      = "/api/v1"
	// maxPause is how long Deputy may make a request wait by Retry-After; a longer wait is the caller's decision.
	maxPause = 10 * time.Second
)

// Client speaks to Deputy. [Agent] uses one behind the scenes; use it directly
// to put Deputy under an agent framework of your own. It is safe for concurrent
// use, and must not be copied or changed after its first use.
type Client struct {
	// URL is Deputy's public URL: the issuer and the audience of workload access tokens.
	URL string
	// Workload is this agent's SPIFFE ID. Tokens minted for another workload are refused. Empty: not checked.
	Workload string
	// TokenFile is the launch file, from which [Client.WorkloadToken] proves what this process is. For a workload
	// that Deputy did not launch it is the file in which Kubernetes projects a service account's token, or a SPIFFE
	// helper keeps a JWT-SVID, whose audience is URL.
	TokenFile string
	// Direct is for an agent that no ingress of Deputy's stands before: [Client.Authenticate] exchanges the bearer
	// token of a request, its user's or another agent's call token, and takes nothing else. Whose tokens count is a
	// setting of the workload in Deputy.
	Direct bool
	// Unbound lets other processes use the launch file, too. If not, the launch is this process's once it has
	// exchanged the file, and nobody else who reads the file can do anything with it.
	Unbound bool
	// Transport carries the requests to Deputy. Nil means a clone of [http.DefaultTransport].
	Transport http.RoundTripper
	// Now is the clock. Nil means [time.Now].
	Now func() time.Time

	once  sync.Once
	base  string
	http  *http.Client
	keys  *keySet
	setup error
}

// FromEnvironment returns a client for the Deputy that launched this process,
// from DEPUTY_URL, DEPUTY_WORKLOAD and DEPUTY_WORKLOAD_TOKEN_FILE. An agent of
// several processes sets DEPUTY_WORKLOAD_BINDING to "off" in its runtime_envs; see
// [Client.Unbound]. One that runs elsewhere, with all that set by whoever starts it,
// sets DEPUTY_INGRESS to "off"; see [Client.Direct].
func FromEnvironment() (*Client, error) {
	c := &Client{Unbound: os.Getenv("DEPUTY_WORKLOAD_BINDING") == "off", Direct: os.Getenv("DEPUTY_INGRESS") == "off"}
	for name, into := range map[string]*string{
		"DEPUTY_URL": &c.URL, "DEPUTY_WORKLOAD": &c.Workload, "DEPUTY_WORKLOAD_TOKEN_FILE": &c.TokenFile,
	} {
		if *into = os.Getenv(name); *into == "" {
			return nil, &Error{Code: "environment_incomplete", Message: name + " is not set",
				Fix: "Deputy's runtime sets it when it launches an agent from its agentkit.yaml; elsewhere, set it as docs/attestation.md says"}
		}
	}
	return c, c.ready()
}

func (c *Client) ready() error {
	c.once.Do(func() {
		u, err := url.Parse(c.URL)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			c.setup = &Error{Code: "url_invalid", Message: "Deputy's URL is not an http or https URL", Fix: "check DEPUTY_URL"}
			return
		}
		c.base = strings.TrimSuffix(c.URL, "/")
		transport := c.Transport
		if transport == nil {
			transport = http.DefaultTransport.(*http.Transport).Clone()
		}
		// No Timeout: the context of each request has one. No redirects: they would carry a token elsewhere.
		c.http = &http.Client{Transport: transport, CheckRedirect: stopRedirect}
		if c.Now == nil {
			c.Now = time.Now
		}
		c.keys = newKeySet()
	})
	return c.setup
}

func stopRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Verify returns what a workload access token proves: it is signed by Deputy,
// made for Deputy, not expired, and minted for [Client.Workload]. A token that
// proves nothing is an [*Error] whose code begins with "token_".
func (c *Client) Verify(ctx context.Context, token Secret) (Identity, error) {
	if err := c.ready(); err != nil {
		return Identity{}, err
	}
	j, err := parseJWT(token.Reveal())
	if err != nil {
		return Identity{}, err
	}
	kid, err := j.keyID()
	if err != nil {
		return Identity{}, err
	}
	key, err := c.keys.key(ctx, kid, c.Now, c.fetchKeys)
	if err != nil {
		return Identity{}, err
	}
	if !j.signedBy(key) {
		return Identity{}, refuse("token_signature", "the token's signature is wrong")
	}
	id, err := j.identity(c.base, c.Now())
	if err != nil {
		return Identity{}, err
	}
	if c.Workload != "" && id.Workload != c.Workload {
		return Identity{}, refuse("token_workload", "the token was minted for another workload")
	}
	return id, nil
}

// Authenticate returns the workload access token of a request that came through
// the ingress, and what it proves: for the routes of an agent that are not
// [Agent]'s own, such as those of MCP, A2A or a WebSocket. No other header says
// who is asking. The token is what a [Caller] acts with. With [Client.Direct] it is
// the one that Deputy gives for the request's bearer token.
func (c *Client) Authenticate(r *http.Request) (Secret, Identity, error) {
	wat := NewSecret(r.Header.Get(headerToken))
	switch {
	case c.Direct:
		var err error
		if wat, err = c.trade(r); err != nil {
			return Secret{}, Identity{}, err
		}
	case wat.Empty():
		return Secret{}, Identity{}, refuse("token_missing", "the request has no workload access token; it did not come through the ingress")
	}
	who, err := c.Verify(r.Context(), wat)
	return wat, who, err
}

// trade exchanges the bearer token of a request (RFC 6750, section 2.1). A request
// without one must not get that far: Deputy would give a token for the workload.
func (c *Client) trade(r *http.Request) (Secret, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return Secret{}, refuse("token_missing", "the request has no bearer token")
	case len(r.Header["Authorization"]) > 1 || len(token) > maxTokenSize:
		return Secret{}, refuse("token_malformed", "the bearer token is none")
	}
	wat, _, err := c.WorkloadToken(r.Context(), NewSecret(token))
	return wat, err
}

func (c *Client) fetchKeys(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/.well-known/jwks.json", Secret{}, nil, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, problem(resp)
	}
	return readBounded(resp.Body, maxKeysSize)
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// Clear withdraws the permission of wat's workload to use wat's user's
// credential of a provider. The next [Client.Token] asks the user again. It is
// no error if there is nothing to withdraw.
func (c *Client) Clear(ctx context.Context, wat Secret, provider string) error {
	return c.call(ctx, http.MethodDelete, "/credentials/"+url.PathEscape(provider), wat, nil, nil)
}

// launchBinding is what this process makes up for [Client.WorkloadToken]: all its
// clients are of the same launch.
var launchBinding = rand.Text()

// exchange is the body of a request for a workload access token.
type exchange struct {
	UserToken string     `json:"userToken,omitempty"`
	User      *namedUser `json:"user,omitempty"`
	Binding   string     `json:"binding,omitempty"`
}

type namedUser struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// WorkloadToken exchanges the launch file for a workload access token and says
// when that ends. userToken is the JWT of the user to act for, or the call token
// with which another agent called; empty means the
// workload acts for itself. The launch file is read each time, because the
// runtime replaces it every few minutes.
func (c *Client) WorkloadToken(ctx context.Context, userToken Secret) (Secret, time.Time, error) {
	return c.exchange(ctx, exchange{UserToken: userToken.Reveal()})
}

// WorkloadTokenFor is [Client.WorkloadToken] for a user without his proof. An
// operator must have let the workload assert users of his issuer.
func (c *Client) WorkloadTokenFor(ctx context.Context, u User) (Secret, time.Time, error) {
	return c.exchange(ctx, exchange{User: &namedUser{u.Issuer, u.Subject}})
}

func (c *Client) exchange(ctx context.Context, request exchange) (Secret, time.Time, error) {
	if c.TokenFile == "" {
		return Secret{}, time.Time{}, &Error{Code: "environment_incomplete", Message: "there is no launch file",
			Fix: "Deputy's runtime names it in DEPUTY_WORKLOAD_TOKEN_FILE when it launches an agent; elsewhere, docs/attestation.md says what takes its place"}
	}
	f, err := os.Open(c.TokenFile)
	if err != nil {
		return Secret{}, time.Time{}, &Error{Code: "launch_file_unreadable", Message: "the launch file cannot be read", cause: err}
	}
	defer f.Close()
	b, err := readBounded(f, maxTokenSize)
	launch := NewSecret(strings.TrimSpace(string(b)))
	if err != nil || launch.Empty() {
		return Secret{}, time.Time{}, &Error{Code: "launch_file_unreadable", Message: "the launch file holds no token", cause: err}
	}
	if !c.Unbound {
		request.Binding = launchBinding
	}
	var answer struct {
		Token   Secret    `json:"token"`
		Expires time.Time `json:"expiresAt"`
	}
	if err := c.call(ctx, http.MethodPost, "/workload-tokens", launch, request, &answer); err != nil {
		return Secret{}, time.Time{}, err
	}
	if answer.Token.Empty() {
		return Secret{}, time.Time{}, refuse("answer_malformed", "Deputy answered without a token")
	}
	return answer.Token, answer.Expires, nil
}

// call sends one request of the native API and decodes its answer into out, if
// that is not nil. It repeats a request only when Deputy cannot have acted on
// it or when acting twice does no harm, which is so for all it is used for.
func (c *Client) call(ctx context.Context, method, path string, bearer Secret, in, out any) error {
	if err := c.ready(); err != nil {
		return err
	}
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("deputy: encode request: %w", err)
		}
	}
	var pause backoff
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, method, path, bearer, body, out)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || attempt == answerAttempts || !transient(err) || retryAfter(err) > maxPause {
			return err
		}
		if waitErr := pause.wait(ctx, retryAfter(err)); waitErr != nil {
			return waitErr
		}
	}
}

func (c *Client) attempt(ctx context.Context, method, path string, bearer Secret, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, apiPrefix+path, bearer, body, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return problem(resp)
	}
	if out == nil {
		return nil
	}
	return decode(resp.Body, out)
}

// send sends one request and returns whatever comes back. The caller closes the
// body.
func (c *Client) send(ctx context.Context, method, path string, bearer Secret, body []byte, accept string) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, fmt.Errorf("deputy: %w", err)
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !bearer.Empty() {
		req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	if id := requestID(ctx); id != "" {
		req.Header.Set(headerRequest, id)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &Error{Code: "deputy_unreachable", Message: "Deputy does not answer", Fix: "try again in a moment", cause: err}
	}
	return resp, nil
}

// problem reads an application/problem+json answer (RFC 9457).
func problem(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Code: "unexpected_answer", RequestID: resp.Header.Get(headerRequest),
		Message: fmt.Sprintf("Deputy answered %d", resp.StatusCode), RetryAfter: pauseOf(resp.Header)}
	var p struct{ Title, Detail, Code, Fix, Source, RequestID string }
	b, err := readBounded(resp.Body, maxAnswerSize)
	if err != nil || json.Unmarshal(b, &p) != nil || p.Code == "" {
		return e
	}
	e.Code, e.Fix, e.Source = p.Code, p.Fix, p.Source
	if p.RequestID != "" {
		e.RequestID = p.RequestID
	}
	if e.Message = p.Detail; e.Message == "" {
		e.Message = p.Title
	}
	return e
}

// pauseOf reads Retry-After (RFC 9110, section 10.2.3); a time counts from the
// answer's own Date, for the clocks may differ.
func pauseOf(h http.Header) time.Duration {
	said := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(said, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(said)
	now, err2 := http.ParseTime(h.Get("Date"))
	if err != nil || err2 != nil {
		return 0
	}
	return max(0, until.Sub(now))
}

// transient reports whether the same request may succeed a moment later.
func transient(err error) bool {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch e.Status {
	case 0:
		return e.Code == "deputy_unreachable"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func decode(r io.Reader, into any) error {
	b, err := readBounded(r, maxAnswerSize)
	switch {
	case errors.Is(err, errTooLarge):
		return &Error{Code: "answer_malformed", Message: "Deputy's answer is too large", cause: err}
	case err != nil: // a restart of Deputy, say: what is half an answer now may be a whole one in a moment
		return &Error{Code: "deputy_unreachable", Message: "Deputy's answer broke off", Fix: "try again in a moment", cause: err}
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &Error{Code: "answer_malformed", Message: "Deputy's answer is not the JSON that was expected", cause: err}
	}
	return nil
}

var errTooLarge = errors.New("deputy: too large")

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}

// loopback reports whether host (without port) is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
