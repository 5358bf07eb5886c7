package userpool

import (
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// RefreshKept is how many generations of used refresh tokens a family
// remembers, at least. The reuse of one that is older is refused as unknown, and
// no longer ends the family: who holds it has slept through 64 refreshes.
const RefreshKept = 64

// Family is all tokens that came of one authorization: of a code, or of a
// device's request. It begins when that is redeemed, whether or not the client
// gets a refresh token, and every access token names it in its id, so that
// ending the family ends them all, wherever Deputy is asked (introspection,
// userinfo, exchange). No token of a family outlives it.
type Family struct {
	ID            string // "fam_…"; of no use as a credential
	Pool          string
	ClientID      string // whose tokens they are
	UserID        string // whom they are about
	SessionID     string // the login they came of; empty: none, as for a device
	Offline       bool   // the user allowed access while he is away (offline_access): a logout does not end it
	Scopes        name.Scopes
	Resources     []string // the audiences that were granted (RFC 8707); empty: the client itself
	AuthTime      time.Time
	Methods       []string // how the person proved who he is (RFC 8176)
	CreatedAt     time.Time
	ExpiresAt     time.Time
	IdleExpiresAt time.Time // refresh tokens are dead from then on; zero: never for that reason
	EndedAt       time.Time // zero: it goes on
	Ending        Ending    // why it ended
	Head          int64     // generation of the newest refresh token; 0: it never had one
	AdvancedAt    time.Time // when the head's generation began
}

// Ending says why a family ended.
type Ending string

// Why families end.
const (
	EndedRefreshReuse Ending = "a refresh token was used a second time"
	EndedCodeReuse    Ending = "the authorization code was used a second time"
	EndedByClient     Ending = "the client revoked its tokens"
	EndedByUser       Ending = "the user withdrew his consent"
	EndedByLogout     Ending = "the user logged out"
)

// The actions on families.
const (
	ActionAdvanceFamily guard.Action = "family.refresh"
	ActionEndFamily     guard.Action = "family.end"
	ActionReuseRefresh  guard.Action = "refresh.reuse"
	ActionReuseCode     guard.Action = "code.reuse"
)

// Action returns what ending a family for that reason is called in the audit
// log: what looks like theft has a name of its own there.
func (e Ending) Action() guard.Action {
	switch e {
	case EndedRefreshReuse:
		return ActionReuseRefresh
	case EndedCodeReuse:
		return ActionReuseCode
	default:
		return ActionEndFamily
	}
}

// FamilyResource returns what guard permits about a family.
func FamilyResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "family", Pool: pool, ID: id}
}

// Resource returns what guard permits about f.
func (f Family) Resource() guard.Resource { return FamilyResource(f.Pool, f.ID) }

// Alive reports whether tokens of f still hold at the time now for the user u,
// whose they must be.
func (f Family) Alive(u User, now time.Time) bool {
	return f.Pool == u.Pool && f.UserID == u.ID && !u.Disabled && !f.AuthTime.Before(u.PasswordChangedAt) &&
		f.EndedAt.IsZero() && now.Before(f.ExpiresAt)
}

// Idle reports whether f's refresh tokens have died of not being used.
func (f Family) Idle(now time.Time) bool {
	return !f.IdleExpiresAt.IsZero() && !now.Before(f.IdleExpiresAt)
}

// Refresh is what becomes of a use of a refresh token.
type Refresh int

// What may become of it.
const (
	RefreshReused   Refresh = iota // the token was used before: the family ends
	RefreshRotates                 // the head moves on, to a new generation
	RefreshRepeated                // the same request a second time: one more token of the head's generation
)

// Use decides what becomes of a use of a refresh token of that generation at the
// time now. Only a token of the head's generation is unused. One of the
// generation before is forgiven for a grace after the head moved: an honest
// client whose answer was lost, or that refreshes in two places at once, sends
// it twice. Whoever else has it cannot be told from the client, so both lose
// (RFC 9700, section 4.14.2).
func (f Family) Use(generation int64, now time.Time, grace time.Duration) Refresh {
	switch {
	case generation == f.Head && f.Head > 0:
		return RefreshRotates
	case generation == f.Head-1 && generation > 0 && now.Before(f.AdvancedAt.Add(grace)):
		return RefreshRepeated
	default:
		return RefreshReused
	}
}

// The authentication context classes of logins (OpenID Connect Core 1.0, section 2, acr).
const (
	ACRSingle = "urn:deputy:acr:single" // one factor
	ACRMulti  = "urn:deputy:acr:multi"  // two factors or more
)

// ACR returns the class of a login by the methods that it used; "" if they are not known.
func ACR(methods []string) string {
	switch {
	case len(methods) == 0:
		return ""
	case slices.Contains(methods, "mfa"):
		return ACRMulti
	default:
		return ACRSingle
	}
}

// RefreshToken is one refresh token of a family. The client has the token, the
// store its hash.
type RefreshToken struct {
	Hash       secret.Hash // see [HashRefresh]
	Generation int64       // from 1
}

// NewRefresh returns a fresh refresh token of that generation, and its value.
func NewRefresh(generation int64) (RefreshToken, secret.Text) {
	value := secret.FromString(name.NewToken("rt"))
	return RefreshToken{Hash: HashRefresh(value), Generation: generation}, value
}

// HashRefresh returns what a refresh token is stored under.
func HashRefresh(token secret.Text) secret.Hash { return token.Digest("refresh token") }

// Beginning is a family that begins, and its first refresh token, whose
// generation is the family's head; no token if that is 0. Whatever is redeemed
// for a family (a code, a device's request) is so in the transaction that the
// family begins in.
type Beginning struct {
	Family Family
	First  RefreshToken
}
