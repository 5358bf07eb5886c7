package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions on initial access tokens.
const (
	ActionCreateInitialToken guard.Action = "initial-token.create"
	ActionDeleteInitialToken guard.Action = "initial-token.delete"
)

// The bounds of initial access tokens.
const (
	MaxInitialUses     = 10_000
	MaxInitialLifetime = 365 * 24 * time.Hour
)

// InitialToken lets clients register themselves (RFC 7591, section 3). Whoever
// is to do that has the token, the store its hash.
type InitialToken struct {
	Hash      secret.Hash // see [HashInitialToken]
	ID        string      // "iat_…", for audit; of no use as a credential
	Pool      string
	Note      string // what it was made for, in the operator's words
	Uses      int    // how many clients may still register with it
	CreatedAt time.Time
	ExpiresAt time.Time
}

// NewInitialToken returns a token that holds for the given time, and its value.
func NewInitialToken(pool, note string, uses int, lifetime time.Duration, now time.Time) (InitialToken, secret.Text) {
	value := secret.FromString(name.NewToken("it"))
	return InitialToken{
		Hash: HashInitialToken(value), ID: name.NewID("iat"), Pool: pool, Note: note, Uses: uses, CreatedAt: now, ExpiresAt: now.Add(lifetime),
	}, value
}

// HashInitialToken returns what an initial access token is stored under.
func HashInitialToken(value secret.Text) secret.Hash { return value.Digest("initial access token") }

// InitialTokenResource returns what guard permits about an initial access token.
func InitialTokenResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "initial-token", Pool: pool, ID: id}
}

// Resource returns what guard permits about t.
func (t InitialToken) Resource() guard.Resource { return InitialTokenResource(t.Pool, t.ID) }

// Check returns a fault of kind Invalid unless t may be stored.
func (t InitialToken) Check() error {
	lifetime := t.ExpiresAt.Sub(t.CreatedAt)
	if t.Uses < 1 || t.Uses > MaxInitialUses || lifetime < time.Minute || lifetime > MaxInitialLifetime {
		return fault.New(fault.Invalid, "initial_token_invalid", "an initial access token cannot be for %d clients and %s", t.Uses, lifetime).
			WithFix("choose 1 to %d clients, and a minute to %s", MaxInitialUses, MaxInitialLifetime)
	}
	return checkText("note", t.Note)
}

// NewRegistrationToken returns a fresh registration access token (RFC 7592).
func NewRegistrationToken() secret.Text { return secret.FromString(name.NewToken("rt")) }

// HashRegistrationToken returns what of a registration access token is stored.
func HashRegistrationToken(value secret.Text) string {
	return value.Digest("registration access token").String()
}

// RegistrationTokenIs reports whether value is the client's registration access
// token, in constant time. A client that did not register itself has none.
func (c Client) RegistrationTokenIs(value secret.Text) bool {
	return c.RegistrationHash != "" && !value.Empty() &&
		secret.Equal(secret.FromString(HashRegistrationToken(value)), secret.FromString(c.RegistrationHash))
}

// Registrations keeps initial access tokens and the clients made with them.
type Registrations interface {
	// CreateInitialToken adds a token; ActionCreateInitialToken. No such pool: NotFound("userpool", name).
	CreateInitialToken(ctx context.Context, p guard.Permit, t InitialToken) error
	// InitialToken returns the token with that hash, used up and expired or not, or NotFound("initial_token", "").
	InitialToken(ctx context.Context, pool string, hash secret.Hash) (InitialToken, error)
	// InitialTokens returns the pool's tokens, the newest first; at most 1000.
	InitialTokens(ctx context.Context, pool string) ([]InitialToken, error)
	// DeleteInitialToken removes a token; ActionDeleteInitialToken. NotFound("initial_token", id) if there is none.
	DeleteInitialToken(ctx context.Context, p guard.Permit, pool, id string) error
	// RegisterClient is CreateClient that also takes one use of the initial access token with that id:
	// both or neither; ActionCreateClient. If it has none left, or is gone: [InitialTokenSpent].
	RegisterClient(ctx context.Context, p guard.Permit, c Client, tokenID string) error
}

// InitialTokenSpent returns the fault for an initial access token that does not
// hold any more.
func InitialTokenSpent() *fault.Error {
	return fault.New(fault.Gone, "initial_token_spent", "the initial access token was used up, has expired or was revoked").
		WithFix("ask whoever runs the user pool for another one")
}
