package fleet

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Driver runs agents on something: as processes, as pods. An error that is a
// fault of kind Invalid means that the same version will fail again, so the
// fleet waits for another one; after every other error it tries again.
type Driver interface {
	// Build makes the agent's version ready to be started. It returns at once if
	// that was done before. The fault of a failed build shows the compiler's
	// output, within bounds.
	Build(ctx context.Context, a agent.Agent) error
	// Start begins a run of what was built. ctx bounds the start, not the run.
	Start(ctx context.Context, r Run) (Instance, error)
	// Logs returns at most the last n lines that the agent wrote, oldest first,
	// also those of earlier runs.
	Logs(ctx context.Context, w name.Workload, n int) ([]string, error)
	// Follow returns at most n lines that the agent wrote behind a place, and the place
	// behind those. It waits until there is one; when ctx ends before, it returns ctx's
	// error. The empty place is the beginning of the last n lines, perhaps of none:
	// there it does not wait. When the agent is removed that is a fault of kind NotFound.
	Follow(ctx context.Context, w name.Workload, place string, n int) (lines []string, behind string, err error)
	// Remove deletes what the driver keeps about an agent, which does not run.
	Remove(ctx context.Context, w name.Workload) error
}

// Run is what an agent is started with.
type Run struct {
	Agent agent.Agent
	Env   map[string]string // variables of the runtime; they hold no secret and win over those of the definition
}

// Instance is one run of an agent. All methods may be called concurrently.
type Instance interface {
	// URL is where the agent listens: scheme and host, no path.
	URL() string
	// Probe returns nil if the agent is healthy and what answers is the agent. A
	// fault of kind Conflict means that somebody else has the agent's address: the
	// agent is restarted at once, elsewhere.
	Probe(ctx context.Context) error
	// Done is closed when the run has ended and nothing of it is left.
	Done() <-chan struct{}
	// Reason says why the run ended, in words. It must not be called before Done.
	Reason() string
	// Stop asks the agent to end, forces it to when ctx is done, and returns after
	// Done.
	Stop(ctx context.Context)
}

// Minter makes launch tokens; [attest.Launches] is one.
type Minter interface {
	Mint(launch attest.Launch, ttl time.Duration) (secret.Text, time.Time, error)
}

// Register says to all replicas which launches are going on; [workload.Launches]
// is one.
type Register interface {
	// Begin records a launch, before it has a token.
	Begin(ctx context.Context, l attest.Launch, until time.Time) error
	// Keep says that it goes on until then, at least.
	Keep(ctx context.Context, l attest.Launch, until time.Time) error
	// End records that it has ended. Until that is known everywhere, its tokens may be believed elsewhere.
	End(ctx context.Context, l attest.Launch) error
}
