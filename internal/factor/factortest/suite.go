// Package factortest is the suite that holds every implementation of the factors' stores to their contract.
package factortest

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/factor"
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
			test(&suite{b.Stores, contract.Case{T: t, Entries: b.Entries}})
		})
	}
}

type suite struct {
	factor.Stores
	contract.Case
}

func app(o factor.Owner) factor.Factor {
	return factor.Factor{ID: name.NewID("fac"), Owner: o, Kind: factor.TOTP, Name: "手机", SealedSeed: []byte("sealed"), Counter: 7, CreatedAt: contract.Start}
}

func passkey(o factor.Owner, credential string) factor.Factor {
	return factor.Factor{ID: name.NewID("fac"), Owner: o, Kind: factor.Passkey, Name: "key", CreatedAt: contract.Start.Add(time.Second), Credential: factor.Credential{
		ID: []byte(credential), PublicKey: []byte("public"), AAGUID: make([]byte, 16), Transports: []string{"usb", "nfc"}, BackupEligible: true}}
}

// add stores f and returns it as the store must return it.
func (s *suite) add(f factor.Factor) factor.Factor {
	s.T.Helper()
	s.Must(s.AddFactor(s.Ctx(), s.Permit(factor.ActionAdd, f.Resource()), f))
	f.CreatedAt = contract.Kept(f.CreatedAt)
	return f
}

func (s *suite) use(f factor.Factor, counter int64) error {
	was := f.Counter
	f.Counter, f.LastUsedAt = counter, contract.Start.Add(time.Hour)
	return s.UseFactor(s.Ctx(), s.Permit(factor.ActionUse, f.Resource()), f, was)
}

func (s *suite) rename(f factor.Factor, to string) error {
	f.Name = to
	return s.RenameFactor(s.Ctx(), s.Permit(factor.ActionRename, f.Resource()), f)
}

func (s *suite) remove(f factor.Factor) error {
	return s.RemoveFactor(s.Ctx(), s.Permit(factor.ActionRemove, f.Resource()), f)
}

func (s *suite) all(o factor.Owner) []factor.Factor {
	s.T.Helper()
	list, err := s.Factors(s.Ctx(), o)
	s.Must(err)
	return list
}

func (s *suite) factors() {
	phone, key := s.add(app(Zhang)), s.add(passkey(Zhang, "credential-1"))
	s.Same("the factors", s.all(Zhang), []factor.Factor{phone, key})
	found, err := s.PasskeyOf(s.Ctx(), "staff", key.Credential.ID)
	s.Must(err)
	s.Same("by its credential", found, key)

	s.Must(s.use(phone, 9))
	s.Code(s.use(phone, 10), "factor_used") // its counter is no longer 7
	phone.Counter, phone.LastUsedAt = 9, contract.Kept(contract.Start.Add(time.Hour))
	s.Must(s.use(key, 0)) // a passkey that counts nothing may be used again and again
	s.Must(s.use(key, 0))
	key.LastUsedAt = contract.Kept(contract.Start.Add(time.Hour))
	s.Must(s.rename(key, "钥匙"))
	key.Name = "钥匙"
	s.Same("after use", s.all(Zhang), []factor.Factor{phone, key})

	s.Must(s.remove(phone))
	s.Code(s.remove(phone), "factor_not_found")
	s.Code(s.rename(phone, "x"), "factor_not_found")
	s.Code(s.use(phone, 11), "factor_not_found")
	s.Same("after removal", s.all(Zhang), []factor.Factor{key})
}

func (s *suite) unique() {
	s.add(app(Zhang))
	s.add(app(Li))
	second := app(Zhang)
	s.Code(s.AddFactor(s.Ctx(), s.Permit(factor.ActionAdd, second.Resource()), second), "factor_exists")
	s.add(passkey(Zhang, "c"))
	s.add(passkey(Foreign, "c")) // what the other pool has is not known here
	for _, o := range []factor.Owner{Zhang, Li} {
		twin := passkey(o, "c")
		s.Code(s.AddFactor(s.Ctx(), s.Permit(factor.ActionAdd, twin.Resource()), twin), "factor_exists")
	}
	s.add(passkey(Zhang, "d"))
}

func (s *suite) apart() {
	phone, key := s.add(app(Zhang)), s.add(passkey(Zhang, "c"))
	for _, o := range []factor.Owner{Li, Foreign} {
		s.Same("factors of another", len(s.all(o)), 0)
		for _, f := range []factor.Factor{phone, key} {
			f.Owner = o
			s.Code(s.use(f, f.Counter+1), "factor_not_found")
			s.Code(s.rename(f, "mine"), "factor_not_found")
			s.Code(s.remove(f), "factor_not_found")
		}
	}
	_, err := s.PasskeyOf(s.Ctx(), "guests", key.Credential.ID)
	s.Code(err, "factor_not_found")
	_, err = s.PasskeyOf(s.Ctx(), "staff", nil)
	s.Code(err, "factor_not_found") // an app has no credential that could be asked for
	s.Same("the factors, untouched", s.all(Zhang), []factor.Factor{phone, key})
}

