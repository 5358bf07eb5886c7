package userpooltest

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func testPools(t *testing.T, s *suite) {
	all, err := s.Pools(s.ctx())
	s.must(err)
	s.same("pools of an empty store", len(all), 0)
	_, err = s.Pool(s.ctx(), "staff")
	s.code(err, "userpool_not_found")

	staff, guests := s.addPool("staff"), s.addPool("guests")
	got, err := s.Pool(s.ctx(), "staff")
	s.must(err)
	s.same("the pool", got, staff)
	all, err = s.Pools(s.ctx())
	s.must(err)
	s.same("the pools", all, []userpool.Pool{guests, staff})
	s.code(s.CreatePool(s.ctx(), s.permit(userpool.ActionCreatePool, staff.Resource()), staff), "userpool_exists")

	staff.DisplayName = "Everybody"
	staff.Settings.SignUp, staff.Settings.Look = true, userpool.Look{Color: "#112233", Logo: []byte{1, 0, 255}, LogoType: "image/png"}
	update := s.permit(userpool.ActionUpdatePool, staff.Resource())
	s.must(s.UpdatePool(s.ctx(), update, staff))
	s.code(s.UpdatePool(s.ctx(), update, staff), "userpool_changed")
	staff.Version = 2
	got, err = s.Pool(s.ctx(), "staff")
	s.must(err)
	s.same("the changed pool", got, staff)
	gone := userpool.Pool{Name: "gone", Version: 1}
	s.code(s.UpdatePool(s.ctx(), s.permit(userpool.ActionUpdatePool, gone.Resource()), gone), "userpool_not_found")

	s.addUser("staff", "zhang")
	drop := s.permit(userpool.ActionDeletePool, staff.Resource())
	s.must(s.DeletePool(s.ctx(), drop, "staff"))
	s.code(s.DeletePool(s.ctx(), drop, "staff"), "userpool_not_found")
	users, err := s.Users(s.ctx(), "staff", "", 10)
	s.must(err)
	s.same("users of a pool that is gone", len(users), 0)
}

func testUsers(t *testing.T, s *suite) {
	s.addPool("staff")
	zhang, li, adam := s.addUser("staff", "Zhang.San"), s.addUser("staff", "li.si"), s.addUser("staff", "adam")

	got, err := s.User(s.ctx(), "staff", zhang.ID)
	s.must(err)
	s.same("the user by id", got, zhang)
	got, err = s.UserByName(s.ctx(), "staff", "zHANG.sAN")
	s.must(err)
	s.same("the user by name", got, zhang)
	_, err = s.User(s.ctx(), "staff", "usr_nobody")
	s.code(err, "user_not_found")
	_, err = s.UserByName(s.ctx(), "staff", "nobody")
	s.code(err, "user_not_found")

	first, err := s.Users(s.ctx(), "staff", "", 2)
	s.must(err)
	s.same("the first page", first, []userpool.User{adam, li})
	rest, err := s.Users(s.ctx(), "staff", userpool.LoginName(li.UserName), 2)
	s.must(err)
	s.same("the second page", rest, []userpool.User{zhang})

	twin := newUser("staff", "ZHANG.SAN")
	s.code(s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, twin.Resource()), twin), "user_exists")
	stray := newUser("nowhere", "x")
	s.code(s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, stray.Resource()), stray), "userpool_not_found")

	changed := zhang
	changed.UserName, changed.Disabled, changed.Email, changed.EmailVerified = "zhang", true, "", false
	changed.PasswordHash, changed.PasswordChangedAt, changed.CreatedAt = secret.Text{}, kept(start.Add(time.Hour)), start.Add(time.Hour)
	update := s.permit(userpool.ActionUpdateUser, zhang.Resource())
	s.must(s.UpdateUser(s.ctx(), update, changed))
	changed.Version, changed.CreatedAt = 2, zhang.CreatedAt
	got, err = s.User(s.ctx(), "staff", zhang.ID)
	s.must(err)
	s.same("the changed user", got, changed)
	s.code(s.UpdateUser(s.ctx(), update, zhang), "user_changed")
	changed.UserName = "LI.SI"
	s.code(s.UpdateUser(s.ctx(), update, changed), "user_exists")
	stray.ID, stray.Version = "usr_nobody", 1
	s.code(s.UpdateUser(s.ctx(), s.permit(userpool.ActionUpdateUser, stray.Resource()), stray), "user_not_found")

	upgrade := s.permit(userpool.ActionUpgradePassword, li.Resource())
	better := secret.FromString("$argon2id$better")
	s.must(s.UpgradePassword(s.ctx(), upgrade, "staff", li.ID, li.PasswordHash, better))
	s.code(s.UpgradePassword(s.ctx(), upgrade, "staff", li.ID, li.PasswordHash, better), "user_changed")
	s.code(s.UpgradePassword(s.ctx(), s.permit(userpool.ActionUpgradePassword, stray.Resource()), stray.Pool, stray.ID, better, better), "user_not_found")
	got, err = s.User(s.ctx(), "staff", li.ID)
	s.must(err)
	li.PasswordHash, li.Version = better, 2
	s.same("the user after the upgrade", got, li)

	set := s.permit(userpool.ActionSetPassword, li.Resource())
	chosen := li
	chosen.PasswordHash, chosen.FormerPasswords = secret.FromString("$argon2id$chosen"), []secret.Text{better}
	chosen.PasswordChangedAt, chosen.MustChangePassword, chosen.DisplayName = kept(start.Add(time.Hour)), true, "not to be changed"
	s.must(s.SetPassword(s.ctx(), set, chosen))
	s.code(s.SetPassword(s.ctx(), set, chosen), "user_changed")
	s.code(s.SetPassword(s.ctx(), s.permit(userpool.ActionSetPassword, stray.Resource()), stray), "user_not_found")
	got, err = s.User(s.ctx(), "staff", li.ID)
	s.must(err)
	chosen.Version, chosen.DisplayName = 3, li.DisplayName
	s.same("the user with another password", got, chosen)

	drop := s.permit(userpool.ActionDeleteUser, adam.Resource())
	s.must(s.DeleteUser(s.ctx(), drop, "staff", adam.ID))
	s.code(s.DeleteUser(s.ctx(), drop, "staff", adam.ID), "user_not_found")
	_, err = s.UserByName(s.ctx(), "staff", "adam")
	s.code(err, "user_not_found")
}

