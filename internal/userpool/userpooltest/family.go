package userpooltest

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// beginning returns a family that redeeming c may begin, with a first refresh token.
func (s *suite) beginning(c userpool.Code) userpool.Beginning {
	first, _ := userpool.NewRefresh(1)
	return userpool.Beginning{First: first, Family: userpool.Family{
		ID: c.FamilyID, Pool: c.Pool, ClientID: c.ClientID, UserID: c.UserID, SessionID: c.SessionID, Scopes: c.Scopes,
		Resources: []string{"https://mcp.example/b", "https://mcp.example/a"}, AuthTime: c.AuthTime, Methods: []string{"pwd", "otp", "mfa"},
		CreatedAt: start, ExpiresAt: start.Add(30 * 24 * time.Hour), IdleExpiresAt: start.Add(24 * time.Hour), Head: 1, AdvancedAt: start,
	}}
}

// addFamily redeems a fresh code and returns the family that began as the store must return it.
func (s *suite) addFamily(u userpool.User, c userpool.Client, edit ...func(*userpool.Family)) (userpool.Family, userpool.RefreshToken) {
	s.t.Helper()
	code := s.addCode(u, c)
	b := s.beginning(code)
	for _, e := range edit {
		e(&b.Family)
	}
	s.must(s.begin(code, b))
	f := b.Family
	for _, at := range []*time.Time{&f.AuthTime, &f.CreatedAt, &f.ExpiresAt, &f.IdleExpiresAt, &f.AdvancedAt} {
		*at = kept(*at)
	}
	return f, b.First
}

func (s *suite) begin(c userpool.Code, b userpool.Beginning) error {
	return s.RedeemCode(s.ctx(), s.permit(userpool.ActionRedeemCode, c.Resource()), c.Pool, c.ID, start.Add(time.Second), b)
}

func (s *suite) advance(f userpool.Family, next userpool.RefreshToken, at time.Time) error {
	return s.AdvanceFamily(s.ctx(), s.permit(userpool.ActionAdvanceFamily, f.Resource()), f, next, at, at.Add(24*time.Hour))
}

func (s *suite) end(f userpool.Family, why userpool.Ending) error {
	return s.EndFamily(s.ctx(), s.permit(why.Action(), f.Resource()), f.Pool, f.ID, why, start.Add(time.Minute))
}

// expectFamily compares the family with what the store has.
func (s *suite) expectFamily(want userpool.Family) {
	s.t.Helper()
	got, err := s.Family(s.ctx(), want.Pool, want.ID)
	s.must(err)
	s.same("the family", got, want)
}

func testFamilies(t *testing.T, s *suite) {
	s.addPool("staff")
	user, client := s.addUser("staff", "zhang"), s.addClient("staff", "chat")
	f, first := s.addFamily(user, client)
	s.expectFamily(f)
	got, generation, err := s.FamilyOf(s.ctx(), "staff", first.Hash)
	s.must(err)
	s.same("the family of its token", got, f)
	s.same("the token's generation", generation, int64(1))
	_, err = s.Family(s.ctx(), "staff", "fam_unknown")
	s.code(err, "family_not_found")
	_, _, err = s.FamilyOf(s.ctx(), "staff", userpool.HashRefresh(secret.FromString("rt_unknown")))
	s.code(err, "family_not_found")

	second, _ := userpool.NewRefresh(2)
	at := start.Add(time.Hour)
	s.must(s.advance(f, second, at))
	old := f
	f.Head, f.AdvancedAt, f.IdleExpiresAt = 2, kept(at), kept(at.Add(24*time.Hour))
	s.expectFamily(f)
	other, _ := userpool.NewRefresh(2)
	s.code(s.advance(old, other, at), "family_changed")

	sibling, _ := userpool.NewRefresh(2)
	s.must(s.advance(f, sibling, at.Add(time.Second)))
	f.IdleExpiresAt = kept(at.Add(time.Second + 24*time.Hour)) // and not AdvancedAt
	s.expectFamily(f)
	for _, token := range []userpool.RefreshToken{first, second, sibling} {
		_, generation, err := s.FamilyOf(s.ctx(), "staff", token.Hash)
		s.must(err)
		s.same("the generation", generation, token.Generation)
	}

	s.must(s.end(f, userpool.EndedRefreshReuse))
	f.EndedAt, f.Ending = kept(start.Add(time.Minute)), userpool.EndedRefreshReuse
	s.expectFamily(f)
	s.code(s.end(f, userpool.EndedByClient), "family_changed")
	third, _ := userpool.NewRefresh(3)
	s.code(s.advance(f, third, at), "family_changed")
	f.ID = "fam_unknown"
	s.code(s.end(f, userpool.EndedByClient), "family_not_found")
	s.code(s.advance(f, third, at), "family_not_found")
}

