// Package jwt signs and verifies tokens, keeps key sets, and caches verdicts.
//
// The rules are those of RFC 8725: the algorithms are listed by the verifier and
// are asymmetric, a key is used with its own algorithm only, the type in the
// header is required, and everything that is not understood is refused.
package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
)

// MaxToken is the size in bytes beyond which a token is refused unread.
const MaxToken = 16 << 10

// MaxSkew is how far apart two clocks may be thought to be.
const MaxSkew = 60 * time.Second

// Expect is what a verifier demands of a token. Build it once, and call
// [Expect.Check] where it comes from configuration.
type Expect struct {
	Issuer     string           // exact; must not be empty (a remote [Issuer] fills it in)
	AnyIssuer  bool             // Issuer is empty and iss is not looked at: for tokens whose sub says whose they are (SPIFFE)
	Audience   string           // must be among the token's audiences; empty = the caller checks
	Types      []string         // accepted typ headers ("at+jwt"), without "application/", in any letter case; at least one
	Untyped    bool             // a token without typ is accepted, too: for formats that are older than that header's use
	Algorithms []string         // accepted alg headers; at least one, asymmetric only
	Skew       time.Duration    // tolerance for exp, nbf and iat, at most MaxSkew; zero = none
	Now        func() time.Time // nil = time.Now
}

// Check returns a fault of kind Invalid (token_expectation) if e accepts more
// than can be safe: no issuer, no type, no algorithm or a symmetric one, or a
// skew above [MaxSkew].
func (e Expect) Check() error {
	if (e.Issuer == "") != e.AnyIssuer {
		return fault.New(fault.Invalid, "token_expectation", "no token issuer is expected").WithFix("name the issuer")
	}
	return e.checkRest()
}

// checkRest is Check for a verifier that learns the issuer by itself.
func (e Expect) checkRest() error {
	if len(e.Types) == 0 || slices.Contains(e.Types, "") {
		return fault.New(fault.Invalid, "token_expectation", "no token type is expected").WithFix(`name the accepted types, for instance "at+jwt"`)
	}
	if len(e.Algorithms) == 0 {
		return fault.New(fault.Invalid, "token_expectation", "no signature algorithm is accepted").WithFix("name at least one, for instance ES256")
	}
	for _, a := range e.Algorithms {
		if !slices.Contains(asymmetric(), jose.SignatureAlgorithm(a)) {
			return fault.New(fault.Invalid, "token_expectation", "signature algorithm %q cannot be accepted", name.Clip(a, 40)).
				WithFix("use asymmetric ones: ES256, EdDSA, RS256, PS256 or their longer forms")
		}
	}
	if e.Skew < 0 || e.Skew > MaxSkew {
		return fault.New(fault.Invalid, "token_expectation", "a clock skew of %v is not allowed", e.Skew).WithFix("use 0 to %v", MaxSkew)
	}
	return nil
}

func (e Expect) now() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}

// asymmetric lists what can be accepted at all. "none" and HMAC are not in it:
// with HMAC, whoever knows the public key could sign (RFC 8725, section 2.1).
func asymmetric() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256,
		jose.ES384, jose.ES512, jose.RS384, jose.RS512, jose.PS384, jose.PS512}
}

// Acceptable returns those of algorithms that can be accepted, in their order.
func Acceptable(algorithms []string) []string {
	return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !slices.Contains(asymmetric(), jose.SignatureAlgorithm(a)) })
}

// Claims is what a verified token says. Times that the token does not name are
// zero. Holders must not modify Audience and Raw: cached verdicts share them.
type Claims struct {
	Issuer, Subject, ID, ClientID  string
	Audience                       []string
	IssuedAt, ExpiresAt, NotBefore time.Time
	Scope                          string          // space-separated (RFC 9068, section 2.2.3)
	Raw                            json.RawMessage // the whole claims object, for claims not named here
}

