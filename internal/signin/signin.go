// Package signin authenticates a person, step by step: password or passkey first, then what else the pool asks for, and a session at the end.
//
// What has been proven between the steps is kept in an [Attempt] that belongs
// to one browser. There is no session before all is proven, and nothing that a
// browser sends says which step is next: that follows from the user, his factors
// and the pool each time.
package signin

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/factor"
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
	Attempts  Attempts
	Factors   *factor.Registry
	Passwords *userpool.Passwords
	Throttle  *Throttle
	Guard     *guard.Guard
	Log       *slog.Logger
	Now       func() time.Time // nil means time.Now
}

// Origin is where somebody logs in from.
type Origin struct {
	Address netip.Addr
	Agent   string // the browser, in its own words
}

// Need is what a login still lacks.
type Need string

// What a login may lack.
const (
	Nothing     Need = ""
	AnyPasskey  Need = "passkey"  // nobody is known yet: a passkey tells who it is
	Factor      Need = "factor"   // one of the user's second factors
	NewPassword Need = "password" // in place of a temporary one
	Enrolment   Need = "enrolment"
)

// Progress is how far a login has come.
type Progress struct {
	User    userpool.User // zero while nobody is known
	Need    Need
	Token   secret.Text      // of the session if Need is Nothing, else of the attempt
	Session userpool.Session // if Need is Nothing
	Attempt Attempt          // otherwise
	Factors factor.Set       // the user's, if Need is Factor
	// Recovery are the codes that came with an enrolment on the way, to be shown now or never.
	Recovery []secret.Text
}

// TooMany is in the chain of the fault login_throttled.
type TooMany struct {
	Wait time.Duration // whole seconds until the next attempt is let through
}

// Error implements error.
func (e *TooMany) Error() string { return "wait " + e.Wait.String() }

// throttled is the fault for an attempt that is not let through. It is not in
// the audit log: an attacker would decide how fast that grows. The failures that
// led here are.
func throttled(wait time.Duration) error {
	e := &TooMany{Wait: wait.Truncate(time.Second) + time.Second}
	return fault.Wrap(e, fault.Throttled, "login_throttled", "too many failed logins").WithFix("wait %s and try again", e.Wait)
}

// Password authenticates with user name and password. It answers an unknown
// user, a wrong password, a disabled user and a user without password all alike,
// in text and in time: a fault of kind Unauthenticated with code
// "login_failed". Too many failures are a fault of kind Throttled, also alike.
// What really happened stands in the audit log.
func (s *SignIn) Password(ctx context.Context, pool userpool.Pool, userName string, password secret.Text, from Origin) (Progress, error) {
	loginName := userpool.LoginName(userName)
	attempt, wait := s.Throttle.try(pool.Name+"/"+name.Clip(loginName, 64), from.Address)
	if wait > 0 {
		return Progress{}, throttled(wait)
	}
	user, err := s.find(ctx, pool.Name, loginName)
	if err != nil {
		return Progress{}, err
	}
	ok, stale, err := s.Passwords.Hasher.Verify(ctx, user.PasswordHash, password)
	if err != nil {
		return Progress{}, err
	}
	if why := refusal(user, ok); why != "" {
		return Progress{}, s.refuse(ctx, pool.Name, user, why, from)
	}
	attempt.succeeded()
	if stale {
		s.upgrade(ctx, s.caller(user), user, password)
	}
	return s.Proven(ctx, pool, user, []string{MethodPassword}, from)
}

// find returns the user, or the zero User if there is none.
func (s *SignIn) find(ctx context.Context, pool, loginName string) (userpool.User, error) {
	user, err := s.Users.UserByName(ctx, pool, loginName)
	if fault.Is(err, fault.NotFound) {
		return userpool.User{}, nil
	}
	return user, err
}

