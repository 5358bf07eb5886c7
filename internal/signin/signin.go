// Package signin authenticates a person: pool, user name and password in, session out.
package signin

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// SignIn authenticates people.
type SignIn struct {
	PublicURL string // of the identity service, for the issuers
	Users     userpool.Users
	Sessions  userpool.Sessions
	Hasher    *userpool.Hasher
	Throttle  *Throttle
	Guard     *guard.Guard
	Log       *slog.Logger
	Now       func() time.Time // nil means time.Now
}

// Result is a login that succeeded.
type Result struct {
	User    userpool.User
	Session userpool.Session
	Token   secret.Text // of the session, for the browser
}

// TooMany is in the chain of the fault login_throttled.
type TooMany struct {
	Wait time.Duration // whole seconds until the next attempt is let through
}

// Error implements error.
func (e *TooMany) Error() string { return "wait " + e.Wait.String() }

// Password authenticates with user name and password and begins a session. It
// answers an unknown user, a wrong password, a disabled user and a user without
// password all alike, in text and in time: a fault of kind Unauthenticated with
// code "login_failed". Too many failures are a fault of kind Throttled, also
// alike. What really happened stands in the audit log.
func (s *SignIn) Password(ctx context.Context, pool, userName string, password secret.Text, address netip.Addr) (Result, error) {
	loginName := userpool.LoginName(userName)
	attempt, wait := s.Throttle.try(pool+"/"+name.Clip(loginName, 64), address)
	if wait > 0 {
		// Not in the audit log: an attacker would decide how fast it grows. The failures that led here are.
		e := &TooMany{Wait: wait.Truncate(time.Second) + time.Second}
		return Result{}, fault.Wrap(e, fault.Throttled, "login_throttled", "too many failed logins").WithFix("wait %s and try again", e.Wait)
	}
	user, err := s.find(ctx, pool, loginName)
	if err != nil {
		return Result{}, err
	}
	ok, stale, err := s.Hasher.Verify(ctx, user.PasswordHash, password)
	if err != nil {
		return Result{}, err
	}
	if why := refusal(user, ok); why != "" {
		return Result{}, s.refuse(ctx, pool, user, why, address)
	}
	attempt.succeeded()
	caller := user.Person(userpool.Issuer(s.PublicURL, pool))
	if stale {
		s.upgrade(ctx, caller, user, password)
	}
	session, token := userpool.NewSession(pool, user.ID, []string{"pwd"}, s.now())
	p, err := s.Guard.Allow(ctx, caller, userpool.ActionCreateSession, session.Resource())
	if err != nil {
		return Result{}, err
	}
	p = p.Detail(map[string]string{"method": "password", "address": address.String()})
	if err := s.Sessions.CreateSession(ctx, p, session); err != nil {
		return Result{}, err
	}
	return Result{User: user, Session: session, Token: token}, nil
}

// find returns the user, or the zero User if there is none.
func (s *SignIn) find(ctx context.Context, pool, loginName string) (userpool.User, error) {
	user, err := s.Users.UserByName(ctx, pool, loginName)
	if fault.Is(err, fault.NotFound) {
		return userpool.User{}, nil
	}
	return user, err
}

// refusal says why a login is refused, or nothing.
func refusal(u userpool.User, passwordRight bool) string {
	switch {
	case u.ID == "":
		return "unknown user"
	case u.PasswordHash.Empty():
		return "the user has no password"
	case !passwordRight:
		return "wrong password"
	case u.Disabled:
		return "the user is disabled"
	default:
		return ""
	}
}

// refuse records the failure and returns the uniform answer. The entry never
// has the name that was typed: people type their password there.
func (s *SignIn) refuse(ctx context.Context, pool string, u userpool.User, why string, address netip.Addr) error {
	r := userpool.UserResource(pool, u.ID)
	detail := map[string]string{"method": "password", "address": address.String()}
	if err := s.Guard.Refuse(ctx, name.Caller{}, userpool.ActionCreateSession, r, why, detail); err != nil {
		return err
	}
	return fault.New(fault.Unauthenticated, "login_failed", "user name or password is wrong").WithFix("try again")
}

// upgrade stores the password under today's parameters. That it does not work
// is no reason to turn the person away.
func (s *SignIn) upgrade(ctx context.Context, caller name.Caller, u userpool.User, password secret.Text) {
	hash, err := s.Hasher.Hash(ctx, password)
	if err == nil {
		var p guard.Permit
		if p, err = s.Guard.Allow(ctx, caller, userpool.ActionUpgradePassword, u.Resource()); err == nil {
			err = s.Users.UpgradePassword(ctx, p, u.Pool, u.ID, u.PasswordHash, hash)
		}
	}
	if err != nil && !fault.Is(err, fault.Conflict) {
		s.Log.WarnContext(ctx, "password hash not upgraded", "user", u.ID, "err", err)
	}
}

func (s *SignIn) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
