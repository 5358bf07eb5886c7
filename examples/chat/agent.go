package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// agent calls the agent's endpoint.
type agent struct {
	endpoint string // without /invoke
	client   *http.Client
}

// newTransport is shared by neither the provider's nor the agent's client: one
// that hangs must not take the other's connections.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   32,
		ForceAttemptHTTP2:     true,
		// A stream must not wait in a compressor, and a bound on bytes read
		// must be one on bytes sent.
		DisableCompression: true,
	}
}

func newAgent(endpoint string) *agent {
	return &agent{endpoint: endpoint, client: &http.Client{
		Transport: newTransport(),
		// A redirect would carry the user's token somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// agentError is an answer of the agent, or of the gate in front of it, that is
// not a stream of events.
type agentError struct {
	status int // 0: there was no answer
	message
	cause error // for the log
}

func (e *agentError) Error() string { return fmt.Sprintf("%s: %v", e.Code, e.cause) }

// invoke sends prompt as the user of s and returns the agent's event stream,
// which the caller must close. Cancelling ctx ends the stream and, at the
// agent, the request. The error is an *agentError.
func (a *agent) invoke(ctx context.Context, s *session, prompt string) (io.ReadCloser, error) {
	body, err := json.Marshal(map[string]string{"prompt": prompt})
	if err != nil {
		return nil, &agentError{message: errorMessage("agent_error", "The message cannot be sent."), cause: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint+"/invoke", bytes.NewReader(body))
	if err != nil {
		return nil, &agentError{message: errorMessage("agent_error", "The message cannot be sent."), cause: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+s.access.reveal())
	req.Header.Set("session_id", *s.conversation.Load())
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, &agentError{message: errorMessage("agent_unreachable", "The agent cannot be reached."), cause: err}
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		resp.Body.Close()
		return nil, &agentError{
			status:  resp.StatusCode,
			message: errorMessage("agent_answer_unexpected", "The agent did not answer with a stream of events."),
			cause:   fmt.Errorf("content type %q", clip(resp.Header.Get("Content-Type"), 80)),
		}
	}
	return resp.Body, nil
}

// refusal explains a status that is not 200. What the gate says about it goes
// into the log and, where it helps the user, to the page.
func refusal(resp *http.Response) *agentError {
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	said := ""
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10)); err == nil && json.Unmarshal(b, &body) == nil {
		said = words(body.Error.Message)
	}
	code, text := "agent_error", "The agent answered with an error."
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		code, text = "session_expired", "The agent no longer accepts this login. Please log in again."
	case http.StatusForbidden:
		code, text = "agent_forbidden", "The agent does not admit this application or this user."
	case http.StatusNotFound:
		code, text = "agent_not_found", "There is no agent at the configured address."
	case http.StatusRequestEntityTooLarge:
		code, text = "message_too_long", "The message is too long for the agent."
	case http.StatusTooManyRequests:
		code, text = "agent_busy", "The agent has too much to do. Please try again in a moment."
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code, text = "agent_unavailable", "The agent is not running, or it is being started."
	}
	if said != "" {
		text += " (" + said + ")"
	} else {
		said = "no reason given"
	}
	return &agentError{status: resp.StatusCode, message: errorMessage(code, text), cause: errors.New(said)}
}
