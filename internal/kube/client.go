// Package kube speaks to a Kubernetes API server: where it is, and the few requests that Deputy has.
//
// It has no types of Kubernetes's: callers bring their own, with the fields that
// they use. docs/decisions/0015 says why this is not client-go.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

const (
	timeout   = 15 * time.Second // of a request, its answer included
	maxAnswer = 8 << 20          // bytes
	pageSize  = 250              // objects of a list in one answer
	maxPages  = 40
)

// Client asks one API server. It may be used concurrently.
type Client struct {
	config Config
	http   *http.Client
}

// New returns a client. It asks nothing yet.
func New(c Config) *Client {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots, ServerName: c.ServerName}
	if c.Certificate != nil {
		config.Certificates = []tls.Certificate{*c.Certificate}
	}
	return &Client{config: c, http: &http.Client{
		Transport: &http.Transport{
			// No proxy: what the environment says about proxies is not about the cluster.
			DialContext:     (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: 90 * time.Second,
		},
		// A redirect would take the token to where nobody meant it to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends the connections that are kept for reuse.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Namespace returns where who asks is at home; "" if that is not known.
func (c *Client) Namespace() string { return c.config.Namespace }

// Kind is a kind of namespaced objects, as paths name it.
type Kind struct {
	API    string // "api/v1", "apis/apps/v1"
	Plural string // "pods"
}

// Object names an object of a namespace; without Name, all of its kind there.
type Object struct {
	Kind
	Namespace, Name string
}

func (o Object) path(inside ...string) string {
	parts := []string{"", o.API, "namespaces", url.PathEscape(o.Namespace), o.Plural}
	if o.Name != "" {
		parts = append(parts, url.PathEscape(o.Name))
	}
	return strings.Join(append(parts, inside...), "/")
}

// Apply makes an object what manifest says of it, by server-side apply: fields that
// manager said earlier and does not say any more are removed, fields of others
// stay, and in a conflict manager wins. A field that the API server does not
// know is an error, and a manifest with the uid of another object of the same name
// one of kind Conflict. into gets the object as it is then.
func (c *Client) Apply(ctx context.Context, o Object, manager string, manifest []byte, into any) error {
	query := url.Values{"fieldManager": {manager}, "force": {"true"}, "fieldValidation": {"Strict"}}
	return c.call(ctx, http.MethodPatch, o.path(), query, "application/apply-patch+yaml", manifest, into)
}

// Get reads an object, or returns a fault of kind NotFound.
func (c *Client) Get(ctx context.Context, o Object, into any) error {
	return c.call(ctx, http.MethodGet, o.path(), nil, "", nil, into)
}

// List calls each with the JSON of every object of a kind that selector, a label
// selector, chooses.
func (c *Client) List(ctx context.Context, o Object, selector string, each func(object []byte) error) error {
	o.Name = ""
	next := ""
	for range maxPages {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []json.RawMessage `json:"items"`
		}
		query := url.Values{"labelSelector": {selector}, "limit": {strconv.Itoa(pageSize)}}
		if next != "" {
			query.Set("continue", next)
		}
		if err := c.call(ctx, http.MethodGet, o.path(), query, "", nil, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return nil
		}
	}
	return fault.New(fault.TooLarge, "kubernetes_list", "there are more than %d objects to look through", pageSize*maxPages)
}

// Delete deletes the object that has this uid, and what it owns after it. One that
// is gone, or is another one of the same name, is left alone without an error.
// now leaves its pods no time to end by themselves.
func (c *Client) Delete(ctx context.Context, o Object, uid string, now bool) error {
	type preconditions struct {
		UID string `json:"uid"`
	}
	options := struct {
		APIVersion    string        `json:"apiVersion"`
		Kind          string        `json:"kind"`
		Grace         *int64        `json:"gracePeriodSeconds,omitempty"`
		Propagation   string        `json:"propagationPolicy"`
		Preconditions preconditions `json:"preconditions"`
	}{APIVersion: "v1", Kind: "DeleteOptions", Propagation: "Background", Preconditions: preconditions{uid}}
	if now {
		options.Grace = new(int64)
	}
	body, err := json.Marshal(options)
	if err != nil {
		return err
	}
	err = c.call(ctx, http.MethodDelete, o.path(), nil, "application/json", body, nil)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// Post sends a body to a path, as one that is to be reviewed, and returns what comes
// of it.
func (c *Client) Post(ctx context.Context, path string, body []byte) ([]byte, error) {
	var answer json.RawMessage
	err := c.call(ctx, http.MethodPost, path, nil, "application/json", body, &answer)
	return answer, err
}

// LogOptions says what of a pod's log is read.
type LogOptions struct {
	Lines    int       // the last ones; 0 for all
	Since    time.Time // those from this second on; zero for all
	Limit    int64     // bytes, from the beginning of what is meant
	Previous bool      // of the run before the present one
}

// Log returns what the container of a pod wrote, each line with its time (RFC 3339)
// before it. If it is as long as the limit, the last line may be cut.
func (c *Client) Log(ctx context.Context, pod Object, o LogOptions) ([]byte, error) {
	query := url.Values{"limitBytes": {strconv.FormatInt(o.Limit, 10)}, "timestamps": {"true"}}
	if o.Lines > 0 {
		query.Set("tailLines", strconv.Itoa(o.Lines))
	}
	if !o.Since.IsZero() {
		query.Set("sinceTime", o.Since.UTC().Format(time.RFC3339))
	}
	if o.Previous {
		query.Set("previous", "true")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, pod.path("log"), query, "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return wire.ReadAll(resp.Body, o.Limit+1<<10)
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, contentType string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, contentType, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := wire.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "kubernetes_answer", "the API server's answer broke off, or has no end")
	}
	if into == nil {
		return nil
	}
	// Not wire's decoder: a kind has hundreds of fields that callers do not name, and this server is the operator's own.
	if err := json.Unmarshal(answer, into); err != nil {
		return fault.Wrap(err, fault.Unavailable, "kubernetes_answer", "what answers is not an API server")
	}
	return nil
}

// send returns an answer of success; anything else is an error.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.config.Server+path, bytes.NewReader(body))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "kubernetes_request", "%s is not an address", name.Clip(c.config.Server, 200))
	}
	req.URL.RawQuery = query.Encode()
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if !token.Empty() {
		req.Header.Set("Authorization", "Bearer "+token.RevealString())
	}
	resp, err := c.http.Do(req)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return nil, ctx.Err()
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "kubernetes_unreachable", "the API server %s does not answer", c.config.Server).
			WithFix("see that it is up, and that its address and certificate authority are right")
	case resp.StatusCode/100 == 2:
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp, method, path)
}

