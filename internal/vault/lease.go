package vault

import (
	"context"
	"log/slog"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Lease is the right of one process to spend a grant's refresh token. It is
// extended while the third party is slow, and given back when it is known what
// became of the token. So a lease that has merely ended says that nobody knows:
// the token may be spent.
type Lease struct {
	GrantID string
	Version int64     // of the grant
	Owner   string    // "": nobody has the lease
	Until   time.Time // by the owner's clock
}

// unanswered owns the lease of a grant whose refresh token was sent, by a
// process that knows that no answer is to be had any more.
const unanswered = "unanswered"

// Patience is how long the vault waits for what. Fields left zero have the
// defaults.
type Patience struct {
	Lease  time.Duration // until a lease ends that is not extended: 30 s
	Answer time.Duration // for a third party's answer to a refresh: 2 min
	Store  time.Duration // for the store to take that answer: 30 s
	Return time.Duration // for a process that vanished in the midst of a refresh, since it may have the answer in its journal: 2 min
	Skew   time.Duration // by how much the clocks of replicas may differ: 5 s
	Race   time.Duration // for somebody else's result of a spent refresh token: 3 s
	Look   time.Duration // between two looks whether another process has finished: 200 ms
}

func (p Patience) filled() Patience {
	for field, otherwise := range map[*time.Duration]time.Duration{
		&p.Lease: 30 * time.Second, &p.Answer: 2 * time.Minute, &p.Store: 30 * time.Second, &p.Return: 2 * time.Minute,
		&p.Skew: 5 * time.Second, &p.Race: 3 * time.Second, &p.Look: 200 * time.Millisecond,
	} {
		if *field <= 0 {
			*field = otherwise
		}
	}
	return p
}

// turn is what a process may do about a grant that wants to be refreshed.
type turn int

const (
	take turn = iota // nobody is at it
	wait             // another process is
	rest             // the refresh token may be spent: it is left alone for a time
)

// turn decides by the lease that stands. While the access token lives, a refresh
// token that may be spent is not used again: third parties that see one twice
// end everything that came of it, the access token with it. When the access token
// is dead there is nothing to lose by it, and if the third party never got
// the first request, everything to win. A process that vanished gets time to come
// back first: it may have the answer in its journal.
func (v *Vault) turn(g Grant, standing Lease, now time.Time) (what turn, until time.Time) {
	p := v.Patience.filled()
	back := standing.Until.Add(p.Skew + p.Return)
	switch {
	case standing.Owner == "", standing.Owner == unanswered && g.expired(now):
		return take, time.Time{}
	case standing.Owner == unanswered:
		return rest, g.Expires
	case now.Before(standing.Until.Add(p.Skew)):
		return wait, time.Time{}
	case g.expired(now) && !now.Before(back):
		return take, time.Time{}
	case g.Expires.After(back):
		return rest, g.Expires
	default:
		return rest, back
	}
}

// refreshAlone takes the grant's lease and spends its refresh token, or waits
// for the process that does. The grant is read inside the flight, so that a
// caller who queued behind a refresh sees its result instead of repeating it.
func (v *Vault) refreshAlone(ctx context.Context, p guard.Permit, id string, refused int64) (Grant, error) {
	patience := v.Patience.filled()
	ctx, cancel := context.WithTimeout(ctx, patience.Lease+patience.Answer+patience.Store) // as long as another process may take
	defer cancel()
	// What this process got for the refresh token before, and could not store, comes first: the token is spent.
	if _, err := v.settle(ctx, id); err != nil {
		return Grant{}, err
	}
	for {
		g, standing, err := v.Store.Leased(ctx, id)
		if err != nil {
			return Grant{}, err
		}
		if g.State == Reauthorize {
			return Grant{}, reauthorizationRequired(g)
		}
		now := v.Now()
		if !g.expired(now) && !due(g, now) && g.Version > refused {
			return g, nil // somebody else refreshed it
		}
		switch what, until := v.turn(g, standing, now); what {
		case take:
			fresh, err := v.refreshUnder(ctx, p, g, standing)
			if !fault.HasCode(err, "grant_changed") {
				return fresh, err
			}
		case rest:
			return v.leaveAlone(ctx, g, now, until)
		case wait:
		}
		select {
		case <-time.After(patience.Look):
		case <-ctx.Done():
			return Grant{}, fault.Wrap(ctx.Err(), fault.Unavailable, "refresh_in_progress", "another replica is refreshing this grant and has not finished").WithFix("try again")
		}
	}
}

// leaveAlone goes on with what there is until then.
func (v *Vault) leaveAlone(ctx context.Context, g Grant, now, until time.Time) (Grant, error) {
	if due(g, now) {
		if err := v.Store.Postpone(ctx, g.ID, g.Version, until); err != nil {
			return Grant{}, err
		}
	}
	if g.expired(now) {
		return Grant{}, fault.New(fault.Unavailable, "refresh_in_doubt", "a replica vanished while it refreshed this grant, and may come back with the result").
			WithFix("try again after %s", until.UTC().Format(time.RFC3339))
	}
	return g, nil
}

// refreshUnder spends the refresh token of g under a lease that it takes in
// place of the one that stands. It returns the fault of [Changed] if it has to
// be looked at again, because somebody else was faster. Having taken the lease proves that the store can be written
// to, and having sealed something that the answer can be.
func (v *Vault) refreshUnder(ctx context.Context, p guard.Permit, g Grant, standing Lease) (Grant, error) {
	old, err := v.open(ctx, g)
	if err != nil {
		return Grant{}, err
	}
	defer old.clear()
	permit, err := v.Guard.Allow(ctx, p.Caller(), ActionRefresh, GrantResource(g.Pool, g.ID))
	if err != nil {
		return Grant{}, err
	}
	if _, err := v.Sealer.Seal(ctx, g.next().place(), old.Refresh); err != nil {
		return Grant{}, err
	}
	lease := v.newLease(g)
	// Written before the lease is taken: should this process be killed, it knows when it comes back that the lease
	// was its own, and that it has no answer.
	v.keep(ctx, result{Lease: lease})
	taken, err := v.Store.MoveLease(ctx, standing, lease)
	if err != nil {
		v.giveBack(ctx, lease) // it may have been taken all the same
		return Grant{}, err
	}
	if !taken {
		v.forget(ctx, g.ID)
		return Grant{}, Changed(g.ID)
	}
	if !v.Now().Before(lease.Until) { // this process was stopped: somebody else may have found the lease ended
		v.giveBack(ctx, lease)
		return Grant{}, Changed(g.ID)
	}
	defer v.extend(ctx, lease)()
	return v.spend(ctx, permit.With(g.Provider, g.Scopes, nil), g, old, lease)
}

// newLease returns a lease on g from now on.
func (v *Vault) newLease(g Grant) Lease {
	return Lease{GrantID: g.ID, Version: g.Version, Owner: v.Owner + "/" + name.NewID("lse"), Until: v.Now().Add(v.Patience.filled().Lease)}
}

// extend keeps l from ending until stop is called. That it cannot be extended
// changes nothing: whoever takes it over waits before he does anything, and what
// comes of ours is fenced.
func (v *Vault) extend(ctx context.Context, l Lease) (stop func()) {
	p := v.Patience.filled()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(p.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			longer := l
			longer.Until = v.Now().Add(p.Lease)
			if ours, err := v.Store.MoveLease(ctx, l.whenever(), longer); err == nil && !ours {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// whenever stands for l whenever it ends.
func (l Lease) whenever() Lease {
	l.Until = time.Time{}
	return l
}

// free is what is left of l when it is given back.
func (l Lease) free() Lease { return Lease{GrantID: l.GrantID, Version: l.Version} }

// giveBack ends a lease whose refresh token is certainly not spent.
func (v *Vault) giveBack(ctx context.Context, l Lease) {
	v.endLease(ctx, l, l.free())
}

// endLease puts next in the place of our lease, and then forgets that we had it.
// When that cannot be written, the journal knows until it can.
func (v *Vault) endLease(ctx context.Context, l, next Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.Patience.filled().Store)
	defer cancel()
	if _, err := v.Store.MoveLease(ctx, l.whenever(), next); err != nil {
		v.Logger.LogAttrs(ctx, slog.LevelWarn, "the lease of a grant is not given back; it is tried again", slog.String("grant", l.GrantID), slog.Any("err", fault.As(err)))
		return
	}
	v.forget(ctx, l.GrantID)
}

// doubt ends a lease whose refresh token may be spent.
func (v *Vault) doubt(ctx context.Context, l Lease) {
	next := l
	next.Owner, next.Until = unanswered, v.Now()
	v.endLease(ctx, l, next)
}

// lostRace is for a third party that says that the refresh token was used
// already. Somebody whose lease has ended may be about to store what he got for
// it: that is waited for. When nothing comes, the result is lost, and with it
// the grant.
func (v *Vault) lostRace(ctx context.Context, p guard.Permit, g Grant, lease Lease, reason string) (Grant, error) {
	waits := v.Patience.filled()
	patience := time.NewTimer(waits.Race)
	defer patience.Stop()
	look := time.NewTicker(waits.Look)
	defer look.Stop()
	for {
		now, err := v.Store.Grant(ctx, g.ID)
		if err == nil && now.State == Reauthorize {
			err = reauthorizationRequired(now)
		}
		if err != nil || now.Version > g.Version {
			return now, err
		}
		select {
		case <-look.C:
		case <-patience.C:
			return v.markReauthorize(ctx, p, g, lease, reason)
		case <-ctx.Done():
			return Grant{}, ctx.Err()
		}
	}
}
