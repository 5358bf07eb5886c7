// Package contract is what the suites of stores ask with: permits, expected faults, committed entries, and races that one call wins.
package contract

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Start is when the records of suites begin: with more precision than stores keep, on purpose.
var Start = time.Date(2026, 3, 4, 5, 6, 7, 891_234_567, time.UTC)

// Kept returns t as a store returns it.
func Kept(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Case is one test of a suite.
type Case struct {
	T *testing.T
	// Entries returns the audit entries that the implementation has committed, in order.
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// Ctx returns the test's context.
func (c *Case) Ctx() context.Context { return c.T.Context() }

// Must ends the test if err is not nil.
func (c *Case) Must(err error) {
	c.T.Helper()
	if err != nil {
		c.T.Fatal(err)
	}
}

// Code fails the test unless err is the fault with that code.
func (c *Case) Code(err error, want string) {
	c.T.Helper()
	if !fault.HasCode(err, want) {
		c.T.Errorf("got error %v, want one with code %s", err, want)
	}
}

// Same fails the test unless got is want. Nothing and nil are the same.
func (c *Case) Same(what string, got, want any) {
	c.T.Helper()
	scopes := cmp.Comparer(func(a, b name.Scopes) bool { return a.String() == b.String() })
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), scopes); d != "" {
		c.T.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// nothing is a recorder for refusals, of which suites make none.
type nothing struct{}

func (nothing) Append(context.Context, audit.Entry) error { return nil }

// Permit returns a permit of Deputy itself.
func (c *Case) Permit(a guard.Action, r guard.Resource) guard.Permit {
	c.T.Helper()
	p, err := (&guard.Guard{Log: nothing{}}).Allow(c.Ctx(), name.Caller{Kind: name.System}, a, r)
	c.Must(err)
	return p
}

// Count returns how many entries of an action are committed.
func (c *Case) Count(a guard.Action) int {
	c.T.Helper()
	all, err := c.Entries(c.Ctx())
	c.Must(err)
	n := 0
	for _, e := range all {
		if e.Action == string(a) {
			n++
		}
	}
	return n
}

// Write is a write that is good to succeed once.
type Write struct {
	Action   guard.Action
	Resource guard.Resource
	Do       func(guard.Permit) error
}

// Permits attempts every write without a permit and with one for something
// else, and then with its own, which leaves one entry.
func (c *Case) Permits(writes ...Write) {
	c.T.Helper()
	for _, w := range writes {
		before := c.Count(w.Action)
		c.Code(w.Do(guard.Permit{}), "permit_missing")
		c.Code(w.Do(c.Permit("suite.dance", w.Resource)), "permit_mismatch")
		c.Code(w.Do(c.Permit(w.Action, guard.Resource{Kind: w.Resource.Kind, Pool: "another", ID: w.Resource.ID})), "permit_mismatch")
		c.Same("entries of refused "+string(w.Action), c.Count(w.Action), before)
		c.Must(w.Do(c.Permit(w.Action, w.Resource)))
		c.Same("entries of "+string(w.Action), c.Count(w.Action), before+1)
	}
}

// crowd is how many calls race.
const crowd = 20

// Race runs do many times at once and returns how many succeeded; the others
// must fail with the code lost.
func (c *Case) Race(lost string, do func(i int) error) int {
	c.T.Helper()
	var won atomic.Int32
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range crowd {
		all.Go(func() {
			<-begin
			if err := do(i); err == nil {
				won.Add(1)
			} else {
				c.Code(err, lost)
			}
		})
	}
	close(begin)
	all.Wait()
	return int(won.Load())
}
