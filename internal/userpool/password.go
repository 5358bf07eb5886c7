package userpool

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"golang.org/x/crypto/argon2"
)

// Argon2id (RFC 9106) parameters of new hashes.
const (
	argonMemory  = 19 * 1024 // KiB: what OWASP's table pairs with two passes
	argonPasses  = 2
	argonThreads = 1
	argonKey     = 32
	argonSalt    = 16
)

// The bounds of a password: a shorter one is guessed, a longer one only costs
// us work.
const (
	MinPassword = 8    // characters
	MaxPassword = 1024 // bytes
)

// Hasher hashes and verifies passwords with Argon2id. One hash takes 19 MiB and
// tens of milliseconds, so a Hasher bounds how many run at once: without that, a
// flood of logins would take all memory. One Hasher serves all pools.
type Hasher struct {
	slots chan struct{}
	decoy phc // hash of a password that nobody has
}

// NewHasher returns a Hasher that runs at most slots hashes at once (at least one).
func NewHasher(slots int) *Hasher {
	h := &Hasher{slots: make(chan struct{}, max(1, slots)), decoy: newPHC()}
	_, _ = rand.Read(h.decoy.key) // never fails (crypto/rand, since Go 1.24)
	return h
}

// Hash returns the hash of password as a PHC string
// ($argon2id$v=19$m=19456,t=2,p=1$salt$key). It waits for a slot until ctx ends.
func (h *Hasher) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	p := newPHC()
	key, err := h.derive(ctx, p, password)
	if err != nil {
		return secret.Text{}, err
	}
	p.key = key
	return secret.FromString(p.String()), nil
}

// Verify reports whether password is the one that hash was made of, and if so,
// whether the hash is of parameters other than today's and should be replaced.
// For an empty hash (an unknown user, or one without a password) it does the
// same work and answers no, so that time does not tell who exists. The error is
// about us, never about the password.
func (h *Hasher) Verify(ctx context.Context, hash, password secret.Text) (ok, stale bool, err error) {
	p := h.decoy
	if !hash.Empty() {
		if p, err = parsePHC(hash.RevealString()); err != nil {
			return false, false, err
		}
	}
	key, err := h.derive(ctx, p, password)
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(key, p.key) == 1 && !hash.Empty()
	return ok, ok && !p.current(), nil
}

// derive runs Argon2id in a slot. A password over the bound is cut: no stored
// password is that long, so the result is right for none.
func (h *Hasher) derive(ctx context.Context, p phc, password secret.Text) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "login_busy", "too many logins at once").WithFix("try again in a moment")
	}
	b := password.Reveal()
	b = b[:min(len(b), MaxPassword+1)]
	return argon2.IDKey(b, p.salt, p.passes, p.memory, p.threads, uint32(len(p.key))), nil
}

// phc is a parsed PHC string of Argon2id.
type phc struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

func newPHC() phc {
	p := phc{memory: argonMemory, passes: argonPasses, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	_, _ = rand.Read(p.salt) // never fails (crypto/rand, since Go 1.24)
	return p
}

func (p phc) current() bool {
	return p.memory == argonMemory && p.passes == argonPasses && p.threads == argonThreads &&
		len(p.salt) == argonSalt && len(p.key) == argonKey
}

// String returns the PHC string format of p.
func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.passes, p.threads,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.key))
}

// parsePHC is the inverse of String. It bounds the parameters, since they say
// how much memory the next login takes: a hash may come from an import.
func parsePHC(s string) (phc, error) {
	bad := func() (phc, error) {
		return phc{}, fault.New(fault.Internal, "password_hash_invalid", "a stored password hash is not one of Argon2id")
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return bad()
	}
	var p phc
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.threads); err != nil {
		return bad()
	}
	var errSalt, errKey error
	p.salt, errSalt = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	p.key, errKey = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(p.salt) < 8 || len(p.salt) > 64 || len(p.key) < 16 || len(p.key) > 64 ||
		p.memory < 8*uint32(p.threads) || p.memory > 1<<20 || p.passes < 1 || p.passes > 16 || p.threads < 1 || p.threads > 16 ||
		p.String() != s {
		return bad()
	}
	return p, nil
}