// Verify checks token against the set and e and returns what it says. It
// returns a fault of kind Unauthenticated with one of the codes
// token_malformed, token_algorithm, token_type, token_unknown_key,
// token_signature, token_issuer, token_audience, token_expired and
// token_not_yet_valid; of kind Internal if e does not pass [Expect.Check].
// Nothing that the token says is in the message before its signature is
// verified.
func (s Set) Verify(token string, e Expect) (Claims, error) {
	if err := e.Check(); err != nil {
		return Claims{}, fault.Wrap(err, fault.Internal, "token_expectation", "tokens cannot be verified as configured")
	}
	p, err := parse(token, e)
	if err != nil {
		return Claims{}, err
	}
	return s.verify(p, e)
}

// parsed is a token whose header is acceptable and whose signature is not yet
// verified.
type parsed struct {
	jws *jose.JSONWebSignature
	kid string
	alg string
}

// parse checks everything that needs no key, so that a flood of nonsense costs
// neither a signature check nor a fetch of keys.
func parse(token string, e Expect) (parsed, error) {
	if len(token) > MaxToken {
		return parsed{}, refuse("token_malformed", "the token is larger than %d bytes", MaxToken)
	}
	if !compact(token) {
		return parsed{}, refuse("token_malformed", "this is not a signed JSON Web Token")
	}
	algorithms := make([]jose.SignatureAlgorithm, len(e.Algorithms))
	for i, a := range e.Algorithms {
		algorithms[i] = jose.SignatureAlgorithm(a)
	}
	jws, err := jose.ParseSignedCompact(token, algorithms)
	var unexpected *jose.ErrUnexpectedSignatureAlgorithm
	if errors.As(err, &unexpected) {
		return parsed{}, refuse("token_algorithm", "the token is signed with an algorithm that is not accepted here").
			WithFix("sign with %s", strings.Join(e.Algorithms, " or "))
	}
	if err != nil || len(jws.Signatures) != 1 {
		return parsed{}, refuse("token_malformed", "this is not a signed JSON Web Token")
	}
	h := jws.Signatures[0].Protected
	if _, is := h.ExtraHeaders["crit"]; is {
		return parsed{}, refuse("token_malformed", "the token demands header extensions that Deputy does not know")
	}
	if _, is := h.ExtraHeaders["b64"]; is {
		return parsed{}, refuse("token_malformed", "the token's payload is encoded in a way that Deputy does not accept")
	}
	typ, _ := h.ExtraHeaders[jose.HeaderType].(string)
	if _, typed := h.ExtraHeaders[jose.HeaderType]; !e.accepts(typ) && (typed || !e.Untyped) {
		return parsed{}, refuse("token_type", "the token is not of the type that is accepted here").
			WithFix("send a token of type %s", strings.Join(e.Types, " or "))
	}
	return parsed{jws: jws, kid: h.KeyID, alg: h.Algorithm}, nil
}

// Claimed returns the iss and sub of a token that nobody has verified, to find
// out whose keys have to verify it; "" for what there is not to be read.
func Claimed(token string) (issuer, subject string) {
	if len(token) > MaxToken || !compact(token) {
		return "", ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	var c wireClaims
	if err != nil || josejson.Unmarshal(payload, &c) != nil {
		return "", ""
	}
	return c.Issuer, c.Subject
}

// compact reports whether token is three parts in the one base64url form that
// their bytes have (RFC 7515, section 3.1). Go's decoder by itself skips line
// breaks and ignores the unused bits of the last character, so that several
// strings would be the same token.
func compact(token string) bool {
	parts := strings.Split(token, ".")
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return false
		}
	}
	return len(parts) == 3
}

// accepts reports whether typ is accepted. RFC 7515, section 4.1.9: the prefix
// "application/" may be left out, and media types ignore letter case.
func (e Expect) accepts(typ string) bool {
	short := strings.ToLower(typ)
	if rest, ok := strings.CutPrefix(short, "application/"); ok && !strings.Contains(rest, "/") {
		short = rest
	}
	return short != "" && slices.ContainsFunc(e.Types, func(t string) bool { return strings.EqualFold(t, short) })
}

