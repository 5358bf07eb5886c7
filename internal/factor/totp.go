package factor

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // HMAC-SHA-1 is what authenticator apps speak; its weakness is not HMAC's
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
)

// The parameters of RFC 6238 that every authenticator app understands: others,
// though the key URI can name them, are ignored by some.
const (
	totpStep   = 30 * time.Second
	totpDigits = 6
	totpSeed   = 20 // bytes: as long as the hash (RFC 4226, section 4, R6)
	// totpSkew is how many steps a phone's clock may be off, either way (RFC 6238, section 5.2).
	totpSkew = 1
)

// NewSeed returns a fresh seed for an authenticator app, as text to type: base32
// without padding.
func NewSeed() secret.Text {
	b := make([]byte, totpSeed)
	_, _ = rand.Read(b) // never fails (crypto/rand, since Go 1.24)
	defer clear(b)
	return secret.FromString(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// parseSeed is the inverse of NewSeed.
func parseSeed(seed secret.Text) ([]byte, bool) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(seed.RevealString())
	return key, err == nil && len(key) == totpSeed && len(seed.Reveal()) == base32.StdEncoding.EncodedLen(totpSeed)
}

// KeyURI returns what the QR code of a seed says (the otpauth URI of Google
// Authenticator, which all others follow). It is as secret as the seed.
func KeyURI(issuer, account string, seed secret.Text) secret.Text {
	// A colon divides issuer and account, so neither has one; and '+' is not a space to every app.
	clean := func(s string) string {
		return strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(s, ":", " ")), "+", "%20")
	}
	return secret.FromString("otpauth://totp/" + clean(issuer) + ":" + clean(account) +
		"?secret=" + seed.RevealString() + "&issuer=" + clean(issuer) + "&algorithm=SHA1&digits=6&period=30")
}

// code returns the code of a key for a counter (RFC 4226, section 5.3) with
// that many digits.
func code(key []byte, counter uint64, digits int) string {
	m := hmac.New(sha1.New, key)
	_ = binary.Write(m, binary.BigEndian, counter) // a hash never fails to write
	sum := m.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	modulus := uint32(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%modulus)
}

// match returns the time step of which typed is the code, if it is one that may
// be accepted at the time now: near now, and after the step was. It looks at
// all of them, so that time does not tell which matched.
func match(key []byte, typed secret.Text, now time.Time, was int64) (step int64, ok bool) {
	typed = cleanCode(typed)
	at := now.Unix() / int64(totpStep/time.Second)
	for s := at - totpSkew; s <= at+totpSkew; s++ {
		if secret.Equal(typed, secret.FromString(code(key, uint64(s), totpDigits))) && s > was {
			step, ok = s, true
		}
	}
	return step, ok
}

// cleanCode drops the spaces that apps show and people type.
func cleanCode(typed secret.Text) secret.Text {
	s := typed.RevealString()
	if len(s) > 64 {
		return secret.Text{}
	}
	return secret.FromString(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
}
