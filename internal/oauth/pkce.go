package oauth

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// ChallengeS256 is the only challenge method of Deputy, in both directions:
// with "plain", whoever sees the request can redeem the code (RFC 7636,
// section 7.2).
const ChallengeS256 = "S256"

// NewVerifier returns a fresh code verifier of 260 random bits (RFC 7636,
// section 4.1).
func NewVerifier() secret.Text { return secret.FromString(name.NewToken("v")) }

// Challenge returns the S256 challenge of verifier (RFC 7636, section 4.2).
func Challenge(verifier secret.Text) string {
	sum := sha256.Sum256(verifier.Reveal())
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CheckChallenge returns a fault of kind Invalid (pkce_challenge_invalid) unless
// method is S256 and challenge has the form of a SHA-256 digest.
func CheckChallenge(challenge, method string) error {
	if method != ChallengeS256 {
		return fault.New(fault.Invalid, "pkce_challenge_invalid", "the code_challenge_method is not S256").WithFix("send code_challenge_method=S256 with a code_challenge")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(b) != sha256.Size {
		return fault.New(fault.Invalid, "pkce_challenge_invalid", "the code_challenge is not a SHA-256 digest in unpadded base64url").WithFix("see RFC 7636, section 4.2")
	}
	return nil
}

// VerifyChallenge reports whether verifier is well-formed (RFC 7636, section
// 4.1) and the one behind challenge, in time that does not depend on either.
func VerifyChallenge(challenge string, verifier secret.Text) bool {
	return verifierShape(verifier.Reveal()) && secret.Equal(secret.FromString(challenge), secret.FromString(Challenge(verifier)))
}

func verifierShape(v []byte) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for _, c := range v {
		unreserved := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
		if !unreserved {
			return false
		}
	}
	return true
}
