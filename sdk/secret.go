package deputy

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a value that does not print: whatever turns it into text — fmt,
// JSON, slog — says "[redacted]". The zero Secret is empty.
//
// The value lives in a closure, because fmt prints what it finds in unexported
// fields, and of a function that is only an address.
type Secret struct{ reveal func() string }

// NewSecret returns a Secret that holds s.
func NewSecret(s string) Secret { return Secret{func() string { return s }} }

// Reveal returns the value. The caller must not print, log or keep it.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Empty reports whether there is no value in s.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// equal reports whether both hold the same value; two empty ones never do.
func (s Secret) equal(other Secret) bool {
	return !s.Empty() && subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String implements [fmt.Stringer].
func (s Secret) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return redacted }

// Format implements [fmt.Formatter], so that no verb shows the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements [encoding.TextMarshaler], and so covers JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary implements [encoding.BinaryMarshaler] by refusing.
func (s Secret) MarshalBinary() ([]byte, error) {
	return nil, errors.New("deputy: a secret is not serialized")
}

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// UnmarshalText implements [encoding.TextUnmarshaler], so that an answer is
// decoded straight into a Secret.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}