func (s *suite) setRecovery(o factor.Owner, codes ...string) {
	s.T.Helper()
	hashes := make([]secret.Hash, len(codes))
	for i, c := range codes {
		hashes[i] = factor.HashRecovery(secret.FromString(c))
	}
	s.Must(s.SetRecovery(s.Ctx(), s.Permit(factor.ActionSetRecovery, o.Resource()), o, hashes))
}

func (s *suite) useRecovery(o factor.Owner, typed string) error {
	return s.UseRecovery(s.Ctx(), s.Permit(factor.ActionUseRecovery, o.Resource()), o, factor.HashRecovery(secret.FromString(typed)), contract.Start)
}

func (s *suite) left(o factor.Owner, want int) {
	s.T.Helper()
	n, err := s.RecoveryLeft(s.Ctx(), o)
	s.Must(err)
	s.Same("codes left", n, want)
}

func (s *suite) recovery() {
	s.left(Zhang, 0)
	s.setRecovery(Zhang, "one", "two", "three")
	s.setRecovery(Li, "one")
	s.Must(s.useRecovery(Zhang, "one"))
	s.Code(s.useRecovery(Zhang, "one"), "factor_not_found")
	s.Code(s.useRecovery(Zhang, "four"), "factor_not_found")
	s.Code(s.useRecovery(Li, "two"), "factor_not_found")
	s.Code(s.useRecovery(Foreign, "two"), "factor_not_found")
	s.left(Zhang, 2)
	s.left(Li, 1)
	s.setRecovery(Zhang, "five")
	s.Code(s.useRecovery(Zhang, "two"), "factor_not_found")
	s.left(Zhang, 1)
}

func (s *suite) reset() {
	s.add(app(Zhang))
	s.add(passkey(Zhang, "c"))
	s.setRecovery(Zhang, "one")
	stays := s.add(app(Li))
	s.setRecovery(Li, "one")
	s.Must(s.ResetFactors(s.Ctx(), s.Permit(factor.ActionReset, Zhang.Resource()), Zhang))
	s.Same("after the reset", len(s.all(Zhang)), 0)
	s.left(Zhang, 0)
	s.Same("of the other", s.all(Li), []factor.Factor{stays})
	s.left(Li, 1)
}

func (s *suite) permits() {
	added, used, renamed, removed := app(Li), s.add(app(Zhang)), s.add(passkey(Zhang, "r")), s.add(passkey(Zhang, "x"))
	s.setRecovery(Zhang, "one")
	s.Permits(
		contract.Write{Action: factor.ActionAdd, Resource: added.Resource(), Do: func(p guard.Permit) error { return s.AddFactor(s.Ctx(), p, added) }},
		contract.Write{Action: factor.ActionUse, Resource: used.Resource(), Do: func(p guard.Permit) error { return s.UseFactor(s.Ctx(), p, used, used.Counter) }},
		contract.Write{Action: factor.ActionRename, Resource: renamed.Resource(), Do: func(p guard.Permit) error { return s.RenameFactor(s.Ctx(), p, renamed) }},
		contract.Write{Action: factor.ActionRemove, Resource: removed.Resource(), Do: func(p guard.Permit) error { return s.RemoveFactor(s.Ctx(), p, removed) }},
		contract.Write{Action: factor.ActionUseRecovery, Resource: Zhang.Resource(), Do: func(p guard.Permit) error {
			return s.UseRecovery(s.Ctx(), p, Zhang, factor.HashRecovery(secret.FromString("one")), contract.Start)
		}},
		contract.Write{Action: factor.ActionSetRecovery, Resource: Zhang.Resource(), Do: func(p guard.Permit) error { return s.SetRecovery(s.Ctx(), p, Zhang, nil) }},
		contract.Write{Action: factor.ActionReset, Resource: Li.Resource(), Do: func(p guard.Permit) error { return s.ResetFactors(s.Ctx(), p, Li) }},
	)
}

func (s *suite) oneUse() {
	phone := s.add(app(Zhang))
	s.Same("uses of one step", s.Race("factor_used", func(int) error { return s.use(phone, 8) }), 1)
}

func (s *suite) oneRecovery() {
	s.setRecovery(Zhang, "one")
	s.Same("uses of one code", s.Race("factor_not_found", func(int) error { return s.useRecovery(Zhang, "one") }), 1)
}
