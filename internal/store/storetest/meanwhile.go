package storetest

import (
	"slices"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/vault"
)

// testProviderChangedMeanwhile changes a provider while people give grants with
// it: what was given to the former settings is stored before the change, or not
// at all.
func testProviderChangedMeanwhile(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first)
	update := func(db *store.DB, version int64) error {
		v := sealedProvider("p", "feishu", "cli_1")
		v.Version = version
		return store.Providers{DB: db}.UpdateProvider(t.Context(), Permit(t, provider.ActionUpdate, provider.Resource("p", "feishu")), v)
	}
	complete := func(a consent.Authorization, g vault.Grant) error {
		d := vault.Delegation{ID: name.NewID("dlg"), GrantID: g.ID, Workload: agentA, Scopes: scopes(t, "read"), Created: moment, Updated: moment}
		return s.authorizations.Complete(t.Context(), Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, a, g, d)
	}
	begun := func(u name.User, providerVersion int64) consent.Authorization {
		a := pending(agentA, u)
		must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
		a = completed(a)
		a.ProviderVersion = providerVersion
		return a
	}
	var stored []string // ids of the authorizations of each round, "" for those that came too late
	for round := range int64(10) {
		u := name.User{Issuer: "https://id.example", Subject: name.NewID("usr")}
		a := begun(u, round+1)
		var group sync.WaitGroup
		var late error
		group.Go(func() { late = complete(a, grant(t, u)) })
		group.Go(func() {
			if err := update(second, round+2); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		found, err := s.vault.FindCredential(t.Context(), agentA, "feishu", u)
		must(t, err)
		if late != nil {
			wantCode(t, late, "provider_changed")
			a.ID = ""
		}
		if (found.Grant.ID != "") != (late == nil) {
			t.Errorf("round %d: the grant %q is there after %v", round, found.Grant.ID, late)
		}
		stored = append(stored, a.ID)
	}
	var updates int
	for _, e := range verifyChain(t, first) {
		switch e.Action {
		case string(provider.ActionUpdate):
			updates++
		case string(consent.ActionFinish):
			if slices.Index(stored, e.Resource.ID) != updates {
				t.Errorf("a grant is stored after %d changes, for round %d", updates, slices.Index(stored, e.Resource.ID))
			}
		}
	}

	late := begun(zhang, 10) // when the provider has version 11 long since
	wantCode(t, complete(late, grant(t, zhang)), "provider_changed")
	if got, err := s.authorizations.Authorization(t.Context(), late.ID); err != nil || got.State != consent.Pending {
		t.Errorf("the authorization moved to %q, %v", got.State, err)
	}
	must(t, complete(begun(zhang, 11), grant(t, zhang)))
	found, err := s.vault.FindCredential(t.Context(), agentA, "feishu", zhang)
	must(t, err)
	again := found.Grant
	again.Version++
	wantCode(t, complete(begun(zhang, 10), again), "provider_changed")
	// What asks nobody but the user is not the provider's business.
	a := begun(zhang, 0)
	d := found.Delegation
	d.Scopes = scopes(t, "read", "write")
	must(t, s.authorizations.Complete(t.Context(), Permit(t, consent.ActionDecide, a.Resource()), consent.ActionDecide, a, vault.Grant{}, d))
	if got, err := s.vault.FindCredential(t.Context(), agentA, "feishu", zhang); err != nil || got.Delegation.Scopes.Len() != 2 {
		t.Errorf("%+v, %v", got.Delegation, err)
	}
}
