package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions on proofs and letters.
const (
	ActionPostLetter    guard.Action = "letter.post"
	ActionSettleLetter  guard.Action = "letter.settle"
	ActionSweepLetters  guard.Action = "letter.sweep"
	ActionPutProof      guard.Action = "proof.put"
	ActionVerifyEmail   guard.Action = "user.verify-email"
	ActionResetPassword guard.Action = "user.reset-password"
	ActionSignUp        guard.Action = "user.sign-up"
)

// Purpose says what a proof is good for.
type Purpose string

// The purposes.
const (
	VerifyEmail   Purpose = "verify" // the address is the user's
	ResetPassword Purpose = "reset"  // the user sets a new password
	SignUp        Purpose = "signup" // somebody becomes a user with this address
)

// Action returns what using a proof of the purpose is permitted by.
func (p Purpose) Action() guard.Action {
	switch p {
	case VerifyEmail:
		return ActionVerifyEmail
	case ResetPassword:
		return ActionResetPassword
	default:
		return ActionSignUp
	}
}

// ProofLifetime is how long the link in a letter is good.
const ProofLifetime = 30 * time.Minute

// Proof is what a letter carries to an address: whoever shows the token reads
// that mailbox. The letter has the token, the store its hash. There is one proof
// of a purpose for a user, or for an address without user: a newer one replaces
// it.
type Proof struct {
	ID        string // "prf_…", for audit; of no use as a credential
	Pool      string
	Hash      secret.Hash // see [HashProof]
	Purpose   Purpose
	UserID    string // empty for SignUp
	Email     string // as the letter was addressed; a user who has another by now is not proven
	CreatedAt time.Time
	ExpiresAt time.Time // CreatedAt + ProofLifetime
}

// NewProof returns a proof that begins now, and its token.
func NewProof(pool string, purpose Purpose, userID, email string, now time.Time) (Proof, secret.Text) {
	token := secret.FromString(name.NewToken("pf"))
	return Proof{
		ID: name.NewID("prf"), Pool: pool, Hash: HashProof(token), Purpose: purpose, UserID: userID, Email: email,
		CreatedAt: now, ExpiresAt: now.Add(ProofLifetime),
	}, token
}

// HashProof returns what a proof is stored under.
func HashProof(token secret.Text) secret.Hash { return token.Digest("e-mail proof") }

// Resource returns what guard permits about p.
func (p Proof) Resource() guard.Resource {
	return guard.Resource{Kind: "proof", Pool: p.Pool, ID: p.ID}
}

// subject is of whom there is one proof of a purpose.
func (p Proof) subject() string {
	if p.UserID != "" {
		return p.UserID
	}
	return EmailKey(p.Email)
}

// Key returns what identifies a proof in its pool besides its hash.
func (p Proof) Key() (purpose, subject string) { return string(p.Purpose), p.subject() }

// EmailKey returns the form of an address under which users are found. Domains
// do not distinguish case; mailboxes may (RFC 5321, section 2.4), and none does.
func EmailKey(email string) string {
	b := []byte(email)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' { // as both databases' lower() agree on
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// SetEmail gives u an address. Another than it has is not verified.
func (u *User) SetEmail(email string) {
	if u.Email != email {
		u.Email, u.EmailVerified = email, false
	}
}

// LetterKind says what a letter is about.
type LetterKind string

// The kinds of letters. What a letter says is decided when it is sent.
const (
	LetterReset   LetterKind = "reset"   // somebody asked to reset the passwords of the address's users, if there are any
	LetterSignUp  LetterKind = "signup"  // somebody asked to become a user with the address
	LetterVerify  LetterKind = "verify"  // the user asked to verify the address
	LetterChanged LetterKind = "changed" // the user's address was this one, and is another now
)

// LetterState says how far a letter is.
type LetterState string

// The states of letters.
const (
	LetterWaiting LetterState = "waiting"
	LetterSent    LetterState = "sent"
	LetterDropped LetterState = "dropped" // there was nobody to write to, or too often
	LetterFailed  LetterState = "failed"
)

// LetterLifetime is how long a letter is tried, and remembered.
const LetterLifetime = 24 * time.Hour

// Letter is a message that waits to be sent. It has no secret: the link is made
// when it goes out. Nor does posting one look for the user: whether there is one
// cannot be told from how long it takes.
type Letter struct {
	ID        string // "let_…"
	Pool      string
	Kind      LetterKind
	Email     string // where to
	UserID    string // whom it is about; empty for those that strangers ask for
	Language  string // that it begins in: "en" or "zh"
	State     LetterState
	Tries     int
	Owner     string    // who is sending it, if anybody
	DueAt     time.Time // of the next try; while it is being sent: when another may take it over
	CreatedAt time.Time
}

// LetterResource returns what guard permits about a letter.
func LetterResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "letter", Pool: pool, ID: id}
}

