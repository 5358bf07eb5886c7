package reqsign_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/volcengine/volc-sdk-golang/base"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
)

const (
	keyID     = "AKIDEXAMPLE"
	keySecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	session   = "a/session+token=="
)

var (
	moment = time.Date(2026, 11, 22, 21, 5, 47, 0, time.UTC)
	scope  = reqsign.Scope{Region: "cn-north-1", Service: "sts"}
)

func key(session string) reqsign.Key {
	return reqsign.Key{ID: keyID, Secret: secret.FromString(keySecret), Session: secret.FromString(session)}
}

// sample is a request before it is signed.
type sample struct{ method, address, contentType, body string }

func samples() map[string]sample {
	return map[string]sample{
		"nothing":           {"GET", "https://sts.example", "", ""},
		"a query":           {"GET", "https://sts.example/?Version=2018-01-01&Action=AssumeRole&RoleTrn=trn%3Aiam%3A%3A1%3Arole%2Fa+b", "", ""},
		"signs and Chinese": {"GET", "https://sts.example/?b=%2B%25~*'()&a=%E4%BD%A0%E5%A5%BD&empty=&A=1&a-b=1&a.b=2", "", ""},
		"repeated names":    {"GET", "https://sts.example/?a=b&a=a%2Fb&a=a-b", "", ""},
		"a form":            {"POST", "https://sts.example/", "application/x-www-form-urlencoded; charset=utf-8", "Action=AssumeRole&Policy=%7B%7D"},
		"JSON in Chinese":   {"POST", "https://sts.example/?Action=X", "application/json", `{"name": "你好 "}`},
		"a path":            {"PUT", "https://sts.example/a/b%20c/~d*/%E4%BD%A0/", "", "x"},
		"a port":            {"GET", "https://sts.example:8443/?a=1", "", ""},
		"the usual port":    {"GET", "https://sts.example:443/?a=1", "", ""},
		"upper case":        {"GET", "https://STS.Example/?a=1", "", ""},
	}
}

func (s sample) request(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest(s.method, s.address, strings.NewReader(s.body))
	must(t, err)
	if s.contentType != "" {
		r.Header.Set("Content-Type", s.contentType)
	}
	return r
}

// received returns r as a server reads it from the wire.
func received(t testing.TB, r *http.Request, body string) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	r.Body = io.NopCloser(strings.NewReader(body))
	must(t, r.Write(&wire))
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	must(t, err)
	return got
}

func verify(t testing.TB, r *http.Request, body string, k reqsign.Key, now time.Time) error {
	t.Helper()
	sig, err := reqsign.Parse(r)
	if err != nil {
		return err
	}
	return sig.Verify(r, []byte(body), k, now)
}

func hashOf(body string) string {
	h := sha256.Sum256([]byte(body))
	return hex.EncodeToString(h[:])
}

// official signs r with the vendor's own signer.
func official(t testing.TB, s reqsign.Scheme, r *http.Request, body, session string) {
	t.Helper()
	if s == reqsign.Volcengine {
		r.Header.Set("X-Date", moment.Format("20060102T150405Z"))
		base.Sign4(r, base.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret, Service: scope.Service, Region: scope.Region, SessionToken: session})
		return
	}
	must(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret, SessionToken: session},
		r, hashOf(body), scope.Service, scope.Region, moment))
}

// TestOfficialSigners: what the vendors' own clients sign is verified, and is
// not once anything of it is changed.
func TestOfficialSigners(t *testing.T) {
	for scheme, vendor := range map[reqsign.Scheme]string{reqsign.Volcengine: "Volcengine", reqsign.AWS: "AWS"} {
		for what, s := range samples() {
			for _, token := range []string{"", session} {
				t.Run(vendor+" "+what+" "+token, func(t *testing.T) {
					r := s.request(t)
					official(t, scheme, r, s.body, token)
					got := received(t, r, s.body)
					if err := verify(t, got, s.body, key(token), moment.Add(time.Minute)); err != nil {
						t.Fatalf("refused: %v, %v", err, got.Header)
					}
					sig, err := reqsign.Parse(got)
					must(t, err)
					if sig.Scheme != scheme || sig.KeyID != keyID || sig.Scope != scope || !sig.Date.Equal(moment) || sig.Query || sig.Session.RevealString() != token {
						t.Errorf("read %+v", sig)
					}
					tamper(t, got, s.body, token)
				})
			}
		}
	}
}

