// Package operatortest has the suite that every operator.Store passes.
package operatortest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/secret"
)

// Backend is an operator.Store to be tested, empty.
type Backend struct {
	operator.Store
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// Test checks that what open returns does what operator.Store says.
func Test(t *testing.T, open func(*testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"kept as given": (*suite).keep, "permits": (*suite).permits, "bounded": (*suite).full, "an owner stays": (*suite).owners, "races": (*suite).races,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			test(&suite{contract.Case{T: t, Entries: b.Entries}, b})
		})
	}
}

type suite struct {
	contract.Case
	Backend
}

func newToken(tokenName string, role operator.Role, expires time.Time) operator.Token {
	return operator.Token{
		ID: name.NewID("opt"), Name: tokenName, Role: role, Hash: operator.HashToken(secret.FromString(name.NewToken(operator.TokenPrefix))),
		CreatedAt: contract.Start, ExpiresAt: expires,
	}
}

func (s *suite) add(t operator.Token) error {
	return s.AddToken(s.Ctx(), s.Permit(operator.ActionCreateToken, t.Resource()), t)
}

func (s *suite) remove(id string, now time.Time) error {
	return s.DeleteToken(s.Ctx(), s.Permit(operator.ActionDeleteToken, operator.Resource(id)), id, now)
}

// kept is a token as a store returns it.
func kept(t operator.Token) operator.Token {
	t.CreatedAt, t.ExpiresAt, t.UsedAt = contract.Kept(t.CreatedAt), contract.Kept(t.ExpiresAt), contract.Kept(t.UsedAt)
	return t
}

func (s *suite) are(want ...operator.Token) {
	s.T.Helper()
	got, err := s.Tokens(s.Ctx())
	s.Must(err)
	for i := range want {
		want[i] = kept(want[i])
	}
	s.Same("tokens", got, want)
}

func (s *suite) keep() {
	root := newToken("root", operator.Owner, time.Time{})
	backup := newToken("backup", operator.Auditor, contract.Start.Add(time.Hour))
	night := newToken("night", operator.Operator, contract.Start.Add(time.Hour))
	night.Pools = operator.Pools{User: []string{"people"}, Workload: []string{"default", "mail"}}
	for _, t := range []operator.Token{root, backup, night} {
		s.Must(s.add(t))
		got, err := s.Token(s.Ctx(), t.Hash)
		s.Must(err)
		s.Same("by hash", got, kept(t))
	}
	s.are(backup, night, root)
	s.Code(s.add(newToken("night", operator.Auditor, time.Time{})), "operator-token_exists")
	_, err := s.Token(s.Ctx(), secret.Hash{})
	s.Code(err, "operator-token_not_found")

	night.UsedAt = contract.Start.Add(time.Minute)
	s.Must(s.NoteUse(s.Ctx(), night.ID, night.UsedAt))
	s.Must(s.NoteUse(s.Ctx(), night.ID, contract.Start)) // another replica, late
	s.Must(s.NoteUse(s.Ctx(), "opt_nothing", contract.Start))
	s.are(backup, night, root)

	s.Code(s.remove("opt_nothing", contract.Start), "operator-token_not_found")
	s.Must(s.remove(night.ID, contract.Start))
	s.Code(s.remove(night.ID, contract.Start), "operator-token_not_found")
	_, err = s.Token(s.Ctx(), night.Hash)
	s.Code(err, "operator-token_not_found")
	s.are(backup, root)
	s.Must(s.add(newToken("night", operator.Auditor, time.Time{}))) // the name is free
}

func (s *suite) permits() {
	s.Must(s.add(newToken("root", operator.Owner, time.Time{})))
	t := newToken("night", operator.Operator, time.Time{})
	s.Permits(
		contract.Write{Action: operator.ActionCreateToken, Resource: t.Resource(), Do: func(p guard.Permit) error { return s.AddToken(s.Ctx(), p, t) }},
		contract.Write{Action: operator.ActionDeleteToken, Resource: t.Resource(), Do: func(p guard.Permit) error { return s.DeleteToken(s.Ctx(), p, t.ID, contract.Start) }},
	)
}

func (s *suite) full() {
	for i := range operator.MaxTokens {
		s.Must(s.add(newToken(fmt.Sprintf("token-%d", i), operator.Auditor, time.Time{})))
	}
	s.Code(s.add(newToken("more", operator.Auditor, time.Time{})), "operator_tokens_full")
}

func (s *suite) owner(now time.Time) bool {
	s.T.Helper()
	has, err := s.HasOwner(s.Ctx(), now)
	s.Must(err)
	return has
}

func (s *suite) owners() {
	ends := contract.Start.Add(time.Hour).Truncate(time.Millisecond)
	s.Same("an owner at first", s.owner(contract.Start), false)
	auditor, owner, passing := newToken("auditor", operator.Auditor, time.Time{}), newToken("root", operator.Owner, time.Time{}), newToken("passing", operator.Owner, ends)
	s.Must(s.add(auditor))
	s.Same("an auditor is an owner", s.owner(contract.Start), false)
	s.Must(s.add(passing))
	s.Same("an owner", s.owner(ends.Add(-time.Millisecond)), true)
	s.Same("one whose token has expired", s.owner(ends), false)
	s.Must(s.add(owner))
	s.Same("an owner for ever", s.owner(ends.Add(10000*time.Hour)), true)

	s.Code(s.remove(owner.ID, ends), "operator_last_owner") // the other one has expired
	s.are(auditor, passing, owner)
	s.Must(s.remove(owner.ID, ends.Add(-time.Millisecond)))
	s.Code(s.remove(passing.ID, contract.Start), "operator_last_owner")
	s.Must(s.remove(auditor.ID, contract.Start))
	s.are(passing)
}

func (s *suite) races() {
	s.Must(s.add(newToken("root", operator.Owner, time.Time{})))
	s.Same("winners", s.Race("operator-token_exists", func(int) error { return s.add(newToken("night", operator.Auditor, time.Time{})) }), 1)
	all, err := s.Tokens(s.Ctx())
	s.Must(err)
	another := newToken("second", operator.Owner, time.Time{})
	s.Must(s.add(another))
	pair := []string{another.ID, ""}
	for _, t := range all {
		if t.Name == "root" {
			pair[1] = t.ID
		}
	}
	// Two owners are taken away by two at once: each sees the other one, and one stays.
	removed := make(chan error)
	for _, id := range pair {
		go func() { removed <- s.remove(id, contract.Start) }()
	}
	first, second := <-removed, <-removed
	if first == nil {
		first, second = second, first
	}
	s.Must(second)
	s.Code(first, "operator_last_owner")
}
