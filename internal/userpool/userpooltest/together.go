package userpooltest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// writes returns every write of the contract, each on a record that is there
// and each good to succeed once, with the action and resource of its permit.
func (s *suite) writes() []write {
	pool := s.addPool("staff")
	user, gone := s.addUser("staff", "zhang"), s.addUser("staff", "gone")
	client, left := s.addClient("staff", "chat"), s.addClient("staff", "left")
	session, used, ended := s.addSession(user), s.addSession(user), s.addSession(user)
	code := s.addCode(user, client)
	family, _ := s.addFamily(user, client)
	reused, _ := s.addFamily(user, client)
	second, _ := userpool.NewRefresh(2)
	newPool, newMan, newApp := userpool.Pool{Name: "new", CreatedAt: start}, newUser("staff", "new"), s.newClient("staff", "new")
	newSession, newCode := session, code
	newSession.ID, newSession.TokenHash = "ses_new", userpool.HashSession(secret.FromString("st_new"))
	newCode.ID, newCode.Hash = "code_new", userpool.HashCode(secret.FromString("ac_new"))
	consent := userpool.Consent{Pool: pool.Name, UserID: user.ID, ClientID: client.ID, Scopes: s.scopes("openid"), GrantedAt: start}
	old, changes := s.addUser("staff", "old"), s.addUser("staff", "changes")
	proof, letter := s.addProof(user, userpool.VerifyEmail), s.takeLetter(s.addLetter("staff", "someone@example.com"))
	letter.State = userpool.LetterSent
	newProof, _ := userpool.NewProof("staff", userpool.ResetPassword, user.ID, user.Email, start)
	newLetter := aLetter("staff", "someone@example.com")
	pushed, opened, taken := s.addPushed("staff"), s.addPushed("staff"), s.addPushed("staff")
	pushed.ID, pushed.Hash = "par_new", userpool.HashPushed(secret.FromString("pr_new"))
	token, dropped := s.addInitialToken("staff", 1, start), s.addInitialToken("staff", 1, start)
	newToken := token
	newToken.ID, newToken.Hash = "iat_new", userpool.HashInitialToken(secret.FromString("it_new"))
	assertion := userpool.Assertion{Pool: "staff", ClientID: client.ID, Hash: userpool.HashAssertion("jti"), ExpiresAt: start}
	ctx := s.ctx()
	return append(s.provisioningWrites(), []write{
		{userpool.ActionPutProof, newProof.Resource(), func(p guard.Permit) error { return s.PutProof(ctx, p, newProof) }},
		{userpool.ActionVerifyEmail, old.Resource(), func(p guard.Permit) error { return s.UseProof(ctx, p, proof, old) }},
		{userpool.ActionPostLetter, newLetter.Resource(), func(p guard.Permit) error { return s.PostLetter(ctx, p, newLetter) }},
		{userpool.ActionSettleLetter, letter.Resource(), func(p guard.Permit) error { return s.SettleLetter(ctx, p, letter) }},
		{userpool.ActionSweepLetters, userpool.LettersResource(), func(p guard.Permit) error {
			_, err := s.SweepLetters(ctx, p, start.Add(2*userpool.LetterLifetime))
			return err
		}},
		{userpool.ActionCreatePushed, pushed.Resource(), func(p guard.Permit) error { return s.CreatePushed(ctx, p, pushed) }},
		{userpool.ActionOpenPushed, opened.Resource(), func(p guard.Permit) error { return s.OpenPushed(ctx, p, "staff", opened.ID, start, start) }},
		{userpool.ActionUsePushed, taken.Resource(), func(p guard.Permit) error { return s.UsePushed(ctx, p, "staff", taken.ID) }},
		{userpool.ActionUseAssertion, assertion.Resource(), func(p guard.Permit) error { return s.UseAssertion(ctx, p, assertion) }},
		{userpool.ActionCreateInitialToken, newToken.Resource(), func(p guard.Permit) error { return s.CreateInitialToken(ctx, p, newToken) }},
		{userpool.ActionDeleteInitialToken, dropped.Resource(), func(p guard.Permit) error { return s.DeleteInitialToken(ctx, p, "staff", dropped.ID) }},
		{userpool.ActionCreatePool, newPool.Resource(), func(p guard.Permit) error { return s.CreatePool(ctx, p, newPool) }},
		{userpool.ActionCreateUser, newMan.Resource(), func(p guard.Permit) error { return s.CreateUser(ctx, p, newMan) }},
		{userpool.ActionUpdateUser, user.Resource(), func(p guard.Permit) error { return s.UpdateUser(ctx, p, user) }},
		{userpool.ActionUpgradePassword, old.Resource(), func(p guard.Permit) error {
			return s.UpgradePassword(ctx, p, "staff", old.ID, old.PasswordHash, secret.FromString("$argon2id$better"))
		}},
		{userpool.ActionSetPassword, changes.Resource(), func(p guard.Permit) error { return s.SetPassword(ctx, p, changes) }},
		{userpool.ActionDeleteUser, gone.Resource(), func(p guard.Permit) error { return s.DeleteUser(ctx, p, "staff", gone.ID) }},
		{userpool.ActionCreateClient, newApp.Resource(), func(p guard.Permit) error { return s.CreateClient(ctx, p, newApp) }},
		{userpool.ActionUpdateClient, client.Resource(), func(p guard.Permit) error { return s.UpdateClient(ctx, p, client) }},
		{userpool.ActionDeleteClient, left.Resource(), func(p guard.Permit) error { return s.DeleteClient(ctx, p, "staff", left.ID) }},
		{userpool.ActionCreateSession, newSession.Resource(), func(p guard.Permit) error { return s.CreateSession(ctx, p, newSession) }},
		{userpool.ActionExtendSession, used.Resource(), func(p guard.Permit) error {
			return s.ExtendSession(ctx, p, "staff", used.ID, start.Add(userpool.SessionExtend))
		}},
		{userpool.ActionEndSession, ended.Resource(), func(p guard.Permit) error { return s.EndSession(ctx, p, "staff", ended.ID) }},
		{userpool.ActionCreateCode, newCode.Resource(), func(p guard.Permit) error { return s.CreateCode(ctx, p, newCode) }},
		{userpool.ActionRedeemCode, code.Resource(), func(p guard.Permit) error { return s.RedeemCode(ctx, p, "staff", code.ID, start, s.beginning(code)) }},
		{userpool.ActionAdvanceFamily, family.Resource(), func(p guard.Permit) error { return s.AdvanceFamily(ctx, p, family, second, start, start) }},
		{userpool.ActionEndFamily, family.Resource(), func(p guard.Permit) error {
			return s.EndFamily(ctx, p, "staff", family.ID, userpool.EndedByClient, start)
		}},
		{userpool.ActionReuseRefresh, reused.Resource(), func(p guard.Permit) error {
			return s.EndFamily(ctx, p, "staff", reused.ID, userpool.EndedRefreshReuse, start)
		}},
		{userpool.ActionSetConsent, consent.Resource(), func(p guard.Permit) error { return s.SetConsent(ctx, p, consent) }},
		{userpool.ActionSweep, userpool.SweepResource(), func(p guard.Permit) error {
			_, err := s.Sweep(ctx, p, start.Add(2*userpool.SessionLifetime))
			return err
		}},
	}...)
}

