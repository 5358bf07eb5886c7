package workload

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions on launches, all on LaunchResource.
const (
	ActionBeginLaunch guard.Action = "launch.begin"
	ActionBindLaunch  guard.Action = "launch.bind"
	ActionEndLaunch   guard.Action = "launch.end"
)

// LaunchResource is what permits for a launch name.
func LaunchResource(l attest.Launch) guard.Resource {
	return guard.Resource{Kind: "launch", Pool: l.Workload.Pool, ID: l.ID}
}

// LaunchNotFound is the fault for a launch that is not going on.
func LaunchNotFound(id string) error {
	return fault.New(fault.NotFound, "launch_not_found", "there is no launch %q", name.Clip(id, 80))
}

// Launch is a run of a workload, as all replicas know it.
type Launch struct {
	attest.Launch
	Owner   string      // the replica that runs it
	Bound   secret.Hash // of what the process made up; zero: it has not said anything yet
	Until   time.Time   // it is over then, unless its owner says that it goes on
	Created time.Time
}

// LaunchStore keeps launches, which go with their workload.
type LaunchStore interface {
	// BeginLaunch keeps a launch, and forgets those that were over before it began. It needs a permit for
	// ActionBeginLaunch. A workload that does not exist is the fault of [NotFound].
	BeginLaunch(ctx context.Context, p guard.Permit, l Launch) error
	// KeepLaunch says until when a launch goes on. Of that there is no entry in the audit log.
	KeepLaunch(ctx context.Context, id string, until time.Time) error
	// BindLaunch binds a launch that is not bound, else it returns a fault of kind Conflict. It needs a permit for
	// ActionBindLaunch.
	BindLaunch(ctx context.Context, p guard.Permit, l attest.Launch, bound secret.Hash) error
	// EndLaunch forgets a launch, if it is there. It needs a permit for ActionEndLaunch.
	EndLaunch(ctx context.Context, p guard.Permit, l attest.Launch) error
	// Launch returns a launch, also one that is over, or the fault of [LaunchNotFound].
	Launch(ctx context.Context, id string) (Launch, error)
}

// Launches says of a replica's launches that they are going on, and knows those of the others.
type Launches struct {
	Store LaunchStore
	Guard *guard.Guard
	Owner string // this replica, also after it was started again
	Now   func() time.Time
}

// Begin records that a launch of this replica begins.
func (s *Launches) Begin(ctx context.Context, l attest.Launch, until time.Time) error {
	p, err := s.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionBeginLaunch, LaunchResource(l))
	if err != nil {
		return err
	}
	return s.Store.BeginLaunch(ctx, p.Detail(map[string]string{"workload": l.Workload.Name}), Launch{Launch: l, Owner: s.Owner, Until: until, Created: s.Now().UTC()})
}

// Keep says that a launch goes on until then, at least.
func (s *Launches) Keep(ctx context.Context, l attest.Launch, until time.Time) error {
	return s.Store.KeepLaunch(ctx, l.ID, until)
}

// End records that a launch has ended.
func (s *Launches) End(ctx context.Context, l attest.Launch) error {
	p, err := s.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionEndLaunch, LaunchResource(l))
	if err != nil {
		return err
	}
	return s.Store.EndLaunch(ctx, p.Detail(map[string]string{"workload": l.Workload.Name}), l)
}

// Elsewhere reports whether a launch is going on at another replica. Those of
// this one are known without asking: what the store has of an earlier run of it
// is over.
func (s *Launches) Elsewhere(ctx context.Context, id string) (bool, error) {
	l, err := s.Store.Launch(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && l.Owner != s.Owner && s.Now().Before(l.Until), err
}

// The size of what a process may make up, in bytes.
const (
	minBinding = 22 // 128 bits in base64
	maxBinding = 200
)

// Bind lets only the process that runs use a launch: the first one that says a
// binding has it, which it made up and keeps to itself; from there on whoever
// does not say the same is refused, though he may read the launch file. Who
// never says one is as free as his file. A refusal is a fault of kind
// Unauthenticated.
func (s *Launches) Bind(ctx context.Context, l attest.Launch, binding secret.Text) error {
	known, err := s.Store.Launch(ctx, l.ID)
	if err != nil {
		return err
	}
	said := binding.Digest("launch-binding")
	none := secret.Hash{}
	switch n := len(binding.Reveal()); {
	case n > 0 && (n < minBinding || n > maxBinding):
		return fault.New(fault.Invalid, "launch_binding", "the binding is of %d bytes", n).WithSource("binding").WithFix("make up %d to %d random characters", minBinding, maxBinding)
	case known.Bound == none && n == 0, known.Bound != none && n > 0 && known.Bound == said:
		return nil
	case known.Bound != none:
		return launchBound()
	}
	p, err := s.Guard.Allow(ctx, name.Caller{Kind: name.Agent, Workload: l.Workload}, ActionBindLaunch, LaunchResource(l))
	if err != nil {
		return err
	}
	err = s.Store.BindLaunch(ctx, p, l, said)
	if fault.Is(err, fault.Conflict) { // another was faster, and he is the process or a second call of ours is
		if known, err = s.Store.Launch(ctx, l.ID); err == nil && known.Bound != said {
			err = launchBound()
		}
	}
	return err
}

func launchBound() error {
	return fault.New(fault.Unauthenticated, "launch_bound", "the launch is bound to another process").
		WithFix("only the process that first used the launch file may go on using it: start the agent again, or set DEPUTY_WORKLOAD_BINDING=off for agents of several processes")
}
