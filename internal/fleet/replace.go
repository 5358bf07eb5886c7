package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
)

// A version that serves is replaced without a gap: a successor is built, started
// and found healthy beside it, then requests go to the successor, and the old one
// is stopped when those that it has are answered. A successor that does not get
// that far takes no request, and the old version goes on.

// wish makes a the version that is wanted, or none if removed; f.mu is held.
func (f *Fleet) wish(ctx context.Context, running *sync.WaitGroup, r *runner, a agent.Agent, removed bool) {
	replaces := !removed && !r.removed && a.Desired == agent.Running && a.CreatedAt.Equal(r.agent.CreatedAt)
	switch {
	case replaces && r.successor != nil:
		r.successor.wish(a, false)
	case replaces && (r.status.State == Ready || r.status.State == Unhealthy):
		next := newRunner(f, a)
		r.successor = next
		running.Go(func() { next.run(ctx) })
	default:
		if r.successor != nil {
			r.companions = append(r.companions, r.successor)
			r.successor = nil
		}
		for _, c := range r.companions {
			c.retire()
		}
		r.wish(a, removed)
	}
	f.announce()
}

// latest returns the version that was wished last; f.mu is held.
func (r *runner) latest() agent.Agent {
	if r.successor != nil {
		return r.successor.agent
	}
	return r.agent
}

// view returns the status with that of the successor; f.mu is held.
func (r *runner) view() Status {
	s := r.status
	if r.successor != nil {
		next := r.successor.status
		s.Next = &next
	}
	return s
}

// retire makes a runner end: when its requests are answered, or at once if it is
// called again. f.mu is held.
func (r *runner) retire() {
	r.hurried = r.retired
	r.retired = true
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *runner) isRetired() bool {
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	return r.retired
}

// takeOver sends the requests of the version that r was started beside to r, which
// is healthy; f.mu is held.
func (r *runner) takeOver() {
	old, ok := r.fleet.runners[r.w]
	if !ok || old.successor != r {
		return
	}
	r.fleet.runners[r.w] = r
	r.companions = append(slices.DeleteFunc(old.companions, func(c *runner) bool { return isClosed(c.ended) }), old)
	old.successor, old.companions = nil, nil
	old.retire()
}

// drain returns when a replaced version has answered what it was asked, within
// DrainTimeout.
func (r *runner) drain(ctx context.Context, instance Instance) {
	limit := time.NewTimer(r.fleet.config.DrainTimeout)
	defer limit.Stop()
	for {
		r.fleet.mu.Lock()
		done, hurry, changed := r.inUse == 0 || r.hurried, r.changed, r.fleet.changed
		r.fleet.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-hurry:
		case <-instance.Done():
			return
		case <-ctx.Done():
			return
		case <-limit.C:
			r.fleet.config.Log.Warn("a replaced version is stopped before it has answered", "agent", r.w.String(), "version", r.status.Version)
			return
		}
	}
}
