package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/trial"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// Run holds a kind of database to the contracts of the Store interfaces:
// plain, transactional and concurrent.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Open)
	}{
		{"AuditChain", testAuditChain},
		{"AuditFilter", testAuditFilter},
		{"AuditConcurrent", testAuditConcurrent},
		{"Permits", testPermits},
		{"Keys", testKeys},
		{"SigningKeys", testSigningKeys},
		{"Workloads", testWorkloads},
		{"Providers", testProviders},
		{"MovedProvider", testMovedProvider},
		{"ProviderWorkloads", testProviderWorkloads},
		{"Grants", testGrants},
		{"GrantLease", testGrantLease},
		{"DelegationRemoved", testDelegationRemoved},
		{"WaysToEnd", testWaysToEnd},
		{"SharedGrantStays", testSharedGrantStays},
		{"MovedGrant", testMovedGrant},
		{"RevocationsTaken", testRevocationsTaken},
		{"FormerClients", testFormerClients},
		{"EndDuringConsent", testEndDuringConsent},
		{"Authorizations", testAuthorizations},
		{"CompleteIsAtomic", testCompleteIsAtomic},
		{"ProviderChangedMeanwhile", testProviderChangedMeanwhile},
		{"AdvanceConcurrent", testAdvanceConcurrent},
		{"BellIsHeardEverywhere", testBell},
		{"ConsentDevices", testConsentDevices},
		{"Trials", testTrials},
		{"NothingOutdated", testNothingOutdated},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

var (
	moment = time.Date(2026, 11, 22, 8, 30, 0, int(123*time.Millisecond), time.UTC)
	agentA = name.Workload{Pool: "p", Name: "a"}
	agentB = name.Workload{Pool: "p", Name: "b"}
	zhang  = name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_zhang"}
	li     = name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_li"}
)

func entry(action string) audit.Entry {
	return audit.Entry{ID: name.NewID("aud"), Time: moment, Action: action, Outcome: audit.Allowed, Resource: audit.Resource{Kind: "x", Pool: "p", ID: "1"}}
}

func scopes(t testing.TB, s ...string) name.Scopes {
	t.Helper()
	set, err := name.NewScopes(s...)
	must(t, err)
	return set
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if !fault.HasCode(err, code) {
		t.Fatalf("got error %v, want code %q", err, code)
	}
}

// verifyChain recomputes the whole chain and returns its entries.
func verifyChain(t testing.TB, db *store.DB) []audit.Entry {
	t.Helper()
	var entries []audit.Entry
	var hash audit.Hash
	var seq int64
	for {
		records, err := store.Audit{DB: db}.AuditRecords(t.Context(), audit.Filter{After: seq, Limit: 100})
		must(t, err)
		if len(records) == 0 {
			return entries
		}
		for _, r := range records {
			if seq++; r.Seq != seq {
				t.Fatalf("record %d follows %d", r.Seq, seq-1)
			}
			if hash = hash.Next(seq, r.Leaf); hash != r.Hash {
				t.Fatalf("the hash of record %d does not follow from the one before", seq)
			}
			e, err := r.Entry()
			must(t, err)
			entries = append(entries, e)
		}
	}
}

func testAuditChain(t *testing.T, open Open) {
	db, _ := open(t)
	log := store.Audit{DB: db}
	must(t, log.AppendAudit(t.Context(), []audit.Entry{entry("first")}))
	var many []audit.Entry
	for i := range 40 { // more than two chunks and a rest
		many = append(many, entry(fmt.Sprint("many", i)))
	}
	must(t, log.AppendAudit(t.Context(), many))
	got := verifyChain(t, db)
	if diff := cmp.Diff(append([]audit.Entry{entry("first")}, many...), got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".ID" }, cmp.Ignore())); diff != "" {
		t.Errorf("entries came back changed:\n%s", diff)
	}
}

