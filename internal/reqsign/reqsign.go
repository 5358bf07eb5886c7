// Package reqsign signs and verifies requests as Volcengine (signature version 4) and AWS (SigV4) do.
//
// The two are one method with other words: a request is written in a canonical
// form, and that is signed with a key that is good for one day, region and
// service. What the official clients do is what counts where documents are
// silent; the tests compare with them.
package reqsign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
)

// Scheme is a dialect of signatures.
type Scheme int

// The schemes.
const (
	Volcengine Scheme = iota + 1
	AWS
)

// words are what a scheme calls things.
type words struct {
	algorithm  string
	keyPrefix  string // before the secret, where the key is derived
	terminator string // of the credential scope
	param      string // prefix of its headers and query parameters
	hash       string // header that tells the body's hash
}

func (s Scheme) words() words {
	if s == AWS {
		return words{"AWS4-HMAC-SHA256", "AWS4", "aws4_request", "X-Amz-", "X-Amz-Content-Sha256"}
	}
	return words{"HMAC-SHA256", "", "request", "X-", "X-Content-Sha256"}
}

// Key is an access key, or temporary keys if Session is set.
type Key struct {
	ID      string
	Secret  secret.Text
	Session secret.Text
}

// Scope says what a signature is good for.
type Scope struct {
	Region  string
	Service string
}

const stamp = "20060102T150405Z"

// scope writes the credential scope.
func (w words) scope(day string, s Scope) string {
	return day + "/" + s.Region + "/" + s.Service + "/" + w.terminator
}

// Sign signs r, whose body is body, and puts date, body hash, session token and
// signature into its headers: of the others it signs Content-Type and Host. The
// request must not be changed afterwards.
func (s Scheme) Sign(r *http.Request, body []byte, k Key, to Scope, now time.Time) {
	w := s.words()
	date := now.UTC().Format(stamp)
	hash := sha256.Sum256(body)
	r.Header.Set(w.param+"Date", date)
	r.Header.Set(w.hash, hex.EncodeToString(hash[:]))
	signed := []string{"host", strings.ToLower(w.param + "Date"), strings.ToLower(w.hash)}
	if !k.Session.Empty() {
		r.Header.Set(w.param+"Security-Token", k.Session.RevealString())
		signed = append(signed, strings.ToLower(w.param+"Security-Token"))
	}
	if r.Header.Get("Content-Type") != "" {
		signed = append(signed, "content-type")
	}
	slices.Sort(signed)
	list := strings.Join(signed, ";")
	canonical := canonicalRequest(s, r, r.URL.Query(), headerLines(s, r, signed, hostOf(r)), list, hash)
	signature := w.sign(k.Secret, date, to, canonical)
	r.Header.Set("Authorization", w.algorithm+" Credential="+k.ID+"/"+w.scope(date[:8], to)+", SignedHeaders="+list+", Signature="+hex.EncodeToString(signature))
}

// sign signs a canonical request with the key of its day, region and service.
func (w words) sign(key secret.Text, date string, to Scope, canonical string) []byte {
	hash := sha256.Sum256([]byte(canonical))
	derived := append([]byte(w.keyPrefix), key.Reveal()...)
	for _, part := range []string{date[:8], to.Region, to.Service, w.terminator} {
		next := mac(derived, part)
		clear(derived)
		derived = next
	}
	defer clear(derived)
	return mac(derived, w.algorithm+"\n"+date+"\n"+w.scope(date[:8], to)+"\n"+hex.EncodeToString(hash[:]))
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
