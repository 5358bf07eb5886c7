package storetest

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// stores are the stores of one database with pool "p", workloads a and b, and
// provider "feishu" in it.
type stores struct {
	workloads      store.Workloads
	providers      store.Providers
	vault          store.Vault
	authorizations store.Authorizations
}

func setUp(t testing.TB, db *store.DB) stores {
	t.Helper()
	s := stores{store.Workloads{DB: db}, store.Providers{DB: db}, store.Vault{DB: db}, store.Authorizations{DB: db}}
	must(t, s.workloads.CreatePool(t.Context(), Permit(t, workload.ActionCreatePool, workload.PoolResource("p")), workload.Pool{Name: "p", Created: moment}))
	for _, w := range []name.Workload{agentA, agentB} {
		must(t, s.workloads.CreateWorkload(t.Context(), Permit(t, workload.ActionCreate, workload.Resource(w)), workload.Workload{Identity: w, Created: moment}))
	}
	must(t, s.providers.CreateProvider(t.Context(), Permit(t, provider.ActionCreate, provider.Resource("p", "feishu")), sealedProvider("p", "feishu", "cli_1")))
	return s
}

func testWorkloads(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db).workloads
	wantCode(t, s.CreatePool(t.Context(), Permit(t, workload.ActionCreatePool, workload.PoolResource("p")), workload.Pool{Name: "p"}), "workload_pool_exists")
	wantCode(t, s.CreateWorkload(t.Context(), Permit(t, workload.ActionCreate, workload.Resource(agentA)), workload.Workload{Identity: agentA}), "workload_exists")
	stray := name.Workload{Pool: "nowhere", Name: "a"}
	wantCode(t, s.CreateWorkload(t.Context(), Permit(t, workload.ActionCreate, workload.Resource(stray)), workload.Workload{Identity: stray}), "workload_pool_not_found")
	list, err := s.Workloads(t.Context(), "p")
	must(t, err)
	if diff := cmp.Diff([]workload.Workload{{Identity: agentA, Created: moment}, {Identity: agentB, Created: moment}}, list); diff != "" {
		t.Error(diff)
	}
	_, err = s.Workload(t.Context(), name.Workload{Pool: "p", Name: "aa"})
	wantCode(t, err, "workload_not_found")
	if !strings.Contains(err.Error(), "did you mean a") {
		t.Errorf("near matches are not listed: %v", err)
	}
	must(t, s.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentA)), agentA))
	wantCode(t, s.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentA)), agentA), "workload_not_found")
}

func testProviders(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db).providers
	v := sealedProvider("p", "feishu", "cli_1")
	got, err := s.Provider(t.Context(), "p", "feishu")
	must(t, err)
	if diff := cmp.Diff(v, got, cmp.Comparer(func(a, b name.Scopes) bool { return a.String() == b.String() })); diff != "" {
		t.Error(diff)
	}
	wantCode(t, s.CreateProvider(t.Context(), Permit(t, provider.ActionCreate, provider.Resource("p", "feishu")), v), "provider_exists")
	_, err = s.Provider(t.Context(), "p", "feishu_")
	wantCode(t, err, "provider_not_found")
	if !strings.Contains(err.Error(), "did you mean feishu?") {
		t.Errorf("near matches are not listed: %v", err)
	}
	v.Version, v.ClientID, v.Options = 2, "cli_2", provider.Options{Workloads: []string{"b"}, STS: &provider.STS{Cloud: provider.AWS, Lifetime: time.Hour, Policy: json.RawMessage(`{"a":1}`)}}
	update := Permit(t, provider.ActionUpdate, provider.Resource("p", "feishu"))
	must(t, s.UpdateProvider(t.Context(), update, v))
	wantCode(t, s.UpdateProvider(t.Context(), update, v), "provider_changed")
	if got, err = s.Provider(t.Context(), "p", "feishu"); err != nil || got.ClientID != "cli_2" || got.Version != 2 || cmp.Diff(got.Options, v.Options) != "" {
		t.Errorf("got %v, %v", got, err)
	}
	must(t, s.DeleteProvider(t.Context(), Permit(t, provider.ActionDelete, provider.Resource("p", "feishu")), "p", "feishu"))
	list, err := s.Providers(t.Context(), "p")
	if must(t, err); len(list) != 0 {
		t.Errorf("%d providers are left", len(list))
	}
}

