// Package factortest is the suite that holds every implementation of the factors' stores to their contract.
package factortest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Backend is an implementation under test. It has the users Zhang, Li and the
// Zhang of another pool, and nothing of theirs.
type Backend struct {
	Stores factor.Stores
	// Entries returns the audit entries that the implementation has committed, in order.
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// The users that a [Backend] has.
var (
	Zhang   = factor.Owner{Pool: "staff", UserID: "usr_zhang"}
	Li      = factor.Owner{Pool: "staff", UserID: "usr_li"}
	Foreign = factor.Owner{Pool: "guests", UserID: "usr_zhang"}
)

// start is with more precision than stores keep, on purpose.
var start = time.Date(2026, 3, 4, 5, 6, 7, 891_234_567, time.UTC)

// kept returns t as a store returns it.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Run runs the suite; open returns a fresh backend for each test.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"plain/factors":                     (*suite).factors,
		"plain/one app, one credential":     (*suite).unique,
		"plain/owners are apart":            (*suite).apart,
		"plain/recovery codes":              (*suite).recovery,
		"plain/reset":                       (*suite).reset,
		"transactional/permits and entries": (*suite).permits,
		"concurrent/one use of a step":      (*suite).oneUse,
		"concurrent/one use of a code":      (*suite).oneRecovery,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			test(&suite{Stores: b.Stores, t: t, entries: b.Entries})
		})
	}
}

