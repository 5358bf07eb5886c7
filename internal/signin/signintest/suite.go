// Package signintest is the suite that holds every implementation of the store of logins under way to its contract.
package signintest

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
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
)

// Backend is an implementation under test, empty, with the user usr_zhang of the
// pool staff.
type Backend struct {
	Attempts signin.Attempts
	// Entries returns the audit entries that the implementation has committed, in order.
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// start is with more precision than stores keep, on purpose.
var start = time.Date(2026, 3, 4, 5, 6, 7, 891_234_567, time.UTC)

type suite struct {
	signin.Attempts
	t       *testing.T
	entries func(ctx context.Context) ([]audit.Entry, error)
}

// Run runs the suite; open returns a fresh backend for each test.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"plain/attempts": (*suite).plain, "plain/sweep": (*suite).sweep, "transactional/permits and entries": (*suite).permits,
		"concurrent/one try": (*suite).oneTry, "concurrent/one end": (*suite).oneEnd,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			test(&suite{b.Attempts, t, b.Entries})
		})
	}
}

func (s *suite) ctx() context.Context { return s.t.Context() }

func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) code(err error, want string) {
	s.t.Helper()
	if !fault.HasCode(err, want) {
		s.t.Errorf("got error %v, want one with code %s", err, want)
	}
}

func (s *suite) same(what string, got, want any) {
	s.t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// nothing is a recorder for refusals, of which the suite makes none.
type nothing struct{}

func (nothing) Append(context.Context, audit.Entry) error { return nil }

func (s *suite) permit(a guard.Action, r guard.Resource) guard.Permit {
	s.t.Helper()
	p, err := (&guard.Guard{Log: nothing{}}).Allow(s.ctx(), name.Caller{Kind: name.System}, a, r)
	s.must(err)
	return p
}

func attempt(userID string) signin.Attempt {
	return signin.Attempt{
		ID: name.NewID("att"), Pool: "staff", TokenHash: signin.HashAttempt(secret.FromString(name.NewToken("la"))), UserID: userID,
		Methods: []string{"pwd", "otp"}, Challenge: []byte("challenge"), CreatedAt: start, ExpiresAt: start.Add(time.Minute),
	}
}

func (s *suite) begin(a signin.Attempt) error {
	return s.BeginAttempt(s.ctx(), s.permit(signin.ActionBegin, a.Resource()), a)
}

func (s *suite) add(userID string) signin.Attempt {
	s.t.Helper()
	a := attempt(userID)
	s.must(s.begin(a))
	a.Version, a.CreatedAt, a.ExpiresAt = 1, start.Truncate(time.Millisecond), start.Add(time.Minute).Truncate(time.Millisecond)
	return a
}

func (s *suite) try(a signin.Attempt) error {
	return s.TryAttempt(s.ctx(), s.permit(signin.ActionTry, a.Resource()), a, []byte("next"))
}

func (s *suite) end(a signin.Attempt) error {
	return s.EndAttempt(s.ctx(), s.permit(signin.ActionEnd, a.Resource()), a)
}

func (s *suite) plain() {
	known, unknown := s.add("usr_zhang"), s.add("")
	for _, a := range []signin.Attempt{known, unknown} {
		got, err := s.Attempt(s.ctx(), "staff", a.TokenHash)
		s.must(err)
		s.same("the attempt", got, a)
		_, err = s.Attempt(s.ctx(), "guests", a.TokenHash)
		s.code(err, "login_expired")
		s.must(s.try(a))
		s.code(s.try(a), "login_expired")
		before := a
		a.Version, a.Tries, a.Challenge = 2, 1, []byte("next")
		got, err = s.Attempt(s.ctx(), "staff", a.TokenHash)
		s.must(err)
		s.same("the attempt after a try", got, a)
		foreign := a
		foreign.Pool = "guests"
		s.code(s.try(foreign), "login_expired")
		s.code(s.end(foreign), "login_expired")
		s.must(s.end(before)) // what was tried in between takes nothing from an answer that was right
		s.code(s.end(a), "login_expired")
		_, err = s.Attempt(s.ctx(), "staff", a.TokenHash)
		s.code(err, "login_expired")
	}
	s.code(s.begin(attempt("usr_nobody")), "user_not_found")
	stray := attempt("")
	stray.Pool = "nowhere"
	s.code(s.begin(stray), "userpool_not_found")
}

func (s *suite) sweep() {
	s.add("usr_zhang")
	sweep := func(after time.Duration, want int) {
		s.t.Helper()
		n, err := s.SweepAttempts(s.ctx(), s.permit(signin.ActionSweep, signin.SweepResource()), start.Add(after))
		s.must(err)
		s.same("attempts removed", n, want)
	}
	sweep(0, 0)
	s.same("entries of a sweep of nothing", s.count(signin.ActionSweep), 0)
	sweep(time.Hour, 1)
	s.same("entries of the sweep", s.count(signin.ActionSweep), 1)
}

func (s *suite) count(a guard.Action) int {
	s.t.Helper()
	all, err := s.entries(s.ctx())
	s.must(err)
	n := 0
	for _, e := range all {
		if e.Action == string(a) {
			n++
		}
	}
	return n
}

func (s *suite) permits() {
	begun, tried, ended := attempt("usr_zhang"), s.add("usr_zhang"), s.add("usr_zhang")
	for _, w := range []struct {
		action   guard.Action
		resource guard.Resource
		do       func(guard.Permit) error
	}{
		{signin.ActionBegin, begun.Resource(), func(p guard.Permit) error { return s.BeginAttempt(s.ctx(), p, begun) }},
		{signin.ActionTry, tried.Resource(), func(p guard.Permit) error { return s.TryAttempt(s.ctx(), p, tried, []byte("next")) }},
		{signin.ActionEnd, ended.Resource(), func(p guard.Permit) error { return s.EndAttempt(s.ctx(), p, ended) }},
		{signin.ActionSweep, signin.SweepResource(), func(p guard.Permit) error {
			_, err := s.SweepAttempts(s.ctx(), p, start.Add(time.Hour))
			return err
		}},
	} {
		before := s.count(w.action)
		s.code(w.do(guard.Permit{}), "permit_missing")
		s.code(w.do(s.permit(w.action, guard.Resource{Kind: w.resource.Kind, Pool: "guests", ID: w.resource.ID})), "permit_mismatch")
		s.same("entries of refused "+string(w.action), s.count(w.action), before)
		s.must(w.do(s.permit(w.action, w.resource)))
		s.same("entries of "+string(w.action), s.count(w.action), before+1)
	}
}

// race runs do many times at once and returns how many succeeded.
func (s *suite) race(do func() error) int {
	s.t.Helper()
	var won atomic.Int32
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range 20 {
		all.Go(func() {
			<-begin
			if err := do(); err == nil {
				won.Add(1)
			} else {
				s.code(err, "login_expired")
			}
		})
	}
	close(begin)
	all.Wait()
	return int(won.Load())
}

func (s *suite) oneTry() {
	a := s.add("usr_zhang")
	s.same("tries at one version", s.race(func() error { return s.try(a) }), 1)
}

func (s *suite) oneEnd() {
	a := s.add("usr_zhang")
	s.same("ends of one attempt", s.race(func() error { return s.end(a) }), 1)
}
