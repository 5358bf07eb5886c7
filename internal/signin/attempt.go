package signin

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions on attempts, as the guard knows them.
const (
	ActionBegin guard.Action = "login.begin"
	ActionTry   guard.Action = "login.try"
	ActionEnd   guard.Action = "login.end"
	ActionSweep guard.Action = "login.sweep"
)

// The bounds of an attempt.
const (
	AttemptLifetime = 10 * time.Minute
	MaxTries        = 5 // answers, after which it begins again at the password
)

// Attempt is a login under way: what has been proven in one browser, which has
// the token; the store has its hash. It is no session, and worth nothing
// anywhere else. Every step that is proven ends it, and what is still missing
// goes on in another one: a token from before a step is worth nothing after it.
type Attempt struct {
	ID        string // "att_…", for audit; of no use as a credential
	Pool      string
	TokenHash secret.Hash // see [HashAttempt]
	UserID    string      // empty: nobody is known yet, and a passkey will tell
	Methods   []string    // what has been proven (RFC 8176)
	Challenge []byte      // that the next passkey answers; another for every try
	Tries     int         // answers so far
	CreatedAt time.Time
	ExpiresAt time.Time // CreatedAt + AttemptLifetime
	Version   int64     // 1 when begun, one more with every try
}

// newAttempt returns an attempt that begins now, and its token.
func newAttempt(pool, userID string, methods []string, now time.Time) (Attempt, secret.Text) {
	token := secret.FromString(name.NewToken("la"))
	return Attempt{
		ID: name.NewID("att"), Pool: pool, TokenHash: HashAttempt(token), UserID: userID, Methods: methods,
		Challenge: factor.NewChallenge(), CreatedAt: now, ExpiresAt: now.Add(AttemptLifetime),
	}, token
}

// HashAttempt returns what an attempt is stored under.
func HashAttempt(token secret.Text) secret.Hash { return token.Digest("login attempt") }

// AttemptResource returns what guard permits about the attempt with that id.
func AttemptResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "login", Pool: pool, ID: id}
}

// Resource returns what guard permits about a.
func (a Attempt) Resource() guard.Resource { return AttemptResource(a.Pool, a.ID) }

// SweepResource is what guard permits about sweeping.
func SweepResource() guard.Resource { return guard.Resource{Kind: "login"} }

func (a Attempt) owner() factor.Owner { return factor.Owner{Pool: a.Pool, UserID: a.UserID} }

// proven reports whether a has one of the methods.
func (a Attempt) proven(methods ...string) bool {
	return slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(a.Methods, m) })
}

// The methods of RFC 8176 that logins here have, and "fed" for a login at
// another identity provider.
const (
	MethodPassword  = "pwd"
	MethodCode      = "otp" // of an authenticator app, or a recovery code
	MethodHardware  = "hwk" // a passkey that stays in its device
	MethodSoftware  = "swk" // a passkey that is synchronized
	MethodFederated = "fed"
	MethodMultiple  = "mfa" // all together: two things of different kinds
)

// twoFactors reports whether what was proven is more than one thing: a passkey
// alone is two, the device and what it verified its user by.
func (a Attempt) twoFactors() bool {
	return a.proven(MethodHardware, MethodSoftware) || (a.proven(MethodCode) && a.proven(MethodPassword, MethodFederated))
}

// methods returns what a session that comes of a says.
func (a Attempt) methods() []string {
	if a.twoFactors() {
		return append(slices.Clone(a.Methods), MethodMultiple)
	}
	return a.Methods
}

// Attempts keeps attempts. What every implementation keeps to is what the
// stores of package userpool keep to; in particular an attempt of one pool is
// nothing in another.
type Attempts interface {
	// BeginAttempt adds an attempt with Version 1, whatever a says; ActionBegin. Without such a user, or pool,
	// it is a fault of kind NotFound.
	BeginAttempt(ctx context.Context, p guard.Permit, a Attempt) error
	// Attempt returns the attempt with that token hash, expired or not, or [AttemptGone].
	Attempt(ctx context.Context, pool string, tokenHash secret.Hash) (Attempt, error)
	// TryAttempt counts one more try and sets the next challenge if the version still is a.Version, and counts
	// that up; ActionTry. Otherwise AttemptGone. Of any number of calls at one version exactly one succeeds, and
	// since an answer is looked at only after its try is counted, answers sent at once are not worth more.
	TryAttempt(ctx context.Context, p guard.Permit, a Attempt, next []byte) error
	// EndAttempt removes the attempt, whatever its version; ActionEnd. AttemptGone if it is not there. So of one
	// attempt comes one session, and a right answer is not lost because the button was pressed twice: the second
	// answer counts a try, and is refused, while the first is on its way here.
	EndAttempt(ctx context.Context, p guard.Permit, a Attempt) error
	// SweepAttempts removes the attempts of all pools whose ExpiresAt is before t, returning how many;
	// ActionSweep on SweepResource. The entry is committed only when something was removed.
	SweepAttempts(ctx context.Context, p guard.Permit, t time.Time) (int, error)
}

// AttemptGone returns the fault for an attempt that is not there, has expired,
// or has gone on in another request.
func AttemptGone() *fault.Error {
	return fault.New(fault.Gone, "login_expired", "this login has expired, or it went on elsewhere").WithFix("log in again")
}