func testFamilyWithoutRefresh(t *testing.T, s *suite) {
	s.addPool("staff")
	f, none := s.addFamily(s.addUser("staff", "zhang"), s.addClient("staff", "chat"), func(f *userpool.Family) {
		f.Head, f.AdvancedAt, f.IdleExpiresAt, f.Resources, f.Offline = 0, time.Time{}, time.Time{}, nil, true
	})
	s.expectFamily(f)
	_, _, err := s.FamilyOf(s.ctx(), "staff", none.Hash)
	s.code(err, "family_not_found")
}

// testOldGenerations advances a family so often that it forgets its first tokens.
func testOldGenerations(t *testing.T, s *suite) {
	s.addPool("staff")
	f, first := s.addFamily(s.addUser("staff", "zhang"), s.addClient("staff", "chat"))
	tokens := []userpool.RefreshToken{first}
	for f.Head < 2*userpool.RefreshKept {
		next, _ := userpool.NewRefresh(f.Head + 1)
		s.must(s.advance(f, next, start))
		f.Head++
		tokens = append(tokens, next)
	}
	for i, token := range tokens {
		_, _, err := s.FamilyOf(s.ctx(), "staff", token.Hash)
		if back := len(tokens) - 1 - i; back <= userpool.RefreshKept && err != nil {
			t.Errorf("the token of %d generations ago is forgotten: %v", back, err)
		}
	}
	_, _, err := s.FamilyOf(s.ctx(), "staff", first.Hash)
	s.code(err, "family_not_found")
}

// testFamiliesEnd does what ends families by the way.
func testFamiliesEnd(t *testing.T, s *suite) {
	s.addPool("staff")
	user, client, other := s.addUser("staff", "zhang"), s.addClient("staff", "chat"), s.addClient("staff", "mail")
	session, second := s.addSession(user), s.addSession(user)
	of := func(id string, offline bool) func(*userpool.Family) {
		return func(f *userpool.Family) { f.SessionID, f.Offline = id, offline }
	}
	expect := func(f userpool.Family, want userpool.Ending) {
		t.Helper()
		got, err := s.Family(s.ctx(), "staff", f.ID)
		s.must(err)
		s.same("the ending", got.Ending, want)
		s.same("has ended", !got.EndedAt.IsZero(), want != "")
	}
	online, _ := s.addFamily(user, client, of(session.ID, false))
	offline, _ := s.addFamily(user, client, of(session.ID, true))
	elsewhere, _ := s.addFamily(user, client, of(second.ID, false))
	device, _ := s.addFamily(user, other, of("", false))
	s.must(s.EndSession(s.ctx(), s.permit(userpool.ActionEndSession, session.Resource()), "staff", session.ID))
	expect(online, userpool.EndedByLogout)
	for _, f := range []userpool.Family{offline, elsewhere, device} {
		expect(f, "")
	}
	s.consent(user, client, "openid")
	withdrawn := userpool.Consent{Pool: "staff", UserID: user.ID, ClientID: client.ID}
	s.must(s.DeleteConsent(s.ctx(), s.permit(userpool.ActionDeleteConsent, withdrawn.Resource()), withdrawn))
	expect(online, userpool.EndedByLogout)
	expect(offline, userpool.EndedByUser)
	expect(elsewhere, userpool.EndedByUser)
	expect(device, "")
}