// testProviderWorkloads narrows who may use a provider that is in use: the quick
// look does not find what was delegated, and the thorough one tells why.
func testProviderWorkloads(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	_, d := s.give(t, agentA, zhang, vault.Grant{})
	v := sealedProvider("p", "feishu", "cli_1")
	for _, c := range []struct {
		workloads []string
		want      bool
	}{{nil, true}, {[]string{"b"}, false}, {[]string{"b", "a"}, true}, {[]string{"A"}, false}, {nil, true}} {
		v.Version, v.Options.Workloads = v.Version+1, c.workloads
		must(t, s.providers.UpdateProvider(t.Context(), Permit(t, provider.ActionUpdate, provider.Resource("p", "feishu")), v))
		_, fd, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang)
		if must(t, err); ok != c.want || ok && fd.ID != d.ID {
			t.Errorf("%v: found %v %q", c.workloads, ok, fd.ID)
		}
		found, err := s.vault.FindCredential(t.Context(), agentA, "feishu", zhang)
		must(t, err)
		if found.Type != provider.TypeOAuth2 || found.Flow != provider.UserFederation || found.Delegation.ID != d.ID || (found.Options.Allow("a", "feishu") == nil) != c.want {
			t.Errorf("%v: %+v", c.workloads, found)
		}
	}
}

// give completes an authorization by which w may use u's grant.
func (s stores) give(t testing.TB, w name.Workload, u name.User, g vault.Grant) (vault.Grant, vault.Delegation) {
	t.Helper()
	a := pending(w, u)
	must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
	d := vault.Delegation{ID: name.NewID("dlg"), GrantID: g.ID, Workload: w, Scopes: scopes(t, "read"), Created: moment, Updated: moment}
	if g.Version == 0 {
		g = grant(t, u)
		d.GrantID = g.ID
		must(t, s.authorizations.Complete(t.Context(), Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, s.completed(t, a), g, d))
		return g, d
	}
	must(t, s.authorizations.Complete(t.Context(), Permit(t, consent.ActionDecide, a.Resource()), consent.ActionDecide, s.completed(t, a), vault.Grant{}, d))
	return g, d
}

func grant(t testing.TB, u name.User) vault.Grant {
	return vault.Grant{ID: name.NewID("grt"), Pool: "p", Provider: "feishu", User: u, Account: vendor.Account{ID: "ou_1", Name: "张三"}, Scopes: scopes(t, "read", "write"),
		State: vault.Active, Sealed: []byte{9}, Expires: moment.Add(time.Hour), Version: 1, Created: moment, Updated: moment}
}

func pending(w name.Workload, u name.User) consent.Authorization {
	return consent.Authorization{ID: name.NewID("auth"), Kind: consent.KindGrant, Pool: w.Pool, Provider: "feishu", Workload: w, User: u, State: consent.Pending,
		LinkHash: name.NewID("h"), Sealed: []byte{1}, Version: 1, Created: moment, Expires: moment.Add(consent.Life), Updated: moment}
}

// completed is of the first version of the provider.
func completed(a consent.Authorization) consent.Authorization {
	a.State, a.Version, a.ProviderVersion = consent.Completed, a.Version+1, 1
	return a
}

// completed is of the provider as it is now.
func (s stores) completed(t testing.TB, a consent.Authorization) consent.Authorization {
	v, err := s.providers.Provider(t.Context(), a.Pool, a.Provider)
	check(t, err)
	a = completed(a)
	a.ProviderVersion = v.Version
	return a
}

var sameScopes = cmp.Comparer(func(a, b name.Scopes) bool { return a.String() == b.String() })

