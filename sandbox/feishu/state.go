package feishu

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"
)

// Bounds of the tables. A test that issues more than this many tokens before it
// uses them sees the oldest ones forgotten.
const (
	maxCodes    = 4096
	maxTokens   = 8192
	maxSessions = 1024
	maxIssued   = 16384
)

// bounded is a map that forgets its oldest entry when it is full.
type bounded[V any] struct {
	items map[string]V
	order []string
	next  int
	max   int
}

func newBounded[V any](max int) *bounded[V] {
	return &bounded[V]{items: make(map[string]V), max: max}
}

// add stores v under a key that is new; keys here are random, never reused.
func (b *bounded[V]) add(key string, v V) {
	if len(b.order) < b.max {
		b.order = append(b.order, key)
	} else {
		delete(b.items, b.order[b.next])
		b.order[b.next] = key
		b.next = (b.next + 1) % b.max
	}
	b.items[key] = v
}

// code is an authorization code and what was agreed to with it.
type code struct {
	app, user   string
	redirectURI string
	challenge   string // S256 code challenge; empty when the app used no PKCE
	scopes      scopeSet
	expires     time.Time
	used        bool
}

// access is a user_access_token.
type access struct {
	app, user string
	scopes    scopeSet
	expires   time.Time
	dead      bool
}

// refresh is a refresh_token and the access token that came with it.
type refresh struct {
	app, user string
	scopes    scopeSet // the widest that a refresh may ask for by name
	access    *access
	expires   time.Time
	used      bool
	revoked   bool
}

// session is a browser that is logged in.
type session struct {
	user    string
	expires time.Time
}

type grantKey struct{ app, user string }

// state is everything that changes. One mutex guards it all: redeeming a code
// and rotating a token must be one step, or single use is not single.
type state struct {
	mu       sync.Mutex
	codes    *bounded[*code]
	accesses *bounded[*access]
	refreshs *bounded[*refresh]
	sessions *bounded[session]
	grants   map[grantKey]scopeSet // all that the user ever agreed to; bounded by apps × users
	issued   []Issued
}

func newState() *state {
	return &state{
		codes:    newBounded[*code](maxCodes),
		accesses: newBounded[*access](maxTokens),
		refreshs: newBounded[*refresh](maxTokens),
		sessions: newBounded[session](maxSessions),
		grants:   make(map[grantKey]scopeSet),
	}
}

// Issued is a value that this sandbox handed out and that must not appear in
// anybody's log.
type Issued struct {
	Kind  string `json:"kind"` // "code", "access_token", "refresh_token", "app_token" or "session"
	Value string `json:"value"`
}

// record notes a secret value; s.mu must be held.
func (s *state) record(kind, value string) {
	if len(s.issued) >= maxIssued {
		s.issued = s.issued[maxIssued/2:]
	}
	s.issued = append(s.issued, Issued{kind, value})
}

// issueCode notes the user's agreement and returns the code for it.
func (s *state) issueCode(c code) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := grantKey{c.app, c.user}
	s.grants[key] = s.grants[key].union(c.scopes)
	value := randomCode()
	s.codes.add(value, &c)
	s.record("code", value)
	return value
}

// pair is what the token endpoint hands out.
type pair struct {
	access, refresh string        // refresh is empty without offline_access
	life            time.Duration // of the access token
	scopes          scopeSet
}

// issue makes an access token and, if asked for, a refresh token; s.mu must be held.
//
// Grants are cumulative: with no narrowing the token carries everything that the
// user ever agreed to. Only offline_access is not inherited, since a refresh
// token is given only to those who asked for it this time.
func (s *state) issue(app, user string, agreed, narrowed scopeSet, now time.Time, life time.Duration) pair {
	scopes := narrowed
	if scopes == nil {
		scopes = s.grants[grantKey{app, user}].without(offlineAccess).union(agreed)
	}
	p := pair{access: randomToken(), life: life, scopes: scopes}
	a := &access{app: app, user: user, scopes: scopes, expires: now.Add(life)}
	s.accesses.add(p.access, a)
	s.record("access_token", p.access)
	if scopes.has(offlineAccess) {
		p.refresh = randomToken()
		s.refreshs.add(p.refresh, &refresh{app: app, user: user, scopes: agreed, access: a, expires: now.Add(RefreshLifetime)})
		s.record("refresh_token", p.refresh)
	}
	return p
}

// issueAppToken returns a token that opens nothing.
func (s *state) issueAppToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := "t-" + rand.Text()
	s.record("app_token", token)
	return token
}

// startSession logs a browser in and returns its cookie value.
func (s *state) startSession(user string, expires time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := rand.Text()
	s.sessions.add(id, session{user, expires})
	s.record("session", id)
	return id
}

// sessionUser returns whose session id is, or "".
func (s *state) sessionUser(id string, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.sessions.items[id]
	if !ok || !now.Before(found.expires) {
		return ""
	}
	return found.user
}

func (s *state) endSession(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions.items, id)
}

// lookupAccess returns a copy, so that callers need no lock.
func (s *state) lookupAccess(token string) (access, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accesses.items[token]
	if !ok {
		return access{}, false
	}
	return *a, true
}

// randomCode looks like Feishu's: 32 lower-case letters and digits.
func randomCode() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz012345" // 32 letters: no modulo bias
	b := make([]byte, 32)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return string(b)
}

// randomToken looks like Feishu's: a JWT of more than a kilobyte, so that nobody
// gets away with a short column or buffer. It is opaque: random all through.
func randomToken() string {
	b := make([]byte, 780+64)
	rand.Read(b)
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." +
		enc.EncodeToString(b[:780]) + "." + enc.EncodeToString(b[780:])
}
