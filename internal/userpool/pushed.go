package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions of clients before anybody has logged in.
const (
	ActionCreatePushed guard.Action = "pushed.create"
	ActionOpenPushed   guard.Action = "pushed.open"
	ActionUsePushed    guard.Action = "pushed.use"
	ActionUseAssertion guard.Action = "assertion.use"
)

// The bounds of pushed requests. The first is what the client is told (RFC
// 9126, section 2.2): within it the browser must have come. From then on it is
// a person who takes time, with his password, his second factor and the question
// what to allow.
const (
	PushedLifetime = 60 * time.Second
	PushedOpen     = 15 * time.Minute
	MaxPushed      = 8 << 10 // bytes of parameters
)

// Pushed is an authorization request that a client has pushed (RFC 9126). The
// client has the request_uri, the store its hash.
type Pushed struct {
	Hash       secret.Hash // see [HashPushed]
	ID         string      // "par_…", for audit; of no use as a credential
	Pool       string
	ClientID   string
	Parameters string // form-encoded; without what the client authenticated with
	CreatedAt  time.Time
	ExpiresAt  time.Time // CreatedAt + PushedLifetime; once opened, OpenedAt + PushedOpen
	OpenedAt   time.Time // zero: no browser has come with it yet
}

// NewPushed returns a request that is pushed now, and the part of its
// request_uri behind [oauth.PushedPrefix].
func NewPushed(pool, clientID, parameters string, now time.Time) (Pushed, secret.Text) {
	value := secret.FromString(name.NewToken("pr"))
	return Pushed{
		Hash: HashPushed(value), ID: name.NewID("par"), Pool: pool, ClientID: clientID, Parameters: parameters,
		CreatedAt: now, ExpiresAt: now.Add(PushedLifetime),
	}, value
}

// HashPushed returns what a pushed request is stored under.
func HashPushed(value secret.Text) secret.Hash { return value.Digest("pushed request") }

// PushedResource returns what guard permits about a pushed request.
func PushedResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "pushed", Pool: pool, ID: id}
}

// Resource returns what guard permits about v.
func (v Pushed) Resource() guard.Resource { return PushedResource(v.Pool, v.ID) }

// PushedRequests keeps pushed authorization requests.
type PushedRequests interface {
	// CreatePushed adds a request; ActionCreatePushed.
	CreatePushed(ctx context.Context, p guard.Permit, v Pushed) error
	// Pushed returns the request with that hash, expired or not, or NotFound("pushed", "").
	Pushed(ctx context.Context, pool string, hash secret.Hash) (Pushed, error)
	// OpenPushed sets OpenedAt and ExpiresAt of a request that is not opened yet; ActionOpenPushed. Otherwise
	// Changed("pushed", id), or NotFound.
	OpenPushed(ctx context.Context, p guard.Permit, pool, id string, at, until time.Time) error
	// UsePushed removes a request; ActionUsePushed. Of any number of calls, in any number of processes, exactly
	// one returns nil; the others get NotFound("pushed", id).
	UsePushed(ctx context.Context, p guard.Permit, pool, id string) error
}

// Assertion is a client's JWT that was accepted (RFC 7523, section 3).
type Assertion struct {
	Pool      string
	ClientID  string
	Hash      secret.Hash // see [HashAssertion]
	ExpiresAt time.Time   // until when it would be accepted again, were it not stored
}

// HashAssertion returns what a jti is stored as: it is as long as its client likes.
func HashAssertion(jti string) secret.Hash { return secret.FromString(jti).Digest("client assertion") }

// Resource returns what guard permits about a: it is the client's.
func (a Assertion) Resource() guard.Resource { return ClientResource(a.Pool, a.ClientID) }

// Assertions keeps the assertions that were accepted, so that none is twice.
type Assertions interface {
	// UseAssertion adds a; ActionUseAssertion. Of any number of calls with one client and hash, in any number
	// of processes, exactly one returns nil; the others get [AssertionUsed].
	UseAssertion(ctx context.Context, p guard.Permit, a Assertion) error
}

// AssertionUsed returns the fault for the second use of an assertion.
func AssertionUsed() *fault.Error {
	return fault.New(fault.Gone, "assertion_used", "the client assertion was used before").WithFix("make a fresh one for each request, with a jti of its own")
}