// testMovedProvider has a provider speak to another third party: not while there is
// a token that would be sent there.
func testMovedProvider(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	v := sealedProvider("p", "feishu", "cli_1")
	v.Version, v.Endpoints.Base = 2, "https://elsewhere.example"
	move := Permit(t, provider.ActionUpdate, provider.Resource("p", "feishu"))
	g, _ := s.give(t, agentA, zhang, vault.Grant{})
	wantCode(t, s.providers.MoveProvider(t.Context(), move, v), "provider_has_grants")
	must(t, s.vault.DeleteGrant(t.Context(), Permit(t, vault.ActionDelete, vault.GrantResource("p", g.ID)), "p", g.ID))
	wantCode(t, s.providers.MoveProvider(t.Context(), move, v), "provider_has_grants") // there is a token to be revoked
	if got, err := s.providers.Provider(t.Context(), "p", "feishu"); err != nil || got.Version != 1 || got.Endpoints.Base != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	revocations, err := s.vault.TakeRevocations(t.Context(), move.Entry().Time.Add(time.Hour), move.Entry().Time.Add(2*time.Hour), 10)
	if must(t, err); len(revocations) != 1 {
		t.Fatalf("%d grants are to be revoked", len(revocations))
	}
	must(t, s.vault.FinishRevocation(t.Context(), Permit(t, vault.ActionRevokeUpstream, vault.GrantResource("p", g.ID)), revocations[0]))
	must(t, s.providers.MoveProvider(t.Context(), move, v))
	wantCode(t, s.providers.MoveProvider(t.Context(), move, v), "provider_changed")
	if got, err := s.providers.Provider(t.Context(), "p", "feishu"); err != nil || got.Version != 2 || got.Endpoints.Base != v.Endpoints.Base {
		t.Errorf("got %+v, %v", got, err)
	}
}

func testGrants(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	g, d := s.give(t, agentA, zhang, vault.Grant{})
	found, err := s.vault.FindCredential(t.Context(), agentA, "feishu", zhang)
	must(t, err)
	if diff := cmp.Diff(g, found.Grant, sameScopes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(d, found.Delegation, sameScopes); diff != "" {
		t.Error(diff)
	}
	if fg, fd, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang); err != nil || !ok || !cmp.Equal(fg, found.Grant, sameScopes) || !cmp.Equal(fd, found.Delegation, sameScopes) {
		t.Errorf("FindDelegated: %v, %v\n%s\n%s", ok, err, cmp.Diff(found.Grant, fg, sameScopes), cmp.Diff(found.Delegation, fd, sameScopes))
	}
	for what, find := range map[string]func() (vault.Grant, vault.Delegation, bool, error){
		"another agent": func() (vault.Grant, vault.Delegation, bool, error) {
			return s.vault.FindDelegated(t.Context(), agentB, "feishu", zhang)
		},
		"another user": func() (vault.Grant, vault.Delegation, bool, error) {
			return s.vault.FindDelegated(t.Context(), agentA, "feishu", li)
		},
		"another pool": func() (vault.Grant, vault.Delegation, bool, error) {
			return s.vault.FindDelegated(t.Context(), name.Workload{Pool: "q", Name: "a"}, "feishu", zhang)
		},
		"another provider": func() (vault.Grant, vault.Delegation, bool, error) {
			return s.vault.FindDelegated(t.Context(), agentA, "x", zhang)
		},
	} {
		if fg, fd, ok, err := find(); ok || err != nil || fg.ID != "" || fd.ID != "" {
			t.Errorf("FindDelegated for %s: %+v, %+v, %v, %v", what, fg, fd, ok, err)
		}
	}
	// Another agent sees the grant but has no delegation; another user sees neither.
	if found, err = s.vault.FindCredential(t.Context(), agentB, "feishu", zhang); err != nil || found.Grant.ID != g.ID || found.Delegation.ID != "" {
		t.Errorf("agent b: %+v, %v", found, err)
	}
	for _, u := range []name.User{li, {Issuer: "https://other.example", Subject: zhang.Subject}, {}} {
		if found, err = s.vault.FindCredential(t.Context(), agentA, "feishu", u); err != nil || found.Grant.ID != "" || found.Delegation.ID != "" {
			t.Errorf("user %v: %+v, %v", u, found, err)
		}
	}
	_, err = s.vault.FindCredential(t.Context(), agentA, "feishy", zhang)
	wantCode(t, err, "provider_not_found")
	_, err = s.vault.FindCredential(t.Context(), name.Workload{Pool: "p", Name: "gone"}, "feishu", zhang)
	wantCode(t, err, "workload_not_found")
	list, err := s.vault.Grants(t.Context(), vault.Filter{Pool: "p", Limit: 10})
	if must(t, err); len(list) != 1 || list[0].ID != g.ID {
		t.Errorf("got %v", list)
	}
	if list, err = s.vault.Grants(t.Context(), vault.Filter{Pool: "p", After: g.ID, Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("after the last: %v, %v", list, err)
	}
	wantCode(t, s.vault.DeleteGrant(t.Context(), Permit(t, vault.ActionDelete, vault.GrantResource("q", g.ID)), "q", g.ID), "grant_not_found")
	must(t, s.vault.DeleteGrant(t.Context(), Permit(t, vault.ActionDelete, vault.GrantResource("p", g.ID)), "p", g.ID))
	if found, err = s.vault.FindCredential(t.Context(), agentA, "feishu", zhang); err != nil || found.Grant.ID != "" || found.Delegation.ID != "" {
		t.Errorf("after deletion: %+v, %v", found, err)
	}
	if fg, _, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang); ok || err != nil {
		t.Errorf("FindDelegated after deletion: %+v, %v", fg, err)
	}
}

