package workloadtest

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

// Backend is what is tested: the stores of two replicas on one database, which
// has nothing in it.
type Backend struct {
	workload.Store
	workload.LaunchStore
	Standings [2]workload.Standings
	// User makes a user of a pool, and changes him: he is there if there is true, and disabled if off is.
	User    func(t *testing.T, there, off bool) name.User
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// TestStore checks that what open returns does what the contracts of package
// workload say.
func TestStore(t *testing.T, open func(*testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"settings are kept": (*suite).settings, "revocations": (*suite).revocations, "users go": (*suite).users, "workloads go": (*suite).workloads,
		"launches": (*suite).launches, "one process gets a launch": (*suite).binding, "permits": (*suite).permits,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			s := &suite{contract.Case{T: t, Entries: b.Entries}, b}
			s.Must(s.CreatePool(s.Ctx(), s.Permit(workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
			for _, w := range []name.Workload{doc, front} {
				s.create(w, contract.Start)
			}
			test(s)
		})
	}
}

type suite struct {
	contract.Case
	Backend
}

var (
	doc   = name.Workload{Pool: "default", Name: "doc"}
	front = name.Workload{Pool: "default", Name: "front"}
	wang  = name.User{Issuer: "https://login.example", Subject: "wáng"}
	later = contract.Kept(contract.Start.Add(time.Hour))
)

func (s *suite) create(w name.Workload, at time.Time) {
	s.T.Helper()
	s.Must(s.CreateWorkload(s.Ctx(), s.Permit(workload.ActionCreate, workload.Resource(w)), workload.Workload{Identity: w, Version: 1, Created: at}))
}

// since fails the test unless both replicas say that tokens hold since then, or
// with that code, why none does.
func (s *suite) since(w name.Workload, u name.User, want time.Time, code string) {
	s.T.Helper()
	for _, replica := range s.Standings {
		for range 2 { // the second time it may be remembered
			got, err := replica.Standing(s.Ctx(), w, u)
			if code != "" {
				s.Code(err, code)
				continue
			}
			s.Must(err)
			s.Same("since when tokens of "+w.String()+" for "+u.String()+" hold", got, want)
		}
	}
}

func (s *suite) settings() {
	want := workload.Workload{Identity: doc, Version: 2, Created: contract.Kept(contract.Start), Settings: workload.Settings{
		Description: "reads", ReturnURLs: []string{"https://app.example/cb"}, Disabled: true, Trust: workload.Trust{
			AssertsFor: []string{wang.Issuer}, Callers: []string{"front"},
			UserTokens: workload.UserTokens{DiscoveryURL: "https://login.example/x", AllowedClients: []string{"web"}, AllowedAudiences: []string{"api"}},
		},
	}}
	s.Must(s.UpdateWorkload(s.Ctx(), s.Permit(workload.ActionUpdate, workload.Resource(doc)), want))
	got, err := s.Workload(s.Ctx(), doc)
	s.Must(err)
	s.Same("the workload", got, want)
	s.Code(s.UpdateWorkload(s.Ctx(), s.Permit(workload.ActionUpdate, workload.Resource(doc)), want), "workload_changed")
	all, err := s.Workloads(s.Ctx(), "default")
	s.Must(err)
	s.Same("all of them", all, []workload.Workload{want, {Identity: front, Version: 1, Created: contract.Kept(contract.Start)}})
	s.since(doc, name.User{}, time.Time{}, "workload_gone")
	want.Version, want.Disabled = 3, false
	s.Must(s.UpdateWorkload(s.Ctx(), s.Permit(workload.ActionUpdate, workload.Resource(doc)), want))
	s.since(doc, name.User{}, contract.Kept(contract.Start), "")
}

func (s *suite) revokeUser(u name.User, at time.Time) {
	s.T.Helper()
	s.Must(s.RevokeUserTokens(s.Ctx(), s.Permit(workload.ActionRevokeUserTokens, workload.UserTokensResource(u)), u, at, at.Add(-time.Hour)))
}

func (s *suite) revocations() {
	made := contract.Kept(contract.Start)
	s.since(doc, wang, made, "")
	s.revokeUser(wang, later)
	s.since(doc, wang, later, "")
	s.since(front, wang, later, "")
	s.since(doc, name.User{}, made, "")
	s.since(doc, name.User{Issuer: "https://other.example", Subject: wang.Subject}, made, "")

	s.Must(s.RevokeTokens(s.Ctx(), s.Permit(workload.ActionRevokeTokens, workload.Resource(doc)), doc, later.Add(time.Minute)))
	s.since(doc, wang, later.Add(time.Minute), "")
	s.since(doc, name.User{}, later.Add(time.Minute), "")
	s.since(front, wang, later, "")
	s.revokeUser(wang, later.Add(time.Hour))
	s.since(doc, wang, later.Add(time.Hour), "")

	// What is revoked long after makes the old ones be forgotten: nothing is left that they could end.
	s.revokeUser(name.User{Issuer: wang.Issuer, Subject: "li"}, later.Add(3*time.Hour))
	s.since(front, wang, made, "")

	stray := name.Workload{Pool: "default", Name: "stray"}
	s.Code(s.RevokeTokens(s.Ctx(), s.Permit(workload.ActionRevokeTokens, workload.Resource(stray)), stray, later), "workload_not_found")
}

func (s *suite) users() {
	made := contract.Kept(contract.Start)
	u := s.User(s.T, true, false)
	s.since(doc, u, made, "")
	s.User(s.T, true, true)
	s.since(doc, u, time.Time{}, "user_gone")
	s.User(s.T, true, false)
	s.since(doc, u, made, "")
	s.User(s.T, false, false)
	s.since(doc, u, time.Time{}, "user_gone")
	s.since(doc, name.User{}, made, "")
}

func (s *suite) workloads() {
	s.since(doc, name.User{}, contract.Kept(contract.Start), "")
	s.Must(s.DeleteWorkload(s.Ctx(), s.Permit(workload.ActionDelete, workload.Resource(doc)), doc))
	s.since(doc, name.User{}, time.Time{}, "workload_gone")
	// What the former one of the name got is not for the new one.
	s.create(doc, later)
	s.since(doc, name.User{}, later, "")
	s.since(name.Workload{Pool: "other", Name: "doc"}, wang, time.Time{}, "workload_gone")
	s.since(name.Workload{Pool: "default", Name: "\x00"}, wang, time.Time{}, "workload_gone")
}

func (s *suite) begin(id string, w name.Workload, until time.Time) workload.Launch {
	s.T.Helper()
	l := workload.Launch{Launch: attest.Launch{ID: id, Workload: w}, Owner: "one", Until: until, Created: until.Add(-time.Minute)}
	s.Must(s.BeginLaunch(s.Ctx(), s.Permit(workload.ActionBeginLaunch, workload.LaunchResource(l.Launch)), l))
	return l
}

func (s *suite) launches() {
	first := s.begin("launch_1", doc, later)
	got, err := s.Launch(s.Ctx(), first.ID)
	s.Must(err)
	s.Same("the launch", got, first)
	s.Must(s.KeepLaunch(s.Ctx(), first.ID, later.Add(time.Hour)))
	second := s.begin("launch_2", front, later.Add(time.Hour))
	got, err = s.Launch(s.Ctx(), first.ID)
	s.Must(err)
	s.Same("until when it goes on", got.Until, later.Add(time.Hour))

	// One that nobody keeps is forgotten when another begins.
	s.begin("launch_3", front, later.Add(2*time.Hour))
	_, err = s.Launch(s.Ctx(), second.ID)
	s.Code(err, "launch_not_found")
	s.Must(s.KeepLaunch(s.Ctx(), second.ID, later.Add(3*time.Hour)))
	_, err = s.Launch(s.Ctx(), second.ID)
	s.Code(err, "launch_not_found")

	for range 2 {
		s.Must(s.EndLaunch(s.Ctx(), s.Permit(workload.ActionEndLaunch, workload.LaunchResource(first.Launch)), first.Launch))
	}
	_, err = s.Launch(s.Ctx(), first.ID)
	s.Code(err, "launch_not_found")

	s.begin("launch_4", doc, later.Add(4*time.Hour))
	s.Must(s.DeleteWorkload(s.Ctx(), s.Permit(workload.ActionDelete, workload.Resource(doc)), doc))
	_, err = s.Launch(s.Ctx(), "launch_4")
	s.Code(err, "launch_not_found")
	stray := workload.Launch{Launch: attest.Launch{ID: "launch_5", Workload: doc}, Owner: "one", Until: later}
	s.Code(s.BeginLaunch(s.Ctx(), s.Permit(workload.ActionBeginLaunch, workload.LaunchResource(stray.Launch)), stray), "workload_not_found")
}

func (s *suite) bind(l workload.Launch, with string) error {
	return s.BindLaunch(s.Ctx(), s.Permit(workload.ActionBindLaunch, workload.LaunchResource(l.Launch)), l.Launch, secret.FromString(with).Digest("test"))
}

func (s *suite) binding() {
	l := s.begin("launch_1", doc, later)
	if won := s.Race("launch_changed", func(i int) error { return s.bind(l, name.NewToken("b")) }); won != 1 {
		s.T.Errorf("%d processes got it", won)
	}
	got, err := s.Launch(s.Ctx(), l.ID)
	s.Must(err)
	if got.Bound == (secret.Hash{}) {
		s.T.Error("nobody got it")
	}
	s.Code(s.bind(workload.Launch{Launch: attest.Launch{ID: "launch_2", Workload: doc}}, "x"), "launch_changed")
}

func (s *suite) permits() {
	l := s.begin("launch_1", doc, later)
	begun := workload.Launch{Launch: attest.Launch{ID: "launch_2", Workload: doc}, Owner: "one", Until: later}
	write := func(a guard.Action, r guard.Resource, do func(p guard.Permit) error) contract.Write {
		return contract.Write{Action: a, Resource: r, Do: do}
	}
	s.Permits(
		write(workload.ActionRevokeTokens, workload.Resource(doc), func(p guard.Permit) error { return s.RevokeTokens(s.Ctx(), p, doc, later) }),
		write(workload.ActionRevokeUserTokens, workload.UserTokensResource(wang), func(p guard.Permit) error {
			return s.RevokeUserTokens(s.Ctx(), p, wang, later, contract.Start)
		}),
		write(workload.ActionBeginLaunch, workload.LaunchResource(begun.Launch), func(p guard.Permit) error { return s.BeginLaunch(s.Ctx(), p, begun) }),
		write(workload.ActionBindLaunch, workload.LaunchResource(l.Launch), func(p guard.Permit) error {
			return s.BindLaunch(s.Ctx(), p, l.Launch, secret.FromString("x").Digest("test"))
		}),
		write(workload.ActionEndLaunch, workload.LaunchResource(l.Launch), func(p guard.Permit) error { return s.EndLaunch(s.Ctx(), p, l.Launch) }),
	)
}
