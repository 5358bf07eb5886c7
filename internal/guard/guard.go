// Package guard authorizes and audits in one step; it returns the Permit that every store write and every secret read demands.
//
// A function that changes or reveals something takes a [Permit]. There is no
// way to make one but [Guard.Allow], so code that forgot to authorize does not
// compile; and since the permit carries the audit entry, which the store
// commits together with the change, neither does code that forgot to audit.
package guard

import (
	"context"
	"maps"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/policy"
)

// Action is what a caller wants to do, "subject.verb".
type Action string

// Resource is what the caller wants to do it to.
type Resource = audit.Resource

// Recorder makes an entry durable; [audit.Log] is one.
type Recorder interface {
	Append(ctx context.Context, e audit.Entry) error
}

// Guard is the choke point of the promise that everything is authorized and
// recorded.
type Guard struct {
	Log Recorder
	Now func() time.Time // nil means time.Now
}

// Permit is the proof that a caller may do one action to one resource, and the
// audit entry that will tell of it. The zero Permit permits nothing. A permit
// is good for one change, at once; it is not kept.
type Permit struct {
	entry audit.Entry // Action is empty in the zero Permit
}

// Allow decides whether c may do action to r. A refusal is recorded before
// Allow returns it, as a fault of kind Forbidden with code "not_allowed"; if it
// cannot be recorded, that is the error.
func (g *Guard) Allow(ctx context.Context, c name.Caller, action Action, r Resource) (Permit, error) {
	decision := policy.Decide(c, string(action), r)
	e := g.entry(ctx, c, action, r)
	e.Reason = decision.Reason
	if decision.Allowed {
		e.Outcome = audit.Allowed
		return Permit{e}, nil
	}
	e.Outcome = audit.Refused
	if err := g.Log.Append(ctx, e); err != nil {
		return Permit{}, err
	}
	return Permit{}, fault.New(fault.Forbidden, "not_allowed", "%s may not do %s: %s", c, action, decision.Reason)
}

// Refuse records that c was refused action on r for a reason that policy
// cannot know, such as a wrong password or a link made for somebody else.
func (g *Guard) Refuse(ctx context.Context, c name.Caller, action Action, r Resource, reason string, detail map[string]string) error {
	e := g.entry(ctx, c, action, r)
	e.Outcome, e.Reason, e.Detail = audit.Refused, reason, detail
	return g.Log.Append(ctx, e)
}

// Record makes the permit's entry durable by itself, for a permitted action
// that changes nothing in the store (the release of a credential).
func (g *Guard) Record(ctx context.Context, p Permit) error {
	if err := p.Check(Action(p.entry.Action), p.entry.Resource); err != nil {
		return err
	}
	return g.Log.Append(ctx, p.entry)
}

func (g *Guard) entry(ctx context.Context, c name.Caller, action Action, r Resource) audit.Entry {
	now := time.Now
	if g.Now != nil {
		now = g.Now
	}
	return audit.Entry{
		ID: name.NewID("aud"), Time: now().UTC().Truncate(time.Millisecond), RequestID: audit.RequestID(ctx),
		Caller: c, Action: string(action), Resource: r,
	}
}

// Check returns nil if p permits action on r, and a fault of kind Internal
// otherwise: every store write begins with it.
func (p Permit) Check(action Action, r Resource) error {
	if p.entry.Action == "" {
		return fault.New(fault.Internal, "permit_missing", "a change (%s on %s) was attempted without a permit", action, r.Kind)
	}
	if p.entry.Action != string(action) || p.entry.Resource != r {
		return fault.New(fault.Internal, "permit_mismatch", "the permit is for %s on %v, not for %s on %v", p.entry.Action, p.entry.Resource, action, r)
	}
	return nil
}

// Caller returns who was permitted.
func (p Permit) Caller() name.Caller { return p.entry.Caller }

// Entry returns the audit entry that the store commits with the change.
func (p Permit) Entry() audit.Entry { return p.entry }

// With returns a permit whose entry also names a provider and scopes, and has
// the given detail added. Details never hold secrets.
func (p Permit) With(provider string, scopes name.Scopes, detail map[string]string) Permit {
	p.entry.Provider = provider
	p.entry.Scopes = scopes.List()
	return p.Detail(detail)
}

// Detail returns a permit whose entry has the given detail added.
func (p Permit) Detail(detail map[string]string) Permit {
	all := maps.Clone(p.entry.Detail)
	if all == nil {
		all = make(map[string]string, len(detail))
	}
	maps.Copy(all, detail)
	p.entry.Detail = all
	return p
}

// Failed returns a permit whose entry says that the permitted action did not
// work, and why: for recording a state machine's step into failure.
func (p Permit) Failed(reason string) Permit {
	p.entry.Outcome, p.entry.Reason = audit.Failed, reason
	return p
}
