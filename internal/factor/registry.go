package factor

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Sealer seals seeds; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Registry enrols, checks and removes factors.
type Registry struct {
	Stores Stores
	Sealer Sealer
	Guard  *guard.Guard
	Party  *RelyingParty    // nil: no passkeys, see [NewRelyingParty]
	Now    func() time.Time // nil means time.Now
}

// Passkeys reports whether this Deputy can have passkeys at all.
func (r *Registry) Passkeys() bool { return r.Party != nil }

// Set returns the user's factors.
func (r *Registry) Set(ctx context.Context, o Owner) (Set, error) {
	list, err := r.Stores.Factors(ctx, o)
	if err != nil {
		return Set{}, err
	}
	left, err := r.Stores.RecoveryLeft(ctx, o)
	return Set{list, left}, err
}

// NewChallenge returns a fresh challenge for a passkey.
func NewChallenge() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand, since Go 1.24)
	return b
}

// AddTOTP enrols an authenticator app that has the seed of [NewSeed]; the code
// proves that it has. That code is used up by it. A wrong one is a fault of kind
// Unauthenticated with code "code_wrong".
func (r *Registry) AddTOTP(ctx context.Context, c name.Caller, o Owner, title string, seed, typed secret.Text) (Factor, error) {
	key, ok := parseSeed(seed)
	if !ok {
		return Factor{}, fault.New(fault.Invalid, "seed_invalid", "the secret is not one that Deputy made").WithFix("start again")
	}
	defer clear(key)
	step, ok := match(key, typed, r.now(), 0)
	if !ok {
		return Factor{}, wrongCode()
	}
	f, err := r.fresh(ctx, o, TOTP, title)
	if err != nil {
		return Factor{}, err
	}
	f.Counter = step
	if f.SealedSeed, err = r.Sealer.Seal(ctx, f.place(), seed); err != nil {
		return Factor{}, err
	}
	return f, r.add(ctx, c, f)
}

func wrongCode() error {
	return fault.New(fault.Unauthenticated, "code_wrong", "the code is not right").
		WithFix("type the one that is shown now, and check the phone's clock")
}

// fresh returns a factor to be enrolled.
func (r *Registry) fresh(ctx context.Context, o Owner, k Kind, title string) (Factor, error) {
	if err := CheckName(title); err != nil {
		return Factor{}, err
	}
	present, err := r.Stores.Factors(ctx, o)
	if err != nil {
		return Factor{}, err
	}
	if len(present) >= MaxFactors {
		return Factor{}, fault.New(fault.Conflict, "factors_too_many", "there are %d second factors already", len(present)).WithFix("remove one first")
	}
	return Factor{ID: name.NewID("fac"), Owner: o, Kind: k, Name: title, CreatedAt: r.now()}, nil
}

func (r *Registry) add(ctx context.Context, c name.Caller, f Factor) error {
	p, err := r.Guard.Allow(ctx, c, ActionAdd, f.Resource())
	if err != nil {
		return err
	}
	return r.Stores.AddFactor(ctx, p.Detail(detail(f)), f)
}

// detail is what an entry about f says.
func detail(f Factor) map[string]string {
	return map[string]string{"kind": string(f.Kind), "user": f.Owner.UserID}
}

// CheckTOTP uses up a code of the user's authenticator app. A wrong code, one
// that was used before, and a user without app are faults of kind
// Unauthenticated or Gone.
func (r *Registry) CheckTOTP(ctx context.Context, c name.Caller, o Owner, typed secret.Text) (Factor, error) {
	list, err := r.Stores.Factors(ctx, o)
	if err != nil {
		return Factor{}, err
	}
	apps := Set{Factors: list}.Of(TOTP)
	if len(apps) == 0 {
		return Factor{}, wrongCode()
	}
	f := apps[0]
	seed, err := r.Sealer.Open(ctx, f.place(), f.SealedSeed)
	if err != nil {
		return Factor{}, err
	}
	defer seed.Clear()
	key, ok := parseSeed(seed)
	if !ok {
		return Factor{}, fault.New(fault.Internal, "seed_broken", "a stored seed is not one")
	}
	defer clear(key)
	step, ok := match(key, typed, r.now(), f.Counter)
	if !ok {
		if _, again := match(key, typed, r.now(), 0); again {
			return Factor{}, Used()
		}
		return Factor{}, wrongCode()
	}
	was := f.Counter
	f.Counter = step
	return f, r.use(ctx, c, f, was)
}

// use stores that f was used.
func (r *Registry) use(ctx context.Context, c name.Caller, f Factor, was int64) error {
	f.LastUsedAt = r.now()
	p, err := r.Guard.Allow(ctx, c, ActionUse, f.Resource())
	if err != nil {
		return err
	}
	return r.Stores.UseFactor(ctx, p.Detail(detail(f)), f, was)
}

// PasskeyCreation returns what navigator.credentials.create is called with to
// make n, as JSON (PublicKeyCredentialCreationOptionsJSON).
func (r *Registry) PasskeyCreation(ctx context.Context, n NewPasskey) ([]byte, error) {
	set, err := r.Set(ctx, n.Owner)
	if err != nil {
		return nil, err
	}
	if r.Party == nil {
		return nil, noPasskeys()
	}
	return r.Party.creationOptions(n, set.Of(Passkey))
}

// AddPasskey enrols the passkey that the browser made. An answer that is not
// right is a fault of kind Unauthenticated with code "passkey_refused".
func (r *Registry) AddPasskey(ctx context.Context, c name.Caller, n NewPasskey, title string, response []byte) (Factor, error) {
	if r.Party == nil {
		return Factor{}, noPasskeys()
	}
	f, err := r.fresh(ctx, n.Owner, Passkey, title)
	if err != nil {
		return Factor{}, err
	}
	if f.Credential, f.Counter, err = r.Party.created(n, nil, response); err != nil {
		return Factor{}, err
	}
	return f, r.add(ctx, c, f)
}

