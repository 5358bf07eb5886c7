package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/accesskey/accesskeytest"
	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/attestor/attestortest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/operator/operatortest"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool/userpooltest"
	"github.com/deputy-id/deputy/internal/workload"
)

func TestUserPools(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		userpooltest.Run(t, func(t *testing.T) userpooltest.Backend {
			db, _ := open(t)
			return userpooltest.Backend{Stores: store.UserPools{DB: db}, Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) }}
		})
	})
}

func TestAgents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		addWorkloadPools(t, db)
		agenttest.TestStore(t, store.Agents{DB: db})
	})
}

func TestAgentKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		agenttest.TestKeys(t, func(t *testing.T) agenttest.KeyBackend {
			db, _ := open(t)
			addWorkloadPools(t, db)
			return agenttest.KeyBackend{
				KeyStore: store.Agents{DB: db}, Agents: store.Agents{DB: db},
				Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) },
			}
		})
	})
}

func TestOperatorStores(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		operatortest.Test(t, func(t *testing.T) operatortest.Backend {
			db, _ := open(t)
			return operatortest.Backend{Store: store.Operators{DB: db}, Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) }}
		})
	})
}

func addWorkloadPools(t *testing.T, db *store.DB) {
	t.Helper()
	for _, pool := range []string{"default", "other"} {
		p := storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource(pool))
		if err := (store.Workloads{DB: db}).CreatePool(t.Context(), p, workload.Pool{Name: pool}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnAgentGetsItsWorkload(t *testing.T) {
	db := storetest.SQLite(t)
	p := storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default"))
	if err := (store.Workloads{DB: db}).CreatePool(t.Context(), p, workload.Pool{Name: "default"}); err != nil {
		t.Fatal(err)
	}
	a := agent.Agent{Pool: "default", Name: "doc", Version: 1, Desired: agent.Running, CreatedAt: time.UnixMilli(1)}
	if err := (store.Agents{DB: db}).PutAgent(t.Context(), storetest.Permit(t, agent.ActionPut, agent.Resource("default", "doc")), a); err != nil {
		t.Fatal(err)
	}
	if _, err := (store.Workloads{DB: db}).Workload(t.Context(), name.Workload{Pool: "default", Name: "doc"}); err != nil {
		t.Error(err)
	}
}

func TestAttestors(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		attestortest.TestStore(t, func(t *testing.T) attestortest.Backend {
			db, _ := open(t)
			addWorkloadPools(t, db)
			return attestortest.Backend{Store: store.Attestors{DB: db}, Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) }}
		})
	})
}

func TestAccessKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		accesskeytest.TestStore(t, func(t *testing.T) accesskeytest.Backend {
			db, _ := open(t)
			addWorkloadPools(t, db)
			return accesskeytest.Backend{
				Store: store.AccessKeys{DB: db}, Workloads: store.Workloads{DB: db},
				Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) },
			}
		})
	})
}
