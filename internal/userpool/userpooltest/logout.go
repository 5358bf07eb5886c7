package userpooltest

import (
	"slices"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/userpool"
)

// addLogin returns a session of u in which the clients got tokens.
func (s *suite) addLogin(u userpool.User, clients ...userpool.Client) userpool.Session {
	s.t.Helper()
	session := s.addSession(u)
	for _, c := range clients {
		for range 2 { // more tokens do not make more notices
			s.addFamily(u, c, func(f *userpool.Family) { f.SessionID = session.ID })
		}
	}
	return session
}

// silent returns a client that is not told of logouts.
func (s *suite) silent(pool string) userpool.Client {
	s.t.Helper()
	c := s.newClient(pool, "silent")
	c.BackchannelLogoutURI = ""
	s.must(s.CreateClient(s.ctx(), s.permit(userpool.ActionCreateClient, c.Resource()), c))
	return c
}

// far is after everything that a test does.
var far = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *suite) take(now, then time.Time) []userpool.LogoutNotice {
	s.t.Helper()
	list, err := s.TakeLogoutNotices(s.ctx(), now, then, 100)
	s.must(err)
	return list
}

func testLogoutNotices(t *testing.T, s *suite) {
	s.addPool("staff")
	user, chat, mail, silent := s.addUser("staff", "zhang"), s.addClient("staff", "chat"), s.addClient("staff", "mail"), s.silent("staff")
	other := s.addUser("staff", "li")
	s.addLogin(other, chat)
	told := func(why string, session userpool.Session, want ...userpool.Client) {
		t.Helper()
		var got, ids []string
		for _, n := range s.take(far, far.Add(time.Hour)) {
			s.same("the notice", []string{n.Pool, n.UserID, n.SessionID}, []string{"staff", session.UserID, session.ID})
			got = append(got, n.ClientID)
			p := s.permit(userpool.ActionNotifyLogout, n.Resource())
			s.code(s.FinishLogoutNotice(s.ctx(), guard.Permit{}, n), "permit_missing")
			s.must(s.FinishLogoutNotice(s.ctx(), p, n))
			s.code(s.FinishLogoutNotice(s.ctx(), p, n), "logout notice_not_found")
		}
		for _, c := range want {
			ids = append(ids, c.ID)
		}
		slices.Sort(got)
		slices.Sort(ids)
		s.same(why, got, ids)
	}

	one := s.addLogin(user, chat, mail, silent)
	s.must(s.EndSession(s.ctx(), s.permit(userpool.ActionEndSession, one.Resource()), "staff", one.ID))
	told("after a logout", one, chat, mail)

	stays, goes := s.addLogin(user, chat), s.addLogin(user, mail)
	_, err := s.EndSessions(s.ctx(), s.permit(userpool.ActionEndSession, user.Resource()), "staff", user.ID, stays.ID)
	s.must(err)
	told("after the end of the others", goes, mail)

	update := func(change func(*userpool.User)) {
		t.Helper()
		u, err := s.User(s.ctx(), "staff", user.ID)
		s.must(err)
		change(&u)
		s.must(s.UpdateUser(s.ctx(), s.permit(userpool.ActionUpdateUser, u.Resource()), u))
	}
	update(func(u *userpool.User) { u.DisplayName = "张三丰" })
	told("after a change of name", stays)
	_, err = s.Session(s.ctx(), "staff", stays.TokenHash)
	s.must(err)
	update(func(u *userpool.User) { u.PasswordChangedAt = stays.AuthTime.Add(time.Millisecond) })
	told("after a new password", stays, chat)
	_, err = s.Session(s.ctx(), "staff", stays.TokenHash)
	s.code(err, "session_not_found")

	again := s.addLogin(user, chat)
	u, err := s.User(s.ctx(), "staff", user.ID)
	s.must(err)
	u.PasswordChangedAt = again.AuthTime.Add(time.Second)
	s.must(s.SetPassword(s.ctx(), s.permit(userpool.ActionSetPassword, u.Resource()), u))
	told("after he chose another password", again, chat)

	disabled := s.addLogin(user, mail)
	update(func(u *userpool.User) { u.Disabled = true })
	told("after he was disabled", disabled, mail)

	deleted := s.addLogin(user, chat, silent)
	s.must(s.DeleteUser(s.ctx(), s.permit(userpool.ActionDeleteUser, user.Resource()), "staff", user.ID))
	told("after he was deleted", deleted, chat)
}

// testOneTaker has many processes look for one notice, and follows it through its attempts.
func testOneTaker(t *testing.T, s *suite) {
	s.addPool("staff")
	session := s.addLogin(s.addUser("staff", "zhang"), s.addClient("staff", "chat"))
	s.must(s.EndSession(s.ctx(), s.permit(userpool.ActionEndSession, session.Resource()), "staff", session.ID))
	now := far
	hold := now.Add(time.Minute)
	took := make(chan userpool.LogoutNotice, crowd)
	s.race("", func(int) error {
		for _, n := range s.take(now, hold) {
			took <- n
		}
		return nil
	})
	s.same("takers", len(took), 1)
	n := <-took
	s.same("until it is due again", len(s.take(hold.Add(-time.Millisecond), far)), 0)
	s.must(s.RetryLogoutNotice(s.ctx(), n, hold.Add(time.Hour)))
	s.same("after a failed attempt", len(s.take(hold, far)), 0)
	again := s.take(hold.Add(time.Hour), far.Add(2*time.Hour))
	if len(again) != 1 || again[0].ID != n.ID || again[0].Attempts != 1 {
		t.Errorf("the second attempt is for %+v", again)
	}
}
