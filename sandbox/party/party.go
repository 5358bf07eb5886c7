// Package party is what small third parties share: accounts, login, consent, codes and tokens, each in a dialect of its own.
//
// It imports nothing of Deputy. State lives in memory and is bounded: when a
// table is full the oldest entry is forgotten, and a forgotten token is answered
// like one that never existed.
package party

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// App is the application that is registered here.
type App struct {
	ID           string // the OAuth client id
	Secret       string // the OAuth client secret
	Name         string // shown on the consent page; empty means ID
	RedirectURIs []string
}

// User is a person with an account, whose password the login page prints.
type User struct {
	Username string
	Password string
	Name     string // "张三"
	Email    string
}

// DefaultUsers returns the people of a demonstration.
func DefaultUsers() []User {
	return []User{
		{Username: "zhangsan", Password: "sandbox", Name: "张三", Email: "zhangsan@example.com"},
		{Username: "lisi", Password: "sandbox", Name: "李四", Email: "lisi@example.com"},
		{Username: "alice", Password: "sandbox", Name: "王爱丽", Email: "alice@example.com"},
	}
}

// Problem is why a token request is refused, whatever words the vendor has for it.
type Problem int

// The problems of a token request.
const (
	BadClient   Problem = iota + 1 // unknown client, or a wrong secret
	BadCode                        // unknown, used or expired code, or a verifier that does not fit
	BadRedirect                    // not the redirect URI that the code was asked with
	BadGrant                       // a grant_type that the vendor has not
)

// Tokens is what a code was exchanged for.
type Tokens struct {
	Access string
	Scopes []string
}

// Dialect is how one vendor differs from the others.
type Dialect struct {
	Vendor        string // "GitHub", for the pages
	AuthorizePath string
	TokenPath     string
	TokenPrefix   string            // of access tokens: "gho_"
	CodeLifetime  time.Duration     // access tokens do not expire
	Scopes        map[string]string // known scopes and what they allow, for the consent page

	// AnswerTokens and AnswerProblem write the answers of the token endpoint.
	AnswerTokens  func(w http.ResponseWriter, r *http.Request, t Tokens)
	AnswerProblem func(w http.ResponseWriter, r *http.Request, p Problem)
}

// Config says what exists at this party. Nothing can be added later.
type Config struct {
	App    App
	Users  []User
	Now    func() time.Time // nil means [time.Now]
	Logger *slog.Logger     // never sees a token, a code, a secret or a password; nil discards
}

// Party is one third party. Its methods are safe for concurrent use.
type Party struct {
	dialect Dialect
	app     App
	users   []User
	now     func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	visits *table[visit]
	codes  *table[code]
	tokens *table[Holder]
}

// Holder is whose access token it is, and what it allows.
type Holder struct {
	User   User
	Scopes []string
}

// New checks c and returns the Party that speaks d. The error never holds a secret or a password.
func New(d Dialect, c Config) (*Party, error) {
	p := &Party{dialect: d, app: c.App, users: slices.Clone(c.Users), now: c.Now, log: c.Logger,
		visits: newTable[visit](1024), codes: newTable[code](4096), tokens: newTable[Holder](8192)}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.app.Name == "" {
		p.app.Name = p.app.ID
	}
	if c.App.ID == "" || c.App.Secret == "" {
		return nil, errors.New("the app needs an id and a secret")
	}
	for _, raw := range c.App.RedirectURIs {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Fragment != "" {
			return nil, fmt.Errorf("redirect URI %q is not an absolute URL without fragment", raw)
		}
	}
	for i, u := range c.Users {
		if _, twice := find(c.Users[:i], u.Username); twice || u.Username == "" || u.Password == "" {
			return nil, fmt.Errorf("user %q needs a name of their own and a password", u.Username)
		}
	}
	return p, nil
}

// Mount serves the pages and the token endpoint on mux.
func (p *Party) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET "+p.dialect.AuthorizePath, p.authorize)
	mux.HandleFunc("POST "+p.dialect.TokenPath, p.token)
	mux.HandleFunc("POST "+loginPath, p.login)
	mux.HandleFunc("POST "+consentPath, p.consent)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
}

// Holder returns whose access token it is; false if nobody's.
func (p *Party) Holder(access string) (Holder, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.tokens.items[access]
	return h, ok
}

// Revoke ends one access token, and reports whether there was one.
func (p *Party) Revoke(access string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.tokens.items[access]
	delete(p.tokens.items, access)
	return ok
}

// RevokeUser ends all access tokens of a user.
func (p *Party) RevokeUser(username string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for access, h := range p.tokens.items {
		if h.User.Username == username {
			delete(p.tokens.items, access)
		}
	}
}

func find(users []User, username string) (User, bool) {
	i := slices.IndexFunc(users, func(u User) bool { return u.Username == username })
	if i < 0 {
		return User{}, false
	}
	return users[i], true
}

// table is a map under random keys that forgets its oldest entry when it is full.
type table[V any] struct {
	items map[string]V
	order []string
	next  int
}

func newTable[V any](size int) *table[V] {
	return &table[V]{items: make(map[string]V), order: make([]string, size)}
}

func (t *table[V]) add(key string, v V) {
	delete(t.items, t.order[t.next])
	t.order[t.next] = key
	t.next = (t.next + 1) % len(t.order)
	t.items[key] = v
}
