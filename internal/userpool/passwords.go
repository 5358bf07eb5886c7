package userpool

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// Passwords decides which passwords users may have, and gives them to users.
type Passwords struct {
	Hasher   *Hasher
	Breached *Breached
}

// Set returns u with the password in place of the one that it has, if the
// policy lets u have it: otherwise a fault of kind Invalid that says why. A
// temporary password must be changed at the next login. Sessions from before now
// are void by it. The caller stores the user.
func (p *Passwords) Set(ctx context.Context, policy PasswordPolicy, u User, password secret.Text, temporary bool, now time.Time) (User, error) {
	if err := p.check(ctx, policy, u, password); err != nil {
		return User{}, err
	}
	hash, err := p.Hasher.Hash(ctx, password)
	if err != nil {
		return User{}, err
	}
	if !u.PasswordHash.Empty() {
		u.FormerPasswords = slices.Concat([]secret.Text{u.PasswordHash}, u.FormerPasswords)
	}
	// The present password counts as one of those that are looked at, so one less is kept beside it.
	u.FormerPasswords = u.FormerPasswords[:min(len(u.FormerPasswords), max(0, policy.History-1))]
	u.PasswordHash, u.PasswordChangedAt, u.MustChangePassword = hash, now, temporary
	return u, nil
}

// check holds a password against the policy; cheap rules first.
func (p *Passwords) check(ctx context.Context, policy PasswordPolicy, u User, password secret.Text) error {
	if err := policy.check(u, password); err != nil {
		return err
	}
	if policy.RefuseBreached {
		found, err := p.Breached.Has(password)
		if err != nil {
			return err
		}
		if found {
			return fault.New(fault.Invalid, "password_breached", "the password is on a list of known ones, which attackers try first").
				WithFix("choose another: three or four random words are good")
		}
	}
	return p.checkFormer(ctx, policy, u, password)
}

// check holds a password against the rules that need nothing but u.
func (policy PasswordPolicy) check(u User, password secret.Text) error {
	least := max(policy.MinLength, MinPassword)
	s := password.RevealString()
	switch {
	case utf8.RuneCountInString(s) < least || len(s) > MaxPassword || !utf8.ValidString(s):
		return fault.New(fault.Invalid, "password_length", "the password is too short or too long").
			WithFix("use at least %d characters, and at most %d bytes", least, MaxPassword)
	case strings.TrimSpace(s) == "":
		return fault.New(fault.Invalid, "password_blank", "the password is blank").WithFix("use something that can be seen")
	case sameWord(s, u.UserName) || sameWord(s, u.Email):
		return fault.New(fault.Invalid, "password_is_name", "the password is the user's name or e-mail address").WithFix("choose one that nobody can look up")
	}
	return nil
}

// sameWord reports whether a is b, forward or backward, without regard to case.
func sameWord(a, b string) bool {
	if b == "" {
		return false
	}
	backward := []rune(b)
	slices.Reverse(backward)
	return strings.EqualFold(a, b) || strings.EqualFold(a, string(backward))
}

// checkFormer compares with the last policy.History passwords, the present one
// among them. Each costs one hash, which is why there are at most [MaxHistory].
func (p *Passwords) checkFormer(ctx context.Context, policy PasswordPolicy, u User, password secret.Text) error {
	former := u.FormerPasswords
	if !u.PasswordHash.Empty() {
		former = slices.Concat([]secret.Text{u.PasswordHash}, former)
	}
	// A temporary password is not one to go on with, whatever the policy.
	look := min(len(former), policy.History, MaxHistory)
	if u.MustChangePassword && len(former) > 0 {
		look = max(look, 1)
	}
	for _, hash := range former[:look] {
		same, _, err := p.Hasher.Verify(ctx, hash, password)
		if err != nil {
			return err
		}
		if same {
			return fault.New(fault.Invalid, "password_used", "the password was used before").WithFix("choose one that you did not have here")
		}
	}
	return nil
}