func testGrantLease(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first)
	g, _ := s.give(t, agentA, zhang, vault.Grant{})
	free := vault.Lease{GrantID: g.ID, Version: 1}
	owned := func(owner string, end time.Duration) vault.Lease {
		return vault.Lease{GrantID: g.ID, Version: 1, Owner: owner, Until: moment.Add(end)}
	}
	move := func(former, next vault.Lease, want bool) {
		t.Helper()
		if moved, err := s.vault.MoveLease(t.Context(), former, next); err != nil || moved != want {
			t.Errorf("from %+v to %+v: %v, %v", former, next, moved, err)
		}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var won []vault.Lease
	for i := range 20 {
		db := []*store.DB{first, second}[i%2]
		group.Go(func() {
			l := owned(name.NewID("own"), time.Minute)
			moved, err := store.Vault{DB: db}.MoveLease(t.Context(), free, l)
			if err != nil {
				t.Error(err)
			}
			if moved {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, l)
			}
		})
	}
	group.Wait()
	if len(won) != 1 {
		t.Fatalf("%d leases were given at once", len(won))
	}
	if got, l, err := s.vault.Leased(t.Context(), g.ID); err != nil || got.ID != g.ID || got.Version != 1 || l != won[0] {
		t.Errorf("the lease that stands is %+v of %+v, %v", l, got, err)
	}
	next := g
	next.Version, next.Sealed = 2, []byte{2}
	p := Permit(t, vault.ActionRefresh, vault.GrantResource("p", g.ID))
	wantCode(t, s.vault.ReplaceTokens(t.Context(), p, next, vault.Lease{Owner: "somebody else"}), "grant_changed")

	// Who extends it in the last moment does not lose it to somebody who saw its former end.
	longer, late := owned(won[0].Owner, 90*time.Second), owned("late", 2*time.Minute)
	move(vault.Lease{GrantID: g.ID, Version: 1, Owner: won[0].Owner}, longer, true)
	move(won[0], late, false)
	move(free, late, false)
	move(longer, late, true)
	// The former owner comes too late, in whatever he does.
	move(vault.Lease{GrantID: g.ID, Version: 1, Owner: won[0].Owner}, free, false)
	wantCode(t, s.vault.ReplaceTokens(t.Context(), p, next, longer), "grant_changed")
	if _, _, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang); err != nil || !ok {
		t.Errorf("before the replacement: %v, %v", ok, err)
	}
	must(t, s.vault.ReplaceTokens(t.Context(), p, next, late))
	if fresh, _, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang); err != nil || !ok || fresh.Version != 2 {
		t.Errorf("after the replacement: version %d, %v, %v", fresh.Version, ok, err)
	}
	got, err := s.vault.Grant(t.Context(), g.ID)
	if must(t, err); got.Version != 2 || string(got.Sealed) != "\x02" {
		t.Errorf("got %+v", got)
	}
	// The version fences: a lease on version 1 is not to be had any more, and the one on version 2 is free.
	move(free, late, false)
	free.Version, late.Version = 2, 2
	move(free, late, true)
	move(late, free, true)
	move(free, late, true)
	if _, _, err := s.vault.Leased(t.Context(), "grt_none"); !fault.HasCode(err, "grant_not_found") {
		t.Errorf("of no grant: %v", err)
	}
}

