package userpooltest

import (
	"testing"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// finds fails the test unless q selects these users of the pool staff.
func (s *suite) finds(q userpool.UserQuery, total int, want ...userpool.User) {
	s.t.Helper()
	got, n, err := s.FindUsers(s.ctx(), "staff", q)
	s.must(err)
	s.same("how many there are", n, total)
	s.same("the users found", got, want)
}

func testFindUsers(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	s.addUser("guests", "zhang")
	zhang, li, wang := s.addUser("staff", "zhang"), s.addUser("staff", "Li"), s.addUser("staff", "wang")

	s.finds(userpool.UserQuery{Limit: 10}, 3, li, wang, zhang)
	s.finds(userpool.UserQuery{Limit: 1, Offset: 1}, 3, wang)
	s.finds(userpool.UserQuery{Limit: 10, Offset: 3}, 3)
	s.finds(userpool.UserQuery{Limit: 0}, 3)
	s.finds(userpool.UserQuery{UserName: "lI", Limit: 10}, 1, li)
	s.finds(userpool.UserQuery{Email: "ZHANG@example.COM", Limit: 10}, 1, zhang)
	s.finds(userpool.UserQuery{DisplayName: zhang.DisplayName, Limit: 10}, 3, li, wang, zhang)
	s.finds(userpool.UserQuery{ExternalID: "x-wang", Limit: 10}, 1, wang)
	s.finds(userpool.UserQuery{ExternalID: "X-wang", Limit: 10}, 0)
	s.finds(userpool.UserQuery{UserName: "wang", ExternalID: "x-zhang", Limit: 10}, 0)
	for _, pattern := range []string{"%", "_hang", "zhan%", "' OR 1=1 --"} {
		s.finds(userpool.UserQuery{UserName: pattern, Limit: 10}, 0)
		s.finds(userpool.UserQuery{Email: pattern, Limit: 10}, 0)
	}
	s.finds(userpool.UserQuery{Email: "\u212aim@example.com", Limit: 10}, 0)
	kim, zoe := newUser("staff", "kim"), newUser("staff", "zoe")
	zoe.Email = "zoÉ@example.com"
	for _, u := range []*userpool.User{&kim, &zoe} {
		s.must(s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, u.Resource()), *u))
		u.Version, u.CreatedAt, u.PasswordChangedAt = 1, kept(start), kept(start)
	}
	s.finds(userpool.UserQuery{Email: "\u212aim@example.com", Limit: 10}, 0) // the Kelvin sign is no k
	s.finds(userpool.UserQuery{Email: "Kim@example.com", Limit: 10}, 1, kim)
	s.finds(userpool.UserQuery{Email: "ZOÉ@example.com", Limit: 10}, 1, zoe)
}

// findsGroups is finds for groups.
func (s *suite) findsGroups(q userpool.GroupQuery, total int, want ...userpool.Group) {
	s.t.Helper()
	got, n, err := s.FindGroups(s.ctx(), "staff", q)
	s.must(err)
	s.same("how many there are", n, total)
	s.same("the groups found", got, want)
}

func testFindGroups(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	s.addGroup("guests", "readers")
	zhang, li := s.addUser("staff", "zhang"), s.addUser("staff", "li")
	authors, readers := s.addGroup("staff", "authors"), s.addGroup("staff", "readers")
	s.must(s.ChangeMembers(s.ctx(), s.permit(userpool.ActionUpdateGroup, readers.Resource()), "staff", readers.ID, []string{zhang.ID}, nil))
	readers.Version = 2

	s.findsGroups(userpool.GroupQuery{Limit: 10}, 2, authors, readers)
	s.findsGroups(userpool.GroupQuery{Limit: 1, Offset: 1}, 2, readers)
	s.findsGroups(userpool.GroupQuery{Name: "authors", Limit: 10}, 1, authors)
	s.findsGroups(userpool.GroupQuery{Name: "Authors", Limit: 10}, 0)
	s.findsGroups(userpool.GroupQuery{ExternalID: "x-readers", Limit: 10}, 1, readers)
	s.findsGroups(userpool.GroupQuery{Member: zhang.ID, Limit: 10}, 1, readers)
	s.findsGroups(userpool.GroupQuery{Member: li.ID, Limit: 10}, 0)
	s.findsGroups(userpool.GroupQuery{Member: zhang.ID, Name: "authors", Limit: 10}, 0)
}

func (s *suite) createMember(u userpool.User, groups ...string) error {
	return s.CreateMember(s.ctx(), s.permit(userpool.ActionCreateUser, u.Resource()), u, groups)
}

