package reqsign

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// The bounds of what a stranger sends, and of clocks.
const (
	MaxSkew       = 15 * time.Minute // between the signer's clock and ours
	maxQuery      = 16 << 10
	maxAuthorized = 4 << 10 // bytes of the Authorization header
	maxSigned     = 64      // headers
	maxPresigned  = 7 * 24 * time.Hour
)

// Signature is what a request says about its signature. Nothing of it is proven
// before [Signature.Verify].
type Signature struct {
	Scheme  Scheme
	KeyID   string
	Session secret.Text // the session token that was sent; may be empty
	Scope   Scope
	Date    time.Time
	Query   bool // it is in the query: who has the address can send it

	expires time.Duration // after Date, of AWS's query form
	list    string        // of signed headers, as sent
	mac     []byte
}

var (
	credential = regexp.MustCompile(`^([A-Za-z0-9_=.-]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([A-Za-z0-9_-]{1,64})/(request|aws4_request)$`)
	headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
)

func malformed(what string) error {
	return fault.New(fault.Unauthenticated, "signature_malformed", "the request's signature is malformed: %s", what)
}

// Parse reads the signature of r, from its header or its query. It returns a
// fault of kind Unauthenticated: signature_missing or signature_malformed.
func Parse(r *http.Request) (Signature, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return Signature{}, malformed("the query is too long")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Signature{}, malformed("the query cannot be read")
	}
	header := r.Header.Values("Authorization")
	for _, s := range []Scheme{Volcengine, AWS} {
		w := s.words()
		if len(header) == 1 && strings.HasPrefix(header[0], w.algorithm+" ") {
			return s.parseHeader(r, strings.TrimPrefix(header[0], w.algorithm+" "))
		}
		if len(header) == 0 && query.Get(w.param+"Algorithm") == w.algorithm {
			return s.parseQuery(query)
		}
	}
	return Signature{}, fault.New(fault.Unauthenticated, "signature_missing", "the request has no signature").WithFix("sign it with an access key")
}

func (s Scheme) parseHeader(r *http.Request, text string) (Signature, error) {
	w := s.words()
	if len(text) > maxAuthorized {
		return Signature{}, malformed("the header is too long")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; !ok || twice {
			return Signature{}, malformed("the header is not a list of Credential, SignedHeaders and Signature")
		}
		fields[name] = value
	}
	for _, once := range []string{"Date", "Security-Token"} {
		if len(r.Header.Values(w.param+once)) > 1 {
			return Signature{}, malformed(w.param + once + " stands twice")
		}
	}
	sig, err := s.parse(fields["Credential"], r.Header.Get(w.param+"Date"), fields["SignedHeaders"], fields["Signature"])
	if err != nil {
		return Signature{}, err
	}
	sig.Session = secret.FromString(r.Header.Get(w.param + "Security-Token"))
	return sig, sig.checkSigned(r)
}

// checkSigned wants the host signed, which nothing else binds the signature to,
// and no header to be ambiguous.
func (sig Signature) checkSigned(r *http.Request) error {
	names := sig.signed()
	if !slices.Contains(names, "host") || len(names) > maxSigned {
		return malformed("the host is not signed, or too many headers are")
	}
	for i, n := range names {
		if !headerName.MatchString(n) || slices.Contains(names[:i], n) || sig.Scheme == Volcengine && len(r.Header.Values(n)) > 1 {
			return malformed("the signed headers are ambiguous")
		}
	}
	return nil
}

func (s Scheme) parseQuery(query url.Values) (Signature, error) {
	w := s.words()
	for _, values := range query {
		if len(values) > 1 {
			return Signature{}, malformed("a parameter stands twice")
		}
	}
	sig, err := s.parse(query.Get(w.param+"Credential"), query.Get(w.param+"Date"), query.Get(w.param+"SignedHeaders"), query.Get(w.param+"Signature"))
	if err != nil {
		return Signature{}, err
	}
	sig.Query, sig.Session = true, secret.FromString(query.Get(w.param+"Security-Token"))
	if s == Volcengine {
		if sig.list != "" {
			return Signature{}, malformed("Volcengine's query form signs no headers")
		}
		return sig, nil
	}
	seconds, err := strconv.ParseUint(query.Get("X-Amz-Expires"), 10, 32)
	if sig.expires = time.Duration(seconds) * time.Second; err != nil || seconds == 0 || sig.expires > maxPresigned {
		return Signature{}, malformed("X-Amz-Expires is not between 1 and 604800")
	}
	if names := sig.signed(); !slices.Equal(names, []string{"host"}) {
		return Signature{}, malformed("in the query form, the host is signed and no other header")
	}
	return sig, nil
}