type write struct {
	action   guard.Action
	resource guard.Resource
	do       func(guard.Permit) error
}

// testPermits attempts every write without a permit, with one for another
// action and with one for another resource. None may change anything, which the
// proper permit's success proves afterwards.
func testPermits(t *testing.T, s *suite) {
	for _, w := range s.writes() {
		before := len(s.entries(w.action))
		s.code(w.do(guard.Permit{}), "permit_missing")
		s.code(w.do(s.permit("user.dance", w.resource)), "permit_mismatch")
		s.code(w.do(s.permit(w.action, guard.Resource{Kind: w.resource.Kind, Pool: "guests", ID: w.resource.ID})), "permit_mismatch")
		if n := len(s.entries(w.action)); n != before {
			t.Errorf("%s: %d entries for writes that were refused", w.action, n-before)
		}
		if err := w.do(s.permit(w.action, w.resource)); err != nil {
			t.Errorf("%s: with its permit: %v", w.action, err)
		}
	}
}

// testEntries does every write and looks for its entry.
func testEntries(t *testing.T, s *suite) {
	for _, w := range s.writes() {
		before := len(s.entries(w.action))
		p := s.permit(w.action, w.resource).Detail(map[string]string{"why": "suite"})
		if err := w.do(p); err != nil {
			t.Errorf("%s: %v", w.action, err)
			continue
		}
		after := s.entries(w.action)
		if len(after) != before+1 {
			t.Errorf("%s: %d entries instead of one", w.action, len(after)-before)
			continue
		}
		s.same("the entry of "+string(w.action), after[before], p.Entry())
	}

	// A write that fails leaves no entry.
	twin := newUser("staff", "zhang")
	before := len(s.entries(userpool.ActionCreateUser))
	s.code(s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, twin.Resource()), twin), "user_exists")
	s.same("entries after the failed write", len(s.entries(userpool.ActionCreateUser)), before)
}

