package process

import (
	"context"
	"net"
	"strconv"
	"sync"

	"github.com/deputy-id/deputy/internal/fleet"
)

// prober asks an agent for its health, and makes sure that it is the agent who
// answers.
type prober struct {
	*fleet.Health
	port int

	mu       sync.Mutex
	verified []string // sockets that were found to be the agent's own
}

func newProber(port int) *prober {
	return &prober{Health: fleet.NewHealth("http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))), port: port}
}

func (p *prober) probe(ctx context.Context, pgid int) error {
	if err := p.Ask(ctx); err != nil {
		return err
	}
	return p.owns(pgid)
}
