// Package party is what small third parties share: accounts, login, consent, codes and tokens, each in a dialect of its own.
//
// It imports nothing of Deputy. State lives in memory and is bounded: when a
// table is full the oldest entry is forgotten, and a forgotten token is answered
// like one that never existed.
package party

import (
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
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
	BadRefresh                     // unknown or used refresh token
	BadScope                       // a scope that the vendor has not
)

// Tokens is what a code, a refresh token or the app itself was given tokens for.
type Tokens struct {
	Access  string
	Refresh string // empty: none was asked for, or the old one stays good
	Life    time.Duration
	Holder
}

// Dialect is how one vendor differs from the others.
type Dialect struct {
	Vendor        string // "GitHub", for the pages
	AuthorizePath string
	TokenPath     string
	TokenPrefix   string            // of access tokens: "gho_"
	RefreshPrefix string            // of refresh tokens; empty: there are none
	CodeLifetime  time.Duration     // of authorization codes
	Life          time.Duration     // of access tokens; 0: they do not expire
	Rotates       bool              // a refresh token is good once, and its access token ends with it
	Scopes        map[string]string // known scopes and what they allow, for the consent page; nil: the vendor has none
	ScopeParam    string            // of the authorize page; empty is "scope"
	Machines      bool              // the app gets tokens for itself (RFC 6749, section 4.4)

	// Offline reports whether an authorization request is for a refresh token, too. Nil: each is.
	Offline func(query url.Values) bool
	// Cumulative reports whether the tokens of a request have all that the user ever agreed to. Nil: none have.
	Cumulative func(query url.Values) bool
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

	page    *template.Template
	mu      sync.Mutex
	visits  *table[visit]
	codes   *table[code]
	tokens  *table[live]
	refresh *table[renewable]
	agreed  map[string][]string // all scopes, by user name
}

// Holder is whose access token it is, and what it allows. That of the app itself
// has no user.
type Holder struct {
	User   User
	Scopes []string
}

// live is an access token.
type live struct {
	Holder
	expires time.Time // zero: never
}

// renewable is a refresh token.
type renewable struct {
	Holder
	access string // that it was given with
}

// New checks c and returns the Party that speaks d. The error never holds a secret or a password.
func New(d Dialect, c Config) (*Party, error) {
	p := &Party{dialect: d, app: c.App, users: slices.Clone(c.Users), now: c.Now, log: c.Logger,
		visits: newTable[visit](1024), codes: newTable[code](4096), tokens: newTable[live](8192), refresh: newTable[renewable](8192), agreed: map[string][]string{}}
	var err error
	if p.page, err = template.New("page").Parse(pageText); err != nil {
		return nil, err
	}
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
	mux.HandleFunc("GET "+stylePath, style)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
}

// Holder returns whose access token it is; false if nobody's.
func (p *Party) Holder(access string) (Holder, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.tokens.items[access]
	if !ok || !t.expires.IsZero() && !p.now().Before(t.expires) {
		return Holder{}, false
	}
	return t.Holder, true
}

// Owner returns whose access or refresh token it is; false if nobody's.
func (p *Party) Owner(token string) (Holder, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.refresh.items[token]; ok {
		return t.Holder, true
	}
	t, ok := p.tokens.items[token]
	return t.Holder, ok
}

// Revoke ends one access token, and reports whether there was one.
func (p *Party) Revoke(access string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.tokens.items[access]
	delete(p.tokens.items, access)
	maps.DeleteFunc(p.refresh.items, func(token string, t renewable) bool { return t.access == access || token == access })
	return ok
}

// Expire ends the access tokens that there are; refresh tokens stay good.
func (p *Party) Expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens.items)
}

// RevokeUser ends all tokens of a user.
func (p *Party) RevokeUser(username string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.tokens.items, func(_ string, t live) bool { return t.User.Username == username })
	maps.DeleteFunc(p.refresh.items, func(_ string, t renewable) bool { return t.User.Username == username })
	delete(p.agreed, username)
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
