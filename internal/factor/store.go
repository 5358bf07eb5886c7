package factor

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
)

// What every implementation keeps to:
//
//   - A write begins with Permit.Check for the action named at the method on the
//     Resource of its argument, and commits the permit's entry together with the
//     change: both or neither.
//   - A factor is never found, changed or counted under another pool or user.
//   - All of a user goes with the user.
//   - Times are kept in UTC to the millisecond.

// Store keeps factors.
type Store interface {
	// AddFactor adds a factor; ActionAdd on f.Resource(). It is [Exists] if the pool has that credential, or
	// the user an authenticator app already. Without such a user it is a fault of kind NotFound.
	AddFactor(ctx context.Context, p guard.Permit, f Factor) error
	// Factors returns the user's factors in order of enrolment.
	Factors(ctx context.Context, o Owner) ([]Factor, error)
	// PasskeyOf returns the pool's passkey with that credential id, whosever it is, or [NotFound].
	PasskeyOf(ctx context.Context, pool string, credentialID []byte) (Factor, error)
	// UseFactor sets Counter and LastUsedAt of the factor if its counter still is was; ActionUse on
	// f.Resource(). Otherwise [Used], or NotFound. Of any number of calls with the same was and a greater
	// counter, exactly one succeeds.
	UseFactor(ctx context.Context, p guard.Permit, f Factor, was int64) error
	// RenameFactor sets the name of the factor; ActionRename on f.Resource(). NotFound if there is none.
	RenameFactor(ctx context.Context, p guard.Permit, f Factor) error
	// RemoveFactor removes the factor; ActionRemove on f.Resource(). NotFound if there is none.
	RemoveFactor(ctx context.Context, p guard.Permit, f Factor) error
	// ResetFactors removes all factors and recovery codes of the user; ActionReset on o.Resource(). Without such
	// a user it is a fault of kind NotFound.
	ResetFactors(ctx context.Context, p guard.Permit, o Owner) error
}

// Recovery keeps recovery codes, which are stored hashed (see [HashRecovery]).
type Recovery interface {
	// SetRecovery replaces the user's codes; ActionSetRecovery on o.Resource(). Without such a user it is a fault of kind NotFound.
	SetRecovery(ctx context.Context, p guard.Permit, o Owner, hashes []secret.Hash) error
	// RecoveryLeft returns how many codes the user has not used.
	RecoveryLeft(ctx context.Context, o Owner) (int, error)
	// UseRecovery uses a code up; ActionUseRecovery on o.Resource(). Of any number of calls exactly one
	// returns nil; the others get NotFound, as for a code that never was.
	UseRecovery(ctx context.Context, p guard.Permit, o Owner, hash secret.Hash, at time.Time) error
}

// Stores are both together, for wiring and for the suite.
type Stores interface {
	Store
	Recovery
}

// NotFound returns the fault for a factor, or a code, that is not there.
func NotFound() *fault.Error {
	return fault.New(fault.NotFound, "factor_not_found", "there is no such second factor")
}

// Exists returns the fault for a factor that is there already.
func Exists(k Kind) *fault.Error {
	if k == TOTP {
		return fault.New(fault.Conflict, "factor_exists", "there is an authenticator app already").WithFix("remove it first")
	}
	return fault.New(fault.Conflict, "factor_exists", "this passkey is enrolled already").WithFix("use another device or security key")
}

// Used returns the fault for a proof that is not newer than one that was accepted.
func Used() *fault.Error {
	return fault.New(fault.Gone, "factor_used", "this code was used before").WithFix("wait for the next one")
}