func testClients(t *testing.T, s *suite) {
	s.addPool("staff")
	web, chat := s.addClient("staff", "web"), s.addClient("staff", "chat")

	got, err := s.Client(s.ctx(), "staff", web.ID)
	s.must(err)
	s.same("the client", got, web)
	_, err = s.Client(s.ctx(), "staff", "cli_nobody")
	s.code(err, "client_not_found")
	all, err := s.Clients(s.ctx(), "staff")
	s.must(err)
	s.same("the clients", all, []userpool.Client{chat, web})

	twin := s.newClient("staff", "chat")
	s.code(s.CreateClient(s.ctx(), s.permit(userpool.ActionCreateClient, twin.Resource()), twin), "client_exists")
	stray := s.newClient("nowhere", "x")
	s.code(s.CreateClient(s.ctx(), s.permit(userpool.ActionCreateClient, stray.Resource()), stray), "userpool_not_found")

	changed := web
	changed.Name, changed.Type, changed.SecretHash = "app", userpool.Public, ""
	changed.RedirectURIs, changed.Scopes, changed.AccessTokenLifetime = []string{"http://127.0.0.1:1/cb"}, s.scopes("openid"), time.Minute
	update := s.permit(userpool.ActionUpdateClient, web.Resource())
	s.must(s.UpdateClient(s.ctx(), update, changed))
	changed.Version = 2
	got, err = s.Client(s.ctx(), "staff", web.ID)
	s.must(err)
	s.same("the changed client", got, changed)
	s.code(s.UpdateClient(s.ctx(), update, web), "client_changed")
	changed.Name = "chat"
	s.code(s.UpdateClient(s.ctx(), update, changed), "client_exists")
	stray.Version = 1
	s.code(s.UpdateClient(s.ctx(), s.permit(userpool.ActionUpdateClient, stray.Resource()), stray), "client_not_found")

	drop := s.permit(userpool.ActionDeleteClient, web.Resource())
	s.must(s.DeleteClient(s.ctx(), drop, "staff", web.ID))
	s.code(s.DeleteClient(s.ctx(), drop, "staff", web.ID), "client_not_found")
}

func testSessions(t *testing.T, s *suite) {
	s.addPool("staff")
	user := s.addUser("staff", "zhang")
	session := s.addSession(user)

	got, err := s.Session(s.ctx(), "staff", session.TokenHash)
	s.must(err)
	s.same("the session", got, session)
	_, err = s.Session(s.ctx(), "staff", userpool.HashSession(secret.FromString("st_unknown")))
	s.code(err, "session_not_found")

	extend := s.permit(userpool.ActionExtendSession, session.Resource())
	s.must(s.ExtendSession(s.ctx(), extend, "staff", session.ID, start.Add(time.Hour)))
	session.LastUsedAt = kept(start.Add(time.Hour))
	got, err = s.Session(s.ctx(), "staff", session.TokenHash)
	s.must(err)
	s.same("the session in use", got, session)

	end := s.permit(userpool.ActionEndSession, session.Resource())
	s.must(s.EndSession(s.ctx(), end, "staff", session.ID))
	s.code(s.EndSession(s.ctx(), end, "staff", session.ID), "session_not_found")
	s.code(s.ExtendSession(s.ctx(), extend, "staff", session.ID, start), "session_not_found")
	_, err = s.Session(s.ctx(), "staff", session.TokenHash)
	s.code(err, "session_not_found")
}

