package signin

import (
	"context"
	"slices"

	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// BeginPasskey begins a login in which a passkey tells who it is.
func (s *SignIn) BeginPasskey(ctx context.Context, pool userpool.Pool, from Origin) (Progress, error) {
	if pool.Settings.SecondFactor == userpool.FactorOff || !s.Factors.Passkeys() {
		return Progress{}, fault.New(fault.Forbidden, "passkeys_off", "this user pool has no passkeys").WithFix("log in with the password")
	}
	// Counted, for it is a write that anybody can cause; a login takes it back.
	if _, wait := s.Throttle.tryFactor("", from.Address); wait > 0 {
		return Progress{}, throttled(wait)
	}
	a, token := newAttempt(pool.Name, "", nil, s.now())
	permit, err := s.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionBegin, a.Resource())
	if err != nil {
		return Progress{}, err
	}
	permit = permit.Detail(map[string]string{"missing": string(AnyPasskey), "address": from.Address.String()})
	return Progress{Need: AnyPasskey, Token: token, Attempt: a}, s.Attempts.BeginAttempt(ctx, permit, a)
}

// State returns how far the login with that token has come. A login that has
// expired, was ended, or is another pool's is a fault of kind Gone with code
// "login_expired"; so is one whose user may no longer log in, or has another
// password since.
func (s *SignIn) State(ctx context.Context, pool userpool.Pool, token secret.Text) (Progress, error) {
	a, err := s.Attempts.Attempt(ctx, pool.Name, HashAttempt(token))
	if err != nil {
		return Progress{}, err
	}
	if !s.now().Before(a.ExpiresAt) || a.Tries >= MaxTries {
		return Progress{}, AttemptGone()
	}
	p := Progress{Token: token, Attempt: a}
	if a.UserID == "" {
		p.Need = AnyPasskey
		return p, nil
	}
	p.User, err = s.Users.User(ctx, pool.Name, a.UserID)
	if fault.Is(err, fault.NotFound) || (err == nil && (p.User.Disabled || a.CreatedAt.Before(p.User.PasswordChangedAt))) {
		return Progress{}, AttemptGone()
	}
	if err != nil {
		return Progress{}, err
	}
	if p.Factors, err = s.Factors.Set(ctx, a.owner()); err != nil {
		return Progress{}, err
	}
	p.Need = need(pool, p)
	return p, nil
}

// Code goes on with a code of the user's authenticator app. A wrong answer, here
// and in the other steps, is a fault of kind Unauthenticated with code
// "factor_failed"; after [MaxTries] answers the login is gone.
func (s *SignIn) Code(ctx context.Context, pool userpool.Pool, token, code secret.Text, from Origin) (Progress, error) {
	return s.answer(ctx, pool, token, "authenticator app", []Need{Factor}, from, func(p Progress) (Progress, error) {
		f, err := s.Factors.CheckTOTP(ctx, s.caller(p.User), p.Attempt.owner(), code)
		return p.with(f.Method()), err
	})
}

// RecoveryCode goes on with a recovery code.
func (s *SignIn) RecoveryCode(ctx context.Context, pool userpool.Pool, token, code secret.Text, from Origin) (Progress, error) {
	return s.answer(ctx, pool, token, "recovery code", []Need{Factor}, from, func(p Progress) (Progress, error) {
		return p.with(MethodCode), s.Factors.UseRecovery(ctx, s.caller(p.User), p.Attempt.owner(), code)
	})
}

// Passkey goes on with the browser's answer to the attempt's challenge, for a
// user who is known or for one whom the passkey tells.
func (s *SignIn) Passkey(ctx context.Context, pool userpool.Pool, token secret.Text, response []byte, from Origin) (Progress, error) {
	return s.answer(ctx, pool, token, "passkey", []Need{Factor, AnyPasskey}, from, func(p Progress) (Progress, error) {
		if p.Need == AnyPasskey {
			found, err := s.Factors.FindPasskey(ctx, pool.Name, response)
			if err != nil {
				return p, err
			}
			if p.User, err = s.Users.User(ctx, pool.Name, found.Owner.UserID); err != nil {
				return p, err
			}
		}
		owner := factor.Owner{Pool: pool.Name, UserID: p.User.ID}
		f, err := s.Factors.CheckPasskey(ctx, s.caller(p.User), owner, p.Attempt.Challenge, response)
		return p.with(f.Method()), err
	})
}

