package userpool

import (
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The bounds of sessions and codes.
const (
	SessionLifetime = 12 * time.Hour   // from login, whatever happens
	SessionIdle     = 2 * time.Hour    // without a request
	SessionExtend   = 5 * time.Minute  // a session's last use is written at most this often
	CodeLifetime    = 60 * time.Second // from consent to redemption
)

// Session is one browser's login at a pool. The browser has the token, the
// store its hash.
type Session struct {
	ID         string // "ses_…", for audit; of no use as a credential
	Pool       string
	TokenHash  secret.Hash // see [HashSession]
	UserID     string
	Methods    []string  // how the person proved who he is (RFC 8176): pwd, otp, hwk, mfa, fed
	Address    string    // from where
	Agent      string    // with which browser, in its own words; at most 200 bytes
	AuthTime   time.Time // when the person proved who he is
	LastUsedAt time.Time
	ExpiresAt  time.Time // AuthTime + SessionLifetime
}

// NewSession returns a session that begins now, proven by the methods, and its token.
func NewSession(pool, userID string, methods []string, now time.Time) (Session, secret.Text) {
	token := secret.FromString(name.NewToken("st"))
	return Session{
		ID: name.NewID("ses"), Pool: pool, TokenHash: HashSession(token), UserID: userID, Methods: methods,
		AuthTime: now, LastUsedAt: now, ExpiresAt: now.Add(SessionLifetime),
	}, token
}

// HashSession returns what a session is stored under.
func HashSession(token secret.Text) secret.Hash { return token.Digest("pool session") }

// SessionResource returns what guard permits about a session.
func SessionResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "session", Pool: pool, ID: id}
}

// Resource returns what guard permits about s.
func (s Session) Resource() guard.Resource { return SessionResource(s.Pool, s.ID) }

// Alive reports whether s still holds at the time now for the user u, whose
// session it must be.
func (s Session) Alive(u User, now time.Time) bool {
	return s.Pool == u.Pool && s.UserID == u.ID && !u.Disabled && !s.AuthTime.Before(u.PasswordChangedAt) &&
		now.Before(s.ExpiresAt) && now.Before(s.LastUsedAt.Add(SessionIdle))
}

// Code is an authorization code: the promise of tokens, bound to all that the
// authorization request said. The client has the code, the store its hash.
type Code struct {
	Hash        secret.Hash // see [HashCode]
	ID          string      // "code_…", for audit; of no use as a credential
	Pool        string
	ClientID    string
	RedirectURI string
	Challenge   string // PKCE S256 challenge; empty: the request had none
	Nonce       string
	Scopes      name.Scopes
	Resources   []string // RFC 8707; empty: tokens for the client itself
	UserID      string
	SessionID   string   // of the login that it was made in
	Methods     []string // of that login
	FamilyID    string   // of the tokens that come of it, chosen beforehand
	AuthTime    time.Time
	ExpiresAt   time.Time
	RedeemedAt  time.Time // zero: not yet
}

// NewCode returns a fresh code value.
func NewCode() secret.Text { return secret.FromString(name.NewToken("ac")) }

// HashCode returns what a code is stored under.
func HashCode(code secret.Text) secret.Hash { return code.Digest("authorization code") }

// CodeResource returns what guard permits about a code.
func CodeResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "code", Pool: pool, ID: id}
}

// Resource returns what guard permits about c.
func (c Code) Resource() guard.Resource { return CodeResource(c.Pool, c.ID) }

// Consent is what a user allowed a client for good.
type Consent struct {
	Pool      string
	UserID    string
	ClientID  string
	Scopes    name.Scopes
	GrantedAt time.Time
}

// Resource returns what guard permits about c.
func (c Consent) Resource() guard.Resource {
	return guard.Resource{Kind: "consent", Pool: c.Pool, ID: c.UserID + "/" + c.ClientID}
}
