package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// AgentAnswer is an agent's answer to a request, as it comes.
type AgentAnswer struct {
	Body   io.ReadCloser // the caller closes it
	Events bool          // the body is a stream of server-sent events
}

// Invoke sends a JSON body to an agent at its service endpoint, as the user whom
// token is of. session, which may be empty, names the conversation. A refusal of
// the ingress comes back as the fault that it raised. An answer has no time
// limit but that of ctx.
func Invoke(ctx context.Context, endpoint string, token secret.Text, session string, body []byte) (AgentAnswer, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname())) {
		return AgentAnswer{}, fault.New(fault.Invalid, "endpoint_invalid", "a user's token is not sent to %q", name.Clip(endpoint, 200)).
			WithFix("the runtime's address must be https, or http on this machine: see --ingress-url")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint, "/")+"/invoke", bytes.NewReader(body))
	if err != nil {
		return AgentAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream, application/json")
	req.Header.Set("Authorization", "Bearer "+token.RevealString())
	if session != "" {
		req.Header.Set("session_id", session)
	}
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// Nothing that redirects may see the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return AgentAnswer{}, ctx.Err()
	case err != nil:
		return AgentAnswer{}, fault.Wrap(err, fault.Unavailable, "agent_unreachable", "%s does not answer", name.Clip(endpoint, 200))
	case resp.StatusCode/100 != 2:
		defer resp.Body.Close() // read as far as it matters
		return AgentAnswer{}, agentRefusal(resp)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return AgentAnswer{resp.Body, media == "text/event-stream"}, nil
}

// agentRefusal reads the error of an ingress, or of an agent behind it that has
// the same shape.
func agentRefusal(resp *http.Response) error {
	cause := &Answer{Status: resp.StatusCode, RequestID: requestID(resp.Header.Get("X-Request-Id"))}
	var said struct {
		Error struct {
			Message string `json:"message"`
			Code    string `json:"code"`
		} `json:"error"`
	}
	b, err := wire.ReadAll(resp.Body, maxProblem)
	if err != nil || json.Unmarshal(b, &said) != nil || said.Error.Message == "" {
		return fault.Wrap(cause, kinds[resp.StatusCode], "agent_refused", "the agent answered with status %d", resp.StatusCode)
	}
	code := said.Error.Code
	if code == "" {
		code = "agent_refused"
	}
	return fault.Wrap(cause, kinds[resp.StatusCode], code, "%s", name.Clip(said.Error.Message, 500))
}