func tamper(t *testing.T, good *http.Request, body, token string) {
	t.Helper()
	for what, change := range map[string]func(r *http.Request){
		"method": func(r *http.Request) { r.Method = "DELETE" },
		"path":   func(r *http.Request) { r.URL.Path, r.URL.RawPath = r.URL.Path+"x", "" },
		"query":  func(r *http.Request) { r.URL.RawQuery += "&z=1" },
		"host":   func(r *http.Request) { r.Host = "other.example" },
		"region": func(r *http.Request) { replace(r, "cn-north-1", "cn-north-2") },
		"key":    func(r *http.Request) { replace(r, keyID, "AKIDEXAMPLF") },
		"mac":    func(r *http.Request) { replace(r, "Signature=", "Signature=00") },
	} {
		r := good.Clone(t.Context())
		change(r)
		if err := verify(t, r, body, key(token), moment); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("another %s: %v", what, err)
		}
	}
	if err := verify(t, good, body+" ", key(token), moment); !fault.HasCode(err, "signature_wrong") {
		t.Errorf("another body: %v", err)
	}
	for what, k := range map[string]reqsign.Key{"secret": {ID: keyID, Secret: secret.FromString(keySecret + "x"), Session: key(token).Session}, "no secret": {ID: keyID}} {
		if err := verify(t, good, body, k, moment); !fault.HasCode(err, "signature_wrong") {
			t.Errorf("another %s: %v", what, err)
		}
	}
	if err := verify(t, good, body, key(token+"x"), moment); !fault.HasCode(err, "session_token_wrong") {
		t.Errorf("another session token: %v", err)
	}
	for _, at := range []time.Time{moment.Add(reqsign.MaxSkew + time.Second), moment.Add(-reqsign.MaxSkew - time.Second)} {
		if err := verify(t, good, body, key(token), at); !fault.HasCode(err, "signature_expired") {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

func replace(r *http.Request, old, with string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, with, 1))
}

// TestSignIsTheOfficialSigners: over the same headers, our signature is theirs.
func TestSignIsTheOfficialSigners(t *testing.T) {
	for scheme, hashHeader := range map[reqsign.Scheme]string{reqsign.Volcengine: "X-Content-Sha256", reqsign.AWS: "X-Amz-Content-Sha256"} {
		for what, s := range samples() {
			for _, token := range []string{"", session} {
				if s.contentType == "" && scheme == reqsign.Volcengine {
					s.contentType = "application/x-www-form-urlencoded; charset=utf-8" // which their signer adds
				}
				ours, theirs := s.request(t), s.request(t)
				scheme.Sign(ours, []byte(s.body), key(token), scope, moment)
				theirs.Header.Set(hashHeader, hashOf(s.body))
				if scheme == reqsign.AWS {
					theirs.ContentLength = 0 // which their signer would sign
				}
				official(t, scheme, theirs, s.body, token)
				if a, b := ours.Header.Get("Authorization"), theirs.Header.Get("Authorization"); a != b {
					t.Errorf("%d %s:\n%s\n%s", scheme, what, a, b)
				}
				if err := verify(t, received(t, ours, s.body), s.body, key(token), moment); err != nil {
					t.Errorf("%d %s: our own signature: %v", scheme, what, err)
				}
			}
		}
	}
}

// TestQueryForm verifies addresses that the official signers made.
func TestQueryForm(t *testing.T) {
	s := sample{"GET", "https://sts.example/?Action=GetCallerIdentity&Version=2018-01-01", "", ""}
	for _, token := range []string{"", session} {
		r := s.request(t)
		r.URL.RawQuery = base.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret, Service: scope.Service, Region: scope.Region, SessionToken: token}.SignUrl(r)
		got := received(t, r, "")
		if err := verify(t, got, "", key(token), time.Now()); err != nil {
			t.Errorf("Volcengine: %v", err)
		}
		if err := verify(t, got, "x", key(token), time.Now()); !fault.HasCode(err, "signature_wrong") {
			t.Errorf("Volcengine, with a body that is not signed: %v", err)
		}
		got.URL.RawQuery += "&a=1"
		if err := verify(t, got, "", key(token), time.Now()); !fault.HasCode(err, "signature_wrong") {
			t.Errorf("Volcengine, another query: %v", err)
		}

		r = s.request(t)
		r.URL.RawQuery += "&X-Amz-Expires=3600"
		address, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret, SessionToken: token}, r, hashOf(""), scope.Service, scope.Region, moment)
		must(t, err)
		got = received(t, sample{"GET", address, "", ""}.request(t), "")
		if err := verify(t, got, "", key(token), moment.Add(time.Hour)); err != nil {
			t.Errorf("AWS: %v", err)
		}
		if err := verify(t, got, "", key(token), moment.Add(time.Hour+time.Second)); !fault.HasCode(err, "signature_expired") {
			t.Errorf("AWS, an hour later: %v", err)
		}
		got.Host = "other.example"
		if err := verify(t, got, "", key(token), moment); !fault.HasCode(err, "signature_wrong") {
			t.Errorf("AWS, at another host: %v", err)
		}
	}
}

