// Package vault keeps grants and delegations: sealed tokens, refresh, and revocation.
//
// A grant is what one user gave one provider; a delegation is the user's
// permission for one workload to use that grant with a subset of its scopes.
// The two are separate because third parties keep one live token per user and
// client, while people trust each agent separately.
package vault

import (
	"context"
	"encoding/json"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// The actions that permits are given for.
const (
	ActionRefresh  guard.Action = "grant.refresh"     // on GrantResource
	ActionDelete   guard.Action = "grant.delete"      // on GrantResource
	ActionWithdraw guard.Action = "delegation.delete" // on DelegationResource
	ActionClear    guard.Action = "credential.clear"  // on {provider, pool, provider}
)

// GrantResource is what permits for a grant name.
func GrantResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "grant", Pool: pool, ID: id}
}

// DelegationResource is what permits for a delegation name.
func DelegationResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "delegation", Pool: pool, ID: id}
}

// NotFound is the fault for a grant that does not exist.
func NotFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "grant_not_found", "there is no grant %q", name.Clip(id, 60))
}

// DelegationNotFound is the fault for a delegation that does not exist.
func DelegationNotFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "delegation_not_found", "there is no delegation %q", name.Clip(id, 60))
}

// Changed is the fault for a write that lost against another one.
func Changed(id string) *fault.Error {
	return fault.New(fault.Conflict, "grant_changed", "grant %q was changed in between", id)
}

// State is the state of a grant.
type State string

// The states of a grant.
const (
	Active      State = "active"
	Reauthorize State = "reauthorize" // the third party said, finally, that the user must authorize again
)

// Grant is what one user gave one provider's OAuth client at one third-party
// account. There is at most one per pool, provider and user.
type Grant struct {
	ID             string
	Pool           string
	Provider       string
	User           name.User
	Account        vendor.Account // at the third party; may be empty
	Scopes         name.Scopes    // what the third party granted
	State          State
	Reason         string // why State is not Active
	Sealed         []byte // Tokens, sealed for this version
	Expires        time.Time
	RefreshExpires time.Time
	Due            time.Time // when the tokens are to be refreshed; zero: they cannot be, or never expire
	Used           time.Time // when a credential was last asked for, to an hour or so
	Version        int64     // from 1; grows with each change of tokens or state: the fencing version
	Created        time.Time
	Updated        time.Time
}

// Delegation is a user's permission for one workload to use one grant.
type Delegation struct {
	ID       string
	GrantID  string
	Workload name.Workload
	Scopes   name.Scopes // never more than the grant's, when it is used
	Created  time.Time
	Updated  time.Time
}

// Tokens is the plaintext of a grant.
type Tokens struct {
	Access  secret.Text
	Refresh secret.Text // empty: there is none
	Type    string
	Account string // id of the account that they open; "" if that is not known
}

// Store keeps grants and delegations. A grant not found is the fault of
// [NotFound].
type Store interface {
	Grant(ctx context.Context, id string) (Grant, error)
	// Leased returns the grant and the lease that stands on it.
	Leased(ctx context.Context, id string) (Grant, Lease, error)
	// MoveLease puts the lease next in the place of former, and reports whether it did. It does so if former still
	// stands: on that version of the grant, with that owner and that end. A former with an owner and no end stands
	// whenever it ends.
	MoveLease(ctx context.Context, former, next Lease) (bool, error)
	// ReplaceTokens writes g over the grant with version g.Version-1 that l.Owner
	// holds the lease of, and ends the lease. Otherwise it returns the fault
	// of [Changed]. It needs a permit for ActionRefresh.
	ReplaceTokens(ctx context.Context, p guard.Permit, g Grant, l Lease) error
	// DueGrants returns at most limit active grants that are due at now, were used since the time given, and have
	// no lease that lasts, those that are due for longest first.
	DueGrants(ctx context.Context, now, usedSince time.Time, limit int) ([]Grant, error)
	// Postpone makes version of the grant due later; if the grant has changed since, nothing.
	Postpone(ctx context.Context, id string, version int64, due time.Time) error
	// MarkUsed notes that the grants were used at the time at.
	MarkUsed(ctx context.Context, ids []string, at time.Time) error
	// RemoveDelegation deletes what w may use of u's grant for provider, and the
	// grant with it when no other workload has a delegation. It reports whether
	// there was anything. It needs a permit for ActionClear.
	RemoveDelegation(ctx context.Context, p guard.Permit, w name.Workload, provider string, u name.User) (bool, error)
}

