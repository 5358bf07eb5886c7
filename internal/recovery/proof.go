package recovery

import (
	"context"
	"net/netip"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Opened is a proof that holds, and whose it is.
type Opened struct {
	userpool.Proof
	User userpool.User // zero for SignUp
}

// Open returns what a link is good for and changes nothing. A link that is good
// for nothing, whatever the reason, is the fault of [userpool.ProofUsed].
func (r *Recovery) Open(ctx context.Context, pool userpool.Pool, purpose userpool.Purpose, token secret.Text) (Opened, error) {
	if err := r.check(pool, kindOf(purpose)); err != nil {
		return Opened{}, err
	}
	v, err := r.Proofs.Proof(ctx, pool.Name, userpool.HashProof(token))
	if fault.Is(err, fault.NotFound) || (err == nil && (v.Purpose != purpose || !r.Now().Before(v.ExpiresAt))) {
		return Opened{}, userpool.ProofUsed()
	}
	if err != nil || v.UserID == "" {
		return Opened{Proof: v}, err
	}
	u, err := r.Users.User(ctx, pool.Name, v.UserID)
	if fault.Is(err, fault.NotFound) || (err == nil && (u.Disabled || u.Email != v.Email)) {
		return Opened{}, userpool.ProofUsed()
	}
	return Opened{v, u}, err
}

func kindOf(purpose userpool.Purpose) userpool.LetterKind {
	switch purpose {
	case userpool.ResetPassword:
		return userpool.LetterReset
	case userpool.SignUp:
		return userpool.LetterSignUp
	default:
		return userpool.LetterVerify
	}
}

// Verify notes that the user reads the mailbox that he says is his.
func (r *Recovery) Verify(ctx context.Context, pool userpool.Pool, token secret.Text, from netip.Addr) (userpool.User, error) {
	return r.change(ctx, pool, userpool.VerifyEmail, token, from, func(u userpool.User) (userpool.User, error) {
		u.EmailVerified = true
		return u, nil
	})
}

// Reset gives the user a new password, if the pool's policy lets him have it.
// All his sessions and all tokens that came of them end. A fault of kind Invalid
// is about the password, and the link stays good.
func (r *Recovery) Reset(ctx context.Context, pool userpool.Pool, token, password secret.Text, from netip.Addr) (userpool.User, error) {
	return r.change(ctx, pool, userpool.ResetPassword, token, from, func(u userpool.User) (userpool.User, error) {
		u, err := r.Passwords.Set(ctx, pool.Settings.Password, u, password, false, r.now())
		u.EmailVerified = true
		return u, err
	})
}

// tries bounds how often a change begins again because the user changed in
// between.
const tries = 3

func (r *Recovery) change(ctx context.Context, pool userpool.Pool, purpose userpool.Purpose, token secret.Text, from netip.Addr,
	edit func(userpool.User) (userpool.User, error)) (userpool.User, error) {
	for n := 1; ; n++ {
		o, err := r.Open(ctx, pool, purpose, token)
		if err != nil {
			return userpool.User{}, err
		}
		u, err := r.use(ctx, o, from, func() (userpool.User, error) { return edit(o.User) })
		if !fault.HasCode(err, "user_changed") || n == tries {
			return u, err
		}
	}
}

// use uses a proof up for the user that edit returns.
func (r *Recovery) use(ctx context.Context, o Opened, from netip.Addr, edit func() (userpool.User, error)) (userpool.User, error) {
	if !r.limits.allow("proof "+o.ID, perProof) {
		return userpool.User{}, throttled()
	}
	u, err := edit()
	if err != nil {
		return userpool.User{}, err
	}
	p, err := r.Guard.Allow(ctx, u.Person(userpool.Issuer(r.PublicURL, u.Pool)), o.Purpose.Action(), u.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	return u, r.Proofs.UseProof(ctx, p.Detail(map[string]string{"proof": o.ID, "address": from.String()}), o.Proof, u)
}

// NewUser is what somebody who signs up says about himself.
type NewUser struct {
	UserName    string
	DisplayName string // may be empty
	Password    secret.Text
}

// SignUp makes a user with the proven address. A fault of kind Invalid, and
// user_exists, are about what was said; the link stays good for another try.
func (r *Recovery) SignUp(ctx context.Context, pool userpool.Pool, token secret.Text, n NewUser, from netip.Addr) (userpool.User, error) {
	o, err := r.Open(ctx, pool, userpool.SignUp, token)
	if err != nil {
		return userpool.User{}, err
	}
	return r.use(ctx, o, from, func() (userpool.User, error) {
		u := userpool.User{
			ID: name.NewID("usr"), Pool: pool.Name, UserName: n.UserName, DisplayName: n.DisplayName, Email: o.Email, EmailVerified: true, CreatedAt: r.now(),
		}
		if err := u.Check(); err != nil {
			return u, err
		}
		// Before the hash, which costs more. Whoever comes in between is found by the store.
		if _, err := r.Users.UserByName(ctx, pool.Name, u.UserName); err == nil {
			return u, userpool.Exists("user", u.UserName)
		} else if !fault.Is(err, fault.NotFound) {
			return u, err
		}
		return r.Passwords.Set(ctx, pool.Settings.Password, u, n.Password, false, r.now())
	})
}

// Sweep removes letters and proofs whose time is over.
func (r *Recovery) Sweep(ctx context.Context) error {
	p, err := r.Guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionSweepLetters, userpool.LettersResource())
	if err != nil {
		return err
	}
	_, err = r.Letters.SweepLetters(ctx, p, r.Now())
	return err
}