func testDelegationRemoved(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	g, _ := s.give(t, agentA, zhang, vault.Grant{})
	s.give(t, agentB, zhang, g)
	s.give(t, agentA, li, vault.Grant{})
	remove := func(w name.Workload) bool {
		t.Helper()
		removed, err := s.vault.RemoveDelegation(t.Context(), Permit(t, vault.ActionClear, provider.Resource("p", "feishu")), w, "feishu", zhang)
		must(t, err)
		return removed
	}
	if _, _, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang); err != nil || !ok {
		t.Errorf("before the removal: %v, %v", ok, err)
	}
	if !remove(agentA) {
		t.Error("nothing was removed")
	}
	if _, _, ok, err := s.vault.FindDelegated(t.Context(), agentA, "feishu", zhang); err != nil || ok {
		t.Errorf("after the removal: %v, %v", ok, err)
	}
	if remove(agentA) {
		t.Error("it was removed twice")
	}
	if found, err := s.vault.FindCredential(t.Context(), agentB, "feishu", zhang); err != nil || found.Delegation.ID == "" {
		t.Errorf("the other agent lost its delegation: %+v, %v", found, err)
	}
	if !remove(agentB) {
		t.Error("nothing was removed")
	}
	if _, err := s.vault.Grant(t.Context(), g.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("the grant outlived its last delegation: %v", err)
	}
	if found, err := s.vault.FindCredential(t.Context(), agentA, "feishu", li); err != nil || found.Delegation.ID == "" {
		t.Errorf("another user lost his: %+v, %v", found, err)
	}
}

func testAuthorizations(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db).authorizations
	a := pending(agentA, zhang)
	a.Scopes = scopes(t, "read")
	must(t, s.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
	for what, find := range map[string]func() (consent.Authorization, error){
		"id":   func() (consent.Authorization, error) { return s.Authorization(t.Context(), a.ID) },
		"link": func() (consent.Authorization, error) { return s.AuthorizationByLink(t.Context(), a.LinkHash) },
		"same": func() (consent.Authorization, error) { return s.PendingAuthorization(t.Context(), a, moment) },
	} {
		got, err := find()
		must(t, err)
		if diff := cmp.Diff(a, got, sameScopes); diff != "" {
			t.Errorf("by %s:\n%s", what, diff)
		}
	}
	// An empty hash is nobody's state parameter.
	_, err := s.AuthorizationByState(t.Context(), "")
	wantCode(t, err, "authorization_not_found")
	for what, change := range map[string]func(*consent.Authorization){
		"user": func(a *consent.Authorization) { a.User = li }, "workload": func(a *consent.Authorization) { a.Workload = agentB },
		"scopes": func(a *consent.Authorization) { a.Scopes = scopes(t, "read", "write") }, "kind": func(a *consent.Authorization) { a.Kind = consent.KindDelegation },
	} {
		other := a
		change(&other)
		if _, err := s.PendingAuthorization(t.Context(), other, moment); !fault.Is(err, fault.NotFound) {
			t.Errorf("found for another %s: %v", what, err)
		}
	}
	if _, err := s.PendingAuthorization(t.Context(), a, a.Expires); !fault.Is(err, fault.NotFound) {
		t.Errorf("found one that has expired: %v", err)
	}
	next := a
	next.State, next.Version, next.StateHash, next.BrowserHash = consent.Redirected, 2, "st", "br"
	must(t, s.Advance(t.Context(), Permit(t, consent.ActionOpen, a.Resource()), consent.ActionOpen, next))
	got, err := s.AuthorizationByState(t.Context(), "st")
	must(t, err)
	if diff := cmp.Diff(next, got, sameScopes); diff != "" {
		t.Error(diff)
	}
	wantCode(t, s.Advance(t.Context(), Permit(t, consent.ActionOpen, a.Resource()), consent.ActionOpen, next), "authorization_changed")
}