// Resource returns what guard permits about l.
func (l Letter) Resource() guard.Resource { return LetterResource(l.Pool, l.ID) }

// LettersResource is what guard permits about sweeping.
func LettersResource() guard.Resource { return guard.Resource{Kind: "letter"} }

// Proofs keeps proofs.
type Proofs interface {
	// UsersByEmail returns at most limit users of the pool with that [EmailKey], in order of LoginName.
	// Addresses are not unique: families and teams share them.
	UsersByEmail(ctx context.Context, pool, email string, limit int) ([]User, error)
	// PutProof adds a proof in place of the one that its user, or its address, has for the purpose;
	// ActionPutProof. NotFound("user", id), or NotFound("userpool", pool).
	PutProof(ctx context.Context, p guard.Permit, v Proof) error
	// Proof returns the proof with that hash, expired or not, or NotFound("proof", "").
	Proof(ctx context.Context, pool string, hash secret.Hash) (Proof, error)
	// UseProof removes a proof and stores what it was good for, u: CreateUser for SignUp, else UpdateUser;
	// v.Purpose.Action() on u's Resource. Sessions that the change makes void end. Of any number of calls
	// exactly one returns nil; the others get [ProofUsed]. The errors of CreateUser and UpdateUser leave the
	// proof as it is.
	UseProof(ctx context.Context, p guard.Permit, v Proof, u User) error
}

// Letters keeps letters: an outbox that survives a restart.
type Letters interface {
	// PostLetter adds a waiting letter; ActionPostLetter. NotFound("userpool", pool).
	PostLetter(ctx context.Context, p guard.Permit, l Letter) error
	// TakeLetter gives owner a letter that is due, until the time until, and counts a try. It reports false
	// if none is due. Of callers at the same time at most one gets it.
	TakeLetter(ctx context.Context, owner string, now, until time.Time) (Letter, bool, error)
	// PostponeLetter gives back a letter that l.Owner has, to be tried again at due. It does nothing if
	// somebody else took it over.
	PostponeLetter(ctx context.Context, l Letter, due time.Time) error
	// SettleLetter sets the final state of a letter that l.Owner has; ActionSettleLetter.
	// NotFound("letter", id) if somebody else took it over.
	SettleLetter(ctx context.Context, p guard.Permit, l Letter) error
	// LettersSent returns how many letters went to the address of the pool since a time.
	LettersSent(ctx context.Context, pool, email string, since time.Time) (int, error)
	// SweepLetters removes letters from before t - LetterLifetime and proofs that expired before t, of all
	// pools, returning how many; ActionSweepLetters on LettersResource. The entry is committed only when
	// something was removed.
	SweepLetters(ctx context.Context, p guard.Permit, t time.Time) (int, error)
}

// ProofUsed returns the fault for a proof that was used, replaced or never made.
// Which of them cannot be told, since nothing of it is kept.
func ProofUsed() *fault.Error {
	return fault.New(fault.Gone, "proof_used", "the link was used before, or a newer one was sent, or it has expired").WithFix("ask for a new one")
}
