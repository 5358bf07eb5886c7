// Package fleet makes agents run: it drives their actual state to the desired one, watches their health, and gives each run its proof of identity.
package fleet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// State is what an agent is doing.
type State string

// The states. An agent goes building → starting → ready; from there to
// unhealthy and back, or through stopping and backoff to the beginning.
const (
	Building  State = "building"
	Starting  State = "starting"  // started, not healthy yet
	Ready     State = "ready"     // healthy: requests are forwarded
	Unhealthy State = "unhealthy" // was ready, does not answer its health checks; restarted if that lasts
	Backoff   State = "backoff"   // ended or failed to start; tried again at NextTry
	Stopping  State = "stopping"
	Stopped   State = "stopped" // as desired
	Idle      State = "idle"    // stopped because nobody called it; the next call starts it
	Failed    State = "failed"  // cannot work as it is; waits for another version
)

// Status is the state of one agent, with the reason and the time.
type Status struct {
	Workload name.Workload
	Version  int64 // of the definition that the state is about
	State    State
	Reason   string    // why, in words; for operators: it may quote the compiler or the agent's last words
	Since    time.Time // when State began
	NextTry  time.Time // in Backoff: when it is tried again
	Restarts int       // how often this version was started again
	URL      string    // where the agent listens, in Ready
	Next     *Status   // of the version that is to replace this one, until it is ready; nil if there is none
}

// Config says what a fleet is made of. Zero durations take the default.
type Config struct {
	Store    agent.Store
	Driver   Driver
	Launches Minter   // nil if agents get their proof of identity from where they run
	Register Register // of launches; not asked if Launches is nil
	// Outlive leaves agents running when the fleet ends. Driver.Start of the next
	// one takes them up again, and several fleets may have the same agents. So none
	// is stopped for being idle.
	Outlive bool
	// URL is Deputy's public URL, and TrustDomain that of the agents' SPIFFE IDs:
	// agents get both in their environment.
	URL, TrustDomain string
	Dir              string // launch files, in a directory per agent
	// Group returns the group that may read an agent's launch file, for agents with
	// users of their own; 0 stands for Deputy's user alone. It may be nil.
	Group func(name.Workload) (int, error)
	Log   *slog.Logger
	Now   func() time.Time // nil means time.Now

	StartTimeout time.Duration // until an agent must be healthy; 30 s
	DrainTimeout time.Duration // until a replaced version is stopped although requests to it are not answered; 5 min
	StopTimeout  time.Duration // until an agent that ignores the request to end is killed; 10 s
	ProbeEvery   time.Duration // between health checks; 10 s
	Resync       time.Duration // between looks into the store without a call of Wake; 30 s
	TokenLife    time.Duration // of a launch token; 10 min, which is also the most
	BackoffMin   time.Duration // first pause before a restart, doubled each time; 500 ms
	BackoffMax   time.Duration // longest pause; after running that long, an agent starts again at BackoffMin; 1 min
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.StartTimeout, 30 * time.Second}, {&c.DrainTimeout, 5 * time.Minute}, {&c.StopTimeout, 10 * time.Second}, {&c.ProbeEvery, 10 * time.Second},
		{&c.Resync, 30 * time.Second}, {&c.TokenLife, attest.MaxLaunchLife}, {&c.BackoffMin, 500 * time.Millisecond},
		{&c.BackoffMax, time.Minute},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Fleet runs the agents of a store. All methods may be called concurrently.
type Fleet struct {
	config Config
	wake   chan struct{}

	mu      sync.Mutex
	runners map[name.Workload]*runner
	live    map[string]bool // launch ids
	paths   map[string]bool // of launch files that are in use
	changed chan struct{}   // closed and replaced when any status changes
}

// New returns a fleet that runs nothing until [Fleet.Run].
func New(c Config) *Fleet {
	return &Fleet{
		config: c.withDefaults(), wake: make(chan struct{}, 1),
		runners: map[name.Workload]*runner{}, live: map[string]bool{}, paths: map[string]bool{}, changed: make(chan struct{}),
	}
}

// Run makes agents run until ctx is done, and then returns when all of them are
// stopped, which takes little more than StopTimeout. It is called once.
//
// While the store does not answer, the agents that run go on.
func (f *Fleet) Run(ctx context.Context) {
	var runners sync.WaitGroup
	defer runners.Wait()
	resync := time.NewTimer(0)
	defer resync.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-resync.C:
		}
		if err := f.reconcile(ctx, &runners); err != nil && ctx.Err() == nil {
			f.config.Log.Error("agents cannot be read; those that run go on", "err", err)
		}
		resync.Reset(f.config.Resync)
	}
}

