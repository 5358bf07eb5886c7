package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/google/go-cmp/cmp"
)

const issuer = "https://idp.example"

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func generate(t testing.TB, algorithm string) jwt.Key {
	t.Helper()
	k, err := jwt.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, k jwt.Key, typ string, claims any) string {
	t.Helper()
	token, err := jwt.Sign(k, typ, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func expect() jwt.Expect {
	return jwt.Expect{
		Issuer: issuer, Audience: "api", Types: []string{"at+jwt"}, Algorithms: []string{jwt.ES256, jwt.EdDSA, jwt.RS256},
		Skew: 30 * time.Second, Now: func() time.Time { return epoch },
	}
}

func claims(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": issuer, "sub": "user-1", "aud": "api", "client_id": "chat", "scope": "openid email", "jti": "id-1",
		"iat": epoch.Add(-time.Minute).Unix(), "exp": epoch.Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func TestVerifyReturnsTheClaims(t *testing.T) {
	for _, algorithm := range []string{jwt.ES256, jwt.EdDSA, jwt.RS256} {
		k := generate(t, algorithm)
		got, err := jwt.NewSet(k).Verify(sign(t, k, "at+jwt", claims(map[string]any{"nbf": epoch.Unix(), "extra": true})), expect())
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		want := jwt.Claims{
			Issuer: issuer, Subject: "user-1", ID: "id-1", ClientID: "chat", Audience: []string{"api"}, Scope: "openid email",
			IssuedAt: epoch.Add(-time.Minute), ExpiresAt: epoch.Add(time.Hour), NotBefore: epoch,
		}
		raw := got.Raw
		got.Raw = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		var extra struct{ Extra bool }
		if err := json.Unmarshal(raw, &extra); err != nil || !extra.Extra {
			t.Errorf("raw claims: %s", raw)
		}
	}
}

func TestVerifyJudgesClaims(t *testing.T) {
	k := generate(t, jwt.ES256)
	set := jwt.NewSet(k)
	at := func(d time.Duration) int64 { return epoch.Add(d).Unix() }
	for _, c := range []struct {
		name   string
		change map[string]any
		code   string // "" = accepted
	}{
		{"as it is", nil, ""},
		{"audience in a list", map[string]any{"aud": []string{"x", "api"}}, ""},
		{"expired within the skew", map[string]any{"exp": at(-29 * time.Second)}, ""},
		{"expired", map[string]any{"exp": at(-30 * time.Second)}, "token_expired"},
		{"fractions of a second", map[string]any{"exp": float64(at(time.Hour)) + 0.5}, ""},
		{"no expiry", map[string]any{"exp": nil}, "token_malformed"},
		{"expiry as a string", map[string]any{"exp": "2100"}, "token_malformed"},
		{"expiry beyond time", map[string]any{"exp": 1e300}, "token_malformed"},
		{"negative expiry", map[string]any{"exp": -1}, "token_malformed"},
		{"not yet valid", map[string]any{"nbf": at(31 * time.Second)}, "token_not_yet_valid"},
		{"not yet valid within the skew", map[string]any{"nbf": at(30 * time.Second)}, ""},
		{"issued in the future", map[string]any{"iat": at(31 * time.Second)}, "token_not_yet_valid"},
		{"no time of issue", map[string]any{"iat": nil}, ""},
		{"another issuer", map[string]any{"iss": issuer + "/"}, "token_issuer"},
		{"no issuer", map[string]any{"iss": nil}, "token_issuer"},
		{"issuer of another type", map[string]any{"iss": []string{issuer}}, "token_malformed"},
		{"another audience", map[string]any{"aud": "api2"}, "token_audience"},
		{"no audience", map[string]any{"aud": nil}, "token_audience"},
		{"empty audience", map[string]any{"aud": []string{}}, "token_audience"},
		{"audience of another type", map[string]any{"aud": map[string]any{"api": true}}, "token_malformed"},
		{"issuer in another letter case only", map[string]any{"iss": nil, "ISS": issuer}, "token_issuer"},
		{"second issuer in another letter case", map[string]any{"iss": issuer, "ISS": "https://evil.example"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := set.Verify(sign(t, k, "at+jwt", claims(c.change)), expect())
			check(t, err, c.code)
		})
	}
}

func check(t *testing.T, err error, code string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if !fault.HasCode(err, code) || !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("got %v, want %s", err, code)
	}
}

// forge signs arbitrary header and payload bytes with an ES256 key.
func forge(t *testing.T, k jwt.Key, header, payload string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.Private.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestVerifyJudgesTheForm(t *testing.T) {
	k, other := generate(t, jwt.ES256), generate(t, jwt.ES256)
	set := jwt.NewSet(k, generate(t, jwt.RS256))
	payload, _ := json.Marshal(claims(nil))
	header := func(more string) string { return fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"at+jwt"%s}`, k.ID, more) }
	good := forge(t, k, header(""), string(payload))
	if _, err := set.Verify(good, expect()); err != nil {
		t.Fatal(err)
	}
	h, rest, _ := strings.Cut(good, ".")
	body, sig, _ := strings.Cut(rest, ".")
	public, _ := x509.MarshalPKIXPublicKey(k.Private.Public())
	mac := hmac.New(sha256.New, public)
	hs := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"`+k.ID+`","typ":"at+jwt"}`)) + "." + body
	mac.Write([]byte(hs))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
	duplicate := strings.Replace(string(payload), "{", `{"sub":"admin",`, 1)

	for name, c := range map[string]struct{ token, code string }{
		"empty":                {"", "token_malformed"},
		"one part":             {"abc", "token_malformed"},
		"two parts":            {h + "." + body, "token_malformed"},
		"four parts":           {good + ".x", "token_malformed"},
		"five parts (JWE)":     {good + ".x.y", "token_malformed"},
		"JSON serialization":   {`{"payload":"` + body + `","protected":"` + h + `","signature":"` + sig + `"}`, "token_malformed"},
		"line break":           {good[:10] + "\n" + good[10:], "token_malformed"},
		"padding":              {good + "=", "token_malformed"},
		"unused bits set":      {good[:len(good)-1] + next(good), "token_malformed"},
		"blank":                {" " + good, "token_malformed"},
		"too large":            {h + "." + strings.Repeat("A", jwt.MaxToken) + "." + sig, "token_malformed"},
		"header not JSON":      {base64.RawURLEncoding.EncodeToString([]byte("nope")) + "." + body + "." + sig, "token_malformed"},
		"payload not JSON":     {forge(t, k, header(""), "nope"), "token_malformed"},
		"payload an array":     {forge(t, k, header(""), "[]"), "token_malformed"},
		"a claim twice":        {forge(t, k, header(""), duplicate), "token_malformed"},
		"a header twice":       {forge(t, k, header(`,"alg":"ES256"`), string(payload)), "token_malformed"},
		"crit":                 {forge(t, k, header(`,"crit":["exp"],"exp":1`), string(payload)), "token_malformed"},
		"crit b64":             {forge(t, k, header(`,"crit":["b64"],"b64":true`), string(payload)), "token_malformed"},
		"crit null":            {forge(t, k, header(`,"crit":[]`), string(payload)), "token_malformed"},
		"b64 without crit":     {forge(t, k, header(`,"b64":false`), string(payload)), "token_malformed"},
		"none":                 {none + "." + body + ".", "token_algorithm"},
		"none with signature":  {none + "." + body + "." + sig, "token_algorithm"},
		"HMAC with public key": {hs + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), "token_algorithm"},
		"no algorithm":         {forge(t, k, `{"typ":"at+jwt","kid":"`+k.ID+`"}`, string(payload)), "token_algorithm"},
		"algorithm not listed": {forge(t, k, `{"alg":"PS256","typ":"at+jwt","kid":"`+k.ID+`"}`, string(payload)), "token_algorithm"},
		"key of another kind":  {forge(t, k, `{"alg":"RS256","typ":"at+jwt","kid":"`+k.ID+`"}`, string(payload)), "token_unknown_key"},
		"no type":              {forge(t, k, `{"alg":"ES256","kid":"`+k.ID+`"}`, string(payload)), "token_type"},
		"another type":         {sign(t, k, "wat+jwt", claims(nil)), "token_type"},
		"type of another type": {forge(t, k, `{"alg":"ES256","kid":"`+k.ID+`","typ":1}`, string(payload)), "token_type"},
		"unknown key":          {sign(t, other, "at+jwt", claims(nil)), "token_unknown_key"},
		"key in the header":    {forge(t, other, header(`,"jwk":`+string(firstKey(t, other))), string(payload)), "token_signature"},
		"key address":          {forge(t, other, header(`,"jku":"https://evil.example/keys"`), string(payload)), "token_signature"},
		"signature cut":        {good[:len(good)-6], "token_signature"},
		"no signature":         {h + "." + body + ".", "token_signature"},
		"signature of another": {forge(t, other, header(""), string(payload)), "token_signature"},
		"payload exchanged":    {h + "." + base64.RawURLEncoding.EncodeToString([]byte(duplicate)) + "." + sig, "token_signature"},
		"type in capitals":     {forge(t, k, strings.Replace(header(""), "at+jwt", "AT+JWT", 1), string(payload)), ""},
		"type in full":         {forge(t, k, strings.Replace(header(""), "at+jwt", "application/at+jwt", 1), string(payload)), ""},
		"no key id, one key":   {forge(t, k, `{"alg":"ES256","typ":"at+jwt"}`, string(payload)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := set.Verify(c.token, expect())
			check(t, err, c.code)
		})
	}
	two := jwt.NewSet(k, other)
	_, err := two.Verify(forge(t, k, `{"alg":"ES256","typ":"at+jwt"}`, string(payload)), expect())
	check(t, err, "token_unknown_key")
}