// testMembers holds that a user and his groups come together or not at all.
func testMembers(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	authors, readers, foreign := s.addGroup("staff", "authors"), s.addGroup("staff", "readers"), s.addGroup("guests", "authors")
	zhang := newUser("staff", "zhang")
	for _, group := range []string{foreign.ID, "grp_unknown"} {
		s.code(s.createMember(zhang, authors.ID, group), "group_not_found")
	}
	_, err := s.User(s.ctx(), "staff", zhang.ID)
	s.code(err, "user_not_found")
	got, err := s.Group(s.ctx(), "staff", authors.ID)
	s.must(err)
	s.same("the group of nobody", got, authors)
	s.same("entries of users who were not made", len(s.entries(userpool.ActionCreateUser)), 0)

	s.must(s.createMember(zhang, readers.ID, authors.ID))
	s.same("his groups", s.groupsOf(zhang), []string{"authors", "readers"})
	got, err = s.Group(s.ctx(), "staff", authors.ID)
	s.must(err)
	s.same("the group's version", got.Version, int64(2))
	s.same("entries of one user", len(s.entries(userpool.ActionCreateUser)), 1)
	twin := newUser("staff", "ZHANG")
	s.code(s.createMember(twin, authors.ID), "user_exists")
	s.must(s.createMember(newUser("staff", "li")))
	s.code(s.createMember(newUser("nowhere", "li")), "userpool_not_found")
}

func newProvisioning(pool, tokenName string) userpool.ProvisioningToken {
	id := name.NewID("prv")
	return userpool.ProvisioningToken{ID: id, Pool: pool, Name: tokenName, Hash: userpool.HashProvisioning(secret.FromString(id)), CreatedAt: start}
}

func (s *suite) createProvisioning(t userpool.ProvisioningToken) error {
	return s.AddProvisioningToken(s.ctx(), s.permit(userpool.ActionCreateProvisioning, userpool.ProvisioningResource(t.Pool, t.ID)), t)
}

func (s *suite) addProvisioning(pool, tokenName string) userpool.ProvisioningToken {
	s.t.Helper()
	t := newProvisioning(pool, tokenName)
	s.must(s.createProvisioning(t))
	t.CreatedAt = kept(start)
	return t
}

func (s *suite) deleteProvisioning(pool, id string) error {
	return s.DeleteProvisioningToken(s.ctx(), s.permit(userpool.ActionDeleteProvisioning, userpool.ProvisioningResource(pool, id)), pool, id)
}

func testProvisioningTokens(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	staff, foreign, directory := s.addProvisioning("staff", "personnel"), s.addProvisioning("guests", "personnel"), s.addProvisioning("staff", "directory")
	got, err := s.ProvisioningToken(s.ctx(), "staff", staff.Hash)
	s.must(err)
	s.same("the token", got, staff)
	_, err = s.ProvisioningToken(s.ctx(), "guests", staff.Hash)
	s.code(err, "provisioning-token_not_found")
	list, err := s.ProvisioningTokens(s.ctx(), "staff")
	s.must(err)
	s.same("the tokens", list, []userpool.ProvisioningToken{directory, staff})

	s.code(s.createProvisioning(newProvisioning("staff", "personnel")), "provisioning-token_exists")
	s.code(s.createProvisioning(newProvisioning("nowhere", "personnel")), "userpool_not_found")
	s.code(s.deleteProvisioning("guests", staff.ID), "provisioning-token_not_found")
	s.must(s.deleteProvisioning("staff", staff.ID))
	s.code(s.deleteProvisioning("staff", staff.ID), "provisioning-token_not_found")
	_, err = s.ProvisioningToken(s.ctx(), "staff", staff.Hash)
	s.code(err, "provisioning-token_not_found")
	s.must(s.DeletePool(s.ctx(), s.permit(userpool.ActionDeletePool, userpool.Resource("guests")), "guests"))
	_, err = s.ProvisioningToken(s.ctx(), "guests", foreign.Hash)
	s.code(err, "provisioning-token_not_found")
}

// provisioningWrites are what writes has for this page.
func (s *suite) provisioningWrites() []write {
	made, dropped, member := newProvisioning("staff", "made"), s.addProvisioning("staff", "dropped"), newUser("staff", "member")
	group := s.addGroup("staff", "members").ID
	return []write{
		{userpool.ActionCreateUser, member.Resource(), func(p guard.Permit) error { return s.CreateMember(s.ctx(), p, member, []string{group}) }},
		{userpool.ActionCreateProvisioning, userpool.ProvisioningResource("staff", made.ID), func(p guard.Permit) error {
			return s.AddProvisioningToken(s.ctx(), p, made)
		}},
		{userpool.ActionDeleteProvisioning, userpool.ProvisioningResource("staff", dropped.ID), func(p guard.Permit) error {
			return s.DeleteProvisioningToken(s.ctx(), p, "staff", dropped.ID)
		}},
	}
}

func testOneProvisioningToken(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.same("tokens of one name", s.race("provisioning-token_exists", func(int) error {
		return s.createProvisioning(newProvisioning("staff", "personnel"))
	}), 1)
}

// testMembersTogether makes many members of one group at once: none is lost.
func testMembersTogether(_ *testing.T, s *suite) {
	s.addPool("staff")
	group := s.addGroup("staff", "authors")
	s.same("new members", s.race("", func(i int) error {
		return s.createMember(newUser("staff", "zhang-"+string(rune('a'+i))), group.ID)
	}), crowd)
	got, err := s.Group(s.ctx(), "staff", group.ID)
	s.must(err)
	s.same("the group's version", got.Version, int64(1+crowd))
	_, total, err := s.FindUsers(s.ctx(), "staff", userpool.UserQuery{Limit: 1})
	s.must(err)
	s.same("users", total, crowd)
}