// parse reads what both forms have.
func (s Scheme) parse(cred, date, list, signature string) (Signature, error) {
	m := credential.FindStringSubmatch(cred)
	if m == nil || m[5] != s.words().terminator {
		return Signature{}, malformed("the credential is not id/date/region/service/" + s.words().terminator)
	}
	at, err := time.Parse(stamp, date)
	if err != nil || date[:8] != m[2] {
		return Signature{}, malformed("the date is missing, malformed or not the credential's")
	}
	mac, err := hex.DecodeString(signature)
	if err != nil || len(mac) != sha256.Size {
		return Signature{}, malformed("the signature is not 64 hexadecimal digits")
	}
	return Signature{Scheme: s, KeyID: m[1], Scope: Scope{m[3], m[4]}, Date: at, list: list, mac: mac}, nil
}

// Until returns the time after which the signature is worth nothing.
func (sig Signature) Until() time.Time { return sig.Date.Add(cmp.Or(sig.expires, MaxSkew)) }

// Digest names the signature, to tell whether it was seen before. It does not
// reveal it.
func (sig Signature) Digest() secret.Hash { return secret.New(sig.mac).Digest("signature") }

func (sig Signature) signed() []string { return strings.Split(strings.ToLower(sig.list), ";") }

// Verify returns nil if sig, which is r's, was made with k over r and body, and
// is of this time. Otherwise it returns a fault of kind Unauthenticated:
//   - signature_expired if the clocks differ by more than [MaxSkew], or the address has expired,
//   - session_token_wrong if k is temporary and another session token was sent, or the other way round,
//   - signature_wrong for all else: nobody learns how far he came.
//
// body is the whole body, and the caller's to bound. Volcengine's query form
// signs none, so there must not be any. Who r is for (host) and what it asks
// (scope) are the caller's to compare.
func (sig Signature) Verify(r *http.Request, body []byte, k Key, now time.Time) error {
	if now.After(sig.Until()) || now.Sub(sig.Date) < -MaxSkew {
		return fault.New(fault.Unauthenticated, "signature_expired", "the request was signed at %s, and it is %s now", sig.Date.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithFix("set the clock of the machine that signs, and sign each request anew")
	}
	wrong := fault.New(fault.Unauthenticated, "signature_wrong", "the request's signature is not that of its access key").
		WithFix("check the secret access key, and that nothing changes the request on its way")
	if k.ID != sig.KeyID || k.Secret.Empty() {
		return wrong
	}
	ok := false
	for _, host := range hosts(r) {
		ok = ok || hmac.Equal(sig.mac, sig.expected(r, body, k, host))
	}
	if !ok || sig.Query && sig.Scheme == Volcengine && len(body) > 0 {
		return wrong
	}
	if k.Session.Empty() != sig.Session.Empty() || !k.Session.Empty() && !secret.Equal(k.Session, sig.Session) {
		return fault.New(fault.Unauthenticated, "session_token_wrong", "the session token is not the one of these temporary keys").
			WithFix("send the session token that came with the keys")
	}
	return nil
}

// hosts returns the ways in which clients sign the host: with the usual port,
// and without.
func hosts(r *http.Request) []string {
	raw, short := r.Host, hostOf(r)
	if raw == "" || raw == short {
		return []string{short}
	}
	return []string{short, raw}
}

func (sig Signature) expected(r *http.Request, body []byte, k Key, host string) []byte {
	w, query := sig.Scheme.words(), r.URL.Query()
	headers := "\n" // Volcengine's query form has no headers, and a line for them
	if sig.list != "" {
		headers = headerLines(sig.Scheme, r, sig.signed(), host)
	}
	if sig.Query {
		query.Del(w.param + "Signature")
	}
	canonical := canonicalRequest(sig.Scheme, r, query, headers, sig.list, sha256.Sum256(body))
	return w.sign(k.Secret, sig.Date.UTC().Format(stamp), sig.Scope, canonical)
}
