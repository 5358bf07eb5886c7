package broker_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

func BenchmarkCredential(b *testing.B) {
	db := storetest.SQLite(b)
	w := name.Workload{Pool: "default", Name: "a"}
	u := name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_1"}
	log := audit.NewLog(store.Audit{DB: db})
	b.Cleanup(log.Close)
	g := &guard.Guard{Log: log}
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	if err != nil {
		b.Fatal(err)
	}
	ring, err := keys.NewRing(b.Context(), root, store.Keys{DB: db}, g, nil)
	if err != nil {
		b.Fatal(err)
	}
	v := &vault.Vault{Store: store.Vault{DB: db}, Sealer: ring, Guard: g, Owner: "x", Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx := b.Context()
	must(store.Workloads{DB: db}.CreatePool(ctx, storetest.Permit(b, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
	must(store.Workloads{DB: db}.CreateWorkload(ctx, storetest.Permit(b, workload.ActionCreate, workload.Resource(w)), workload.Workload{Identity: w}))
	must(store.Providers{DB: db}.CreateProvider(ctx, storetest.Permit(b, provider.ActionCreate, provider.Resource("default", "feishu")),
		provider.Provider{ID: "prv_1", Pool: "default", Name: "feishu", SealedSecret: []byte{1}, Version: 1}))
	grant, err := v.NewGrant(ctx, "default", "feishu", u, vault.Grant{}, vendor.Account{}, vendor.Tokens{Access: secret.FromString("at"), TokenType: "Bearer"}, name.Scopes{})
	must(err)
	a := consent.Authorization{ID: "auth_1", Pool: "default", Provider: "feishu", Workload: w, User: u, State: consent.Pending, LinkHash: "h", Sealed: []byte{1}, Version: 1}
	must(store.Authorizations{DB: db}.BeginAuthorization(ctx, storetest.Permit(b, consent.ActionBegin, a.Resource()), a))
	a.State, a.Version = consent.Completed, 2
	must(store.Authorizations{DB: db}.Complete(ctx, storetest.Permit(b, consent.ActionFinish, a.Resource()), consent.ActionFinish, a, grant,
		vault.Delegation{ID: "dlg_1", GrantID: grant.ID, Workload: w}))
	br := &broker.Broker{Store: store.Vault{DB: db}, Guard: g, Vault: v, Now: time.Now}
	caller := name.Caller{Kind: name.Agent, Workload: w, User: u}
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			answer, err := br.Credential(ctx, caller, broker.Request{Provider: "feishu"})
			if err != nil || answer.Credential == nil {
				b.Error(err)
				return
			}
		}
	})
}
