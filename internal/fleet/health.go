package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
)

const maxHealthBody = 64 << 10

// Health asks an agent on this machine how it is.
type Health struct {
	base   string // scheme and host, no path
	client *http.Client
}

// NewHealth returns what asks the agent at base, such as http://127.0.0.1:8000.
func NewHealth(base string) *Health {
	return &Health{base, &http.Client{
		// No proxy, whatever the environment says, and no connection that
		// outlives the question: an agent may serve one at a time.
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxHealthBody},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// URL returns where the agent is.
func (h *Health) URL() string { return h.base }

// Ask asks the routes that agents have for it, in the order of their custom, until
// one of them is there, and returns nil if the agent is healthy, or else a fault of
// kind Unavailable. An agent that has none is healthy while it answers HTTP: some
// servers of the original kit have none.
func (h *Health) Ask(ctx context.Context) error {
	for _, path := range []string{"/ping", "/health", "/readiness", "/liveness"} {
		there, err := h.ask(ctx, path)
		if err != nil || there {
			return err
		}
	}
	return nil
}

// ask returns nil if path says that the agent is healthy, or there is no such
// path.
func (h *Health) ask(ctx context.Context, path string) (there bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+path, http.NoBody)
	if err != nil {
		return false, err
	}
	res, err := h.client.Do(req)
	if err != nil {
		return false, fault.Wrap(err, fault.Unavailable, "agent_unhealthy", "GET %s is not answered: it must listen on 127.0.0.1:$PORT", path)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return false, nil
	default:
		return false, fault.New(fault.Unavailable, "agent_unhealthy", "GET %s is answered with status %d", path, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxHealthBody))
	if err != nil {
		return false, fault.Wrap(err, fault.Unavailable, "agent_unhealthy", "the answer to GET %s breaks off", path)
	}
	// The status is free text in the original kit ({"status": <anything>}), so
	// only the one word is taken for bad news.
	var health struct{ Status any }
	if json.Unmarshal(body, &health) == nil && strings.EqualFold(fmt.Sprint(health.Status), "unhealthy") {
		return false, fault.New(fault.Unavailable, "agent_unhealthy", "GET %s says that the agent is unhealthy", path)
	}
	return true, nil
}
