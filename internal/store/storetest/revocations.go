package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// testWaysToEnd goes through everything that ends a grant. Each way must leave
// the tokens to be revoked, one record for each grant that is gone, and the
// grants of others alone.
func testWaysToEnd(t *testing.T, open Open) {
	people := func(db *store.DB) store.UserPools {
		return store.UserPools{DB: db, PublicURL: "https://id.example"}
	}
	for cause, end := range map[string]func(t *testing.T, db *store.DB, s stores, g vault.Grant) error{
		"grant.delete": func(t *testing.T, _ *store.DB, s stores, g vault.Grant) error {
			return s.vault.DeleteGrant(t.Context(), Permit(t, vault.ActionDelete, vault.GrantResource("p", g.ID)), "p", g.ID)
		},
		"delegation.delete": func(t *testing.T, _ *store.DB, s stores, g vault.Grant) error {
			list, err := s.vault.Delegations(t.Context(), vault.Filter{Pool: "p", Limit: 10}.Of(zhang))
			if err != nil || len(list) != 1 {
				t.Fatalf("delegations: %v, %v", list, err)
			}
			d := list[0].Delegation.ID
			wantCode(t, s.vault.DeleteDelegation(t.Context(), Permit(t, vault.ActionWithdraw, vault.DelegationResource("q", d)), "q", d), "delegation_not_found")
			return s.vault.DeleteDelegation(t.Context(), Permit(t, vault.ActionWithdraw, vault.DelegationResource("p", d)), "p", d)
		},
		"credential.clear": func(t *testing.T, _ *store.DB, s stores, _ vault.Grant) error {
			_, err := s.vault.RemoveDelegation(t.Context(), Permit(t, vault.ActionClear, provider.Resource("p", "feishu")), agentA, "feishu", zhang)
			return err
		},
		"workload.delete": func(t *testing.T, _ *store.DB, s stores, _ vault.Grant) error {
			return s.workloads.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentA)), agentA)
		},
		"user.delete": func(t *testing.T, db *store.DB, _ stores, _ vault.Grant) error {
			return people(db).DeleteUser(t.Context(), Permit(t, userpool.ActionDeleteUser, userpool.UserResource("u", zhang.Subject)), "u", zhang.Subject)
		},
	} {
		t.Run(cause, func(t *testing.T) {
			db, _ := open(t)
			s := setUp(t, db)
			must(t, people(db).CreatePool(t.Context(), Permit(t, userpool.ActionCreatePool, userpool.Resource("u")), userpool.Pool{Name: "u", Version: 1, CreatedAt: moment}))
			must(t, people(db).CreateUser(t.Context(), Permit(t, userpool.ActionCreateUser, userpool.UserResource("u", zhang.Subject)),
				userpool.User{Pool: "u", ID: zhang.Subject, UserName: "zhangsan", Version: 1, CreatedAt: moment}))
			g, _ := s.give(t, agentA, zhang, vault.Grant{})
			other, _ := s.give(t, agentB, li, vault.Grant{})
			stranger, _ := s.give(t, agentB, name.User{Issuer: "https://other.example", Subject: zhang.Subject}, vault.Grant{})
			must(t, end(t, db, s, g))
			wantEnded(t, db, s, cause, g)
			for _, id := range []string{other.ID, stranger.ID} {
				if _, err := s.vault.Grant(t.Context(), id); err != nil {
					t.Errorf("the grant of somebody else: %v", err)
				}
			}
		})
	}
	for cause, end := range map[string]func(t *testing.T, db *store.DB, s stores) error{
		"provider.delete": func(t *testing.T, _ *store.DB, s stores) error {
			return s.providers.DeleteProvider(t.Context(), Permit(t, provider.ActionDelete, provider.Resource("p", "feishu")), "p", "feishu")
		},
		"userpool.delete": func(t *testing.T, db *store.DB, _ stores) error {
			must(t, people(db).CreatePool(t.Context(), Permit(t, userpool.ActionCreatePool, userpool.Resource("u")), userpool.Pool{Name: "u", Version: 1, CreatedAt: moment}))
			return people(db).DeletePool(t.Context(), Permit(t, userpool.ActionDeletePool, userpool.Resource("u")), "u")
		},
	} {
		t.Run(cause, func(t *testing.T) {
			db, _ := open(t)
			s := setUp(t, db)
			g, _ := s.give(t, agentA, zhang, vault.Grant{})
			other, _ := s.give(t, agentB, li, vault.Grant{})
			must(t, end(t, db, s))
			wantEnded(t, db, s, cause, g, other)
		})
	}
}

