package main

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// shelf keeps values under secret keys, each until its own time, and never more
// than limit of them: when it is full the value that was put first goes. Keys
// are stored hashed, so that a look at the memory of the process does not yield
// cookies that work, and so that a lookup takes time independent of the key.
type shelf[V any] struct {
	limit int
	now   func() time.Time
	drop  func(V) // called for a value that left the shelf unused; may be nil

	mu    sync.Mutex
	items map[[sha256.Size]byte]shelved[V]
	count uint64
}

type shelved[V any] struct {
	value   V
	expires time.Time
	order   uint64
}

func newShelf[V any](limit int, now func() time.Time, drop func(V)) *shelf[V] {
	return &shelf[V]{limit: limit, now: now, drop: drop, items: map[[sha256.Size]byte]shelved[V]{}}
}

// put stores v under key until expires.
func (s *shelf[V]) put(key token, v V, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	s.count++
	s.items[sha256.Sum256([]byte(key.reveal()))] = shelved[V]{v, expires, s.count}
}

// makeRoom drops what expired and, if that is not enough, the oldest value. It
// walks the shelf only when the shelf is full.
func (s *shelf[V]) makeRoom() {
	if len(s.items) < s.limit {
		return
	}
	var oldest [sha256.Size]byte
	var order uint64
	for key, item := range s.items {
		switch {
		case !s.now().Before(item.expires):
			s.remove(key, item)
		case order == 0 || item.order < order:
			oldest, order = key, item.order
		}
	}
	if len(s.items) >= s.limit {
		s.remove(oldest, s.items[oldest])
	}
}

func (s *shelf[V]) remove(key [sha256.Size]byte, item shelved[V]) {
	delete(s.items, key)
	if s.drop != nil {
		s.drop(item.value)
	}
}

// get returns the live value under key and reports whether there is one.
func (s *shelf[V]) get(key token) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sha256.Sum256([]byte(key.reveal()))
	item, ok := s.items[id]
	if ok && !s.now().Before(item.expires) {
		s.remove(id, item)
		ok = false
	}
	if !ok {
		var zero V
		return zero, false
	}
	return item.value, true
}

// take is get for a value that may be used once: it is gone afterwards, and the
// caller owns it.
func (s *shelf[V]) take(key token) (V, bool) {
	v, ok := s.get(key)
	if !ok {
		return v, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sha256.Sum256([]byte(key.reveal()))
	_, ok = s.items[id] // another caller may have been faster
	delete(s.items, id)
	return v, ok
}

// end drops the value under key, if there is one.
func (s *shelf[V]) end(key token) {
	if v, ok := s.take(key); ok && s.drop != nil {
		s.drop(v)
	}
}

// session is what this application knows about one logged-in browser. It lives
// in memory only.
type session struct {
	name   string // for display
	access token  // the user's access token: the agent's gate verifies it

	// conversation is the session_id that the agent sees. The server chose it:
	// a browser can neither guess nor name another one's conversation.
	conversation atomic.Pointer[string]

	ctx   context.Context // ends with the session, and with it its running chats
	end   context.CancelFunc
	chats chan struct{} // a slot per running chat
}

// The bounds of sessions. A session never outlives the user's access token.
const (
	maxSessions     = 10_000
	maxSessionTime  = 12 * time.Hour
	chatsPerSession = 4
)

func newSession(name string, access token) *session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{name: name, access: access, ctx: ctx, end: cancel, chats: make(chan struct{}, chatsPerSession)}
	s.startConversation()
	return s
}

// startConversation gives the agent a new session_id from the next message on.
func (s *session) startConversation() {
	id := randomToken().reveal()
	s.conversation.Store(&id)
}

// cookies sets and reads this application's cookies.
type cookies struct{ secure bool }

// The cookies. They have names of their own because cookies ignore ports: on
// loopback the browser sends every local application's cookies to each.
const (
	sessionCookie = "deputy_chat_session"
	loginCookie   = "deputy_chat_login"
	askCookie     = "deputy_chat_ask"
	langCookie    = "deputy_chat_lang" // set by the page itself, not a secret
)

// full returns the name on the wire. Where there is TLS, the __Host- prefix
// keeps sub-domains and plain HTTP from setting the cookie (RFC 6265bis 4.1.3.2).
func (c cookies) full(name string) string {
	if c.secure {
		return "__Host-" + name
	}
	return name
}

func (c cookies) set(w http.ResponseWriter, name string, value token, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: c.full(name), Value: value.reveal(), Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteLaxMode,
	})
}

func (c cookies) clear(w http.ResponseWriter, name string) {
	c.set(w, name, token{}, -time.Second)
}

// get returns the cookie's value and reports whether it came exactly once. Two
// of a name mean that somebody else on this host set one: neither is trusted.
func (c cookies) get(r *http.Request, name string) (token, bool) {
	found := r.CookiesNamed(c.full(name))
	if len(found) != 1 || found[0].Value == "" {
		return token{}, false
	}
	return newToken(found[0].Value), true
}
