package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/go-jose/go-jose/v4"
)

// The algorithms that Deputy signs with (RFC 7518, section 3.1; RFC 8037).
const (
	ES256 = "ES256"
	EdDSA = "EdDSA"
	RS256 = "RS256" // signing takes a millisecond: only for clients that know nothing else
)

// rsaBits is the size of generated RSA keys and the least that is accepted.
const rsaBits = 2048

// Key is a private key that signs tokens.
type Key struct {
	ID        string        // the kid in the header of every token
	Algorithm string        // ES256, EdDSA or RS256
	Private   crypto.Signer // *ecdsa.PrivateKey on P-256, ed25519.PrivateKey or *rsa.PrivateKey
}

// Generate returns a fresh key for algorithm, with its RFC 7638 thumbprint as
// ID. It returns a fault of kind Invalid for an algorithm that is not ES256,
// EdDSA or RS256.
func Generate(algorithm string) (Key, error) {
	var private crypto.Signer
	var err error
	switch algorithm {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		return Key{}, unknownAlgorithm(algorithm)
	}
	if err != nil {
		return Key{}, fault.Wrap(err, fault.Internal, "signing_key_generate", "the signing key could not be generated")
	}
	return newKey("", algorithm, private)
}

// ParseKey reads a PKCS #8 private key (DER). An empty id stands for the RFC
// 7638 thumbprint. It returns a fault of kind Invalid if der is not a private
// key for algorithm.
func ParseKey(id, algorithm string, der []byte) (Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "signing_key_invalid", "the signing key is not in PKCS #8 form")
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return Key{}, fault.New(fault.Invalid, "signing_key_invalid", "a key of type %T cannot sign", parsed)
	}
	return newKey(id, algorithm, private)
}

func newKey(id, algorithm string, private crypto.Signer) (Key, error) {
	k := Key{ID: id, Algorithm: algorithm, Private: private}
	if err := k.check(); err != nil {
		return Key{}, err
	}
	if k.ID == "" {
		sum, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
		if err != nil {
			return Key{}, fault.Wrap(err, fault.Internal, "signing_key_invalid", "the signing key has no thumbprint")
		}
		k.ID = base64.RawURLEncoding.EncodeToString(sum)
	}
	return k, nil
}

// check returns an error unless the private key is one for the algorithm.
func (k Key) check() error {
	var ok bool
	switch k.Algorithm {
	case ES256:
		p, is := k.Private.(*ecdsa.PrivateKey)
		ok = is && p.Curve == elliptic.P256()
	case EdDSA:
		_, ok = k.Private.(ed25519.PrivateKey)
	case RS256:
		p, is := k.Private.(*rsa.PrivateKey)
		ok = is && p.N.BitLen() >= rsaBits
	default:
		return unknownAlgorithm(k.Algorithm)
	}
	if !ok {
		return fault.New(fault.Invalid, "signing_key_invalid", "a key of type %T is not one for %s", k.Private, k.Algorithm).
			WithFix("use a P-256 key for ES256, an Ed25519 key for EdDSA, an RSA key of at least %d bits for RS256", rsaBits)
	}
	return nil
}

func unknownAlgorithm(algorithm string) error {
	return fault.New(fault.Invalid, "signing_algorithm", "Deputy does not sign with algorithm %q", algorithm).WithFix("use ES256, EdDSA or RS256")
}

// Marshal returns the private key in PKCS #8 form (DER), for sealing. The
// caller must clear it.
func (k Key) Marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "signing_key_invalid", "the signing key cannot be marshalled")
	}
	return der, nil
}

// String names the key without showing it, so that a Key never prints.
func (k Key) String() string { return "signing key " + k.ID + " (" + k.Algorithm + ")" }

// GoString is like [Key.String].
func (k Key) GoString() string { return k.String() }

// Format implements [fmt.Formatter]: no verb reaches the private key.
func (k Key) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, k.String()) }

// LogValue implements [slog.LogValuer] and does not show the private key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON implements json.Marshaler by refusing: encoding/json would write
// the private key. See [Key.Marshal] and [Set.JWKS].
func (k Key) MarshalJSON() ([]byte, error) {
	return nil, errors.New("jwt: a private key is not serialized; seal it")
}

// Sign returns claims as a signed token whose header names typ (RFC 9068:
// "at+jwt"). claims must encode to a JSON object; typ must not be empty, because
// the type is what keeps a token made for one purpose from being used for
// another (RFC 8725, section 3.11).
func Sign(k Key, typ string, claims any) (string, error) {
	if err := k.check(); err != nil {
		return "", err
	}
	if typ == "" || k.ID == "" {
		return "", fault.New(fault.Internal, "token_sign", "a token needs a type and a key id")
	}
	payload, err := json.Marshal(claims)
	if err != nil || len(payload) == 0 || payload[0] != '{' {
		return "", fault.Wrap(err, fault.Internal, "token_sign", "claims of type %T are not a JSON object", claims)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: jose.JSONWebKey{Key: k.Private, KeyID: k.ID}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "token_sign", "the token could not be signed")
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "token_sign", "the token could not be signed")
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "token_sign", "the token could not be signed")
	}
	if len(token) > MaxToken {
		return "", fault.New(fault.Internal, "token_sign", "the token has %d bytes, more than anybody accepts", len(token))
	}
	return token, nil
}
