package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
)

// keeper does what is due now and then: it removes what has ended and rotates
// signing keys. Every replica has one.
type keeper struct {
	pools      userpool.Pools
	sessions   userpool.Sessions
	attempts   signin.Attempts
	identities idp.Logins
	letters    func(context.Context) error // removes those whose time is over
	deliveries func(context.Context) error // removes those of webhooks that ended long ago
	trials     func(context.Context) error // as above
	clients    func(context.Context) error // deletes those that nobody needs at third parties
	ring       *keys.Ring
	vault      *vault.Vault
	followers  map[string]func([]jwt.Key) // by owner: who signs with its keys
	guard      *guard.Guard
	log        *slog.Logger
	now        func() time.Time
}

// run works until ctx is done.
func (k keeper) run(ctx context.Context) {
	hour, minute := time.NewTicker(time.Hour), time.NewTicker(time.Minute)
	defer hour.Stop()
	defer minute.Stop()
	k.chores(ctx)
	for {
		select {
		case <-hour.C:
			k.chores(ctx)
		case <-minute.C:
			k.follow(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// chores does everything; what does not work is logged and tried again next time.
func (k keeper) chores(ctx context.Context) {
	for _, chore := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"ended sessions removed", k.sweep},
		{"unfinished logins removed", k.sweepAttempts},
		{"old letters removed", k.letters},
		{"old webhook deliveries removed", k.deliveries},
		{"old trials of credential providers removed", k.trials},
		{"clients of deleted credential providers deleted at their third parties", k.clients},
		{"unfinished logins at identity providers removed", k.sweepFederated},
		{"signing keys rotated", k.rotate},
		{"former signing keys removed", k.ring.Sweep},
	} {
		if err := chore.do(ctx); err != nil && ctx.Err() == nil {
			k.log.LogAttrs(ctx, slog.LevelWarn, "not done; tried again later", slog.String("what", chore.what), slog.Any("err", fault.As(err)))
		}
	}
}

func (k keeper) sweep(ctx context.Context) error {
	p, err := k.guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionSweep, userpool.SweepResource())
	if err != nil {
		return err
	}
	_, err = k.sessions.Sweep(ctx, p, k.now())
	return err
}

func (k keeper) sweepAttempts(ctx context.Context) error {
	p, err := k.guard.Allow(ctx, name.Caller{Kind: name.System}, signin.ActionSweep, signin.SweepResource())
	if err != nil {
		return err
	}
	_, err = k.attempts.SweepAttempts(ctx, p, k.now())
	return err
}

func (k keeper) sweepFederated(ctx context.Context) error {
	p, err := k.guard.Allow(ctx, name.Caller{Kind: name.System}, idp.ActionSweep, idp.SweepResource())
	if err != nil {
		return err
	}
	_, err = k.identities.SweepLogins(ctx, p, k.now())
	return err
}

// rotate rotates the keys of every pool, and Deputy's own, that are due.
func (k keeper) rotate(ctx context.Context) error {
	pools, err := k.pools.Pools(ctx)
	if err != nil {
		return err
	}
	for _, pool := range pools {
		if pool.Settings.KeyLifetime == 0 {
			continue
		}
		if err := k.ring.RotateDue(ctx, userpool.KeyOwner(pool.Name), pool.Settings.KeyLifetime); err != nil {
			return err
		}
	}
	for owner := range k.followers {
		if err := k.ring.RotateDue(ctx, owner, keys.DefaultLifetime); err != nil {
			return err
		}
	}
	return nil
}

// keepFresh refreshes grants that are due until ctx is done. It has a loop of its
// own: when third parties are slow, a sweep takes long.
func (k keeper) keepFresh(ctx context.Context) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		k.refresh(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// refresh brings in what an earlier moment could not store, and refreshes the
// grants that are due.
func (k keeper) refresh(ctx context.Context) {
	if _, err := k.vault.Replay(ctx); err != nil && ctx.Err() == nil {
		k.log.LogAttrs(ctx, slog.LevelError, "the journal of refreshed tokens was not emptied; tried again later", slog.Any("err", err))
	}
	if _, err := k.vault.Sweep(ctx); err != nil && ctx.Err() == nil {
		k.log.LogAttrs(ctx, slog.LevelWarn, "grants that are due were not all refreshed; tried again later", slog.Any("err", fault.As(err)))
	}
}

// keepSealed has the data keys rotated that are due, and goes on with what an
// earlier rotation left, until ctx is done. It has a loop of its own: sealing
// all records anew may take long.
func (k keeper) keepSealed(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := k.reseal(ctx); err != nil && ctx.Err() == nil {
			k.log.LogAttrs(ctx, slog.LevelWarn, "records not all sealed under the newest data keys; tried again later", slog.Any("err", fault.As(err)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k keeper) reseal(ctx context.Context) error {
	if err := k.ring.RotateDataKeysDue(ctx, keys.DataKeyLifetime); err != nil {
		return err
	}
	for {
		got, err := k.ring.Reseal(ctx, name.Caller{Kind: name.System}, 2000)
		if err != nil {
			return err
		}
		if got.Done > 0 {
			continue
		}
		for _, b := range got.Broken {
			k.log.LogAttrs(ctx, slog.LevelError, "a sealed record does not open; its pool's former data key is kept for it",
				slog.String("in", b.Column), slog.String("pool", b.Pool), slog.String("record", b.Record), slog.Any("err", fault.As(b.Err)))
		}
		return k.ring.RemoveDataKeys(ctx)
	}
}

// follow hands Deputy's own keys, as they are now, to those who sign with them.
func (k keeper) follow(ctx context.Context) {
	for owner, use := range k.followers {
		list, err := k.ring.Signing(ctx, owner, jwt.ES256)
		if err != nil {
			if ctx.Err() == nil {
				k.log.LogAttrs(ctx, slog.LevelWarn, "signing keys not read; the ones at hand stay in use", slog.String("owner", owner), slog.Any("err", fault.As(err)))
			}
			continue
		}
		use(list)
	}
}
