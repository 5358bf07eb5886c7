package idptest

import (
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idp"
)

// apart asks the other pool for everything, and changes it there, with permits
// for that pool and what it is called in this one.
func (s *suite) apart() {
	v := s.add("staff", "feishu")
	l, account := s.addLogin(v), newLink(v, "ou_1", "usr_kim")
	s.Must(s.link(account))

	_, err := s.Provider(s.Ctx(), "guests", "feishu")
	s.Code(err, "idp_not_found")
	s.are("guests")
	foreignLink, foreignLogin, foreign := account, l, v
	foreignLink.Pool, foreignLogin.Pool, foreign.Pool = "guests", "guests", "guests"
	s.linked(unlinked(foreignLink))
	s.gone("guests", l)
	s.Code(s.update(changed(foreign)), "idp_changed")
	s.Code(s.remove(foreign), "idp_not_found")
	s.Code(s.finish(foreignLogin), "idp_login_gone")
	s.Code(s.link(foreignLink), "idp_not_found") // the user's namesake there, the provider of here
	s.Code(s.begin(newLogin(foreign)), "idp_not_found")
	s.are("staff", v)
	s.linked(account)
	s.stays(l)

	twin := s.add("guests", "feishu") // each pool has its own names
	s.Must(s.link(newLink(twin, "ou_1", "usr_kim")))
	s.Must(s.remove(twin))
	s.are("staff", v)
	s.linked(account)
}

// providerGoes holds that one that is made anew under an old name inherits nobody.
func (s *suite) providerGoes() {
	v, other := s.add("staff", "feishu"), s.add("staff", "github")
	account, kept := newLink(v, "ou_1", "usr_kim"), newLink(other, "ou_1", "usr_kim")
	s.Must(s.link(account))
	s.Must(s.link(kept))
	l, stays := s.addLogin(v), s.addLogin(other)
	s.Must(s.remove(v))
	s.linked(unlinked(account))
	s.gone("staff", l)
	s.linked(kept)
	s.stays(stays)
	again := s.add("staff", "feishu")
	s.linked(unlinked(newLink(again, "ou_1", "usr_kim")))
	s.Code(s.finish(l), "idp_login_gone")
}

func (s *suite) userGoes() {
	v := s.add("staff", "feishu")
	account, kept := newLink(v, "ou_1", "usr_kim"), newLink(v, "ou_2", "usr_zoe")
	s.Must(s.link(account))
	s.Must(s.link(kept))
	s.Must(s.backend.DeleteUser(s.Ctx(), "staff", "usr_kim"))
	s.linked(unlinked(account))
	s.linked(kept)
	s.Code(s.link(account), "user_not_found")
	account.UserID = "usr_zoe" // the account is free
	s.Must(s.link(account))
}

func (s *suite) poolGoes() {
	v, stays := s.add("staff", "feishu"), s.add("guests", "feishu")
	account, kept := newLink(v, "ou_1", "usr_kim"), newLink(stays, "ou_1", "usr_kim")
	s.Must(s.link(account))
	s.Must(s.link(kept))
	l := s.addLogin(v)
	s.Must(s.backend.DeletePool(s.Ctx(), "staff"))
	s.are("staff")
	s.linked(unlinked(account))
	s.gone("staff", l)
	s.are("guests", stays)
	s.linked(kept)
}

func (s *suite) permits() {
	v, dropped, fresh := s.add("staff", "feishu"), s.add("staff", "old"), s.newProvider("staff", "new")
	account, begun, finished := newLink(v, "ou_1", "usr_kim"), newLogin(v), s.addLogin(v)
	s.Permits(
		contract.Write{Action: idp.ActionCreate, Resource: fresh.Resource(), Do: func(p guard.Permit) error { return s.CreateProvider(s.Ctx(), p, fresh) }},
		contract.Write{Action: idp.ActionUpdate, Resource: v.Resource(), Do: func(p guard.Permit) error { return s.UpdateProvider(s.Ctx(), p, changed(v)) }},
		contract.Write{Action: idp.ActionDelete, Resource: dropped.Resource(), Do: func(p guard.Permit) error { return s.DeleteProvider(s.Ctx(), p, "staff", "old") }},
		contract.Write{Action: idp.ActionCreateLink, Resource: idp.UserResource("staff", "usr_kim"), Do: func(p guard.Permit) error { return s.CreateLink(s.Ctx(), p, account) }},
		contract.Write{Action: idp.ActionBegin, Resource: begun.Resource(), Do: func(p guard.Permit) error { return s.BeginLogin(s.Ctx(), p, begun) }},
		contract.Write{Action: idp.ActionFinish, Resource: finished.Resource(), Do: func(p guard.Permit) error { return s.FinishLogin(s.Ctx(), p, finished) }},
		contract.Write{Action: idp.ActionSweep, Resource: idp.SweepResource(), Do: func(p guard.Permit) error {
			_, err := s.SweepLogins(s.Ctx(), p, begun.ExpiresAt.Add(idp.LoginLifetime))
			return err
		}},
	)
	before := s.Count(idp.ActionUpdate)
	s.Code(s.update(changed(v)), "idp_changed")
	s.Same("entries after a write that failed", s.Count(idp.ActionUpdate), before)
}

func (s *suite) oneName() {
	s.Same("providers of one name", s.Race("idp_exists", func(int) error { return s.create(s.newProvider("staff", "feishu")) }), 1)
}

func (s *suite) oneChange() {
	v := s.add("staff", "feishu")
	s.Same("changes of one version", s.Race("idp_changed", func(int) error { return s.update(changed(v)) }), 1)
	s.are("staff", changed(v))
}

// oneLink has two people link one account at once.
func (s *suite) oneLink() {
	v := s.add("staff", "feishu")
	users := []string{"usr_kim", "usr_zoe"}
	s.Same("links of one account", s.Race("idp_link_exists", func(i int) error { return s.link(newLink(v, "ou_1", users[i%2])) }), 1)
}

func (s *suite) oneFinish() {
	l := s.addLogin(s.add("staff", "feishu"))
	s.Same("ends of one login", s.Race("idp_login_gone", func(int) error { return s.finish(l) }), 1)
}
