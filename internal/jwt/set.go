package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds a foreign key set. Big providers publish about ten.
const maxKeys = 100

// Set is an immutable set of public keys. The zero Set has none.
type Set struct{ keys []jose.JSONWebKey }

// NewSet returns the public halves of keys, in their order.
func NewSet(keys ...Key) Set {
	var s Set
	for _, k := range keys {
		s.keys = append(s.keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: k.Algorithm, Use: "sig"})
	}
	return s
}

// ParseSet reads a JWK set (RFC 7517, section 5). Keys that are not for
// verifying signatures, or of a kind that Deputy does not know, are left out,
// as the RFC demands; so are symmetric and private ones. It returns a fault of
// kind Upstream (jwks_invalid) if b is not a JWK set, has more than 100 keys or
// two usable keys with one kid.
func ParseSet(b []byte) (Set, error) {
	return parseSet(b, func(use string) bool { return use == "" || use == "sig" })
}

// ParseBundle reads a SPIFFE trust bundle, of which it takes the keys for
// JWT-SVIDs: a JWK set whose every key must say what it is for (SPIFFE Trust
// Domain and Bundle, section 4.2.2). Errors are those of [ParseSet].
func ParseBundle(b []byte) (Set, error) {
	return parseSet(b, func(use string) bool { return use == "jwt-svid" })
}

func parseSet(b []byte, wanted func(use string) bool) (Set, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := wire.DecodeForeign(b, &doc); err != nil {
		return Set{}, fault.Wrap(err, fault.Upstream, "jwks_invalid", "the issuer's key set is not a JWK set")
	}
	if doc.Keys == nil || len(doc.Keys) > maxKeys {
		return Set{}, fault.New(fault.Upstream, "jwks_invalid", "the issuer's key set has no keys member or more than %d keys", maxKeys)
	}
	var s Set
	for _, raw := range doc.Keys {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(raw); err != nil || !wanted(k.Use) || !usable(k) {
			continue
		}
		if k.KeyID != "" && slices.ContainsFunc(s.keys, func(o jose.JSONWebKey) bool { return o.KeyID == k.KeyID }) {
			return Set{}, fault.New(fault.Upstream, "jwks_invalid", "two keys of the issuer have the same id")
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func usable(k jose.JSONWebKey) bool {
	if !k.Valid() || !k.IsPublic() {
		return false
	}
	if k.Algorithm != "" && !slices.Contains(asymmetric(), jose.SignatureAlgorithm(k.Algorithm)) {
		return false
	}
	switch pub := k.Key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return pub.N.BitLen() >= rsaBits && pub.N.BitLen() <= 8192 // a giant modulus makes every check a denial of service
	default:
		return false
	}
}

// CountKeys returns how many keys the JWK set b has, those included that
// [ParseSet] leaves out; 0 if it is none.
func CountKeys(b []byte) int {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if wire.DecodeForeign(b, &doc) != nil {
		return 0
	}
	return len(doc.Keys)
}

// Len returns the number of keys.
func (s Set) Len() int { return len(s.keys) }

// JWKS returns the set as a JWK set document: public keys only.
func (s Set) JWKS() []byte {
	keys := s.keys
	if keys == nil {
		keys = []jose.JSONWebKey{} // "keys" is required to be an array (RFC 7517, section 5.1)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		panic("jwt: a public key that was parsed or generated does not marshal: " + err.Error())
	}
	return b
}

// find returns the key for a token. A token without kid is accepted only if a
// single key could have signed it: there is never a second try.
func (s Set) find(kid, alg string) (jose.JSONWebKey, bool) {
	var found []jose.JSONWebKey
	for _, k := range s.keys {
		if (kid == "" || k.KeyID == kid) && fits(k, alg) {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		return jose.JSONWebKey{}, false
	}
	return found[0], true
}

// fits reports whether k is for alg: by its own alg member, else by its kind.
func fits(k jose.JSONWebKey, alg string) bool {
	if k.Algorithm != "" {
		return k.Algorithm == alg
	}
	switch pub := k.Key.(type) {
	case *ecdsa.PublicKey:
		return alg == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[pub.Params().BitSize]
	case ed25519.PublicKey:
		return alg == EdDSA
	case *rsa.PublicKey:
		return len(alg) == 5 && (alg[:2] == "RS" || alg[:2] == "PS")
	default:
		return false
	}
}