// testCompleteIsAtomic makes the grant's write fail and looks for what the rest
// of the transaction may have left behind.
func testCompleteIsAtomic(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	g, _ := s.give(t, agentA, zhang, vault.Grant{})
	a := pending(agentB, zhang)
	must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
	before := len(verifyChain(t, db))
	stale := g
	stale.Version = 7 // there is no version 6 to replace
	d := vault.Delegation{ID: "dlg_x", GrantID: g.ID, Workload: agentB, Scopes: scopes(t, "read"), Created: moment, Updated: moment}
	wantCode(t, s.authorizations.Complete(t.Context(), Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, completed(a), stale, d), "grant_changed")
	second := grant(t, zhang) // a second grant of the same user and provider
	d.GrantID = second.ID
	wantCode(t, s.authorizations.Complete(t.Context(), Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, completed(a), second, d), "grant_changed")
	if got, err := s.authorizations.Authorization(t.Context(), a.ID); err != nil || got.State != consent.Pending {
		t.Errorf("the authorization moved to %q, %v", got.State, err)
	}
	if found, err := s.vault.FindCredential(t.Context(), agentB, "feishu", zhang); err != nil || found.Delegation.ID != "" {
		t.Errorf("a delegation was left behind: %+v, %v", found, err)
	}
	if got := len(verifyChain(t, db)); got != before {
		t.Errorf("%d entries were recorded for changes that did not happen", got-before)
	}
}

func testAdvanceConcurrent(t *testing.T, open Open) {
	first, second := open(t)
	a := pending(agentA, zhang)
	s := setUp(t, first)
	must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
	next := a
	next.State, next.Version = consent.Exchanging, 2
	var group sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 20 {
		db := []*store.DB{first, second}[i%2]
		group.Go(func() {
			err := store.Authorizations{DB: db}.Advance(t.Context(), Permit(t, consent.ActionExchange, a.Resource()), consent.ActionExchange, next)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if won != 1 {
		t.Errorf("%d callers made the same step", won)
	}
}

func testBell(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first)
	a, other := pending(agentA, zhang), pending(agentA, li)
	for _, x := range []consent.Authorization{a, other} {
		must(t, s.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, x.Resource()), x))
	}
	rings, stop := store.Bell{DB: second}.Listen(a.ID)
	defer stop()
	silent, stopSilent := store.Bell{DB: second}.Listen("something else")
	defer stopSilent()
	next := a
	// A replica that has just started may not listen yet; it makes up for that with a ring to
	// everybody when it does. So the second change is the one that proves delivery.
	for version := int64(2); version <= 3; version++ {
		next.State, next.Version = consent.Redirected, version
		must(t, s.authorizations.Advance(t.Context(), Permit(t, consent.ActionOpen, a.Resource()), consent.ActionOpen, next))
		select {
		case <-rings:
		case <-time.After(10 * time.Second):
			t.Fatalf("version %d was not announced", version)
		}
		got, err := store.Authorizations{DB: second}.Authorization(t.Context(), a.ID)
		if must(t, err); got.Version < version {
			t.Errorf("woken for version %d, found %d", version, got.Version)
		}
		if first != second {
			drain(silent) // the ring to everybody
		}
	}
	select {
	case <-silent:
		t.Error("a ring reached a listener for something else")
	default:
	}
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}