// token returns the bearer token; empty for none.
func (c *Client) token() (secret.Text, error) {
	if c.config.TokenFile == "" {
		return c.config.Token, nil
	}
	token, err := readFile(c.config.TokenFile, maxTokenFile)
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Unavailable, "kubernetes_token", "the service account's token cannot be read from %s", c.config.TokenFile)
	}
	defer clear(token)
	return secret.FromString(strings.TrimSpace(string(token))), nil
}

// refusal turns a Status of the API server into a fault. What it says is quoted: it
// is the operator's own server, and answers to what Deputy wrote.
func refusal(resp *http.Response, method, path string) error {
	var status struct {
		Message string `json:"message"`
	}
	body, err := wire.ReadAll(resp.Body, maxAnswer)
	if err == nil {
		err = json.Unmarshal(body, &status)
	}
	what := method + " " + path
	said := name.Clip(status.Message, 800)
	switch code := resp.StatusCode; code {
	case http.StatusNotFound:
		return fault.Wrap(err, fault.NotFound, "kubernetes_not_found", "the API server has no %s: %s", path, said)
	case http.StatusConflict:
		return fault.Wrap(err, fault.Conflict, "kubernetes_conflict", "%s: %s", what, said)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Wrap(err, fault.Unavailable, "kubernetes_denied", "Deputy may not %s: %s", what, said).
			WithFix("give its service account the role of deploy/kubernetes/rbac.yaml")
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return fault.Wrap(err, fault.Invalid, "kubernetes_refused", "%s is refused: %s", what, said)
	default:
		return fault.Wrap(err, fault.Unavailable, "kubernetes_failed", "%s is answered with status %d: %s", what, code, said)
	}
}
