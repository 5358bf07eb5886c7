package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// What every implementation keeps to:
//
//   - A write begins with Permit.Check for the action named at the method on the
//     Resource of its argument, and commits the permit's entry together with the
//     change: both or neither.
//   - A thing of one pool is never found, changed or counted under another.
//   - What is not there is the fault of [NotFound]; what is there already, that
//     of [Exists].
//   - Times are kept in UTC to the millisecond. Lists keep their order.
//   - Writes do not repeat the Check methods of the types: verbs and edges did.

// Pools keeps pools.
type Pools interface {
	// CreatePool adds a pool with Version 1, whatever pool says; ActionCreatePool. A pool of that name: Exists("userpool", name).
	CreatePool(ctx context.Context, p guard.Permit, pool Pool) error
	// Pool returns the pool of that name, or NotFound("userpool", name).
	Pool(ctx context.Context, name string) (Pool, error)
	// Pools returns all pools in order of name.
	Pools(ctx context.Context) ([]Pool, error)
	// UpdatePool replaces display name and settings if the version still is pool.Version, and counts it up;
	// ActionUpdatePool. Otherwise Changed("userpool", name), or NotFound.
	UpdatePool(ctx context.Context, p guard.Permit, pool Pool) error
	// DeletePool removes a pool with all that it has; ActionDeletePool. NotFound if there is none.
	DeletePool(ctx context.Context, p guard.Permit, name string) error
}

// Users keeps users.
type Users interface {
	// CreateUser adds a user with Version 1, whatever u says; ActionCreateUser. A user of the same
	// [LoginName] in the pool: Exists("user", user name). No such pool: NotFound("userpool", name).
	CreateUser(ctx context.Context, p guard.Permit, u User) error
	// User returns a user by id, or NotFound("user", id).
	User(ctx context.Context, pool, id string) (User, error)
	// UserByName returns the user with that [LoginName], or NotFound("user", user name).
	UserByName(ctx context.Context, pool, userName string) (User, error)
	// Users returns at most limit users in order of LoginName, those after the LoginName given.
	Users(ctx context.Context, pool, after string, limit int) ([]User, error)
	// UpdateUser replaces the user of the same pool and id if its version still is u.Version, and counts
	// the version up; ActionUpdateUser. Otherwise Changed("user", id), or NotFound. CreatedAt stays, and Groups are not looked at.
	// It ends the sessions that the change makes void (see [Session.Alive]).
	// If the user had an e-mail address and gets another, a [LetterChanged] to the former one is posted with it.
	UpdateUser(ctx context.Context, p guard.Permit, u User) error
	// UpgradePassword replaces the password hash if it still is old, counting the version up and leaving
	// PasswordChangedAt; ActionUpgradePassword. Otherwise Changed("user", id), or NotFound.
	UpgradePassword(ctx context.Context, p guard.Permit, pool, id string, old, upgraded secret.Text) error
	// SetPassword replaces the password, the former ones, MustChangePassword and PasswordChangedAt if the
	// version still is u.Version, and counts the version up; ActionSetPassword. Otherwise Changed("user", id), or NotFound.
	// It ends the sessions that began before (see [Session.Alive]).
	SetPassword(ctx context.Context, p guard.Permit, u User) error
	// DeleteUser removes a user with his sessions, codes and consents; ActionDeleteUser. NotFound if there is none.
	DeleteUser(ctx context.Context, p guard.Permit, pool, id string) error
}

// Clients keeps clients.
type Clients interface {
	// CreateClient adds a client with Version 1, whatever c says; ActionCreateClient. A client of that name
	// in the pool: Exists("client", name). No such pool: NotFound("userpool", name).
	CreateClient(ctx context.Context, p guard.Permit, c Client) error
	// Client returns a client by id, or NotFound("client", id).
	Client(ctx context.Context, pool, id string) (Client, error)
	// Clients returns the pool's clients in order of name.
	Clients(ctx context.Context, pool string) ([]Client, error)
	// UpdateClient replaces the client of the same pool and id if its version still is c.Version, and
	// counts the version up; ActionUpdateClient. Otherwise Changed("client", id), or NotFound, or, for a name
	// that another client has, Exists. CreatedAt stays.
	UpdateClient(ctx context.Context, p guard.Permit, c Client) error
	// DeleteClient removes a client with its codes and consents; ActionDeleteClient. NotFound if there is none.
	DeleteClient(ctx context.Context, p guard.Permit, pool, id string) error
}

// Sessions keeps login sessions. That the user exists is the reader's to check
// (see [Session.Alive]): he may go at any time.
type Sessions interface {
	// CreateSession adds a session; ActionCreateSession.
	CreateSession(ctx context.Context, p guard.Permit, s Session) error
	// Session returns the session with that token hash, dead or alive, or NotFound("session", "").
	Session(ctx context.Context, pool string, tokenHash secret.Hash) (Session, error)
	// ExtendSession sets LastUsedAt; ActionExtendSession. NotFound("session", id) if it has ended.
	ExtendSession(ctx context.Context, p guard.Permit, pool, id string, usedAt time.Time) error
	// EndSession removes a session; ActionEndSession. NotFound("session", id) if it has ended.
	EndSession(ctx context.Context, p guard.Permit, pool, id string) error
	// SessionsOf returns the user's sessions, dead or alive, the newest first; at most 1000.
	SessionsOf(ctx context.Context, pool, userID string) ([]Session, error)
	// EndSessions removes all sessions of a user but the one with the id except, which may be empty;
	// ActionEndSession on the user's Resource. It returns those that it removed.
	EndSessions(ctx context.Context, p guard.Permit, pool, userID, except string) ([]Session, error)
	// Sweep removes what of all pools ended before t: sessions, codes, devices' requests, families and what clients left behind, returning how many;
	// ActionSweep on SweepResource. The entry is committed only when something was removed.
	Sweep(ctx context.Context, p guard.Permit, t time.Time) (int, error)
}

