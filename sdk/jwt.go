package deputy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

const (
	tokenType    = "wat+jwt" // no other token of Deputy has it, so none can pass for one
	maxTokenSize = 16 << 10
	maxSkew      = 30 * time.Second
	maxChain     = 8
)

// User is the person an agent acts for: an issuer and a subject there. Only
// both together name a person.
type User struct{ Issuer, Subject string }

// Identity is what a workload access token proves.
type Identity struct {
	User     User      // zero when the workload acts for itself
	Workload string    // SPIFFE ID of the workload that the token was minted for
	Chain    []string  // the workloads that called it on the user's behalf, nearest first (RFC 8693, section 4.1)
	Expires  time.Time // when the token ends
}

// jwt is a compact JSON Web Token (RFC 7519, RFC 7515 section 3.1) taken apart
// and not yet believed.
type jwt struct {
	header, payload, signature []byte
	signed                     string // what the signature is over
}

// parseJWT takes a token apart. base64url is read strictly: each token has one
// spelling.
func parseJWT(token string) (jwt, error) {
	malformed := refuse("token_malformed", "the token is not a JWT")
	if len(token) > maxTokenSize {
		return jwt{}, malformed
	}
	signed, sig, ok := cutLast(token, '.')
	head, body, ok2 := strings.Cut(signed, ".")
	// The decoder skips line breaks, even a strict one.
	if !ok || !ok2 || strings.Contains(body, ".") || strings.ContainsAny(token, "\r\n") {
		return jwt{}, malformed
	}
	j := jwt{signed: signed}
	for _, part := range []struct {
		text string
		into *[]byte
	}{{head, &j.header}, {body, &j.payload}, {sig, &j.signature}} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part.text)
		if err != nil || len(b) == 0 {
			return jwt{}, malformed
		}
		*part.into = b
	}
	return j, nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// keyID checks that the header is one that this package can honour, and returns
// its key id.
func (j jwt) keyID() (string, error) {
	var h struct {
		Algorithm string          `json:"alg"`
		Type      string          `json:"typ"`
		KeyID     string          `json:"kid"`
		Critical  json.RawMessage `json:"crit"`
	}
	if err := json.Unmarshal(j.header, &h); err != nil {
		return "", refuse("token_malformed", "the token's header is not JSON")
	}
	switch {
	case h.Type != tokenType:
		return "", refuse("token_type", "the token is not a workload access token")
	case h.Algorithm != "ES256":
		return "", refuse("token_algorithm", "the token is not signed with ES256")
	case h.Critical != nil: // RFC 7515, section 4.1.11: not understood, so not accepted
		return "", refuse("token_algorithm", "the token has critical headers that are not understood")
	case h.KeyID == "":
		return "", refuse("token_unknown_key", "the token does not name its key")
	}
	return h.KeyID, nil
}

// signedBy reports whether key made the signature (RFC 7518, section 3.4).
func (j jwt) signedBy(key *ecdsa.PublicKey) bool {
	if len(j.signature) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(j.signed))
	r, s := new(big.Int).SetBytes(j.signature[:32]), new(big.Int).SetBytes(j.signature[32:])
	return ecdsa.Verify(key, sum[:], r, s)
}

type actor struct {
	Subject string `json:"sub"`
	Actor   *actor `json:"act"`
}

// audience is a JSON string or an array of strings (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("[")) {
		return json.Unmarshal(b, (*[]string)(a))
	}
	*a = make(audience, 1)
	return json.Unmarshal(b, &(*a)[0])
}

type claims struct {
	Issuer    string   `json:"iss"`
	Audience  audience `json:"aud"`
	Subject   string   `json:"sub"`
	SubjectID *struct {
		Format  string `json:"format"`
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	} `json:"sub_id"` // RFC 9493, section 3.2.4
	Actor    *actor   `json:"act"`
	IssuedAt *float64 `json:"iat"`
	Expires  *float64 `json:"exp"`
}

// identity checks the claims of a token whose signature is good.
func (j jwt) identity(issuer string, now time.Time) (Identity, error) {
	var c claims
	if err := json.Unmarshal(j.payload, &c); err != nil || c.Subject == "" || c.Expires == nil || c.IssuedAt == nil {
		return Identity{}, refuse("token_malformed", "the token's claims are incomplete")
	}
	if !plausible(*c.Expires) || !plausible(*c.IssuedAt) {
		return Identity{}, refuse("token_malformed", "the token's times are not times")
	}
	expires := time.Unix(int64(*c.Expires), 0)
	switch {
	case c.Issuer != issuer:
		return Identity{}, refuse("token_issuer", "the token is not from %s", issuer)
	case len(c.Audience) != 1 || c.Audience[0] != issuer:
		return Identity{}, refuse("token_audience", "the token is for somebody else")
	case !now.Before(expires.Add(maxSkew)):
		return Identity{}, refuse("token_expired", "the token has expired")
	case now.Add(maxSkew).Before(time.Unix(int64(*c.IssuedAt), 0)):
		return Identity{}, refuse("token_not_yet_valid", "the token is from the future; compare the clocks of both machines")
	}
	id := Identity{Workload: c.Subject, Expires: expires}
	if c.SubjectID == nil && c.Actor == nil {
		return id, nil // the workload itself
	}
	if c.SubjectID == nil || c.Actor == nil || c.SubjectID.Format != "iss_sub" ||
		c.SubjectID.Issuer == "" || c.SubjectID.Subject != c.Subject {
		return Identity{}, refuse("token_malformed", "the token does not say whom it acts for")
	}
	id.User = User{c.SubjectID.Issuer, c.SubjectID.Subject}
	id.Workload = c.Actor.Subject
	for a := c.Actor.Actor; a != nil; a = a.Actor {
		if len(id.Chain) == maxChain {
			return Identity{}, refuse("token_malformed", "the token's delegation chain is too long")
		}
		id.Chain = append(id.Chain, a.Subject)
	}
	return id, nil
}

// plausible reports whether f is a number of seconds that fits a [time.Time].
func plausible(f float64) bool { return f >= 0 && f < 1<<40 }
