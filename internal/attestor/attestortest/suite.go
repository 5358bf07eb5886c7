// Package attestortest has the suite that holds a store to the contract of package attestor.
package attestortest

import (
	"context"
	"testing"

	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// Backend is an attestor.Store to be tested, empty. The workload pools "default" and
// "other" exist.
type Backend struct {
	attestor.Store
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// TestStore checks that what open returns does what attestor.Store says.
func TestStore(t *testing.T, open func(*testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"kept as given": (*suite).keep, "found by issuer": (*suite).find, "changed in turn": (*suite).change, "permits": (*suite).permits, "races": (*suite).races,
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

const (
	cluster = "https://kubernetes.default.svc.cluster.local"
	domain  = "spiffe://prod.example"
)

func newAttestor(pool, attestorName, issuer string) attestor.Attestor {
	kind := attestor.Kubernetes
	if issuer == domain {
		kind = attestor.SPIFFE
	}
	return attestor.Attestor{
		ID: name.NewID("att"), Pool: pool, Name: attestorName, Version: 1, Sealed: []byte{1, 2, 3}, Created: contract.Start, Updated: contract.Start,
		Settings: attestor.Settings{
			Kind: kind, Issuer: issuer, Audience: "https://id.example", KeysURL: "https://keys.example/jwks", Authority: "-----BEGIN…",
			Rules: []attestor.Rule{{Subject: "agents/doc", Workload: "doc"}, {Subject: "agents/*", Workload: "*"}},
		},
	}
}

func (s *suite) create(a attestor.Attestor) error {
	return s.CreateAttestor(s.Ctx(), s.Permit(attestor.ActionCreate, attestor.Resource(a.Pool, a.Name)), a)
}

// kept is an attestor as a store returns it.
func kept(all ...attestor.Attestor) []attestor.Attestor {
	for i := range all {
		all[i].Created, all[i].Updated = contract.Kept(all[i].Created), contract.Kept(all[i].Updated)
	}
	return all
}

// shown is what of attestors is compared: a secret has no value to compare.
func shown(all []attestor.Attestor) []map[string]any {
	list := make([]map[string]any, len(all))
	for i, a := range all {
		list[i] = map[string]any{
			"id": a.ID, "pool": a.Pool, "name": a.Name, "sealed": a.Sealed, "version": a.Version, "created": a.Created, "updated": a.Updated, "kind": a.Kind, "issuer": a.Issuer,
			"audience": a.Audience, "keys": a.KeysURL, "bundle": a.BundleURL, "server": a.Server, "authority": a.Authority, "rules": a.Rules, "reviewer": a.Reviewer.Empty(),
		}
	}
	return list
}

func (s *suite) are(what string, got []attestor.Attestor, err error, want ...attestor.Attestor) {
	s.T.Helper()
	s.Must(err)
	s.Same(what, shown(got), shown(kept(want...)))
}

func (s *suite) keep() {
	prod, lab := newAttestor("default", "prod", cluster), newAttestor("default", "lab", domain)
	lab.Sealed = []byte{}
	elsewhere := newAttestor("other", "prod", cluster)
	for _, a := range []attestor.Attestor{prod, lab, elsewhere} {
		s.Must(s.create(a))
	}
	s.Code(s.create(newAttestor("default", "prod", domain)), "attestor_exists")
	s.Code(s.create(newAttestor("nowhere", "prod", domain)), "workload_pool_not_found")
	got, err := s.Attestors(s.Ctx(), "default")
	s.are("those of a pool", got, err, lab, prod)
	one, err := s.Attestor(s.Ctx(), "default", "prod")
	s.are("one", []attestor.Attestor{one}, err, prod)
	_, err = s.Attestor(s.Ctx(), "default", "prode")
	s.Code(err, "attestor_not_found")
	_, err = s.Attestors(s.Ctx(), "nowhere")
	s.Code(err, "workload_pool_not_found")
	s.Must(s.delete("default", "prod"))
	s.Code(s.delete("default", "prod"), "attestor_not_found")
	got, err = s.AttestorsOf(s.Ctx(), cluster)
	s.are("after the deletion", got, err, elsewhere)
}

func (s *suite) delete(pool, attestorName string) error {
	return s.DeleteAttestor(s.Ctx(), s.Permit(attestor.ActionDelete, attestor.Resource(pool, attestorName)), pool, attestorName)
}

func (s *suite) find() {
	one, two, three := newAttestor("default", "one", cluster), newAttestor("other", "two", cluster), newAttestor("default", "three", domain)
	for _, a := range []attestor.Attestor{two, one, three} {
		s.Must(s.create(a))
	}
	got, err := s.AttestorsOf(s.Ctx(), cluster)
	s.are("a cluster's", got, err, one, two)
	got, err = s.AttestorsOf(s.Ctx(), domain, cluster)
	s.are("of both", got, err, one, three, two)
	for _, none := range [][]string{nil, {""}, {cluster + "/"}, {"' OR 1 = 1 --"}} {
		got, err = s.AttestorsOf(s.Ctx(), none...)
		s.are("nobody's", got, err)
	}
	moved := one
	moved.Issuer, moved.Version = "https://elsewhere.example", 2
	s.Must(s.update(moved))
	got, err = s.AttestorsOf(s.Ctx(), cluster)
	s.are("after a move", got, err, two)
}

func (s *suite) update(a attestor.Attestor) error {
	return s.UpdateAttestor(s.Ctx(), s.Permit(attestor.ActionUpdate, attestor.Resource(a.Pool, a.Name)), a)
}

func (s *suite) change() {
	a := newAttestor("default", "prod", cluster)
	s.Must(s.create(a))
	a.Version, a.Rules, a.Sealed = 2, []attestor.Rule{{Subject: "agents/mail", Workload: "mail"}}, []byte{}
	s.Must(s.update(a))
	s.Code(s.update(a), "attestor_changed")
	again := newAttestor("default", "prod", cluster)
	again.Version = 3
	s.Code(s.update(again), "attestor_changed") // another one of the same name
	got, err := s.Attestor(s.Ctx(), "default", "prod")
	s.are("as changed", []attestor.Attestor{got}, err, a)
}

func (s *suite) permits() {
	a := newAttestor("default", "prod", cluster)
	changed := a
	changed.Version = 2
	at := attestor.Resource("default", "prod")
	s.Permits(
		contract.Write{Action: attestor.ActionCreate, Resource: at, Do: func(p guard.Permit) error { return s.CreateAttestor(s.Ctx(), p, a) }},
		contract.Write{Action: attestor.ActionUpdate, Resource: at, Do: func(p guard.Permit) error { return s.UpdateAttestor(s.Ctx(), p, changed) }},
		contract.Write{Action: attestor.ActionDelete, Resource: at, Do: func(p guard.Permit) error { return s.DeleteAttestor(s.Ctx(), p, "default", "prod") }},
	)
}

func (s *suite) races() {
	if won := s.Race("attestor_exists", func(int) error { return s.create(newAttestor("default", "prod", cluster)) }); won != 1 {
		s.T.Errorf("%d attestors of one name", won)
	}
	a, err := s.Attestor(s.Ctx(), "default", "prod")
	s.Must(err)
	a.Version++
	if won := s.Race("attestor_changed", func(int) error { return s.update(a) }); won != 1 {
		s.T.Errorf("%d updates of one version", won)
	}
}