// Enrol gives a user who must have a second factor an authenticator app, with
// the seed that he was shown, and recovery codes.
func (s *SignIn) Enrol(ctx context.Context, pool userpool.Pool, token secret.Text, title string, seed, code secret.Text, from Origin) (Progress, error) {
	return s.answer(ctx, pool, token, "enrolment", []Need{Enrolment}, from, func(p Progress) (Progress, error) {
		caller, owner := s.caller(p.User), p.Attempt.owner()
		f, err := s.Factors.AddTOTP(ctx, caller, owner, title, seed, code)
		if err != nil {
			return p, err
		}
		p.Recovery, err = s.Factors.NewRecovery(ctx, caller, owner)
		return p.with(f.Method()), err
	})
}

// NewPassword goes on with a password of the user's own choice in place of a
// temporary one. One that the pool's policy refuses is a fault of kind Invalid,
// and another may be chosen.
func (s *SignIn) NewPassword(ctx context.Context, pool userpool.Pool, token, chosen secret.Text, from Origin) (Progress, error) {
	p, err := s.State(ctx, pool, token)
	if err != nil {
		return Progress{}, err
	}
	if p.Need != NewPassword {
		return p, otherStep()
	}
	if p.User, err = s.setPassword(ctx, pool, p.User, chosen, from); err != nil {
		return p, err
	}
	return s.next(ctx, pool, p, from)
}

// otherStep is the fault for a step that is not the one that a login lacks.
func otherStep() error {
	return fault.New(fault.Conflict, "login_step", "the login lacks something else").WithFix("go on with the page that is shown next")
}

// with returns p with one more method proven.
func (p Progress) with(method string) Progress {
	if !slices.Contains(p.Attempt.Methods, method) {
		p.Attempt.Methods = append(slices.Clone(p.Attempt.Methods), method)
	}
	return p
}

// answer takes one answer to what the login lacks: the try is counted before the
// answer is looked at, so that answers sent at once are not worth more.
func (s *SignIn) answer(ctx context.Context, pool userpool.Pool, token secret.Text, method string, needs []Need, from Origin, check func(Progress) (Progress, error)) (Progress, error) {
	p, err := s.State(ctx, pool, token)
	if err != nil {
		return Progress{}, err
	}
	if !slices.Contains(needs, p.Need) {
		return p, otherStep()
	}
	account := ""
	if p.User.ID != "" {
		account = pool.Name + "/" + p.User.ID
	}
	counted, wait := s.Throttle.tryFactor(account, from.Address)
	if wait > 0 {
		return p, throttled(wait)
	}
	caller := name.Caller{Kind: name.System} // while nobody is known
	if p.User.ID != "" {
		caller = s.caller(p.User)
	}
	permit, err := s.Guard.Allow(ctx, caller, ActionTry, p.Attempt.Resource())
	if err != nil {
		return p, err
	}
	next := factor.NewChallenge()
	permit = permit.Detail(map[string]string{"method": method, "address": from.Address.String()})
	if err := s.Attempts.TryAttempt(ctx, permit, p.Attempt, next); err != nil {
		return p, err
	}
	p.Attempt.Version++
	p.Attempt.Tries++
	answered, err := check(p)
	if err != nil {
		p.Attempt.Challenge = next
		return p, s.wrong(ctx, p, answered.User, method, err, from)
	}
	counted.succeeded()
	if p.Need == AnyPasskey {
		s.Throttle.forgive(from.Address)
	}
	return s.next(ctx, pool, answered, from)
}

// wrong records an answer that was not right, and returns the answer to it. An
// error about us is returned as it is.
func (s *SignIn) wrong(ctx context.Context, p Progress, user userpool.User, method string, err error, from Origin) error {
	if f := fault.As(err); f.Kind != fault.Unauthenticated && f.Kind != fault.Gone && f.Kind != fault.NotFound {
		return err
	}
	r := factor.Owner{Pool: p.Attempt.Pool, UserID: user.ID}.Resource()
	detail := map[string]string{"method": method, "address": from.Address.String()}
	if err := s.Guard.Refuse(ctx, name.Caller{}, factor.ActionUse, r, fault.As(err).Message, detail); err != nil {
		return err
	}
	if p.Attempt.Tries >= MaxTries {
		return AttemptGone()
	}
	return fault.Wrap(err, fault.Unauthenticated, "factor_failed", "that was not right").WithFix("try again")
}

// next ends the attempt and goes on with what has been proven.
func (s *SignIn) next(ctx context.Context, pool userpool.Pool, p Progress, from Origin) (Progress, error) {
	permit, err := s.Guard.Allow(ctx, s.caller(p.User), ActionEnd, p.Attempt.Resource())
	if err != nil {
		return Progress{}, err
	}
	if err := s.Attempts.EndAttempt(ctx, permit, p.Attempt); err != nil {
		return Progress{}, err
	}
	gone, err := s.Proven(ctx, pool, p.User, p.Attempt.Methods, from)
	gone.Recovery = p.Recovery
	return gone, err
}
