package userpooltest

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func (s *suite) addPushed(pool string) userpool.Pushed {
	s.t.Helper()
	v, _ := userpool.NewPushed(pool, "cli_1", "response_type=code&state=%E5%BC%A0", start)
	s.must(s.CreatePushed(s.ctx(), s.permit(userpool.ActionCreatePushed, v.Resource()), v))
	v.CreatedAt, v.ExpiresAt = kept(v.CreatedAt), kept(v.ExpiresAt)
	return v
}

func (s *suite) addInitialToken(pool string, uses int, at time.Time) userpool.InitialToken {
	s.t.Helper()
	v, _ := userpool.NewInitialToken(pool, "for the MCP clients", uses, time.Hour, at)
	s.must(v.Check())
	s.must(s.CreateInitialToken(s.ctx(), s.permit(userpool.ActionCreateInitialToken, v.Resource()), v))
	v.CreatedAt, v.ExpiresAt = kept(v.CreatedAt), kept(v.ExpiresAt)
	return v
}

func (s *suite) register(c userpool.Client, token userpool.InitialToken) error {
	return s.RegisterClient(s.ctx(), s.permit(userpool.ActionCreateClient, c.Resource()), c, token.ID)
}

func testPushed(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	v := s.addPushed("staff")
	got, err := s.Pushed(s.ctx(), "staff", v.Hash)
	s.must(err)
	s.same("the pushed request", got, v)
	_, err = s.Pushed(s.ctx(), "guests", v.Hash)
	s.code(err, "pushed_not_found")
	_, err = s.Pushed(s.ctx(), "staff", userpool.HashPushed(secret.FromString("pr_other")))
	s.code(err, "pushed_not_found")

	open := s.permit(userpool.ActionOpenPushed, v.Resource())
	v.OpenedAt, v.ExpiresAt = kept(start.Add(time.Second)), kept(start.Add(time.Minute))
	s.must(s.OpenPushed(s.ctx(), open, "staff", v.ID, v.OpenedAt, v.ExpiresAt))
	s.code(s.OpenPushed(s.ctx(), open, "staff", v.ID, start, start.Add(time.Hour)), "pushed_changed")
	got, err = s.Pushed(s.ctx(), "staff", v.Hash)
	s.must(err)
	s.same("the opened request", got, v)

	s.code(s.OpenPushed(s.ctx(), s.permit(userpool.ActionOpenPushed, userpool.PushedResource("guests", v.ID)), "guests", v.ID, start, start), "pushed_not_found")
	s.code(s.UsePushed(s.ctx(), s.permit(userpool.ActionUsePushed, userpool.PushedResource("guests", v.ID)), "guests", v.ID), "pushed_not_found")
	use := s.permit(userpool.ActionUsePushed, v.Resource())
	s.must(s.UsePushed(s.ctx(), use, "staff", v.ID))
	s.code(s.UsePushed(s.ctx(), use, "staff", v.ID), "pushed_not_found")
	s.code(s.OpenPushed(s.ctx(), open, "staff", v.ID, start, start), "pushed_not_found")
}

func testInitialTokens(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	older, newer := s.addInitialToken("staff", 1, start), s.addInitialToken("staff", 5, start.Add(time.Second))
	list, err := s.InitialTokens(s.ctx(), "staff")
	s.must(err)
	s.same("the tokens", list, []userpool.InitialToken{newer, older})
	list, err = s.InitialTokens(s.ctx(), "guests")
	s.must(err)
	s.same("the other pool's tokens", len(list), 0)
	got, err := s.InitialToken(s.ctx(), "staff", older.Hash)
	s.must(err)
	s.same("the token", got, older)
	_, err = s.InitialToken(s.ctx(), "guests", older.Hash)
	s.code(err, "initial_token_not_found")
	stray, _ := userpool.NewInitialToken("nowhere", "", 1, time.Hour, start)
	s.code(s.CreateInitialToken(s.ctx(), s.permit(userpool.ActionCreateInitialToken, stray.Resource()), stray), "userpool_not_found")

	// A registration takes a use or changes nothing.
	c := s.newClient("staff", "chat")
	s.must(s.register(c, older))
	got, err = s.InitialToken(s.ctx(), "staff", older.Hash)
	s.must(err)
	s.same("uses left", got.Uses, 0)
	s.code(s.register(s.newClient("staff", "mail"), older), "initial_token_spent")
	_, err = s.Client(s.ctx(), "staff", c.ID)
	s.must(err)
	s.code(s.register(s.newClient("staff", "chat"), newer), "client_exists")
	s.code(s.register(s.newClient("guests", "chat"), newer), "initial_token_spent")
	got, err = s.InitialToken(s.ctx(), "staff", newer.Hash)
	s.must(err)
	s.same("uses left after failures", got.Uses, 5)

	s.code(s.DeleteInitialToken(s.ctx(), s.permit(userpool.ActionDeleteInitialToken, userpool.InitialTokenResource("guests", newer.ID)), "guests", newer.ID), "initial_token_not_found")
	drop := s.permit(userpool.ActionDeleteInitialToken, newer.Resource())
	s.must(s.DeleteInitialToken(s.ctx(), drop, "staff", newer.ID))
	s.code(s.DeleteInitialToken(s.ctx(), drop, "staff", newer.ID), "initial_token_not_found")
	s.code(s.register(s.newClient("staff", "mail"), newer), "initial_token_spent")
}

// testOneAssertion uses one assertion many times at once; the same jti of
// another client, and in another pool, is another assertion.
func testOneAssertion(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	a := userpool.Assertion{Pool: "staff", ClientID: "cli_1", Hash: userpool.HashAssertion("jti-1"), ExpiresAt: start.Add(time.Minute)}
	use := func(a userpool.Assertion) error {
		return s.UseAssertion(s.ctx(), s.permit(userpool.ActionUseAssertion, a.Resource()), a)
	}
	s.same("accepted uses", s.race("assertion_used", func(int) error { return use(a) }), 1)
	s.same("entries", len(s.entries(userpool.ActionUseAssertion)), 1)
	for _, other := range []userpool.Assertion{
		{Pool: "guests", ClientID: a.ClientID, Hash: a.Hash, ExpiresAt: a.ExpiresAt},
		{Pool: a.Pool, ClientID: "cli_2", Hash: a.Hash, ExpiresAt: a.ExpiresAt},
		{Pool: a.Pool, ClientID: a.ClientID, Hash: userpool.HashAssertion("jti-2"), ExpiresAt: a.ExpiresAt},
	} {
		s.must(use(other))
	}
	n, err := s.Sweep(s.ctx(), s.permit(userpool.ActionSweep, userpool.SweepResource()), start.Add(time.Hour))
	s.must(err)
	s.same("swept", n, 4)
	s.must(use(a))
}

func testOneUse(_ *testing.T, s *suite) {
	s.addPool("staff")
	v := s.addPushed("staff")
	s.same("uses", s.race("pushed_not_found", func(int) error {
		return s.UsePushed(s.ctx(), s.permit(userpool.ActionUsePushed, v.Resource()), "staff", v.ID)
	}), 1)
}

// testSpending registers more clients at once than a token has uses.
func testSpending(_ *testing.T, s *suite) {
	s.addPool("staff")
	token := s.addInitialToken("staff", 7, start)
	s.same("clients", s.race("initial_token_spent", func(i int) error { return s.register(s.newClient("staff", "c"+string(rune('a'+i))), token) }), 7)
}