// Wake makes the fleet look into the store now, after a change.
func (f *Fleet) Wake() {
	select {
	case f.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

func (f *Fleet) reconcile(ctx context.Context, running *sync.WaitGroup) error {
	agents, err := f.config.Store.Agents(ctx, "")
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	there := make(map[name.Workload]bool, len(agents))
	for _, a := range agents {
		there[a.Workload()] = true
		r, known := f.runners[a.Workload()]
		if !known {
			r = newRunner(f, a)
			f.runners[a.Workload()] = r
			running.Go(func() { r.run(ctx) })
			continue
		}
		// A different time of creation is a different agent of the same name.
		if last := r.latest(); r.removed || last.Version != a.Version || !last.CreatedAt.Equal(a.CreatedAt) {
			f.wish(ctx, running, r, a, false)
		}
	}
	for w, r := range f.runners {
		if !there[w] && !r.removed {
			f.wish(ctx, running, r, r.agent, true)
		}
	}
	return nil
}

// Lookup returns an agent and its status. It does not touch the store; an agent
// that the fleet does not know yet is not found.
func (f *Fleet) Lookup(w name.Workload) (agent.Agent, Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.runners[w]
	if !ok || r.removed {
		return agent.Agent{}, Status{}, agent.NotFound(w.Pool, w.Name)
	}
	return r.agent, r.view(), nil
}

// Statuses returns the statuses of a pool's agents, of all for "", in order of
// pool and name.
func (f *Fleet) Statuses(pool string) []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []Status{}
	for w, r := range f.runners {
		if pool == "" || pool == w.Pool {
			list = append(list, r.view())
		}
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Workload.String(), b.Workload.String()) })
	return list
}

// Wait returns as soon as the agent's stored version, or a later one, is ready.
// An agent that failed or is to be stopped is a fault of kind Unavailable; so is
// one that is not ready when ctx is done.
func (f *Fleet) Wait(ctx context.Context, w name.Workload) (Status, error) {
	a, err := f.config.Store.Agent(ctx, w.Pool, w.Name)
	if err != nil {
		return Status{}, err
	}
	f.Wake()
	for {
		f.mu.Lock()
		changed := f.changed
		var s Status
		if r, ok := f.runners[w]; ok && r.latest().Version >= a.Version {
			s = r.status
			if r.successor != nil {
				s = r.successor.status
			}
			if s.Version < a.Version {
				s = Status{} // of the version before, for another moment
			}
		}
		f.mu.Unlock()
		switch s.State {
		case Ready:
			return s, nil
		case Failed, Stopped:
			return s, notReady(s)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, notReady(s)
		}
	}
}

func notReady(s Status) error {
	e := fault.New(fault.Unavailable, "agent_not_ready", "the agent is not ready: it is %s: %s", s.State, s.Reason)
	if s.State == "" {
		e = fault.New(fault.Unavailable, "agent_not_ready", "the agent is not ready: the runtime has not begun with it")
	}
	return e.WithFix("read the agent's log")
}

// Build makes a build of an agent, without anything of what runs being changed.
func (f *Fleet) Build(ctx context.Context, a agent.Agent) error { return f.config.Driver.Build(ctx, a) }

// Logs returns at most the last n lines that an agent wrote, oldest first.
func (f *Fleet) Logs(ctx context.Context, w name.Workload, n int) ([]string, error) {
	if _, _, err := f.Lookup(w); err != nil {
		return nil, err
	}
	return f.config.Driver.Logs(ctx, w, n)
}

// Follow returns at most n lines that an agent wrote behind a place, and the place
// behind those; see [Driver.Follow].
func (f *Fleet) Follow(ctx context.Context, w name.Workload, place string, n int) (lines []string, behind string, err error) {
	if _, _, err := f.Lookup(w); err != nil {
		return nil, place, err
	}
	return f.config.Driver.Follow(ctx, w, place, n)
}

// Live reports whether the launch with that id is running here: at another
// replica, its Register knows.
func (f *Fleet) Live(launchID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live[launchID]
}

func (f *Fleet) setLive(launchID string, live bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if live {
		f.live[launchID] = true
	} else {
		delete(f.live, launchID)
	}
}

// Environment returns the variables that tell an agent who it is, and where
// Deputy is.
func (f *Fleet) Environment(w name.Workload) map[string]string {
	return map[string]string{"DEPUTY_URL": f.config.URL, "DEPUTY_WORKLOAD": w.SPIFFEID(f.config.TrustDomain)}
}

// announce wakes everybody who waits for a status; f.mu is held.
func (f *Fleet) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}