func testAuditFilter(t *testing.T, open Open) {
	db, _ := open(t)
	log := store.Audit{DB: db}
	mine := entry("credential.release")
	mine.Provider, mine.Caller = "feishu", name.Caller{Kind: name.Agent, Workload: agentA, User: zhang}
	refused := entry("credential.release")
	refused.Outcome = audit.Refused
	must(t, log.AppendAudit(t.Context(), []audit.Entry{entry("x"), mine, refused, entry("x"), entry("x")}))
	for _, c := range []struct {
		name   string
		filter audit.Filter
		want   []int64
	}{
		{"all", audit.Filter{Limit: 10}, []int64{1, 2, 3, 4, 5}},
		{"limit", audit.Filter{Limit: 2}, []int64{1, 2}},
		{"after", audit.Filter{After: 3, Limit: 10}, []int64{4, 5}},
		{"newest", audit.Filter{Newest: true, Limit: 2}, []int64{4, 5}},
		{"action", audit.Filter{Action: "credential.release", Limit: 10}, []int64{2, 3}},
		{"outcome", audit.Filter{Outcome: audit.Refused, Limit: 10}, []int64{3}},
		{"provider", audit.Filter{Provider: "feishu", Limit: 10}, []int64{2}},
		{"workload", audit.Filter{Workload: "p/a", Limit: 10}, []int64{2}},
		{"subject", audit.Filter{Subject: "usr_zhang", Limit: 10}, []int64{2}},
		{"pool", audit.Filter{Pool: "q", Limit: 10}, nil},
		{"hostile", audit.Filter{Action: "' OR 1=1 --", Limit: 10}, nil},
	} {
		records, err := log.AuditRecords(t.Context(), c.filter)
		must(t, err)
		var got []int64
		for _, r := range records {
			got = append(got, r.Seq)
		}
		if !cmp.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func testAuditConcurrent(t *testing.T, open Open) {
	first, second := open(t)
	var group sync.WaitGroup
	for i := range 8 {
		db := []*store.DB{first, second}[i%2]
		group.Go(func() {
			for j := range 10 {
				if err := (store.Audit{DB: db}).AppendAudit(t.Context(), []audit.Entry{entry(fmt.Sprint(i, "/", j)), entry("pair")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := len(verifyChain(t, first)); got != 160 {
		t.Errorf("%d entries, want 160", got)
	}
}

// testPermits tries every write without a permit and with one for something
// else: nothing may change and nothing may be recorded.
func testPermits(t *testing.T, open Open) {
	db, _ := open(t)
	s := setUp(t, db)
	before := len(verifyChain(t, db))
	other := Permit(t, "other.action", guard.Resource{Kind: "other"})
	for kind, p := range map[string]guard.Permit{"zero": {}, "mismatched": other} {
		want := map[string]string{"zero": "permit_missing", "mismatched": "permit_mismatch"}[kind]
		_, errReseal := store.Keys{DB: db}.Reseal(t.Context(), p, "p", 2, []keys.Resealed{{Sealed: keys.Sealed{Column: "grants.sealed", Place: keys.Place{Record: "g"}, Bytes: []byte{1}}, New: []byte{2}}})
		_, errRemove := s.vault.RemoveDelegation(t.Context(), p, agentA, "feishu", zhang)
		for write, err := range map[string]error{
			"AddDataKey":         store.Keys{DB: db}.AddDataKey(t.Context(), p, keys.DataKey{Pool: "p", Version: 1}),
			"Reseal":             errReseal,
			"RewrapDataKey":      store.Keys{DB: db}.RewrapDataKey(t.Context(), p, keys.DataKey{Pool: "p", Version: 1, Wrapped: []byte{2}}, []byte{1}),
			"RemoveDataKey":      store.Keys{DB: db}.RemoveDataKey(t.Context(), p, "p", 1),
			"AddSigningKey":      store.Keys{DB: db}.AddSigningKey(t.Context(), p, keys.SigningKey{Owner: "o", Generation: 1}, time.Time{}),
			"SweepSigningKeys":   store.Keys{DB: db}.SweepSigningKeys(t.Context(), p, moment),
			"CreatePool":         s.workloads.CreatePool(t.Context(), p, workload.Pool{Name: "new"}),
			"CreateWorkload":     s.workloads.CreateWorkload(t.Context(), p, workload.Workload{Identity: name.Workload{Pool: "p", Name: "new"}}),
			"DeleteWorkload":     s.workloads.DeleteWorkload(t.Context(), p, agentA),
			"CreateProvider":     s.providers.CreateProvider(t.Context(), p, provider.Provider{Pool: "p", Name: "new"}),
			"UpdateProvider":     s.providers.UpdateProvider(t.Context(), p, provider.Provider{Pool: "p", Name: "feishu", Version: 2}),
			"DeleteProvider":     s.providers.DeleteProvider(t.Context(), p, "p", "feishu"),
			"ReplaceTokens":      s.vault.ReplaceTokens(t.Context(), p, vault.Grant{ID: "g", Version: 2}, vault.Lease{}),
			"RemoveDelegation":   errRemove,
			"DeleteDelegation":   s.vault.DeleteDelegation(t.Context(), p, "p", "d"),
			"FinishRevocation":   s.vault.FinishRevocation(t.Context(), p, vault.Revocation{GrantID: "g"}),
			"DeleteGrant":        s.vault.DeleteGrant(t.Context(), p, "p", "g"),
			"BeginAuthorization": s.authorizations.BeginAuthorization(t.Context(), p, consent.Authorization{ID: "x"}),
			"UpdateWorkload":     s.workloads.UpdateWorkload(t.Context(), p, workload.Workload{Identity: agentA, Version: 2}),
			"BeginTrial":         store.Trials{DB: db}.BeginTrial(t.Context(), p, trial.Trial{ID: "x"}),
			"AdvanceTrial":       store.Trials{DB: db}.AdvanceTrial(t.Context(), p, trial.ActionEnd, trial.Trial{ID: "x"}),
			"Advance":            s.authorizations.Advance(t.Context(), p, consent.ActionOpen, consent.Authorization{ID: "x"}),
			"Complete":           s.authorizations.Complete(t.Context(), p, consent.ActionFinish, consent.Authorization{ID: "x"}, vault.Grant{}, vault.Delegation{}),
		} {
			if !fault.HasCode(err, want) {
				t.Errorf("%s with a %s permit: got %v, want code %s", write, kind, err, want)
			}
		}
	}
	if got := len(verifyChain(t, db)); got != before {
		t.Errorf("%d entries were recorded for refused writes", got-before)
	}
}

func testKeys(t *testing.T, open Open) {
	first, second := open(t)
	k := keys.DataKey{Pool: "p", Version: 1, Wrapped: []byte{0, 1, 2}, Created: moment}
	var group sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 10 {
		db := []*store.DB{first, second}[i%2]
		group.Go(func() {
			err := store.Keys{DB: db}.AddDataKey(t.Context(), Permit(t, keys.ActionCreateDataKey, guard.Resource{Kind: "datakey", Pool: "p", ID: "1"}), k)
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
		t.Errorf("%d callers created the same key", won)
	}
	got, err := store.Keys{DB: second}.DataKeys(t.Context())
	must(t, err)
	if diff := cmp.Diff([]keys.DataKey{k}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(verifyChain(t, first)); n != 1 {
		t.Errorf("%d entries for one change", n)
	}
}

func testSigningKeys(t *testing.T, open Open) {
	first, second := open(t)
	add := func(db *store.DB, k keys.SigningKey, othersUntil time.Time) error {
		p := Permit(t, keys.ActionCreateSigningKey, guard.Resource{Kind: "signingkey", Pool: k.Owner, ID: k.ID})
		return store.Keys{DB: db}.AddSigningKey(t.Context(), p, k, othersUntil)
	}
	want := func(owner string, list ...keys.SigningKey) {
		t.Helper()
		got, err := store.Keys{DB: second}.SigningKeys(t.Context(), owner)
		must(t, err)
		if diff := cmp.Diff(list, got); diff != "" {
			t.Error(diff)
		}
	}
	k1 := keys.SigningKey{Owner: "o", Generation: 1, ID: "k1", Algorithm: "ES256", Sealed: []byte{1}, Created: moment}
	k2 := keys.SigningKey{Owner: "o", Generation: 2, ID: "k2", Algorithm: "RS256", Sealed: []byte{2}, Created: moment}
	k3 := keys.SigningKey{Owner: "o", Generation: 3, ID: "k3", Algorithm: "ES256", Sealed: []byte{3}, Created: moment, SignsFrom: moment.Add(time.Minute)}
	other := keys.SigningKey{Owner: "p", Generation: 1, ID: "k1", Algorithm: "ES256", Sealed: []byte{1}, Created: moment}
	for _, k := range []keys.SigningKey{k1, k2, other} {
		must(t, add(first, k, time.Time{}))
	}
	// A generation that is there already leaves everything as it is.
	wantCode(t, add(first, k1, moment), "signingkey_exists")
	want("o", k1, k2)
	until := moment.Add(time.Hour)
	must(t, add(first, k3, until))
	k1.PublishedUntil = until
	want("o", k1, k2, k3)
	want("p", other)
	sweep := func(at time.Time) {
		t.Helper()
		must(t, store.Keys{DB: first}.SweepSigningKeys(t.Context(), Permit(t, keys.ActionSweepSigningKeys, keys.SweepResource()), at))
	}
	before := len(verifyChain(t, first))
	sweep(until)
	want("o", k1, k2, k3)
	if n := len(verifyChain(t, first)); n != before {
		t.Errorf("a sweep that removed nothing left %d entries", n-before)
	}
	sweep(until.Add(time.Millisecond))
	want("o", k2, k3)
	want("p", other)
}

func sealedProvider(pool, providerName, clientID string) provider.Provider {
	return provider.Provider{ID: "prv_" + pool + providerName, Pool: pool, Name: providerName, Type: provider.TypeOAuth2, Vendor: "feishu", Flow: provider.UserFederation, ClientID: clientID,
		SealedSecret: []byte{1, 2, 3}, Endpoints: vendor.Endpoints{Token: "https://x.example/token"}, Version: 1, Created: moment, Updated: moment}
}
