package op

import (
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/userpool"
)

// pace tells devices that poll too often to slow down (RFC 8628, section 3.5).
// It is in memory, and so per process: with n replicas a device may ask n times
// as often. Its end is to spare the server work, and a write for each poll would
// be more of it.
type pace struct {
	mu    sync.Mutex
	polls map[string]poll // by the id of the device's request
	bound int
}

type poll struct {
	last     time.Time
	interval time.Duration
	until    time.Time // when the request expires
}

// maxPolls bounds the memory of a pace (about 150 bytes for each).
const maxPolls = 1 << 16

func newPace() *pace { return &pace{polls: map[string]poll{}, bound: maxPolls} }

// keeps reports whether a poll at the time now keeps the pace. If not, the
// device has to leave five seconds more between all further ones.
func (p *pace) keeps(d userpool.Device, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.polls[d.ID]
	if !known {
		p.makeRoom(now)
		last.interval, last.until = userpool.DeviceInterval, d.ExpiresAt
	}
	// A second for the network: the device counts from when it was answered.
	kept := !known || now.Sub(last.last) >= last.interval-time.Second
	if !kept {
		last.interval += userpool.DeviceInterval
	}
	last.last = now
	p.polls[d.ID] = last
	return kept
}

// makeRoom forgets the expired requests when there are too many, and all of them
// when that is not enough: devices are then told to slow down one poll later.
func (p *pace) makeRoom(now time.Time) {
	if len(p.polls) < p.bound {
		return
	}
	for id, q := range p.polls {
		if !now.Before(q.until) {
			delete(p.polls, id)
		}
	}
	if len(p.polls) >= p.bound {
		clear(p.polls)
	}
}
