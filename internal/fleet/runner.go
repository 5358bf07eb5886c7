package fleet

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// The rhythm of health checks.
const (
	probeTimeout   = 5 * time.Second
	probesToFail   = 3                    // failures in a row that make a ready agent unhealthy
	firstPause     = 5 * time.Millisecond // between checks of an agent that is starting; an eighth of the time that it takes
	longestPause   = 500 * time.Millisecond
	maxReasonBytes = 8 << 10
)

// runner brings one agent, or one version of it beside another, from state to
// state, in one goroutine. The fleet's
// mutex guards its fields; only run writes status.
type runner struct {
	fleet   *Fleet
	w       name.Workload
	agent   agent.Agent   // the version that is wanted
	removed bool          // no version is wanted any more
	changed chan struct{} // closed and replaced by wish and retire
	status  Status

	successor  *runner       // is to replace this one; not ready yet
	companions []*runner     // retired, may not have ended yet
	retired    bool          // replaced, or not needed any more
	hurried    bool          // retired, and requests are not waited for
	inUse      int           // requests that were sent to it
	used       time.Time     // when it was ready, or the last request to it ended
	idling     bool          // stopped for idleness, and not started again
	called     chan struct{} // closed when it is called while idling
	ended      chan struct{} // closed when run has returned
}

func newRunner(f *Fleet, a agent.Agent) *runner {
	r := &runner{fleet: f, w: a.Workload(), agent: a, changed: make(chan struct{}), ended: make(chan struct{})}
	r.status = Status{Workload: r.w, Version: a.Version, State: Stopped, Reason: "the runtime has just learned of it", Since: f.config.Now().UTC()}
	if a.Desired == agent.Running {
		r.status.State = Building
	}
	return r
}

// wish changes what is wanted; the fleet's mutex is held.
func (r *runner) wish(a agent.Agent, removed bool) {
	r.agent, r.removed = a, removed
	close(r.changed)
	r.changed = make(chan struct{})
}

// wanted returns what is wanted now and a channel that is closed when that
// changes.
func (r *runner) wanted() (a agent.Agent, removed bool, changed <-chan struct{}) {
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	return r.agent, r.removed, r.changed
}

// set changes the status and tells everybody.
func (r *runner) set(change Status) {
	f := r.fleet
	change.Workload, change.Since = r.w, f.config.Now().UTC()
	change.Reason = name.Clip(change.Reason, maxReasonBytes)
	f.mu.Lock()
	if change.Version == r.status.Version {
		change.Restarts += r.status.Restarts
	}
	r.status = change
	switch change.State {
	case Ready:
		r.idling, r.used = false, change.Since
		r.takeOver()
	case Backoff, Failed, Stopped:
		r.idling = false // whoever called it is told
	}
	f.announce()
	f.mu.Unlock()
	f.config.Log.Info("agent state", "agent", r.w.String(), "version", change.Version, "state", string(change.State), "reason", change.Reason)
}

func (r *runner) run(ctx context.Context) {
	defer close(r.ended)
	attempts := 0 // failures in a row
	var version int64
	for {
		a, removed, changed := r.wanted()
		if a.Version != version {
			version, attempts = a.Version, 0
		}
		switch {
		case ctx.Err() != nil:
			r.set(Status{Version: a.Version, State: Stopped, Reason: "the runtime is shutting down"})
			return
		case r.isRetired():
			return
		case removed:
			if r.forget(ctx) {
				return
			}
			continue
		case a.Desired != agent.Running:
			r.set(Status{Version: a.Version, State: Stopped, Reason: "as desired"})
			wait(ctx, changed, nil)
			continue
		}
		lasted, err := r.once(ctx, a, changed)
		if ctx.Err() != nil || isClosed(changed) {
			continue
		}
		if errors.Is(err, errIdle) {
			attempts = 0
			r.sleep(ctx, a, changed)
			continue
		}
		if fault.Is(err, fault.Invalid) {
			r.set(Status{Version: a.Version, State: Failed, Reason: err.Error()})
			wait(ctx, changed, nil)
			continue
		}
		if lasted >= r.fleet.config.BackoffMax {
			attempts = 0
		}
		pause := r.pause(attempts)
		attempts++
		r.set(Status{Version: a.Version, State: Backoff, Reason: err.Error(), NextTry: r.fleet.config.Now().UTC().Add(pause), Restarts: 1})
		timer := time.NewTimer(pause)
		wait(ctx, changed, timer.C)
		timer.Stop()
	}
}

// wait returns at the first of the three.
func wait(ctx context.Context, changed <-chan struct{}, timer <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause returns how long to wait after that many failures in a row: doubled each
// time up to the cap, the upper half of it by chance, so that agents that fell
// together do not all come back together.
func (r *runner) pause(attempts int) time.Duration {
	d, most := r.fleet.config.BackoffMin, r.fleet.config.BackoffMax
	for ; attempts > 0 && d < most; attempts-- {
		d *= 2
	}
	d = min(d, most)
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return d/2 + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(d/2+1))
}

