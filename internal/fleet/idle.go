package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/name"
)

// An agent that nobody calls for as long as its definition says is stopped, and
// started again by the next call, which waits for it. No request that it has is cut
// off by that: it is idle only while it has none.

var errIdle = errors.New("nobody calls it")

// doze makes an agent that nobody has called for limit take no more requests, and
// returns 0; otherwise it returns when to ask again.
func (r *runner) doze(limit time.Duration) time.Duration {
	f := r.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.inUse > 0 || r.successor != nil || r.retired {
		return limit
	}
	if left := limit - f.config.Now().Sub(r.used); left > 0 {
		return left
	}
	r.idling, r.called = true, make(chan struct{})
	r.status.State, r.status.Reason, r.status.URL = Stopping, errIdle.Error(), ""
	f.announce()
	return 0
}

// sleep returns when somebody calls the agent, which is stopped, or what is wanted
// changes, or ctx is done.
func (r *runner) sleep(ctx context.Context, a agent.Agent, changed <-chan struct{}) {
	r.fleet.mu.Lock()
	called := r.called
	r.fleet.mu.Unlock()
	if !isClosed(called) {
		r.set(Status{Version: a.Version, State: Idle, Reason: "nobody calls it; the next call starts it"})
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-called:
	}
}

// Enter returns an agent's status for one request. If it is ready, the version at
// Status.URL is not stopped for a newer one, or for idleness, until leave is called,
// which must be done once, within bounds: see Config.DrainTimeout. Otherwise leave
// does nothing. An agent that is idle is started: Enter returns when it is ready, or
// cannot be, or ctx is done.
func (f *Fleet) Enter(ctx context.Context, w name.Workload) (s Status, leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.StopTimeout+f.config.StartTimeout)
	defer cancel()
	for {
		f.mu.Lock()
		r, ok := f.runners[w]
		if !ok || r.removed {
			f.mu.Unlock()
			return Status{}, nil, agent.NotFound(w.Pool, w.Name)
		}
		s, ready, awaited, changed := r.view(), r.status.State == Ready, r.idling && ctx.Err() == nil, f.changed
		if ready {
			r.inUse++
		} else if awaited && !isClosed(r.called) {
			close(r.called)
		}
		f.mu.Unlock()
		switch {
		case ready:
			return s, func() { f.leave(r) }, nil
		case !awaited:
			return s, func() {}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (f *Fleet) leave(r *runner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.used = f.config.Now()
	if r.inUse--; r.inUse == 0 && r.retired {
		f.announce()
	}
}
