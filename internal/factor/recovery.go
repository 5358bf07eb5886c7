package factor

import (
	"crypto/rand"
	"encoding/base32"
	"strings"

	"github.com/deputy-id/deputy/internal/secret"
)

// RecoveryCodes is how many recovery codes a user gets at once.
const RecoveryCodes = 10

// recoveryEncoding is Crockford's base32: what is mistaken for a digit is one.
var recoveryEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newRecovery returns a fresh recovery code: 80 random bits as 16 characters in
// groups of four. That many bits need no slow hash to be stored under.
func newRecovery() secret.Text {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	s := recoveryEncoding.EncodeToString(b[:])
	return secret.FromString(s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:])
}

// HashRecovery returns what a recovery code is stored under. How it was typed
// makes no difference: case, spaces, hyphens, and letters that look like digits.
func HashRecovery(typed secret.Text) secret.Hash {
	s := typed.RevealString()
	s = strings.ToLower(s[:min(len(s), 64)])
	s = strings.NewReplacer("-", "", " ", "", "o", "0", "i", "1", "l", "1").Replace(s)
	return secret.FromString(s).Digest("recovery code")
}