// SweepResource is what guard permits about sweeping.
func SweepResource() guard.Resource { return guard.Resource{Kind: "session"} }

// Codes keeps authorization codes.
type Codes interface {
	// CreateCode adds a code; ActionCreateCode. NotFound("user", id) if the user or the client is gone.
	CreateCode(ctx context.Context, p guard.Permit, c Code) error
	// Code returns the code with that hash, redeemed or not, expired or not, or NotFound("code", "").
	Code(ctx context.Context, pool string, hash secret.Hash) (Code, error)
	// RedeemCode marks the code with that id as redeemed at the time at, and begins b, a family of the
	// code's user and client; ActionRedeemCode. Of any number of calls, in any number of processes, exactly
	// one returns nil; the others get [CodeUsed], and nothing begins. It is NotFound("code", id) if there is
	// no such code.
	RedeemCode(ctx context.Context, p guard.Permit, pool, id string, at time.Time, b Beginning) error
}

// Families keeps families of tokens. They begin when what they come of is
// redeemed (see [Codes]).
//
// Families also end by the way: those that are not Offline with the session that they came of, and all of a
// user's for a client when he withdraws his consent to it. Sessions.Sweep removes those that ended or expired
// before its time, with their refresh tokens.
type Families interface {
	// Family returns a family by id, alive or not, or NotFound("family", id).
	Family(ctx context.Context, pool, id string) (Family, error)
	// FamilyOf returns the family of the refresh token with that hash, alive or not, and the token's
	// generation. NotFound("family", "") if no family has or remembers it (see [RefreshKept]).
	FamilyOf(ctx context.Context, pool string, token secret.Hash) (f Family, generation int64, err error)
	// AdvanceFamily adds next, a token of f's head generation or of the one after it, and makes its
	// generation the head; ActionAdvanceFamily. idle becomes IdleExpiresAt; at becomes AdvancedAt if the head
	// moved. If the family has ended, or its head is no longer f.Head: Changed("family", id), and nothing
	// changes. NotFound("family", id) if it is gone.
	AdvanceFamily(ctx context.Context, p guard.Permit, f Family, next RefreshToken, at, idle time.Time) error
	// EndFamily ends a family at the time at; the action is why.Action(). Changed("family", id) if it has
	// ended before, NotFound("family", id) if it is gone.
	EndFamily(ctx context.Context, p guard.Permit, pool, id string, why Ending, at time.Time) error
}

// Consents keeps remembered consents.
type Consents interface {
	// Consent returns what the user allowed the client; the empty set if nothing.
	Consent(ctx context.Context, pool, userID, clientID string) (name.Scopes, error)
	// SetConsent remembers c in place of what the user allowed this client before; ActionSetConsent.
	SetConsent(ctx context.Context, p guard.Permit, c Consent) error
	// ConsentsOf returns what the user allowed, in order of client id.
	ConsentsOf(ctx context.Context, pool, userID string) ([]Consent, error)
	// DeleteConsent forgets what the user allowed a client; ActionDeleteConsent. NotFound("consent", "") if that is nothing.
	DeleteConsent(ctx context.Context, p guard.Permit, c Consent) error
}

// Stores are all stores of this package together, for wiring and for the suite.
type Stores interface {
	Pools
	Users
	Clients
	Sessions
	Codes
	Devices
	Families
	LogoutNotices
	Consents
	Groups
	PushedRequests
	Assertions
	Registrations
	Directory
	ProvisioningTokens
	Proofs
	Letters
}

// NotFound returns the fault for something that is not there. what is the
// Resource's kind; id is what was asked for, and may be empty where it is secret.
func NotFound(what, id string) *fault.Error {
	if id == "" {
		return fault.New(fault.NotFound, what+"_not_found", "there is no such %s", title(what))
	}
	return fault.New(fault.NotFound, what+"_not_found", "there is no %s %q", title(what), name.Clip(id, 80))
}

// Exists returns the fault for something that is there already.
func Exists(what, id string) *fault.Error {
	return fault.New(fault.Conflict, what+"_exists", "there is a %s %q already", title(what), name.Clip(id, 80)).
		WithFix("choose another name, or change the one that is there")
}

// Changed returns the fault for something that changed since it was read.
func Changed(what, id string) *fault.Error {
	return fault.New(fault.Conflict, what+"_changed", "the %s %q was changed in between", title(what), name.Clip(id, 80)).
		WithFix("read it again and repeat the change")
}

// CodeUsed returns the fault for the second redemption of a code.
func CodeUsed() *fault.Error {
	return fault.New(fault.Gone, "code_used", "the authorization code was used before").WithFix("start the login again")
}

// title returns what people call a thing of the given kind.
func title(kind string) string {
	switch kind {
	case "userpool":
		return "user pool"
	case "code":
		return "authorization code"
	case "pushed":
		return "pushed authorization request"
	case "initial_token":
		return "initial access token"
	case "provisioning-token":
		return "provisioning token"
	case "device":
		return "device code"
	default:
		return kind
	}
}
