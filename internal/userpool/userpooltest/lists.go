package userpooltest

import (
	"testing"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

func (s *suite) addGroup(pool, groupName string) userpool.Group {
	s.t.Helper()
	g := userpool.Group{ID: name.NewID("grp"), Pool: pool, Name: groupName, ExternalID: "x-" + groupName, CreatedAt: start}
	s.must(s.CreateGroup(s.ctx(), s.permit(userpool.ActionCreateGroup, g.Resource()), g))
	g.Version, g.CreatedAt = 1, kept(start)
	return g
}

// groupsOf returns the names that the user's record has.
func (s *suite) groupsOf(u userpool.User) []string {
	s.t.Helper()
	got, err := s.User(s.ctx(), u.Pool, u.ID)
	s.must(err)
	return got.Groups
}

func testGroups(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	zhang, li, stranger := s.addUser("staff", "zhang"), s.addUser("staff", "li"), s.addUser("guests", "wang")
	writers, admins := s.addGroup("staff", "writers"), s.addGroup("staff", "Admins 管理员")
	s.addGroup("guests", "writers")

	s.code(s.CreateGroup(s.ctx(), s.permit(userpool.ActionCreateGroup, writers.Resource()), writers), "group_exists")
	got, err := s.Group(s.ctx(), "staff", writers.ID)
	s.must(err)
	s.same("the group", got, writers)
	_, err = s.Group(s.ctx(), "guests", writers.ID)
	s.code(err, "group_not_found")
	list, err := s.Groups(s.ctx(), "staff", "", 10)
	s.must(err)
	s.same("the groups", list, []userpool.Group{admins, writers})
	list, err = s.Groups(s.ctx(), "staff", admins.Name, 10)
	s.must(err)
	s.same("the second page", list, []userpool.Group{writers})

	members := s.permit(userpool.ActionUpdateGroup, writers.Resource())
	s.must(s.ChangeMembers(s.ctx(), members, "staff", writers.ID, []string{zhang.ID, li.ID, zhang.ID}, nil))
	s.must(s.ChangeMembers(s.ctx(), s.permit(userpool.ActionUpdateGroup, admins.Resource()), "staff", admins.ID, []string{zhang.ID}, []string{li.ID}))
	s.code(s.ChangeMembers(s.ctx(), members, "staff", writers.ID, []string{stranger.ID}, []string{li.ID}), "user_not_found")
	nobody := userpool.GroupResource("staff", "grp_nobody")
	s.code(s.ChangeMembers(s.ctx(), s.permit(userpool.ActionUpdateGroup, nobody), "staff", nobody.ID, nil, nil), "group_not_found")
	s.same("zhang's groups", s.groupsOf(zhang), []string{admins.Name, "writers"})
	s.same("li's groups", s.groupsOf(li), []string{"writers"})
	ids, err := s.Members(s.ctx(), "staff", writers.ID, "", 1)
	s.must(err)
	next, err := s.Members(s.ctx(), "staff", writers.ID, ids[0], 10)
	s.must(err)
	s.same("the members", len(ids)+len(next), 2)

	writers.Name, writers.Version = "authors", 2
	s.must(s.UpdateGroup(s.ctx(), members, writers))
	s.code(s.UpdateGroup(s.ctx(), members, writers), "group_changed")
	s.same("li's groups by their new name", s.groupsOf(li), []string{"authors"})
	writers.Name, writers.Version = admins.Name, 3
	s.code(s.UpdateGroup(s.ctx(), members, writers), "group_exists")

	s.must(s.DeleteGroup(s.ctx(), s.permit(userpool.ActionDeleteGroup, writers.Resource()), "staff", writers.ID))
	s.same("li's groups in the end", len(s.groupsOf(li)), 0)
	s.must(s.DeleteUser(s.ctx(), s.permit(userpool.ActionDeleteUser, zhang.Resource()), "staff", zhang.ID))
	ids, err = s.Members(s.ctx(), "staff", admins.ID, "", 10)
	s.must(err)
	s.same("members of a group whose member is gone", len(ids), 0)
}

func testSessionLists(_ *testing.T, s *suite) {
	s.addPool("staff")
	zhang, li := s.addUser("staff", "zhang"), s.addUser("staff", "li")
	first, second, other := s.addSession(zhang), s.addSession(zhang), s.addSession(li)
	all, err := s.SessionsOf(s.ctx(), "staff", zhang.ID)
	s.must(err)
	s.same("how many sessions", len(all), 2)
	ended, err := s.EndSessions(s.ctx(), s.permit(userpool.ActionEndSession, zhang.Resource()), "staff", zhang.ID, second.ID)
	s.must(err)
	s.same("those that ended", ended, []userpool.Session{first})
	all, err = s.SessionsOf(s.ctx(), "staff", zhang.ID)
	s.must(err)
	s.same("those that are left", all, []userpool.Session{second})
	all, err = s.SessionsOf(s.ctx(), "staff", li.ID)
	s.must(err)
	s.same("those of another", all, []userpool.Session{other})
	all, err = s.SessionsOf(s.ctx(), "guests", li.ID)
	s.must(err)
	s.same("those of another pool", len(all), 0)
}

func testConsentLists(_ *testing.T, s *suite) {
	s.addPool("staff")
	u, c := s.addUser("staff", "zhang"), s.addClient("staff", "chat")
	s.consent(u, c, "openid email")
	list, err := s.ConsentsOf(s.ctx(), "staff", u.ID)
	s.must(err)
	s.same("the consents", list, []userpool.Consent{{Pool: "staff", UserID: u.ID, ClientID: c.ID, Scopes: s.scopes("openid email"), GrantedAt: kept(start)}})
	drop := s.permit(userpool.ActionDeleteConsent, list[0].Resource())
	s.must(s.DeleteConsent(s.ctx(), drop, list[0]))
	s.code(s.DeleteConsent(s.ctx(), drop, list[0]), "consent_not_found")
	list, err = s.ConsentsOf(s.ctx(), "staff", u.ID)
	s.must(err)
	s.same("how many are left", len(list), 0)
}