func (s Set) verify(p parsed, e Expect) (Claims, error) {
	key, ok := s.find(p.kid, p.alg)
	if !ok {
		return Claims{}, refuse("token_unknown_key", "the token is signed with a key that the issuer does not publish")
	}
	payload, err := p.jws.Verify(key)
	if err != nil {
		return Claims{}, refuse("token_signature", "the token's signature is not valid")
	}
	var c wireClaims
	// go-jose's fork of encoding/json: member names match exactly and
	// duplicates are refused, so no second "ISS" can overrule "iss".
	if err := josejson.Unmarshal(payload, &c); err != nil {
		return Claims{}, refuse("token_malformed", "the token's claims are malformed")
	}
	return c.check(payload, e)
}

// wireClaims are the registered claims of RFC 7519, section 4.1, and RFC 9068.
type wireClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expiry    *seconds `json:"exp"`
	NotBefore *seconds `json:"nbf"`
	IssuedAt  *seconds `json:"iat"`
	ID        string   `json:"jti"`
	ClientID  string   `json:"client_id"`
	Scope     string   `json:"scope"`
}

func (c wireClaims) check(payload []byte, e Expect) (Claims, error) {
	now := e.now()
	switch {
	case c.Issuer != e.Issuer && !e.AnyIssuer:
		return Claims{}, refuse("token_issuer", "the token is from issuer %q", name.Clip(c.Issuer, 200)).WithFix("get one from %s", e.Issuer)
	case e.Audience != "" && !slices.Contains(c.Audience, e.Audience):
		return Claims{}, refuse("token_audience", "the token is not meant for %q", name.Clip(e.Audience, 200))
	case c.Expiry == nil:
		return Claims{}, refuse("token_malformed", "the token does not say when it expires")
	case !now.Before(c.Expiry.time().Add(e.Skew)):
		return Claims{}, refuse("token_expired", "the token expired at %s", c.Expiry.time().Format(time.RFC3339)).WithFix("get a fresh one")
	case c.NotBefore != nil && now.Add(e.Skew).Before(c.NotBefore.time()):
		return Claims{}, refuse("token_not_yet_valid", "the token is not valid before %s", c.NotBefore.time().Format(time.RFC3339)).WithFix("check both clocks")
	case c.IssuedAt != nil && now.Add(e.Skew).Before(c.IssuedAt.time()):
		return Claims{}, refuse("token_not_yet_valid", "the token was issued in the future, at %s", c.IssuedAt.time().Format(time.RFC3339)).WithFix("check both clocks")
	}
	return Claims{
		Issuer: c.Issuer, Subject: c.Subject, ID: c.ID, ClientID: c.ClientID, Audience: c.Audience, Scope: c.Scope,
		ExpiresAt: c.Expiry.time(), NotBefore: c.NotBefore.time(), IssuedAt: c.IssuedAt.time(), Raw: payload,
	}, nil
}

func refuse(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthenticated, code, format, args...)
}

// audience is a string or an array of strings (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if err := josejson.Unmarshal(b, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return josejson.Unmarshal(b, (*[]string)(a))
}

// seconds is a NumericDate (RFC 7519, section 2), fractions cut off.
type seconds int64

// maxSeconds is the end of the year 9999: beyond it, time arithmetic overflows
// and RFC 3339 has no form.
const maxSeconds = 253402300799

func (s *seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := josejson.Unmarshal(b, &f); err != nil {
		return err
	}
	if math.IsNaN(f) || f < 0 || f > maxSeconds {
		return fmt.Errorf("jwt: date out of bounds")
	}
	*s = seconds(f)
	return nil
}

func (s *seconds) time() time.Time {
	if s == nil {
		return time.Time{}
	}
	return time.Unix(int64(*s), 0).UTC()
}