// TestAWSExample is the example of AWS's documentation of SigV4.
func TestAWSExample(t *testing.T) {
	r := sample{"GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "application/x-www-form-urlencoded; charset=utf-8", ""}.request(t)
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, "+
		"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
	k := reqsign.Key{ID: keyID, Secret: secret.FromString("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")}
	if err := verify(t, r, "", k, time.Date(2015, 8, 30, 12, 40, 0, 0, time.UTC)); err != nil {
		t.Error(err)
	}
}

// TestHeadersInAnyOrder: some clients sign headers unsorted, or leave the
// session token unsigned; their signature covers them in the order that it lists.
func TestHeadersInAnyOrder(t *testing.T) {
	s := samples()["JSON in Chinese"]
	sorted := s.request(t)
	official(t, reqsign.Volcengine, sorted, s.body, "")
	replace(sorted, "content-type;host;x-content-sha256;x-date", "host;x-date;x-content-sha256;content-type")
	if err := verify(t, received(t, sorted, s.body), s.body, key(""), moment); !fault.HasCode(err, "signature_wrong") {
		t.Errorf("the order is part of what is signed: %v", err)
	}
	const list, date, credential = "host;x-date;x-content-sha256;content-type", "20261122T210547Z", "20261122/cn-north-1/sts/request"
	canonical := "POST\n/\nAction=X\nhost:sts.example\nx-date:" + date + "\nx-content-sha256:" + hashOf(s.body) + "\ncontent-type:application/json\n\n" + list + "\n" + hashOf(s.body)
	derived := []byte(keySecret)
	for _, part := range []string{"20261122", "cn-north-1", "sts", "request", "HMAC-SHA256\n" + date + "\n" + credential + "\n" + hashOf(canonical)} {
		m := hmac.New(sha256.New, derived)
		m.Write([]byte(part))
		derived = m.Sum(nil)
	}
	r := s.request(t)
	r.Header.Set("X-Date", date)
	r.Header.Set("X-Content-Sha256", hashOf(s.body))
	r.Header.Set("X-Security-Token", session)
	r.Header.Set("Authorization", "HMAC-SHA256 Credential="+keyID+"/"+credential+", SignedHeaders="+list+", Signature="+hex.EncodeToString(derived))
	if err := verify(t, received(t, r, s.body), s.body, key(session), moment); err != nil {
		t.Errorf("unsorted, with an unsigned session token: %v", err)
	}
}

func TestMalformedSignatures(t *testing.T) {
	s := samples()["a query"]
	for what, change := range map[string]func(r *http.Request){
		"none":               func(r *http.Request) { r.Header.Del("Authorization") },
		"two":                func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"another scheme":     func(r *http.Request) { replace(r, "HMAC-SHA256", "HMAC-SHA1") },
		"the other's scope":  func(r *http.Request) { replace(r, "/request", "/aws4_request") },
		"no host":            func(r *http.Request) { replace(r, "host;", "") },
		"a header twice":     func(r *http.Request) { replace(r, "host;", "host;host;") },
		"two values":         func(r *http.Request) { r.Header.Add("Content-Type", "a/b") },
		"two dates":          func(r *http.Request) { r.Header.Add("X-Date", "20260101T000000Z") },
		"another date":       func(r *http.Request) { r.Header.Set("X-Date", "20260101T000000Z") },
		"no date":            func(r *http.Request) { r.Header.Del("X-Date") },
		"a field twice":      func(r *http.Request) { replace(r, "SignedHeaders=", "SignedHeaders=a, SignedHeaders=") },
		"a long header":      func(r *http.Request) { replace(r, "host;", "host;"+strings.Repeat("a", 4<<10)+";") },
		"many headers":       func(r *http.Request) { replace(r, "host;", "host;"+strings.Repeat("a;b;c;", 30)) },
		"a long query":       func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a", 16<<10+1) },
		"a malformed query":  func(r *http.Request) { r.URL.RawQuery = "a=%zz" },
		"a short signature":  func(r *http.Request) { replace(r, "Signature=", "Signature=zz") },
		"a strange key id":   func(r *http.Request) { replace(r, keyID, "a b") },
		"a header of spaces": func(r *http.Request) { replace(r, "host;", "host; ;") },
	} {
		r := s.request(t)
		official(t, reqsign.Volcengine, r, s.body, "")
		change(r)
		if _, err := reqsign.Parse(r); !fault.HasCode(err, "signature_malformed") && !fault.HasCode(err, "signature_missing") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzVerify has strangers write signatures: none is right, none panics.
func FuzzVerify(f *testing.F) {
	f.Add("HMAC-SHA256 Credential=a/20261122/r/s/request, SignedHeaders=host;x-date, Signature="+strings.Repeat("0", 64), "20261122T210547Z", "a=b", "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/20261122/r/s/aws4_request,SignedHeaders=host,Signature="+strings.Repeat("f", 64), "20261122T210547Z", "", "body")
	f.Add("", "", "X-Algorithm=HMAC-SHA256&X-Credential=a/20261122/r/s/request&X-Date=20261122T210547Z&X-Signature="+strings.Repeat("0", 64), "")
	f.Fuzz(func(t *testing.T, authorization, date, query, body string) {
		r := sample{"GET", "https://sts.example/", "", body}.request(t)
		r.URL.RawQuery = query
		r.Header.Set("X-Date", date)
		r.Header.Set("X-Amz-Date", date)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if err := verify(t, r, body, key(""), moment); err == nil {
			t.Errorf("a stranger signed for us: %q %q", authorization, query)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
