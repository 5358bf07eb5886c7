package deputy

import (
	"context"
	"io"
	"net/http"
	"time"
)

// maxRedirects bounds redirects within one origin.
const maxRedirects = 5

// holder gives out credentials: a [wallet].
type holder interface {
	// token returns the credential; it may wait for the user.
	token(ctx context.Context, cred Credential, callID string) (AccessToken, error)
	// renew returns the credential that Deputy has now, because refused was refused.
	renew(ctx context.Context, cred Credential, callID string, refused AccessToken) (AccessToken, error)
}

// injector is the [http.RoundTripper] below [Call.HTTP], [Turn.HTTP] and
// [Caller.HTTP]: it puts the credential of an origin on each request to that origin.
type injector struct {
	base   http.RoundTripper
	creds  map[string]Credential // by origin
	holder holder
	callID string
}

// boundClient returns a client that sends these credentials to their origins.
func boundClient(base http.RoundTripper, h holder, callID string, creds []Credential) (*http.Client, error) {
	bound, err := byOrigin(creds)
	if err != nil {
		return nil, err
	}
	return newHTTPClient(&injector{base: base, creds: bound, holder: h, callID: callID}), nil
}

// newHTTPClient returns the client that a tool call works with.
func newHTTPClient(t *injector) *http.Client {
	return &http.Client{
		Transport: t,
		// Credentials are added below the client, request by request, so a redirect cannot carry one along. One
		// to another origin is handed to the tool as it is, because what a tool reads there is its own decision.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects || origin(req.URL) != origin(via[0].URL) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// RoundTrip implements [http.RoundTripper]. It waits for the user's consent if
// that is needed, and repeats a request once that was answered 401, if Deputy
// has another token by now.
func (t *injector) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	cred, ok := t.creds[origin(req.URL)]
	if !ok || !protected(req.URL) {
		closeBody(req)
		return nil, &Error{Code: "origin_not_declared", Message: "no credential here is for " + req.URL.Host,
			Fix: "declare the origin with At, or use an http.Client of your own"}
	}
	token, err := t.holder.token(ctx, cred, t.callID)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || (req.Body != nil && req.GetBody == nil) {
		return resp, err
	}
	fresh, err := t.holder.renew(ctx, cred, t.callID, token)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if fresh.Value.equal(token.Value) {
		return resp, nil // it is not the token's age; the tool knows best what 401 means here
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	resp.Body.Close()
	again := req.Clone(ctx)
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.send(again, fresh)
}

// send sends a copy of req with the token. Neither req nor the response's own
// Request has it: the tool reads both.
func (t *injector) send(req *http.Request, token AccessToken) (*http.Response, error) {
	bearing := req.Clone(req.Context())
	token.put(bearing)
	resp, err := t.base.RoundTrip(bearing)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// thirdPartyTransport is the transport to third parties, if the author has no
// other. The bound on the answer's beginning takes the place of a bound on the
// whole request, which would also count the time in which the user decides.
func thirdPartyTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	return t
}
