// Package secret holds values that never print.
//
// A token, a password or a key travels through Deputy as a [Text]. Every way
// in which Go turns a value into text or bytes — fmt verbs, JSON, XML and text
// marshalling, slog — answers "[redacted]". The only way to the content is the
// loudly named [Text.Reveal], so a reviewer finds every use with one search.
package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a secret prints instead of itself.
const Redacted = "[redacted]"

// Text is a secret value. The zero Text is empty and usable. Copies share the
// same bytes: [Text.Clear] wipes all of them.
//
// The bytes live in a closure for two reasons. fmt cannot call methods of a
// value in an unexported field and prints what it finds there: of a function
// that is an address. And functions cannot be compared, so that == on secrets,
// which would take time that depends on the content, does not compile.
type Text struct{ bytes func() []byte }

// New returns a Text that takes over b: the caller must not use b afterwards.
func New(b []byte) Text { return Text{func() []byte { return b }} }

// FromString returns a Text with a copy of s. The string itself stays in
// memory until it is collected; prefer [New] where the bytes are at hand.
func FromString(s string) Text { return New([]byte(s)) }

// Reveal returns the secret bytes. The caller must not keep, print or modify
// them.
func (t Text) Reveal() []byte {
	if t.bytes == nil {
		return nil
	}
	return t.bytes()
}

// RevealString returns the secret as a string, for the last step before a wire
// format that takes strings.
func (t Text) RevealString() string { return string(t.Reveal()) }

// Empty reports whether there is no secret in t.
func (t Text) Empty() bool { return len(t.Reveal()) == 0 }

// Clear overwrites the secret with zeros, in every copy of t.
func (t Text) Clear() { clear(t.Reveal()) }

// String implements [fmt.Stringer] and never shows the secret.
func (t Text) String() string { return Redacted }

// GoString implements [fmt.GoStringer] and never shows the secret.
func (t Text) GoString() string { return Redacted }

// Format implements [fmt.Formatter], so that no verb (%x, %q, %d, …) reaches
// the bytes.
func (t Text) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// MarshalText implements [encoding.TextMarshaler] and never shows the secret.
func (t Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON implements json.Marshaler and never shows the secret.
func (t Text) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalBinary implements [encoding.BinaryMarshaler] (and so gob) by refusing.
func (t Text) MarshalBinary() ([]byte, error) {
	return nil, errors.New("secret: a secret is not serialized; seal it")
}

// UnmarshalText implements [encoding.TextUnmarshaler], so that configuration
// and requests can be decoded straight into a Text.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(append([]byte(nil), b...))
	return nil
}

// LogValue implements [slog.LogValuer] and never shows the secret.
func (t Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Equal reports whether a and b are the same secret, in time that depends on
// neither content. Two empty secrets are never equal: an unset secret must not
// open anything.
func Equal(a, b Text) bool {
	if a.Empty() || b.Empty() {
		return false
	}
	x, y := sha256.Sum256(a.Reveal()), sha256.Sum256(b.Reveal())
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Hash is the SHA-256 digest of a secret of full entropy (a random token, never
// a password): what is stored in place of the secret, to look it up by.
type Hash [sha256.Size]byte

// Digest returns the hash of t under a purpose, so that a digest stored for one
// purpose is of no use for another.
func (t Text) Digest(purpose string) Hash {
	m := hmac.New(sha256.New, []byte("deputy/"+purpose))
	m.Write(t.Reveal())
	return Hash(m.Sum(nil))
}

// String returns the hash in unpadded base64url, the form in which it is stored.
func (h Hash) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// ParseHash is the inverse of [Hash.String]. Of anything else it returns the zero
// Hash and an error.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(h) {
		return Hash{}, fmt.Errorf("secret: not a hash: %d characters", len(s))
	}
	return Hash(b), nil
}