func noPasskeys() error {
	return fault.New(fault.Invalid, "passkeys_impossible", "this Deputy has an IP address for its public URL, and passkeys need a domain").
		WithFix("serve it under a host name; localhost is one")
}

// PasskeyRequest returns what navigator.credentials.get is called with, as JSON
// (PublicKeyCredentialRequestOptionsJSON): for one of the user's passkeys or, if
// o names no user, for any that the browser has.
func (r *Registry) PasskeyRequest(ctx context.Context, o Owner, challenge []byte) ([]byte, error) {
	if r.Party == nil {
		return nil, noPasskeys()
	}
	var passkeys []Factor
	if o.UserID != "" {
		set, err := r.Set(ctx, o)
		if err != nil {
			return nil, err
		}
		if passkeys = set.Of(Passkey); len(passkeys) == 0 {
			return nil, NotFound()
		}
	}
	return r.Party.requestOptions(o, passkeys, challenge)
}

// FindPasskey returns the pool's passkey that an answer claims to be of,
// unchecked: it says whom to hold the answer against. One of another pool, or of
// nobody, is a fault of kind Unauthenticated with code "passkey_unknown".
func (r *Registry) FindPasskey(ctx context.Context, pool string, response []byte) (Factor, error) {
	parsed, err := parseAssertion(response)
	if err != nil {
		return Factor{}, err
	}
	f, err := r.Stores.PasskeyOf(ctx, pool, parsed.RawID)
	if fault.Is(err, fault.NotFound) {
		return Factor{}, fault.Wrap(err, fault.Unauthenticated, "passkey_unknown", "this passkey is not enrolled here").
			WithFix("use the password, and add the passkey afterwards")
	}
	return f, err
}

// CheckPasskey checks the answer of one of the user's passkeys to a challenge,
// which the caller sees to that it is answered once. A wrong answer is a fault
// of kind Unauthenticated, also if the signature counter went back.
func (r *Registry) CheckPasskey(ctx context.Context, c name.Caller, o Owner, challenge, response []byte) (Factor, error) {
	if r.Party == nil {
		return Factor{}, noPasskeys()
	}
	parsed, err := parseAssertion(response)
	if err != nil {
		return Factor{}, err
	}
	list, err := r.Stores.Factors(ctx, o)
	if err != nil {
		return Factor{}, err
	}
	passkeys := Set{Factors: list}.Of(Passkey)
	if len(passkeys) == 0 {
		return Factor{}, badPasskey(nil)
	}
	f, err := r.Party.asserted(o, passkeys, challenge, parsed)
	if err != nil {
		return Factor{}, err
	}
	var was int64
	for _, p := range passkeys {
		if p.ID == f.ID {
			was = p.Counter
		}
	}
	return f, r.use(ctx, c, f, was)
}

// Rename gives a factor of the user another name.
func (r *Registry) Rename(ctx context.Context, c name.Caller, o Owner, id, title string) error {
	if err := CheckName(title); err != nil {
		return err
	}
	p, err := r.Guard.Allow(ctx, c, ActionRename, Resource(o.Pool, id))
	if err != nil {
		return err
	}
	return r.Stores.RenameFactor(ctx, p.Detail(map[string]string{"user": o.UserID}), Factor{ID: id, Owner: o, Name: title})
}

// Remove removes a factor of the user.
func (r *Registry) Remove(ctx context.Context, c name.Caller, o Owner, id string) error {
	p, err := r.Guard.Allow(ctx, c, ActionRemove, Resource(o.Pool, id))
	if err != nil {
		return err
	}
	return r.Stores.RemoveFactor(ctx, p.Detail(map[string]string{"user": o.UserID}), Factor{ID: id, Owner: o})
}

// Reset removes all factors and recovery codes of the user.
func (r *Registry) Reset(ctx context.Context, c name.Caller, o Owner) error {
	p, err := r.Guard.Allow(ctx, c, ActionReset, o.Resource())
	if err != nil {
		return err
	}
	return r.Stores.ResetFactors(ctx, p, o)
}

// NewRecovery gives the user new recovery codes in place of those he has. They
// are shown once; only their hashes are kept.
func (r *Registry) NewRecovery(ctx context.Context, c name.Caller, o Owner) ([]secret.Text, error) {
	p, err := r.Guard.Allow(ctx, c, ActionSetRecovery, o.Resource())
	if err != nil {
		return nil, err
	}
	codes := make([]secret.Text, RecoveryCodes)
	hashes := make([]secret.Hash, RecoveryCodes)
	for i := range codes {
		codes[i] = newRecovery()
		hashes[i] = HashRecovery(codes[i])
	}
	return codes, r.Stores.SetRecovery(ctx, p, o, hashes)
}

// UseRecovery uses up a recovery code of the user. One that is wrong or used is
// a fault of kind Unauthenticated with code "recovery_code_wrong".
func (r *Registry) UseRecovery(ctx context.Context, c name.Caller, o Owner, typed secret.Text) error {
	p, err := r.Guard.Allow(ctx, c, ActionUseRecovery, o.Resource())
	if err != nil {
		return err
	}
	err = r.Stores.UseRecovery(ctx, p, o, HashRecovery(typed), r.now())
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(err, fault.Unauthenticated, "recovery_code_wrong", "the recovery code is wrong, or it was used before").
			WithFix("use another one of the list")
	}
	return err
}

func (r *Registry) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