// wantEnded checks that exactly these grants were ended by cause.
func wantEnded(t *testing.T, db *store.DB, s stores, cause string, ended ...vault.Grant) {
	t.Helper()
	pending, err := s.vault.Pending(t.Context(), "p", "", 10)
	must(t, err)
	left := map[string]vault.Revocation{}
	for _, r := range pending {
		left[r.GrantID] = r
	}
	recorded := map[string]bool{}
	for _, e := range verifyChain(t, db) {
		if e.Action == string(vault.ActionRevoked) && e.Detail["cause"] == cause && e.Provider == "feishu" {
			recorded[e.Resource.ID] = true
		}
	}
	if len(left) != len(ended) || len(recorded) != len(ended) {
		t.Errorf("%d revocations and %d records for %d grants", len(left), len(recorded), len(ended))
	}
	for _, g := range ended {
		if _, err := s.vault.Grant(t.Context(), g.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("grant %s is not gone: %v", g.ID, err)
		}
		want := vault.Revocation{GrantID: g.ID, Version: 1, Pool: "p", Provider: "feishu", ProviderID: "prv_pfeishu", User: g.User, Account: g.Account.Name, Sealed: g.Sealed, Cause: cause}
		got := left[g.ID]
		if got.Created.IsZero() || !got.Due.Equal(got.Created) {
			t.Errorf("created %v, due %v", got.Created, got.Due)
		}
		got.Created, got.Due = time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if !recorded[g.ID] {
			t.Errorf("the end of %s is not recorded", g.ID)
		}
	}
}

