// Package recovery lets people in who cannot log in yet, or no longer: sign-up, verified e-mail addresses and new passwords, each by a link in a letter.
//
// A stranger asks with an address ([Recovery.Request]). That stores one letter
// and looks nothing up, so that the answer, and the time that it takes, say
// nothing about who has an account. [Recovery.Run] sends letters later. The link
// in them is opened by [Recovery.Open], which changes nothing, because mail
// scanners open links too; [Recovery.Verify], [Recovery.Reset] and
// [Recovery.SignUp] use it up.
//
// A letter goes to any address that a user has, verified or not: addresses are
// set by operators, or were proven. Setting a password by it proves the address,
// and leaves second factors as they are.
package recovery

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/mail"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Sender sends a message; [mail.Sender] is one. A fault of kind Unavailable may
// pass, any other will stay.
type Sender interface {
	Send(ctx context.Context, m mail.Message) error
}

// Config says what Recovery works with. All fields are required but Mail.
type Config struct {
	PublicURL string // of the identity service, for the issuers
	Pools     userpool.Pools
	Users     userpool.Users
	Proofs    userpool.Proofs
	Letters   userpool.Letters
	Passwords *userpool.Passwords
	Mail      Sender // nil: everything here is off
	Guard     *guard.Guard
	Log       *slog.Logger
	Now       func() time.Time

	// Link returns the address of the page on which a proof is used.
	Link func(pool string, purpose userpool.Purpose, token secret.Text) string
	// Start returns the address of the page on which a person asks for a letter of that kind.
	Start func(pool string, kind userpool.LetterKind) string
}

// Recovery is the way in for those who have no other. Make one with [New].
type Recovery struct {
	Config
	limits *limits
	wake   chan struct{} // has a value after a letter was posted in this process
	owner  string        // of the letters that this process is sending
}

// New returns a Recovery.
func New(c Config) *Recovery {
	return &Recovery{Config: c, limits: newLimits(c.Now), wake: make(chan struct{}, 1), owner: name.NewID("replica")}
}

// Offers reports whether people of the pool can ask for letters of that kind.
func (r *Recovery) Offers(pool userpool.Pool, kind userpool.LetterKind) bool {
	switch kind {
	case userpool.LetterReset:
		return r.Mail != nil && pool.Settings.Recovery
	case userpool.LetterSignUp:
		return r.Mail != nil && pool.Settings.SignUp
	default:
		return r.Mail != nil
	}
}

func (r *Recovery) check(pool userpool.Pool, kind userpool.LetterKind) error {
	if r.Offers(pool, kind) {
		return nil
	}
	return fault.New(fault.NotFound, "recovery_off", "this user pool does not offer that").
		WithFix("ask an administrator: it takes the pool's setting, and `deputy serve --smtp-url`")
}

// Request posts a letter that a stranger asks for, of kind LetterReset or
// LetterSignUp. It does the same whether the pool has a user with the address or
// not. Its errors are about the request alone: recovery_off, email_invalid, and
// recovery_throttled for a network that asks too often. An address that is
// asked for too often gets no more letters, and nobody is told.
func (r *Recovery) Request(ctx context.Context, pool userpool.Pool, kind userpool.LetterKind, email, language string, from netip.Addr) error {
	if err := r.check(pool, kind); err != nil {
		return err
	}
	if err := mail.CheckAddress(email); err != nil {
		return err
	}
	if !r.limits.allow("network "+signin.Network(from).String(), perNetwork) {
		return throttled()
	}
	if !r.limits.allow("address "+pool.Name+" "+userpool.EmailKey(email), perAddress) {
		return nil
	}
	return r.post(ctx, userpool.Letter{Pool: pool.Name, Kind: kind, Email: email, Language: language}, map[string]string{"address": from.String()})
}

// RequestVerification posts the letter by which a user proves his address. It
// does nothing for one that has none, or has proven it.
func (r *Recovery) RequestVerification(ctx context.Context, pool userpool.Pool, u userpool.User, language string) error {
	if err := r.check(pool, userpool.LetterVerify); err != nil {
		return err
	}
	if u.Email == "" || u.EmailVerified {
		return nil
	}
	if !r.limits.allow("user "+pool.Name+" "+u.ID, perAddress) {
		return throttled()
	}
	return r.post(ctx, userpool.Letter{Pool: pool.Name, Kind: userpool.LetterVerify, Email: u.Email, UserID: u.ID, Language: language}, nil)
}

func throttled() error {
	return fault.New(fault.Throttled, "recovery_throttled", "too many letters were asked for").WithFix("wait %d minutes and try again", int(window/time.Minute))
}

// post stores a letter. The entry never has the address: strangers type there.
func (r *Recovery) post(ctx context.Context, l userpool.Letter, detail map[string]string) error {
	now := r.now()
	l.ID, l.State, l.CreatedAt, l.DueAt = name.NewID("let"), userpool.LetterWaiting, now, now
	p, err := r.Guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionPostLetter, l.Resource())
	if err != nil {
		return err
	}
	p = p.Detail(detail).Detail(map[string]string{"kind": string(l.Kind)})
	if err := r.Letters.PostLetter(ctx, p, l); err != nil {
		return err
	}
	select {
	case r.wake <- struct{}{}:
	default: // somebody has been told already
	}
	return nil
}

// now is the time with the precision that stores keep.
func (r *Recovery) now() time.Time { return r.Now().UTC().Truncate(time.Millisecond) }