// Refresher redeems a refresh token at the grant's third party.
type Refresher interface {
	Refresh(ctx context.Context, p guard.Permit, pool, provider string, refresh secret.Text) (vendor.Tokens, error)
}

// offlineAccess is asked for to get a refresh token (OpenID Connect Core 1.0,
// section 11). Some third parties list it among the granted scopes, others use
// it up; it opens nothing, so whether it is listed does not matter.
const offlineAccess = "offline_access"

// Missing returns the scopes of asked that granted does not have.
func Missing(granted, asked name.Scopes) name.Scopes {
	missing := granted.Missing(asked)
	if !missing.Has(offlineAccess) {
		return missing
	}
	offline, err := name.NewScopes(offlineAccess)
	if err != nil {
		return missing
	}
	return offline.Missing(missing)
}

// MovesFrom reports whether g is at another account of its user than old was.
// Who may use the one was never asked about the other.
func (g Grant) MovesFrom(old Grant) bool {
	return old.Account.ID != "" && g.Account.ID != "" && g.Account.ID != old.Account.ID
}

// next returns g as the beginning of its next version.
func (g Grant) next() Grant {
	g.Version++
	return g
}

func (g Grant) place() keys.Place {
	return keys.Place{Kind: "grant.tokens", Pool: g.Pool, Provider: g.Provider, User: g.User, Record: g.ID, Version: g.Version}
}

// NewGrant returns a grant with sealed tokens that follows old (the zero Grant
// if there is none): same id, next version, creation time kept.
func (v *Vault) NewGrant(ctx context.Context, pool, provider string, u name.User, old Grant, account vendor.Account, t vendor.Tokens, asked name.Scopes) (Grant, error) {
	now := v.Now().UTC()
	g := Grant{ID: old.ID, Pool: pool, Provider: provider, User: u, Account: account, Used: now, Version: old.Version + 1, Created: old.Created}
	if g.ID == "" {
		g.ID, g.Created = name.NewID("grt"), now
	}
	granted := asked
	if t.ScopesKnown {
		granted = t.Scopes
	}
	return v.seal(ctx, g, t, granted)
}

// seal fills in what comes from a third party's token answer.
func (v *Vault) seal(ctx context.Context, g Grant, t vendor.Tokens, granted name.Scopes) (Grant, error) {
	g.State, g.Reason = Active, ""
	g.Scopes, g.Expires, g.RefreshExpires, g.Updated = granted, t.ExpiresAt, t.RefreshExpiresAt, v.Now().UTC()
	g.Due = time.Time{}
	if !t.Refresh.Empty() && !g.Expires.IsZero() {
		g.Due = g.Expires.Add(-margin(g.Expires.Sub(g.Updated)))
	}
	plain, err := Tokens{t.Access, t.Refresh, t.TokenType, g.Account.ID}.encode()
	if err != nil {
		return Grant{}, err
	}
	defer plain.Clear()
	g.Sealed, err = v.Sealer.Seal(ctx, g.place(), plain)
	return g, err
}

func (t Tokens) clear() {
	t.Access.Clear()
	t.Refresh.Clear()
}

type tokensJSON struct {
	Access  []byte `json:"a"`
	Refresh []byte `json:"r,omitempty"`
	Type    string `json:"t"`
	Account string `json:"i,omitempty"`
}

func (t Tokens) encode() (secret.Text, error) {
	b, err := json.Marshal(tokensJSON{t.Access.Reveal(), t.Refresh.Reveal(), t.Type, t.Account})
	return secret.New(b), err
}

func (v *Vault) open(ctx context.Context, g Grant) (Tokens, error) {
	plain, err := v.Sealer.Open(ctx, g.place(), g.Sealed)
	if err != nil {
		return Tokens{}, err
	}
	defer plain.Clear()
	return decode(plain, g.ID)
}

func decode(plain secret.Text, grant string) (Tokens, error) {
	var t tokensJSON
	if err := json.Unmarshal(plain.Reveal(), &t); err != nil {
		return Tokens{}, fault.New(fault.Internal, "seal_broken", "the tokens of grant %s are not readable", grant)
	}
	return Tokens{secret.New(t.Access), secret.New(t.Refresh), t.Type, t.Account}, nil
}
