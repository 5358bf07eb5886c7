package vault

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	// keepWarm is how long a grant that nobody uses is refreshed all the same. Many third parties let refresh
	// tokens die within days, and a user should not have to authorize again after his holidays.
	keepWarm = 30 * 24 * time.Hour
	// usedPrecision bounds how often the use of one grant is written down.
	usedPrecision = time.Hour
	// sweepBatch and sweepWorkers bound what a sweep reads and does at once.
	sweepBatch   = 256
	sweepWorkers = 8
	// sweepPatience is how long a worker waits before it turns to the next grant; the refresh goes on. So one slow
	// third party does not keep the others' grants from being refreshed.
	sweepPatience = 5 * time.Second
)

// Sweep refreshes the grants that are due and in use, until there is none left
// or ctx is done. Any number of replicas may sweep at once. It returns how many
// grants it saw to; what could not be refreshed for now is due again later.
func (v *Vault) Sweep(ctx context.Context) (int, error) {
	if err := v.usage.flush(ctx, v.Store, v.Now()); err != nil {
		return 0, err
	}
	p, err := v.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionRefresh, GrantResource("", ""))
	if err != nil {
		return 0, err
	}
	var swept int
	for {
		now := v.Now()
		list, err := v.Store.DueGrants(ctx, now, now.Add(-keepWarm), sweepBatch)
		if err != nil || len(list) == 0 {
			return swept, err
		}
		// In another order in each replica, so that they do not wait for each other.
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		workers, failures := errgroup.Group{}, make([]error, len(list))
		workers.SetLimit(sweepWorkers)
		for i, g := range list {
			workers.Go(func() error {
				ctx, cancel := context.WithTimeout(ctx, sweepPatience)
				defer cancel()
				_, failures[i] = v.refresh(ctx, p, g.ID, 0)
				return nil
			})
		}
		_ = workers.Wait() // the errors are in failures, all of them
		swept += len(list)
		if err := v.sweepFailures(ctx, list, failures); err != nil {
			return swept, err
		}
	}
}

// sweepFailures logs what did not work, and sees to it that nothing stays due:
// it would be found again at once. It returns an error if the store does not work.
func (v *Vault) sweepFailures(ctx context.Context, list []Grant, failures []error) error {
	for i, err := range failures {
		if err == nil || fault.HasCode(err, "reauthorization_required") {
			continue
		}
		v.Logger.LogAttrs(ctx, slog.LevelWarn, "grant not refreshed by the sweeper; tried again later", slog.String("grant", list[i].ID),
			slog.String("provider", list[i].Provider), slog.Any("err", fault.As(err)))
		g, err := v.Store.Grant(ctx, list[i].ID)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err == nil && g.Version == list[i].Version && due(g, v.Now()) {
			err = v.Store.Postpone(ctx, g.ID, g.Version, v.Now().Add(v.retries.failed(g.ID)))
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// postpone makes a grant that could not be refreshed due again later. Until it
// expires its token is served as it is. If that cannot be written, it is only
// tried again too soon.
func (v *Vault) postpone(ctx context.Context, g Grant, until time.Time) {
	if err := v.Store.Postpone(ctx, g.ID, g.Version, until); err != nil {
		v.Logger.LogAttrs(ctx, slog.LevelWarn, "grant not postponed", slog.String("grant", g.ID), slog.Any("err", fault.As(err)))
	}
}

// retries counts, in this process, how often in a row a grant could not be
// refreshed.
type retries struct {
	mu     sync.Mutex
	counts map[string]int
}

const (
	firstPause = 30 * time.Second
	mostPause  = 30 * time.Minute
	maxRetries = 1 << 16 // grants that are counted; beyond, a failure counts as the first
)

// failed returns the pause after one more failure; it doubles with each.
func (r *retries) failed(id string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil || len(r.counts) >= maxRetries {
		r.counts = map[string]int{}
	}
	pause := min(mostPause, firstPause<<min(r.counts[id], 10))
	r.counts[id]++
	return pause + rand.N(pause/4)
}

func (r *retries) succeeded(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.counts, id)
}

// usage collects which grants were used, to be written down together: a write
// for every credential would cost more than the credential.
type usage struct {
	mu    sync.Mutex
	since map[string]struct{}
}

// maxUsage bounds what is collected between two sweeps.
const maxUsage = 1 << 20

func (u *usage) note(g Grant, now time.Time) {
	if now.Sub(g.Used) < usedPrecision {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[string]struct{}{}
	}
	if len(u.since) < maxUsage {
		u.since[g.ID] = struct{}{}
	}
}

// flush writes what was collected. What cannot be written is collected again
// with the next use.
func (u *usage) flush(ctx context.Context, s Store, now time.Time) error {
	u.mu.Lock()
	ids := slices.Collect(maps.Keys(u.since))
	u.since = nil
	u.mu.Unlock()
	for chunk := range slices.Chunk(ids, sweepBatch) {
		if err := s.MarkUsed(ctx, chunk, now); err != nil {
			return err
		}
	}
	return nil
}
