package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
)

// token is a bearer token or another secret that must not be printed. Every
// verb of fmt, JSON, text marshalling and slog shows "[redacted]".
//
// The value sits in a closure because fmt prints the contents of unexported
// fields without asking their methods; of a function it can only print an
// address.
type token struct{ value func() string }

const redacted = "[redacted]"

func newToken(s string) token { return token{func() string { return s }} }

// randomToken returns 256 random bits in base64url.
func randomToken() token {
	b := make([]byte, 32)
	rand.Read(b) // never fails; see crypto/rand
	return newToken(base64.RawURLEncoding.EncodeToString(b))
}

// reveal returns the secret, for the one place that puts it on the wire.
func (t token) reveal() string {
	if t.value == nil {
		return ""
	}
	return t.value()
}

func (t token) String() string               { return redacted }
func (t token) GoString() string             { return redacted }
func (t token) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, redacted) }
func (t token) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (t token) LogValue() slog.Value         { return slog.StringValue(redacted) }
