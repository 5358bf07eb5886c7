// Package consent is the authorization state machine: link, binding, callback, notice.
//
// One authorization is one run of the three-legged flow (RFC 6749, section
// 4.1) for one user, workload, provider and set of scopes:
//
//	pending ──▶ redirected ──▶ exchanging ──▶ completed
//	   │            │              │
//	   └────────────┴──────────────┴──▶ failed (with a reason) or expired
//
// An authorization of kind [KindDelegation] needs no third party, because the
// user's grant has the scopes already; it goes from pending to completed when
// the user agrees on Deputy's own page.
package consent

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
)

// The actions that permits are given for, all on [Authorization.Resource].
const (
	ActionBegin    guard.Action = "authorization.begin"    // an agent asks
	ActionRead     guard.Action = "authorization.read"     // the agent looks
	ActionOpen     guard.Action = "authorization.open"     // the user follows the link
	ActionDecide   guard.Action = "authorization.decide"   // the user answers on Deputy's own page
	ActionExchange guard.Action = "authorization.exchange" // the third party's answer is taken
	ActionFinish   guard.Action = "authorization.finish"   // the grant is stored
	ActionExpire   guard.Action = "authorization.expire"   // time is over
)

// NotFound is the fault for an authorization that does not exist, or not for
// whoever asks.
func NotFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "authorization_not_found", "there is no authorization %q", name.Clip(id, 60))
}

// Changed is the fault for a step that lost against another one.
func Changed(id string) *fault.Error {
	return fault.New(fault.Conflict, "authorization_changed", "authorization %q was changed in between", id)
}

// ProviderChanged is the fault for an answer to what a provider asked before it
// was changed.
func ProviderChanged() *fault.Error {
	return fault.New(fault.Conflict, "provider_changed", "the credential provider was changed while you were at the third party")
}

// State is a state of an authorization.
type State string

// The states.
const (
	Pending    State = "pending"    // the link was made and not yet opened
	Redirected State = "redirected" // the browser was sent to the third party
	Exchanging State = "exchanging" // the code came back and is being redeemed
	Completed  State = "completed"
	Failed     State = "failed"
	Expired    State = "expired"
)

// Terminal reports whether nothing follows s.
func (s State) Terminal() bool { return s == Completed || s == Failed || s == Expired }

// Kind says who has to be asked.
type Kind string

// The kinds.
const (
	KindGrant      Kind = "grant"      // the third party: the grant lacks scopes, or there is none
	KindDelegation Kind = "delegation" // only the user: this workload may not use the grant yet
)

// Life is how long a user has, from the moment the link is made.
const Life = 10 * time.Minute

// Authorization is one run of the flow.
type Authorization struct {
	ID          string
	Kind        Kind
	Pool        string
	Provider    string
	Workload    name.Workload
	User        name.User
	Scopes      name.Scopes // what the agent asked for
	Requested   name.Scopes // what the third party was asked for: Scopes, and what the grant had before; empty until the link is opened
	Extras      string      // tells apart what else the agent asked for; "" for nothing
	State       State
	Reason      string // stable code, when State is Failed: "access_denied", …
	Message     string // Reason in words
	LinkHash    string // of the request_uri in the link; unique
	StateHash   string // of the state parameter; "" before and after the third party's turn
	BrowserHash string // of the cookie that marks the browser that was redirected
	Sealed      []byte // the link and the PKCE verifier
	Version     int64  // from 1; compare-and-swap
	Created     time.Time
	Expires     time.Time
	Updated     time.Time

	// ProviderVersion is that of the provider when its user was sent to the third party; 0 before.
	ProviderVersion int64
}

// secrets is the plaintext of Authorization.Sealed. What an agent adds is here
// because it may name people, and its state is between it and its user.
type secrets struct {
	Link      []byte            `json:"l"` // so that asking again answers the same link
	Verifier  []byte            `json:"v"` // PKCE (RFC 7636)
	Force     bool              `json:"f,omitempty"`
	Params    map[string]string `json:"p,omitempty"`
	ReturnURL string            `json:"r,omitempty"`
	State     []byte            `json:"s,omitempty"`
}

func (a Authorization) place() keys.Place {
	// No version: the secrets stay the same for the authorization's whole life.
	return keys.Place{Kind: "authorization", Pool: a.Pool, Provider: a.Provider, User: a.User, Record: a.ID}
}

// Resource is what permits for a name.
func (a Authorization) Resource() guard.Resource {
	return guard.Resource{Kind: "authorization", Pool: a.Pool, ID: a.ID}
}

// detail is what the record of a's end says besides what the permit knows: for
// whom it was, and who asked.
func (a Authorization) detail() map[string]string {
	return map[string]string{"workload": a.Workload.String(), "issuer": a.User.Issuer, "subject": a.User.Subject}
}

// Store keeps authorizations. One not found is the fault of [NotFound].
type Store interface {
	// BeginAuthorization needs a permit for ActionBegin.
	BeginAuthorization(ctx context.Context, p guard.Permit, a Authorization) error
	Authorization(ctx context.Context, id string) (Authorization, error)
	AuthorizationByLink(ctx context.Context, linkHash string) (Authorization, error)
	AuthorizationByState(ctx context.Context, stateHash string) (Authorization, error)
	// PendingAuthorization returns the newest pending authorization for exactly this request that
	// expires after t, or the fault of NotFound.
	PendingAuthorization(ctx context.Context, a Authorization, t time.Time) (Authorization, error)
	// Advance writes a over the authorization with version a.Version-1, else it returns the fault of
	// [Changed]; afterwards everybody who listens for a.ID is woken, on every replica. It needs a permit
	// for action.
	Advance(ctx context.Context, p guard.Permit, action guard.Action, a Authorization) error
	// Complete is Advance, together with the grant and the delegation in the same transaction: a grant with
	// Version 1 is created, a later one replaces version-1, and if it moves from the account of that one, the
	// delegations that are there are deleted first; the zero Grant leaves the grant alone. No grant is written
	// unless the provider has the version a.ProviderVersion: that is the fault of [ProviderChanged]. It needs a
	// permit for action.
	Complete(ctx context.Context, p guard.Permit, action guard.Action, a Authorization, g vault.Grant, d vault.Delegation) error
}

// Workloads is what consent reads of the workloads.
type Workloads interface {
	// ReturnURLs returns where w may send people back to. A workload that does not
	// exist is a fault of kind NotFound.
	ReturnURLs(ctx context.Context, w name.Workload) ([]string, error)
}

// Grants is what consent reads of the vault.
type Grants interface {
	// FindGrant returns u's grant for a provider, and w's delegation of it. What
	// is not there is zero.
	FindGrant(ctx context.Context, w name.Workload, provider string, u name.User) (vault.Grant, vault.Delegation, error)
}

// Bell wakes those who wait for a change, on every replica.
type Bell interface {
	// Listen returns a channel that receives after every ring for topic from now
	// on (rings may be merged). stop ends it and must be called.
	Listen(topic string) (rings <-chan struct{}, stop func())
}

// Link is what an agent shows to its user.
type Link struct {
	Authorization Authorization
	URL           secret.Text // who opens it must be the user; still, it is nobody else's business
}