// testSharedGrantStays ends one of two delegations in every way there is for one.
func testSharedGrantStays(t *testing.T, open Open) {
	for what, end := range map[string]func(s stores, d vault.Delegation) error{
		"workload": func(s stores, _ vault.Delegation) error {
			return s.workloads.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentA)), agentA)
		},
		"delegation": func(s stores, d vault.Delegation) error {
			return s.vault.DeleteDelegation(t.Context(), Permit(t, vault.ActionWithdraw, vault.DelegationResource("p", d.ID)), "p", d.ID)
		},
	} {
		db, _ := open(t)
		s := setUp(t, db)
		g, d := s.give(t, agentA, zhang, vault.Grant{})
		s.give(t, agentB, zhang, g)
		must(t, end(s, d))
		if list, err := s.vault.Delegations(t.Context(), vault.Filter{Pool: "p", Limit: 10}); err != nil || len(list) != 1 || list[0].Delegation.Workload != agentB || list[0].Grant.ID != g.ID || list[0].Grant.Sealed != nil {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
		if list, err := s.vault.Pending(t.Context(), "p", "", 10); err != nil || len(list) != 0 {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
	}
}

// testMovedGrant puts another account's tokens over a grant: those of the former
// account are revoked, those of the same one are the third party's to replace.
func testMovedGrant(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	g, d := s.give(t, agentA, zhang, vault.Grant{})
	again := func(account string) {
		a := pending(agentA, zhang)
		must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
		g.Version++
		g.Account = vendor.Account{ID: account}
		must(t, s.authorizations.Complete(t.Context(), Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, completed(a), g, d))
	}
	again("ou_1")
	if list, err := s.vault.Pending(t.Context(), "p", "", 10); err != nil || len(list) != 0 {
		t.Errorf("the same account: %+v, %v", list, err)
	}
	again("ou_2")
	if list, err := s.vault.Pending(t.Context(), "p", "", 10); err != nil || len(list) != 1 || list[0].Version != 2 || list[0].GrantID != g.ID {
		t.Errorf("another account: %+v, %v", list, err)
	}
	if _, err := s.vault.Grant(t.Context(), g.ID); err != nil {
		t.Error(err)
	}
}

// testRevocationsTaken lets two replicas take what is due, at once and again.
func testRevocationsTaken(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first)
	for range 20 {
		s.give(t, agentA, name.User{Issuer: "https://id.example", Subject: name.NewID("usr")}, vault.Grant{})
	}
	must(t, s.workloads.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentA)), agentA))
	now := time.Now().Add(time.Minute)
	var mu sync.Mutex
	var group sync.WaitGroup
	taken := map[string]vault.Revocation{}
	for i := range 8 {
		db := []*store.DB{first, second}[i%2]
		group.Go(func() {
			list, err := store.Vault{DB: db}.TakeRevocations(t.Context(), now, now.Add(time.Minute), 5)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, r := range list {
				if _, twice := taken[r.GrantID]; twice {
					t.Errorf("%s was taken twice", r.GrantID)
				}
				taken[r.GrantID] = r
			}
		})
	}
	group.Wait()
	left, err := s.vault.TakeRevocations(t.Context(), now, now.Add(time.Minute), 100)
	if must(t, err); len(taken)+len(left) != 20 {
		t.Errorf("%d and %d of 20 were taken", len(taken), len(left))
	}
	for _, r := range taken {
		must(t, s.vault.RetryRevocation(t.Context(), r, now.Add(time.Hour), "down"))
	}
	again, err := s.vault.TakeRevocations(t.Context(), now.Add(time.Hour), now.Add(2*time.Hour), 100)
	if must(t, err); len(again) != 20 {
		t.Errorf("%d are due again", len(again))
	}
	for _, r := range again {
		if _, failed := taken[r.GrantID]; failed != (r.Attempts == 1 && r.LastError == "down") {
			t.Errorf("%+v", r)
		}
		must(t, s.vault.FinishRevocation(t.Context(), Permit(t, vault.ActionRevokeUpstream, vault.GrantResource("p", r.GrantID)), r))
	}
	wantCode(t, s.vault.FinishRevocation(t.Context(), Permit(t, vault.ActionRevokeUpstream, vault.GrantResource("p", again[0].GrantID)), again[0]), "grant_not_found")
	if list, err := s.vault.Pending(t.Context(), "p", "", 10); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// testEndDuringConsent deletes a provider and a workload while people give
// grants with them: whatever comes about is either there or to be revoked.
func testEndDuringConsent(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first)
	var group sync.WaitGroup
	var mu sync.Mutex
	given := map[string]bool{}
	for i := range 20 {
		db := []*store.DB{first, second}[i%2]
		u := name.User{Issuer: "https://id.example", Subject: name.NewID("usr")}
		a := pending(agentA, u)
		must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
		g := grant(t, u)
		d := vault.Delegation{ID: name.NewID("dlg"), GrantID: g.ID, Workload: agentA, Scopes: g.Scopes, Created: moment, Updated: moment}
		group.Go(func() {
			err := store.Authorizations{DB: db}.Complete(t.Context(), Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, completed(a), g, d)
			mu.Lock()
			defer mu.Unlock()
			given[g.ID] = err == nil
		})
	}
	for _, end := range []func() error{
		func() error {
			return store.Providers{DB: second}.DeleteProvider(t.Context(), Permit(t, provider.ActionDelete, provider.Resource("p", "feishu")), "p", "feishu")
		},
		func() error {
			return s.workloads.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentA)), agentA)
		},
	} {
		group.Go(func() {
			err := end()
			for range 50 {
				if !fault.HasCode(err, "deletion_overtaken") && !fault.Is(err, fault.Unavailable) {
					break
				}
				err = end()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	list, err := s.vault.Pending(t.Context(), "p", "", 100)
	must(t, err)
	ended := map[string]bool{}
	for _, r := range list {
		ended[r.GrantID] = true
	}
	for id, ok := range given {
		if ok != ended[id] {
			t.Errorf("grant %s: given %v, to be revoked %v", id, ok, ended[id])
		}
	}
}
