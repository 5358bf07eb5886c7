// Package factor has what proves a person besides a password: authenticator apps (TOTP), passkeys and recovery codes.
//
// A factor belongs to one user of one pool and is found only there. Everything
// about it is good once: a time step of an authenticator app, a passkey's
// answer to a challenge, a recovery code. The store sees to that by
// compare-and-swap, so that it also holds for attempts made at once, in any
// number of processes.
package factor

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
)

// The actions on factors, as the guard knows them.
const (
	ActionAdd         guard.Action = "factor.add"
	ActionUse         guard.Action = "factor.use"
	ActionRename      guard.Action = "factor.rename"
	ActionRemove      guard.Action = "factor.remove"
	ActionReset       guard.Action = "factor.reset"
	ActionSetRecovery guard.Action = "factor.set-recovery-codes"
	ActionUseRecovery guard.Action = "factor.use-recovery-code"
)

// Kind says what sort of factor one is.
type Kind string

// The kinds of factors. Recovery codes are none: they stand in for one.
const (
	TOTP    Kind = "totp"    // an authenticator app (RFC 6238)
	Passkey Kind = "passkey" // a WebAuthn credential that verifies its user
)

// MaxFactors bounds the factors of one user.
const MaxFactors = 20

// Owner is the user whose factors are meant.
type Owner struct {
	Pool   string
	UserID string
}

// Resource returns what guard permits about all factors of o together.
func (o Owner) Resource() guard.Resource {
	return guard.Resource{Kind: "factors", Pool: o.Pool, ID: o.UserID}
}

// Factor is one proof that a user has enrolled.
type Factor struct {
	ID         string // "fac_…"
	Owner      Owner
	Kind       Kind
	Name       string     // the user's own; see [CheckName]
	SealedSeed []byte     // of an authenticator app
	Credential Credential // of a passkey
	// Counter is the last time step accepted of an authenticator app, or the last signature counter that a
	// passkey told (0: it counts none). It says whether a proof is newer than the one before.
	Counter    int64
	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never after the enrolment
}

// Credential is what is known of a passkey; nothing of it is secret.
type Credential struct {
	ID             []byte   `json:"-"`
	PublicKey      []byte   `json:"publicKey"` // COSE key (RFC 9052, section 7)
	AAGUID         []byte   `json:"aaguid"`    // the authenticator's model, if it says so
	Transports     []string `json:"transports,omitempty"`
	BackupEligible bool     `json:"backupEligible"` // it may be on more than one device
}

// Key returns the credential's id as text: base64url, or "" if there is none.
func (c Credential) Key() string { return base64.RawURLEncoding.EncodeToString(c.ID) }

// Resource returns what guard permits about the factor with that id.
func Resource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "factor", Pool: pool, ID: id}
}

// Resource returns what guard permits about f.
func (f Factor) Resource() guard.Resource { return Resource(f.Owner.Pool, f.ID) }

// place is where the seed of f opens. The data key is the user pool's own, as
// its signing keys are.
func (f Factor) place() keys.Place {
	return keys.Place{Kind: "factor.seed", Pool: "userpool/" + f.Owner.Pool, User: name.User{Subject: f.Owner.UserID}, Record: f.ID, Version: 1}
}

// Method returns the authentication method reference of f (RFC 8176).
func (f Factor) Method() string {
	switch {
	case f.Kind == TOTP:
		return "otp"
	case f.Credential.BackupEligible:
		return "swk" // synchronized: the key has left the hardware that made it
	default:
		return "hwk"
	}
}

// Set are the factors of one user.
type Set struct {
	Factors  []Factor // in order of enrolment
	Recovery int      // recovery codes left
}

// Any reports whether s has a factor that a login can ask for. Recovery codes
// are left out: alone they protect nothing.
func (s Set) Any() bool { return len(s.Factors) > 0 }

// Of returns the factors of a kind.
func (s Set) Of(k Kind) []Factor {
	return slices.DeleteFunc(slices.Clone(s.Factors), func(f Factor) bool { return f.Kind != k })
}

// CheckName returns a fault of kind Invalid unless s may be the name of a factor.
func CheckName(s string) error {
	ok := s != "" && len(s) <= 80 && utf8.ValidString(s) && strings.TrimSpace(s) == s
	for _, r := range s {
		ok = ok && unicode.IsPrint(r)
	}
	if ok {
		return nil
	}
	return fault.New(fault.Invalid, "factor_name_invalid", "the name is empty, too long, or has characters that cannot be shown").
		WithFix("use 1 to 80 bytes of printable text")
}