func (s *SignIn) caller(u userpool.User) name.Caller {
	return u.Person(userpool.Issuer(s.PublicURL, u.Pool))
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
func (s *SignIn) refuse(ctx context.Context, pool string, u userpool.User, why string, from Origin) error {
	r := userpool.UserResource(pool, u.ID)
	detail := map[string]string{"method": "password", "address": from.Address.String()}
	if err := s.Guard.Refuse(ctx, name.Caller{}, userpool.ActionCreateSession, r, why, detail); err != nil {
		return err
	}
	return fault.New(fault.Unauthenticated, "login_failed", "user name or password is wrong").WithFix("try again")
}

// upgrade stores the password under today's parameters. That it does not work
// is no reason to turn the person away.
func (s *SignIn) upgrade(ctx context.Context, caller name.Caller, u userpool.User, password secret.Text) {
	hash, err := s.Passwords.Hasher.Hash(ctx, password)
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

// Proven goes on from the proof of who somebody is, by the methods given: with a
// session if that is enough, else with an attempt that waits for what it
// lacks. It is for those who have seen such a proof themselves, such as the
// answer of another identity provider. The user may be read before now; whether
// he may log in is looked at here.
func (s *SignIn) Proven(ctx context.Context, pool userpool.Pool, user userpool.User, methods []string, from Origin) (Progress, error) {
	if user.Disabled || user.Pool != pool.Name {
		return Progress{}, s.refuse(ctx, pool.Name, user, "the user is disabled", from)
	}
	a, token := newAttempt(pool.Name, user.ID, methods, s.now())
	p := Progress{User: user, Attempt: a, Token: token}
	var err error
	if p.Factors, err = s.Factors.Set(ctx, a.owner()); err != nil {
		return Progress{}, err
	}
	if p.Need = need(pool, p); p.Need == Nothing {
		return s.session(ctx, p, from)
	}
	permit, err := s.Guard.Allow(ctx, s.caller(user), ActionBegin, a.Resource())
	if err != nil {
		return Progress{}, err
	}
	permit = permit.Detail(map[string]string{"user": user.ID, "methods": strings.Join(methods, " "), "missing": string(p.Need), "address": from.Address.String()})
	return p, s.Attempts.BeginAttempt(ctx, permit, a)
}

// need returns what p lacks. A second factor that the user has comes before all
// else: whoever knows a temporary password alone must not set the next one.
func need(pool userpool.Pool, p Progress) Need {
	policy, a := pool.Settings.SecondFactor, p.Attempt
	switch {
	case a.UserID == "":
		return AnyPasskey
	case policy != userpool.FactorOff && p.Factors.Any() && !a.twoFactors():
		return Factor
	case p.User.MustChangePassword && a.proven(MethodPassword):
		return NewPassword
	case policy == userpool.FactorRequired && !a.twoFactors():
		return Enrolment
	default:
		return Nothing
	}
}

// maxAgent bounds what is kept of a browser's own words, in bytes.
const maxAgent = 200

// session ends a login that lacks nothing.
func (s *SignIn) session(ctx context.Context, p Progress, from Origin) (Progress, error) {
	p.Session, p.Token = userpool.NewSession(p.User.Pool, p.User.ID, p.Attempt.methods(), s.now())
	p.Session.Address, p.Session.Agent = from.Address.String(), from.Agent
	if len(p.Session.Agent) > maxAgent {
		p.Session.Agent = strings.ToValidUTF8(p.Session.Agent[:maxAgent], "")
	}
	permit, err := s.Guard.Allow(ctx, s.caller(p.User), userpool.ActionCreateSession, p.Session.Resource())
	if err != nil {
		return Progress{}, err
	}
	permit = permit.Detail(map[string]string{"methods": strings.Join(p.Session.Methods, " "), "address": from.Address.String()})
	if err := s.Sessions.CreateSession(ctx, permit, p.Session); err != nil {
		return Progress{}, err
	}
	return p, nil
}

// ChangePassword gives a person who is logged in another password, if the
// present one is right: a fault of kind Unauthenticated with code "login_failed"
// if it is not, and of kind Invalid if the pool's policy refuses the new one.
// All sessions end with the old password; the one returned takes the place of
// the one that it was changed in.
func (s *SignIn) ChangePassword(ctx context.Context, pool userpool.Pool, session userpool.Session, present, chosen secret.Text, from Origin) (Progress, error) {
	user, err := s.Users.User(ctx, pool.Name, session.UserID)
	if err != nil {
		return Progress{}, err
	}
	attempt, wait := s.Throttle.try(pool.Name+"/"+userpool.LoginName(user.UserName), from.Address)
	if wait > 0 {
		return Progress{}, throttled(wait)
	}
	ok, _, err := s.Passwords.Hasher.Verify(ctx, user.PasswordHash, present)
	if err != nil {
		return Progress{}, err
	}
	if why := refusal(user, ok); why != "" {
		return Progress{}, s.refuse(ctx, pool.Name, user, why, from)
	}
	attempt.succeeded()
	if user, err = s.setPassword(ctx, pool, user, chosen, from); err != nil {
		return Progress{}, err
	}
	methods := slices.DeleteFunc(slices.Clone(session.Methods), func(m string) bool { return m == MethodMultiple || m == MethodPassword })
	return s.session(ctx, Progress{User: user, Attempt: Attempt{Methods: append([]string{MethodPassword}, methods...)}}, from)
}

// setPassword gives the user a password of his own choice.
func (s *SignIn) setPassword(ctx context.Context, pool userpool.Pool, user userpool.User, chosen secret.Text, from Origin) (userpool.User, error) {
	changed, err := s.Passwords.Set(ctx, pool.Settings.Password, user, chosen, false, s.now())
	if err != nil {
		return userpool.User{}, err
	}
	permit, err := s.Guard.Allow(ctx, s.caller(user), userpool.ActionSetPassword, user.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	return changed, s.Users.SetPassword(ctx, permit.Detail(map[string]string{"address": from.Address.String()}), changed)
}

func (s *SignIn) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
