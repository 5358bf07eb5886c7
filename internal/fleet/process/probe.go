package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/deputy-id/deputy/internal/fault"
)

const maxHealthBody = 64 << 10

// prober asks an agent for its health.
type prober struct {
	base   string // http://127.0.0.1:<port>
	port   int
	client *http.Client

	mu       sync.Mutex
	verified []string // sockets that were found to be the agent's own
}

func newProber(port int) *prober {
	return &prober{
		base: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port: port,
		client: &http.Client{
			// No proxy, whatever the environment says, and no connection that
			// outlives the question: an agent may serve one at a time.
			Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxHealthBody},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// probe asks the routes that agents have for it, in the order of their custom, until
// one of them is there. An agent that has none is healthy while it answers HTTP: some servers of the original kit have
// none.
func (p *prober) probe(ctx context.Context, pgid int) error {
	for _, path := range []string{"/ping", "/health", "/readiness", "/liveness"} {
		there, err := p.ask(ctx, path)
		if err != nil {
			return err
		}
		if there {
			break
		}
	}
	return p.owns(pgid)
}

// ask returns nil if path says that the agent is healthy, or there is no such
// path.
func (p *prober) ask(ctx context.Context, path string) (there bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, http.NoBody)
	if err != nil {
		return false, err
	}
	res, err := p.client.Do(req)
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