func testCodes(t *testing.T, s *suite) {
	s.addPool("staff")
	user, client := s.addUser("staff", "zhang"), s.addClient("staff", "chat")
	code := s.addCode(user, client)

	got, err := s.Code(s.ctx(), "staff", code.Hash)
	s.must(err)
	s.same("the code", got, code)
	_, err = s.Code(s.ctx(), "staff", userpool.HashCode(secret.FromString("ac_unknown")))
	s.code(err, "code_not_found")

	s.must(s.redeem(code))
	code.RedeemedAt = kept(start.Add(time.Second))
	got, err = s.Code(s.ctx(), "staff", code.Hash)
	s.must(err)
	s.same("the redeemed code", got, code)
	s.code(s.redeem(code), "code_used")
	unknown := code
	unknown.ID = "code_unknown"
	s.code(s.redeem(unknown), "code_not_found")
}

func testConsents(t *testing.T, s *suite) {
	s.addPool("staff")
	user, client, other := s.addUser("staff", "zhang"), s.addClient("staff", "chat"), s.addClient("staff", "mail")
	expect := func(c userpool.Client, want string) {
		t.Helper()
		got, err := s.Consent(s.ctx(), "staff", user.ID, c.ID)
		s.must(err)
		s.same("the consent for "+c.Name, got.String(), want)
	}
	expect(client, "")
	s.consent(user, client, "openid profile")
	expect(client, "openid profile")
	s.consent(user, client, "openid")
	expect(client, "openid")
	expect(other, "")
}

func testSweep(t *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	client := s.addClient("staff", "chat")
	user, guest := s.addUser("staff", "zhang"), s.addUser("guests", "li")
	old, foreign, code := s.addSession(user), s.addSession(guest), s.addCode(user, client)
	sweep := func(at time.Time, want int) {
		t.Helper()
		n, err := s.Sweep(s.ctx(), s.permit(userpool.ActionSweep, userpool.SweepResource()), at)
		s.must(err)
		s.same("swept", n, want)
	}
	sweep(code.ExpiresAt, 0)
	s.same("entries of sweeps that found nothing", len(s.entries(userpool.ActionSweep)), 0)
	sweep(code.ExpiresAt.Add(time.Millisecond), 1)
	_, err := s.Code(s.ctx(), "staff", code.Hash)
	s.code(err, "code_not_found")
	for _, alive := range []userpool.Session{old, foreign} {
		_, err := s.Session(s.ctx(), alive.Pool, alive.TokenHash)
		s.must(err)
	}
	sweep(old.ExpiresAt.Add(time.Hour), 2)
	s.same("entries of sweeps that found something", len(s.entries(userpool.ActionSweep)), 2)
	_, err = s.Session(s.ctx(), "staff", old.TokenHash)
	s.code(err, "session_not_found")
}

// testIsolation asks one pool for everything that another has.
func testIsolation(t *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	user, client := s.addUser("staff", "zhang"), s.addClient("staff", "chat")
	session, code := s.addSession(user), s.addCode(user, client)
	s.consent(user, client, "openid")

	_, err := s.User(s.ctx(), "guests", user.ID)
	s.code(err, "user_not_found")
	_, err = s.UserByName(s.ctx(), "guests", user.UserName)
	s.code(err, "user_not_found")
	_, err = s.Client(s.ctx(), "guests", client.ID)
	s.code(err, "client_not_found")
	_, err = s.Session(s.ctx(), "guests", session.TokenHash)
	s.code(err, "session_not_found")
	_, err = s.Code(s.ctx(), "guests", code.Hash)
	s.code(err, "code_not_found")
	consent, err := s.Consent(s.ctx(), "guests", user.ID, client.ID)
	s.must(err)
	s.same("the other pool's consent", consent.Len(), 0)
	users, err := s.Users(s.ctx(), "guests", "", 10)
	s.must(err)
	clients, err := s.Clients(s.ctx(), "guests")
	s.must(err)
	s.same("the other pool's lists", len(users)+len(clients), 0)

	// The same, as changes: with permits for the other pool, by the ids of this one.
	user.Pool, client.Pool, session.Pool, code.Pool = "guests", "guests", "guests", "guests"
	s.code(s.UpdateUser(s.ctx(), s.permit(userpool.ActionUpdateUser, user.Resource()), user), "user_not_found")
	s.code(s.DeleteUser(s.ctx(), s.permit(userpool.ActionDeleteUser, user.Resource()), "guests", user.ID), "user_not_found")
	s.code(s.UpdateClient(s.ctx(), s.permit(userpool.ActionUpdateClient, client.Resource()), client), "client_not_found")
	s.code(s.DeleteClient(s.ctx(), s.permit(userpool.ActionDeleteClient, client.Resource()), "guests", client.ID), "client_not_found")
	s.code(s.EndSession(s.ctx(), s.permit(userpool.ActionEndSession, session.Resource()), "guests", session.ID), "session_not_found")
	s.code(s.redeem(code), "code_not_found")

	// One user name and one client name in each pool.
	s.addUser("guests", "zhang")
	s.addClient("guests", "chat")
}
