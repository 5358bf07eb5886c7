package vault

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Journal keeps, on this machine, what a third party gave for a spent refresh
// token until the store has it: losing it takes a broken machine and a broken
// database at once. A record is sealed like the grant it belongs to.
type Journal interface {
	// Put keeps content under id, in place of what is there; it is durable when Put returns nil.
	Put(id string, content []byte) error
	// Get returns what is kept under id; ok is false if that is nothing.
	Get(id string) (content []byte, ok bool, err error)
	// Remove forgets id.
	Remove(id string) error
	// IDs returns the ids of all that is kept.
	IDs() ([]string, error)
}

// result is a record of the journal: the next version of a grant, and the lease
// under which it came about. Before the third party has answered, it is the lease
// alone.
type result struct {
	Grant Grant
	Lease Lease
}

// keep writes a result down. That it does not work is logged and no more: the
// store still may.
func (v *Vault) keep(ctx context.Context, r result) {
	b, err := json.Marshal(r)
	if err == nil {
		err = v.Journal.Put(r.Lease.GrantID, b)
	}
	if err != nil {
		v.Logger.LogAttrs(ctx, slog.LevelError, "a refresh is not written to the journal", slog.String("grant", r.Lease.GrantID), slog.Any("err", err))
	}
}

func (v *Vault) forget(ctx context.Context, id string) {
	if err := v.Journal.Remove(id); err != nil {
		v.Logger.LogAttrs(ctx, slog.LevelWarn, "journal record not removed; it is looked at again later", slog.String("grant", id), slog.Any("err", err))
	}
}

// Replay brings what the journal has into the store. It is called at the start
// and now and then; without a crash or a broken store there is nothing to do. It
// returns how many results were brought in. Those that cannot be, for now, stay.
func (v *Vault) Replay(ctx context.Context) (int, error) {
	ids, err := v.Journal.IDs()
	if err != nil {
		return 0, fault.Wrap(err, fault.Unavailable, "journal_unreadable", "the journal of refreshed tokens cannot be read").
			WithFix("check rights of the directory journal in the data directory; do not delete it")
	}
	var settled int
	var failed error
	for _, id := range ids {
		// In the grant's flight, so that a refresh that is just about to store the same result does not meet it.
		done, err, _ := v.flight.Do(id, func() (any, error) {
			g, err := v.settle(ctx, id)
			return settlement{g}, err
		})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if s, ok := done.(settlement); ok && s.grant.ID != "" {
			settled++
			v.Logger.LogAttrs(ctx, slog.LevelWarn, "refreshed tokens brought in from the journal", slog.String("grant", id), slog.Int64("version", s.grant.Version))
		}
	}
	return settled, failed
}

// settlement is what a flight of Replay's returns: not what one that wants to
// refresh is after.
type settlement struct{ grant Grant }

// settle brings the result that the journal has for a grant into the store, and
// returns the grant as it is then; the zero Grant if there was nothing to bring.
func (v *Vault) settle(ctx context.Context, id string) (Grant, error) {
	content, ok, err := v.Journal.Get(id)
	if err != nil || !ok {
		return Grant{}, err
	}
	var r result
	if err := json.Unmarshal(content, &r); err != nil || r.Lease.GrantID != id || r.Grant.ID != "" && r.Grant.ID != id {
		return Grant{}, fault.New(fault.Internal, "journal_broken", "the journal's record of grant %q is not readable", name.Clip(id, 60)).
			WithFix("move the file out of the directory journal and keep it; the user may have to authorize again")
	}
	if r.Grant.ID == "" {
		return Grant{}, v.settleUnanswered(ctx, r.Lease)
	}
	g, err := v.Store.Grant(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound): // deleted since
		if err := v.overtaken(ctx, r.Grant); err != nil {
			return Grant{}, err
		}
		v.forget(ctx, id)
		return Grant{}, nil
	case err != nil:
		return Grant{}, err
	case g.Version == r.Grant.Version-1:
		return v.bring(ctx, r)
	case g.Version == r.Grant.Version && g.State == Reauthorize:
		// Another process came upon the refresh token that we had spent, and could only conclude that it was dead.
		return v.revive(ctx, r, g)
	default: // the store has this result, or a later one
		v.forget(ctx, id)
		return Grant{}, nil
	}
}

// settleUnanswered is for a lease of ours that we had when we were killed, or
// could not give back: whether its refresh token is spent, nobody knows.
func (v *Vault) settleUnanswered(ctx context.Context, l Lease) error {
	next := l
	next.Owner, next.Until = unanswered, v.Now()
	if _, err := v.Store.MoveLease(ctx, l.whenever(), next); err != nil {
		return err
	}
	v.forget(ctx, l.GrantID)
	return nil
}

// bring stores a result as it is.
func (v *Vault) bring(ctx context.Context, r result) (Grant, error) {
	p, err := v.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionRefresh, GrantResource(r.Grant.Pool, r.Grant.ID))
	if err != nil {
		return Grant{}, err
	}
	if err := v.Store.ReplaceTokens(ctx, p.With(r.Grant.Provider, r.Grant.Scopes, map[string]string{"from": "journal"}), r.Grant, r.Lease); err != nil {
		return Grant{}, err // also when another process has the lease by now: it will come to a version that is dealt with then
	}
	v.forget(ctx, r.Grant.ID)
	return r.Grant, nil
}

// revive stores a result as the version after the one that declared the grant dead.
func (v *Vault) revive(ctx context.Context, r result, dead Grant) (Grant, error) {
	plain, err := v.Sealer.Open(ctx, r.Grant.place(), r.Grant.Sealed)
	if err != nil {
		return Grant{}, err
	}
	defer plain.Clear()
	next := r.Grant
	next.Version = dead.Version + 1
	if next.Sealed, err = v.Sealer.Seal(ctx, next.place(), plain); err != nil {
		return Grant{}, err
	}
	lease := v.newLease(dead)
	taken, err := v.Store.MoveLease(ctx, lease.free(), lease)
	if err != nil {
		return Grant{}, err
	}
	if !taken {
		return Grant{}, Changed(dead.ID) // the record stays, and is looked at again
	}
	return v.bring(ctx, result{next, lease})
}
