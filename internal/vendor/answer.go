package vendor

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// answer is a vendor's JSON object, read by paths. Values stay undecoded, so
// that a long number keeps all its digits.
type answer map[string]json.RawMessage

// parseAnswer returns nil for everything that is not a JSON object.
func parseAnswer(b []byte) answer {
	var a answer
	if wire.DecodeForeign(b, &a) != nil {
		return nil
	}
	return a
}

// at returns the value at a path, or nil if there is none or it is null. A step
// that is a number counts the members of a list from 0.
func (a answer) at(path string) json.RawMessage {
	for path != "" && a != nil {
		step, rest, more := strings.Cut(path, ".")
		raw := a[step]
		if !more {
			if string(raw) == "null" {
				return nil
			}
			return raw
		}
		a, path = parts(raw), rest
	}
	return nil
}

// parts returns the members of an object by name and those of a list by number,
// and nil for everything else.
func parts(raw json.RawMessage) answer {
	var object answer
	if json.Unmarshal(raw, &object) == nil {
		return object
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	a := answer{}
	for i, member := range list {
		a[strconv.Itoa(i)] = member
	}
	return a
}

// text returns the string or number at a path, and "" for everything else.
func (a answer) text(path string) string {
	raw := a.at(path)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// Profile is what is told about an account, read by paths such as "data.name".
// The zero Profile tells nothing.
type Profile struct{ answer answer }

// ParseProfile reads a JSON object; everything else tells nothing.
func ParseProfile(b []byte) Profile { return Profile{parseAnswer(b)} }

// Text returns the string or number at a path without what cannot be printed,
// and "" for everything else.
func (p Profile) Text(path string) string { return printable(p.answer.text(path)) }

// Exact returns the string or number at a path, and "" for one that [Profile.Text]
// would change: what names an account must not become another's name.
func (p Profile) Exact(path string) string {
	s := p.answer.text(path)
	if s != printable(s) || strings.ContainsRune(s, utf8.RuneError) {
		return ""
	}
	return s
}

// True reports whether there is the boolean true at a path.
func (p Profile) True(path string) bool { return string(p.answer.at(path)) == "true" }

// failed reports whether the answer itself says that it is an error, and which.
func (a answer) failed(e Errors) (code, word string, failed bool) {
	for _, path := range e.Code {
		if c := a.text(path); c != "" && c != "0" && code == "" {
			code = c
		}
	}
	for _, path := range e.Error {
		raw := a.at(path)
		if raw == nil || string(raw) == `""` {
			continue
		}
		failed = true // an object or a list is an error too, if one without a word
		if word == "" {
			word = a.text(path)
		}
	}
	if e.OK != "" && string(a.at(e.OK)) != "true" {
		failed = true
	}
	return code, word, failed || code != ""
}

// maxToken bounds a token in bytes; net/http servers take headers of 1 MiB, but
// nobody's tokens come near this.
const maxToken = 16 << 10

// maxLifetime is ten years: a vendor that tells more does not tell seconds.
const maxLifetime = 10 * 365 * 24 * time.Hour

// Tokens is what a vendor gave. Zero times are unknown: such a token is used
// until the vendor refuses it.
type Tokens struct {
	Access           secret.Text // never empty
	Refresh          secret.Text // empty: the answer had none, so an older one stays what it was
	TokenType        string      // "Bearer"
	ID               secret.Text // the ID token of an OpenID provider, unverified; empty: there was none
	Scopes           name.Scopes
	ScopesKnown      bool // false: the vendor did not say; then it is what was asked for (RFC 6749, section 5.1)
	ExpiresAt        time.Time
	RefreshExpiresAt time.Time
}

// tokens reads a token answer that does not say it is an error; asked is when
// the request was sent. It reports false for an answer without a token that can
// be used: empty, not a string, not fit for a header, or of another type than
// Bearer.
func (a answer) tokens(t Token, asked time.Time) (Tokens, bool) {
	access, ok := a.token(t.AccessToken)
	if !ok || access.Empty() {
		return Tokens{}, false
	}
	refresh, ok := a.token(t.RefreshToken)
	if !ok {
		return Tokens{}, false
	}
	if typ := a.text(t.TokenType); typ != "" && !strings.EqualFold(typ, oauth.TokenTypeBearer) {
		return Tokens{}, false
	}
	id, ok := a.token("id_token")
	if !ok {
		return Tokens{}, false
	}
	got := Tokens{Access: access, Refresh: refresh, TokenType: oauth.TokenTypeBearer, ID: id}
	got.Scopes, got.ScopesKnown = a.scopes(t.Scope, t.ScopeSeparators)
	lifetime := a.seconds(t.ExpiresIn)
	if at := a.text(t.ExpiresAt); at != "" {
		if unix, err := strconv.ParseInt(at, 10, 64); err == nil && unix > asked.Unix() && unix-asked.Unix() <= int64(maxLifetime/time.Second) {
			lifetime = time.Duration(unix-asked.Unix()) * time.Second
		}
	}
	if lifetime == 0 {
		lifetime = t.Lifetime
	}
	if lifetime > 0 {
		got.ExpiresAt = asked.Add(lifetime)
	}
	if lifetime := a.seconds(t.RefreshExpiresIn); lifetime > 0 && !refresh.Empty() {
		got.RefreshExpiresAt = asked.Add(lifetime)
	}
	return got, true
}

// token returns the token at a path. It reports false if there is something
// that cannot be a token (RFC 6749, appendix A.12: visible ASCII).
func (a answer) token(path string) (secret.Text, bool) {
	raw := a.at(path)
	if raw == nil {
		return secret.Text{}, true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil || len(s) > maxToken {
		return secret.Text{}, false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return secret.Text{}, false
		}
	}
	return secret.FromString(s), true
}

func (a answer) scopes(path, separators string) (name.Scopes, bool) {
	raw := a.at(path)
	if raw == nil {
		return name.Scopes{}, false
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		list = strings.FieldsFunc(a.text(path), func(r rune) bool { return strings.ContainsRune(separators, r) })
	}
	scopes, err := name.NewScopes(list...)
	return scopes, err == nil
}

// seconds returns the duration at a path, and 0 for one that is absent or makes
// no sense.
func (a answer) seconds(path string) time.Duration {
	f, err := strconv.ParseFloat(a.text(path), 64)
	if err != nil || math.IsNaN(f) || f < 1 || f > maxLifetime.Seconds() {
		return 0
	}
	return time.Duration(f) * time.Second
}