// next returns the character after the last one of s in base64url's alphabet.
func next(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])+1])
}

func firstKey(t *testing.T, k jwt.Key) json.RawMessage {
	t.Helper()
	var doc struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(jwt.NewSet(k).JWKS(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Keys[0]
}

func TestUntyped(t *testing.T) {
	k := generate(t, jwt.ES256)
	payload, err := json.Marshal(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	e := expect()
	for header, want := range map[string]string{
		`{"alg":"ES256"}`:                       "",
		`{"alg":"ES256","typ":"at+jwt"}`:        "",
		`{"alg":"ES256","typ":""}`:              "token_type",
		`{"alg":"ES256","typ":1}`:               "token_type",
		`{"alg":"ES256","typ":"something+jwt"}`: "token_type",
	} {
		e.Untyped = true
		_, err := jwt.NewSet(k).Verify(forge(t, k, header, string(payload)), e)
		check(t, err, want)
		e.Untyped = false
		if _, err = jwt.NewSet(k).Verify(forge(t, k, header, string(payload)), e); want == "" && header == `{"alg":"ES256"}` {
			check(t, err, "token_type")
		}
	}
}

func TestClaimed(t *testing.T) {
	k := generate(t, jwt.ES256)
	for token, want := range map[string][2]string{
		sign(t, k, "JWT", map[string]any{"iss": "i", "sub": "cli_1"}):   {"i", "cli_1"},
		forge(t, k, `{"alg":"HS256"}`, `{"sub":"cli_1"}`):               {"", "cli_1"}, // whether it is true is not the question
		sign(t, k, "JWT", map[string]any{}):                             {},
		sign(t, k, "JWT", map[string]any{"iss": "i", "sub": 1}):         {},
		forge(t, k, `{"alg":"ES256"}`, `{"sub":"cli_1","sub":"cli_2"}`): {},
		"":                                  {},
		"a.b":                               {},
		"a.!.c":                             {},
		strings.Repeat("a", jwt.MaxToken+1): {},
	} {
		if issuer, subject := jwt.Claimed(token); issuer != want[0] || subject != want[1] {
			t.Errorf("%.40s: %q of %q", token, subject, issuer)
		}
	}
}

// TestAnyIssuer: what an SVID says as its issuer, if anything, means nothing.
func TestAnyIssuer(t *testing.T) {
	k := generate(t, jwt.ES256)
	e := expect()
	e.Issuer, e.AnyIssuer = "", true
	for _, issuer := range []any{nil, "https://elsewhere"} {
		_, err := jwt.NewSet(k).Verify(sign(t, k, "at+jwt", claims(map[string]any{"iss": issuer})), e)
		check(t, err, "")
	}
	e.Issuer = "https://one"
	if err := e.Check(); !fault.HasCode(err, "token_expectation") {
		t.Errorf("one issuer and any: %v", err)
	}
}

func TestExpectIsChecked(t *testing.T) {
	k := generate(t, jwt.ES256)
	token := sign(t, k, "at+jwt", claims(nil))
	for name, change := range map[string]func(*jwt.Expect){
		"no issuer":        func(e *jwt.Expect) { e.Issuer = "" },
		"no types":         func(e *jwt.Expect) { e.Types = nil },
		"empty type":       func(e *jwt.Expect) { e.Types = []string{""} },
		"no algorithms":    func(e *jwt.Expect) { e.Algorithms = nil },
		"none":             func(e *jwt.Expect) { e.Algorithms = []string{"none"} },
		"HMAC":             func(e *jwt.Expect) { e.Algorithms = []string{"ES256", "HS256"} },
		"too much skew":    func(e *jwt.Expect) { e.Skew = time.Minute + 1 },
		"a negative skew":  func(e *jwt.Expect) { e.Skew = -1 },
		"not an algorithm": func(e *jwt.Expect) { e.Algorithms = []string{"es256"} },
	} {
		e := expect()
		change(&e)
		if err := e.Check(); !fault.HasCode(err, "token_expectation") || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: Check: %v", name, err)
		}
		if _, err := jwt.NewSet(k).Verify(token, e); !fault.Is(err, fault.Internal) {
			t.Errorf("%s: Verify: %v", name, err)
		}
	}
	e := expect()
	e.Skew, e.Audience, e.Now = time.Minute, "", nil
	if err := e.Check(); err != nil {
		t.Error(err)
	}
}

func TestKeysRoundTrip(t *testing.T) {
	for _, algorithm := range []string{jwt.ES256, jwt.EdDSA, jwt.RS256} {
		k := generate(t, algorithm)
		der, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		same, err := jwt.ParseKey("", algorithm, der)
		if err != nil || same.ID != k.ID {
			t.Errorf("%s: the thumbprint changed from %s to %s: %v", algorithm, k.ID, same.ID, err)
		}
		named, err := jwt.ParseKey("k1", algorithm, der)
		if err != nil || named.ID != "k1" {
			t.Errorf("got %v, %v", named, err)
		}
		if _, err := jwt.NewSet(k).Verify(sign(t, same, "at+jwt", claims(nil)), expect()); err != nil {
			t.Error(err)
		}
		for _, wrong := range []string{jwt.ES256, jwt.EdDSA, jwt.RS256, "HS256", ""} {
			if _, err := jwt.ParseKey("", wrong, der); (err == nil) != (wrong == algorithm) {
				t.Errorf("a key for %s as one for %q: %v", algorithm, wrong, err)
			}
		}
	}
	if _, err := jwt.Generate("HS256"); !fault.HasCode(err, "signing_algorithm") {
		t.Errorf("got %v", err)
	}
	if _, err := jwt.ParseKey("", jwt.ES256, []byte("nonsense")); !fault.HasCode(err, "signing_key_invalid") {
		t.Errorf("got %v", err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(p384)
	if _, err := jwt.ParseKey("", jwt.ES256, der); !fault.HasCode(err, "signing_key_invalid") {
		t.Errorf("got %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	k := generate(t, jwt.ES256)
	for name, f := range map[string]func() (string, error){
		"no type":       func() (string, error) { return jwt.Sign(k, "", claims(nil)) },
		"no key":        func() (string, error) { return jwt.Sign(jwt.Key{}, "at+jwt", claims(nil)) },
		"not an object": func() (string, error) { return jwt.Sign(k, "at+jwt", []string{"x"}) },
		"not JSON":      func() (string, error) { return jwt.Sign(k, "at+jwt", func() {}) },
		"too large": func() (string, error) {
			return jwt.Sign(k, "at+jwt", claims(map[string]any{"x": strings.Repeat("x", jwt.MaxToken)}))
		},
	} {
		if token, err := f(); err == nil || token != "" {
			t.Errorf("%s: got %q, %v", name, token, err)
		}
	}
}

func TestPrivateKeysDoNotPrint(t *testing.T) {
	k := generate(t, jwt.ES256)
	private := k.Private.(*ecdsa.PrivateKey)
	d, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", k, "holder", struct{ Key jwt.Key }{k})
	for _, s := range []string{
		fmt.Sprint(k), fmt.Sprintf("%+v %#v %x %q", k, k, k, k), fmt.Sprintf("%+v %#v", struct{ Key jwt.Key }{k}, &k), log.String(),
	} {
		for _, form := range []string{fmt.Sprintf("%x", d), base64.RawURLEncoding.EncodeToString(d), fmt.Sprint(d), new(big.Int).SetBytes(d).String()} {
			if strings.Contains(s, form) {
				t.Errorf("a private key is in %q", s)
			}
		}
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("a private key becomes JSON")
	}
	if jwks := string(jwt.NewSet(k).JWKS()); strings.Contains(jwks, `"d"`) {
		t.Errorf("a private key is in the JWK set: %s", jwks)
	}
}

func TestParseSet(t *testing.T) {
	ec, ed, rs := generate(t, jwt.ES256), generate(t, jwt.EdDSA), generate(t, jwt.RS256)
	set, err := jwt.ParseSet(jwt.NewSet(ec, ed, rs).JWKS())
	if err != nil || set.Len() != 3 {
		t.Fatalf("got %d keys, %v", set.Len(), err)
	}
	if _, err := set.Verify(sign(t, ed, "at+jwt", claims(nil)), expect()); err != nil {
		t.Error(err)
	}
	if got := string(jwt.NewSet().JWKS()); got != `{"keys":[]}` {
		t.Errorf("the empty set is %s", got)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := jwt.NewSet(jwt.Key{ID: "weak", Algorithm: jwt.RS256, Private: crypto.Signer(small)}).JWKS()
	pub := string(firstKey(t, ec))
	encryption := strings.Replace(pub, `"sig"`, `"enc"`, 1)
	hmacAlg := strings.Replace(pub, `"ES256"`, `"HS256"`, 1)
	for name, c := range map[string]struct {
		doc  string
		keys int
		ok   bool
	}{
		"no keys":        {`{"keys":[]}`, 0, true},
		"more members":   {`{"keys":[` + pub + `],"x":1}`, 1, true},
		"unknown kind":   {`{"keys":[{"kty":"XYZ","kid":"a"},` + pub + `]}`, 1, true},
		"symmetric":      {`{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}`, 0, true},
		"for encryption": {`{"keys":[` + encryption + `]}`, 0, true},
		"HMAC algorithm": {`{"keys":[` + hmacAlg + `]}`, 0, true},
		"too short RSA":  {string(weak), 0, true},
		"not a key":      {`{"keys":["x"]}`, 0, true},
		"twice the kid":  {`{"keys":[` + pub + `,` + pub + `]}`, 0, false},
		"keys twice":     {`{"keys":[],"keys":[]}`, 0, false},
		"keys missing":   {`{}`, 0, false},
		"keys null":      {`{"keys":null}`, 0, false},
		"not a set":      {`[]`, 0, false},
		"HTML":           {`<html>`, 0, false},
		"too many":       {`{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`, 0, false},
		"off the curve":  {`{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","kid":"a"}]}`, 0, true},
	} {
		set, err := jwt.ParseSet([]byte(c.doc))
		if (err == nil) != c.ok || set.Len() != c.keys {
			t.Errorf("%s: got %d keys, %v", name, set.Len(), err)
		}
		if err != nil && !fault.HasCode(err, "jwks_invalid") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVerify: no bytes of a stranger verify, and none make the verifier panic.
func FuzzVerify(f *testing.F) {
	k := generate(f, jwt.ES256)
	set := jwt.NewSet(k)
	good := sign(f, k, "at+jwt", claims(nil))
	f.Add(good)
	f.Add(good + ".")
	f.Add("..")
	f.Add(`eyJhbGciOiJub25lIn0.e30.`)
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := set.Verify(token, expect()); (err == nil) != (token == good) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

func FuzzClaimed(f *testing.F) {
	f.Add("e30.eyJzdWIiOiJjbGlfMSJ9.AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if issuer, subject := jwt.Claimed(token); issuer+subject != "" && strings.Count(token, ".") != 2 {
			t.Errorf("%q is of %q at %q", token, subject, issuer)
		}
	})
}

// TestParseBundle: a bundle also has the authorities of X.509-SVIDs, and keys that
// do not say what they are for; with neither is a JWT-SVID signed.
func TestParseBundle(t *testing.T) {
	ec := generate(t, jwt.ES256)
	pub := string(firstKey(t, ec))
	svid := strings.Replace(pub, `"sig"`, `"jwt-svid"`, 1)
	for what, c := range map[string]struct {
		doc  string
		keys int
	}{
		"for JWT-SVIDs":   {`{"spiffe_sequence":3,"spiffe_refresh_hint":300,"keys":[` + svid + `]}`, 1},
		"for X.509-SVIDs": {`{"keys":[` + strings.Replace(pub, `"sig"`, `"x509-svid"`, 1) + `]}`, 0},
		"for signatures":  {`{"keys":[` + pub + `]}`, 0},
		"for nothing":     {`{"keys":[` + strings.Replace(pub, `"use":"sig",`, ``, 1) + `]}`, 0},
	} {
		set, err := jwt.ParseBundle([]byte(c.doc))
		if err != nil || set.Len() != c.keys {
			t.Errorf("%s: %d keys, %v", what, set.Len(), err)
		}
	}
	if set, err := jwt.ParseSet([]byte(`{"keys":[` + svid + `]}`)); err != nil || set.Len() != 0 {
		t.Errorf("a key for SVIDs is one for tokens: %d, %v", set.Len(), err)
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add(jwt.NewSet(generate(f, jwt.ES256), generate(f, jwt.EdDSA)).JWKS())
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := jwt.ParseSet(b)
		if err != nil {
			return
		}
		again, err := jwt.ParseSet(set.JWKS())
		if err != nil || again.Len() != set.Len() {
			t.Errorf("%s becomes %s: %v", b, set.JWKS(), err)
		}
	})
}