type suite struct {
	factor.Stores
	t       *testing.T
	entries func(ctx context.Context) ([]audit.Entry, error)
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

func app(o factor.Owner) factor.Factor {
	return factor.Factor{ID: name.NewID("fac"), Owner: o, Kind: factor.TOTP, Name: "手机", SealedSeed: []byte("sealed"), Counter: 7, CreatedAt: start}
}

func passkey(o factor.Owner, credential string) factor.Factor {
	return factor.Factor{ID: name.NewID("fac"), Owner: o, Kind: factor.Passkey, Name: "key", CreatedAt: start.Add(time.Second), Credential: factor.Credential{
		ID: []byte(credential), PublicKey: []byte("public"), AAGUID: make([]byte, 16), Transports: []string{"usb", "nfc"}, BackupEligible: true}}
}

// add stores f and returns it as the store must return it.
func (s *suite) add(f factor.Factor) factor.Factor {
	s.t.Helper()
	s.must(s.AddFactor(s.ctx(), s.permit(factor.ActionAdd, f.Resource()), f))
	f.CreatedAt = kept(f.CreatedAt)
	return f
}

func (s *suite) use(f factor.Factor, counter int64) error {
	was := f.Counter
	f.Counter, f.LastUsedAt = counter, start.Add(time.Hour)
	return s.UseFactor(s.ctx(), s.permit(factor.ActionUse, f.Resource()), f, was)
}

func (s *suite) rename(f factor.Factor, to string) error {
	f.Name = to
	return s.RenameFactor(s.ctx(), s.permit(factor.ActionRename, f.Resource()), f)
}

func (s *suite) remove(f factor.Factor) error {
	return s.RemoveFactor(s.ctx(), s.permit(factor.ActionRemove, f.Resource()), f)
}

func (s *suite) all(o factor.Owner) []factor.Factor {
	s.t.Helper()
	list, err := s.Factors(s.ctx(), o)
	s.must(err)
	return list
}

func (s *suite) factors() {
	phone, key := s.add(app(Zhang)), s.add(passkey(Zhang, "credential-1"))
	s.same("the factors", s.all(Zhang), []factor.Factor{phone, key})
	found, err := s.PasskeyOf(s.ctx(), "staff", key.Credential.ID)
	s.must(err)
	s.same("by its credential", found, key)

	s.must(s.use(phone, 9))
	s.code(s.use(phone, 10), "factor_used") // its counter is no longer 7
	phone.Counter, phone.LastUsedAt = 9, kept(start.Add(time.Hour))
	s.must(s.use(key, 0)) // a passkey that counts nothing may be used again and again
	s.must(s.use(key, 0))
	key.LastUsedAt = kept(start.Add(time.Hour))
	s.must(s.rename(key, "钥匙"))
	key.Name = "钥匙"
	s.same("after use", s.all(Zhang), []factor.Factor{phone, key})

	s.must(s.remove(phone))
	s.code(s.remove(phone), "factor_not_found")
	s.code(s.rename(phone, "x"), "factor_not_found")
	s.code(s.use(phone, 11), "factor_not_found")
	s.same("after removal", s.all(Zhang), []factor.Factor{key})
}

func (s *suite) unique() {
	s.add(app(Zhang))
	s.add(app(Li))
	second := app(Zhang)
	s.code(s.AddFactor(s.ctx(), s.permit(factor.ActionAdd, second.Resource()), second), "factor_exists")
	s.add(passkey(Zhang, "c"))
	s.add(passkey(Foreign, "c")) // what the other pool has is not known here
	for _, o := range []factor.Owner{Zhang, Li} {
		twin := passkey(o, "c")
		s.code(s.AddFactor(s.ctx(), s.permit(factor.ActionAdd, twin.Resource()), twin), "factor_exists")
	}
	s.add(passkey(Zhang, "d"))
}

func (s *suite) apart() {
	phone, key := s.add(app(Zhang)), s.add(passkey(Zhang, "c"))
	for _, o := range []factor.Owner{Li, Foreign} {
		s.same("factors of another", len(s.all(o)), 0)
		for _, f := range []factor.Factor{phone, key} {
			f.Owner = o
			s.code(s.use(f, f.Counter+1), "factor_not_found")
			s.code(s.rename(f, "mine"), "factor_not_found")
			s.code(s.remove(f), "factor_not_found")
		}
	}
	_, err := s.PasskeyOf(s.ctx(), "guests", key.Credential.ID)
	s.code(err, "factor_not_found")
	_, err = s.PasskeyOf(s.ctx(), "staff", nil)
	s.code(err, "factor_not_found") // an app has no credential that could be asked for
	s.same("the factors, untouched", s.all(Zhang), []factor.Factor{phone, key})
}

func (s *suite) setRecovery(o factor.Owner, codes ...string) {
	s.t.Helper()
	hashes := make([]secret.Hash, len(codes))
	for i, c := range codes {
		hashes[i] = factor.HashRecovery(secret.FromString(c))
	}
	s.must(s.SetRecovery(s.ctx(), s.permit(factor.ActionSetRecovery, o.Resource()), o, hashes))
}

func (s *suite) useRecovery(o factor.Owner, typed string) error {
	return s.UseRecovery(s.ctx(), s.permit(factor.ActionUseRecovery, o.Resource()), o, factor.HashRecovery(secret.FromString(typed)), start)
}

func (s *suite) left(o factor.Owner, want int) {
	s.t.Helper()
	n, err := s.RecoveryLeft(s.ctx(), o)
	s.must(err)
	s.same("codes left", n, want)
}

func (s *suite) recovery() {
	s.left(Zhang, 0)
	s.setRecovery(Zhang, "one", "two", "three")
	s.setRecovery(Li, "one")
	s.must(s.useRecovery(Zhang, "one"))
	s.code(s.useRecovery(Zhang, "one"), "factor_not_found")
	s.code(s.useRecovery(Zhang, "four"), "factor_not_found")
	s.code(s.useRecovery(Li, "two"), "factor_not_found")
	s.code(s.useRecovery(Foreign, "two"), "factor_not_found")
	s.left(Zhang, 2)
	s.left(Li, 1)
	s.setRecovery(Zhang, "five")
	s.code(s.useRecovery(Zhang, "two"), "factor_not_found")
	s.left(Zhang, 1)
}

func (s *suite) reset() {
	s.add(app(Zhang))
	s.add(passkey(Zhang, "c"))
	s.setRecovery(Zhang, "one")
	stays := s.add(app(Li))
	s.setRecovery(Li, "one")
	s.must(s.ResetFactors(s.ctx(), s.permit(factor.ActionReset, Zhang.Resource()), Zhang))
	s.same("after the reset", len(s.all(Zhang)), 0)
	s.left(Zhang, 0)
	s.same("of the other", s.all(Li), []factor.Factor{stays})
	s.left(Li, 1)
}

// permits attempts every write without a permit and with one for something
// else, and then with its own, which leaves one entry.
func (s *suite) permits() {
	added, used, renamed, removed := app(Li), s.add(app(Zhang)), s.add(passkey(Zhang, "r")), s.add(passkey(Zhang, "x"))
	s.setRecovery(Zhang, "one")
	for _, w := range []struct {
		action   guard.Action
		resource guard.Resource
		do       func(guard.Permit) error
	}{
		{factor.ActionAdd, added.Resource(), func(p guard.Permit) error { return s.AddFactor(s.ctx(), p, added) }},
		{factor.ActionUse, used.Resource(), func(p guard.Permit) error { return s.UseFactor(s.ctx(), p, used, used.Counter) }},
		{factor.ActionRename, renamed.Resource(), func(p guard.Permit) error { return s.RenameFactor(s.ctx(), p, renamed) }},
		{factor.ActionRemove, removed.Resource(), func(p guard.Permit) error { return s.RemoveFactor(s.ctx(), p, removed) }},
		{factor.ActionUseRecovery, Zhang.Resource(), func(p guard.Permit) error {
			return s.UseRecovery(s.ctx(), p, Zhang, factor.HashRecovery(secret.FromString("one")), start)
		}},
		{factor.ActionSetRecovery, Zhang.Resource(), func(p guard.Permit) error { return s.SetRecovery(s.ctx(), p, Zhang, nil) }},
		{factor.ActionReset, Li.Resource(), func(p guard.Permit) error { return s.ResetFactors(s.ctx(), p, Li) }},
	} {
		before := s.count(w.action)
		s.code(w.do(guard.Permit{}), "permit_missing")
		s.code(w.do(s.permit("factor.dance", w.resource)), "permit_mismatch")
		s.code(w.do(s.permit(w.action, guard.Resource{Kind: w.resource.Kind, Pool: "guests", ID: w.resource.ID})), "permit_mismatch")
		s.same("entries of refused "+string(w.action), s.count(w.action), before)
		s.must(w.do(s.permit(w.action, w.resource)))
		s.same("entries of "+string(w.action), s.count(w.action), before+1)
	}
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

// race runs do many times at once and returns how many succeeded; the others
// must fail with the code lost.
func (s *suite) race(lost string, do func() error) int {
	s.t.Helper()
	var won atomic.Int32
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range 20 {
		all.Go(func() {
			<-begin
			if err := do(); err == nil {
				won.Add(1)
			} else if !fault.HasCode(err, lost) {
				s.t.Errorf("got error %v, want one with code %s", err, lost)
			}
		})
	}
	close(begin)
	all.Wait()
	return int(won.Load())
}

func (s *suite) oneUse() {
	phone := s.add(app(Zhang))
	s.same("uses of one step", s.race("factor_used", func() error { return s.use(phone, 8) }), 1)
}

func (s *suite) oneRecovery() {
	s.setRecovery(Zhang, "one")
	s.same("uses of one code", s.race("factor_not_found", func() error { return s.useRecovery(Zhang, "one") }), 1)
}