// forget removes the runner and what the driver keeps about its agent, and
// reports true, unless the agent is wanted again meanwhile.
func (r *runner) forget(ctx context.Context) bool {
	f := r.fleet
	f.mu.Lock()
	companions := r.companions
	r.companions = nil
	f.mu.Unlock()
	for _, c := range companions {
		<-c.ended // within StopTimeout: they were told to hurry
	}
	if err := errors.Join(f.config.Driver.Remove(ctx, r.w), os.RemoveAll(f.launchDir(r.w))); err != nil {
		f.config.Log.Warn("files of a deleted agent are left", "agent", r.w.String(), "err", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.removed {
		return false
	}
	delete(f.runners, r.w)
	f.announce()
	return true
}

// once builds the agent, starts it, and watches it until it ends, or until life is
// done or the wish changed. It returns how long the agent was ready and why it
// is not any more.
func (r *runner) once(life context.Context, a agent.Agent, changed <-chan struct{}) (lasted time.Duration, err error) {
	ctx, cancel := context.WithCancel(life)
	defer cancel()
	go func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	f := r.fleet
	r.set(Status{Version: a.Version, State: Building})
	if err := f.config.Driver.Build(ctx, a); err != nil {
		return 0, err
	}
	env := f.Environment(r.w)
	if f.config.Launches != nil {
		file, err := f.newLaunchFile(ctx, attest.Launch{ID: name.NewID("launch"), Workload: r.w})
		if err != nil {
			return 0, err
		}
		defer file.remove() // after the agent is gone
		env["DEPUTY_WORKLOAD_TOKEN_FILE"] = file.path
	}
	r.set(Status{Version: a.Version, State: Starting})
	instance, err := f.config.Driver.Start(ctx, Run{Agent: a, Env: env})
	if err != nil {
		return 0, err
	}
	defer r.stop(life, a, instance, &err)
	if err := r.awaitHealth(ctx, instance); err != nil {
		return 0, err
	}
	since := f.config.Now()
	err = r.watch(ctx, a, instance)
	if r.isRetired() {
		r.drain(life, instance)
	}
	return f.config.Now().Sub(since), err
}

// stop ends an instance that may have ended by itself, unless it is to go on
// after life, the runtime's own.
func (r *runner) stop(life context.Context, a agent.Agent, instance Instance, why *error) {
	if r.fleet.config.Outlive && life.Err() != nil {
		return
	}
	if !isClosed(instance.Done()) {
		reason := (*why).Error()
		if errors.Is(*why, context.Canceled) {
			reason = "as desired"
		}
		r.set(Status{Version: a.Version, State: Stopping, Reason: reason})
	}
	// The agent must be stopped also, and above all, when the runtime's own context is done.
	ctx, cancel := context.WithTimeout(context.Background(), r.fleet.config.StopTimeout)
	defer cancel()
	instance.Stop(ctx)
}

func ended(instance Instance) error {
	return fault.New(fault.Unavailable, "agent_ended", "the agent ended: %s", instance.Reason())
}

// awaitHealth returns nil when the agent is healthy, and an error when it ended or
// StartTimeout is over.
func (r *runner) awaitHealth(ctx context.Context, instance Instance) error {
	limit := r.fleet.config.StartTimeout
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	began := r.fleet.config.Now()
	for {
		err := probe(ctx, instance)
		if err == nil && isClosed(instance.Done()) {
			return ended(instance) // health is what lets it replace another one
		}
		if err == nil || fault.Is(err, fault.Conflict) {
			return err
		}
		next := time.NewTimer(min(max(firstPause, r.fleet.config.Now().Sub(began)/8), longestPause))
		select {
		case <-next.C:
		case <-instance.Done():
			next.Stop()
			return ended(instance)
		case <-ctx.Done():
			next.Stop()
			return ctx.Err()
		case <-deadline.C:
			next.Stop()
			return fault.New(fault.Unavailable, "agent_unhealthy", "the agent was not healthy within %v: %v", limit, err)
		}
	}
}

func probe(ctx context.Context, instance Instance) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return instance.Probe(ctx)
}

// watch keeps the state of a healthy agent up to date until it ends or stays
// unhealthy, or ctx is done.
func (r *runner) watch(ctx context.Context, a agent.Agent, instance Instance) error {
	ready := Status{Version: a.Version, State: Ready, URL: instance.URL()}
	r.set(ready)
	next := time.NewTicker(r.fleet.config.ProbeEvery)
	defer next.Stop()
	var idle <-chan time.Time
	limit := a.Definition.IdleTimeout
	if limit > 0 && !r.fleet.config.Outlive { // else another fleet may be sending it requests
		idle = time.After(limit)
	}
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-idle:
			left := r.doze(limit)
			if left == 0 {
				return errIdle
			}
			idle = time.After(left)
			continue
		case <-instance.Done():
			return ended(instance)
		case <-next.C:
		}
		err := probe(ctx, instance)
		if err == nil {
			failures = 0
			continue
		}
		if fault.Is(err, fault.Conflict) {
			return err
		}
		if failures++; failures < probesToFail || ctx.Err() != nil {
			continue
		}
		r.set(Status{Version: a.Version, State: Unhealthy, Reason: fmt.Sprintf("%d health checks in a row failed: %v", failures, err)})
		if err := r.awaitHealth(ctx, instance); err != nil {
			return err
		}
		failures = 0
		r.set(ready)
	}
}