// testFamilySweep removes families by their ends, and asks one pool for another's.
func testFamilySweep(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	user, client := s.addUser("staff", "zhang"), s.addClient("staff", "chat")
	lives, token := s.addFamily(user, client)
	ended, reused := s.addFamily(user, client)
	expired, _ := s.addFamily(user, client, func(f *userpool.Family) { f.ExpiresAt = start.Add(time.Hour) })
	s.must(s.end(ended, userpool.EndedRefreshReuse))
	at := expired.ExpiresAt.Add(time.Millisecond)
	n, err := s.Sweep(s.ctx(), s.permit(userpool.ActionSweep, userpool.SweepResource()), at)
	s.must(err)
	s.same("swept families, and their codes", n, 2+3)
	for _, f := range []userpool.Family{ended, expired} {
		_, err := s.Family(s.ctx(), "staff", f.ID)
		s.code(err, "family_not_found")
	}
	_, _, err = s.FamilyOf(s.ctx(), "staff", reused.Hash)
	s.code(err, "family_not_found")
	s.expectFamily(lives)

	_, err = s.Family(s.ctx(), "guests", lives.ID)
	s.code(err, "family_not_found")
	_, _, err = s.FamilyOf(s.ctx(), "guests", token.Hash)
	s.code(err, "family_not_found")
	foreign, next := lives, userpool.RefreshToken{Hash: reused.Hash, Generation: 2}
	foreign.Pool = "guests"
	s.code(s.advance(foreign, next, at), "family_not_found")
	s.code(s.end(foreign, userpool.EndedByClient), "family_not_found")

	s.must(s.DeleteClient(s.ctx(), s.permit(userpool.ActionDeleteClient, client.Resource()), "staff", client.ID))
	_, _, err = s.FamilyOf(s.ctx(), "staff", token.Hash)
	s.code(err, "family_not_found")
}

func testOneAdvance(t *testing.T, s *suite) {
	s.addPool("staff")
	f, _ := s.addFamily(s.addUser("staff", "zhang"), s.addClient("staff", "chat"))
	won := s.race("family_changed", func(int) error {
		next, _ := userpool.NewRefresh(2)
		return s.advance(f, next, start)
	})
	s.same("rotations of one generation", won, 1)
	s.same("entries of rotations", len(s.entries(userpool.ActionAdvanceFamily)), 1)
	f.Head = 2
	won = s.race("family_changed", func(i int) error {
		if i == crowd/2 {
			return s.end(f, userpool.EndedRefreshReuse)
		}
		next, _ := userpool.NewRefresh(2)
		return s.advance(f, next, start)
	})
	s.same("entries of what came before the end", len(s.entries(userpool.ActionAdvanceFamily))+len(s.entries(userpool.ActionReuseRefresh)), 1+won)
	got, err := s.Family(s.ctx(), "staff", f.ID)
	s.must(err)
	s.same("the ending", got.Ending, userpool.EndedRefreshReuse)
}

func testOneBeginning(t *testing.T, s *suite) {
	s.addPool("staff")
	code := s.addCode(s.addUser("staff", "zhang"), s.addClient("staff", "chat"))
	all := make([]userpool.Beginning, crowd)
	for i := range all {
		all[i] = s.beginning(code)
	}
	s.same("families of one code", s.race("code_used", func(i int) error { return s.begin(code, all[i]) }), 1)
	tokens := 0
	for _, b := range all {
		if f, _, err := s.FamilyOf(s.ctx(), "staff", b.First.Hash); err == nil && f.ID == code.FamilyID {
			tokens++
		}
	}
	s.same("refresh tokens of one code", tokens, 1)
}