// testCascade deletes a user and a client and looks for what hung on them.
func testCascade(t *testing.T, s *suite) {
	s.addPool("staff")
	user, stays := s.addUser("staff", "zhang"), s.addUser("staff", "li")
	client, remains := s.addClient("staff", "chat"), s.addClient("staff", "mail")
	session, kept := s.addSession(user), s.addSession(stays)
	byUser, byClient, both := s.addCode(user, remains), s.addCode(stays, client), s.addCode(stays, remains)
	s.consent(user, remains, "openid")
	s.consent(stays, client, "openid")
	s.consent(stays, remains, "openid")

	s.must(s.DeleteUser(s.ctx(), s.permit(userpool.ActionDeleteUser, user.Resource()), "staff", user.ID))
	s.must(s.DeleteClient(s.ctx(), s.permit(userpool.ActionDeleteClient, client.Resource()), "staff", client.ID))

	_, err := s.Session(s.ctx(), "staff", session.TokenHash)
	s.code(err, "session_not_found")
	_, err = s.Session(s.ctx(), "staff", kept.TokenHash)
	s.must(err)
	for _, dead := range []userpool.Code{byUser, byClient} {
		_, err = s.Code(s.ctx(), "staff", dead.Hash)
		s.code(err, "code_not_found")
	}
	_, err = s.Code(s.ctx(), "staff", both.Hash)
	s.must(err)
	for _, c := range []struct{ user, client, want string }{
		{user.ID, remains.ID, ""}, {stays.ID, client.ID, ""}, {stays.ID, remains.ID, "openid"},
	} {
		got, err := s.Consent(s.ctx(), "staff", c.user, c.client)
		s.must(err)
		s.same("the consent", got.String(), c.want)
	}
}

const crowd = 20

// race runs do crowd times at once. It reports an error with a code other than
// lost, and returns how many succeeded.
func (s *suite) race(lost string, do func(i int) error) int {
	s.t.Helper()
	var won atomic.Int32
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range crowd {
		all.Go(func() {
			<-begin
			switch err := do(i); {
			case err == nil:
				won.Add(1)
			case !fault.HasCode(err, lost):
				s.t.Errorf("got error %v, want one with code %s", err, lost)
			}
		})
	}
	close(begin)
	all.Wait()
	return int(won.Load())
}

func testOneRedemption(t *testing.T, s *suite) {
	s.addPool("staff")
	code := s.addCode(s.addUser("staff", "zhang"), s.addClient("staff", "chat"))
	s.same("successful redemptions", s.race("code_used", func(int) error { return s.redeem(code) }), 1)
	s.same("entries of redemptions", len(s.entries(userpool.ActionRedeemCode)), 1)
}

func testOneUserName(t *testing.T, s *suite) {
	s.addPool("staff")
	won := s.race("user_exists", func(int) error {
		u := newUser("staff", "zhang")
		return s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, u.Resource()), u)
	})
	s.same("users of one name", won, 1)
	users, err := s.Users(s.ctx(), "staff", "", crowd)
	s.must(err)
	s.same("users in the end", len(users), 1)
}

func testOneUpdate(t *testing.T, s *suite) {
	s.addPool("staff")
	user := s.addUser("staff", "zhang")
	won := s.race("user_changed", func(int) error {
		return s.UpdateUser(s.ctx(), s.permit(userpool.ActionUpdateUser, user.Resource()), user)
	})
	s.same("updates of one version", won, 1)
	got, err := s.User(s.ctx(), "staff", user.ID)
	s.must(err)
	s.same("the version", got.Version, int64(2))
}

func testOneEnd(t *testing.T, s *suite) {
	s.addPool("staff")
	session := s.addSession(s.addUser("staff", "zhang"))
	won := s.race("session_not_found", func(int) error {
		return s.EndSession(s.ctx(), s.permit(userpool.ActionEndSession, session.Resource()), "staff", session.ID)
	})
	s.same("ends of one session", won, 1)
}
