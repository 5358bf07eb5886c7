package store_test

import (
	"context"
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/workload"
	"github.com/deputy-id/deputy/internal/workload/workloadtest"
)

func TestWorkloads(t *testing.T) {
	const publicURL = "https://id.example"
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		workloadtest.TestStore(t, func(t *testing.T) workloadtest.Backend {
			db, replica := open(t)
			pools := store.UserPools{DB: db, PublicURL: publicURL}
			return workloadtest.Backend{
				Store: store.Workloads{DB: db}, LaunchStore: store.Launches{DB: db},
				Standings: [2]workload.Standings{store.Standings{DB: db, PublicURL: publicURL}, store.Standings{DB: replica, PublicURL: publicURL}},
				User:      func(t *testing.T, there, off bool) name.User { return theUser(t, pools, there, off) },
				Entries:   func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) },
			}
		})
	})
}

// theUser makes the user of the pool be there or not, and disabled or not.
func theUser(t *testing.T, pools store.UserPools, there, off bool) name.User {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	u, err := pools.User(ctx, "people", "usr_1")
	switch {
	case fault.Is(err, fault.NotFound):
		must(pools.CreatePool(ctx, storetest.Permit(t, userpool.ActionCreatePool, userpool.Resource("people")), userpool.Pool{Name: "people", Version: 1}))
		u = userpool.User{ID: "usr_1", Pool: "people", UserName: "u", Disabled: off, Version: 1}
		must(pools.CreateUser(ctx, storetest.Permit(t, userpool.ActionCreateUser, u.Resource()), u))
	case err != nil:
		t.Fatal(err)
	case !there:
		must(pools.DeleteUser(ctx, storetest.Permit(t, userpool.ActionDeleteUser, u.Resource()), u.Pool, u.ID))
	default:
		u.Disabled = off
		must(pools.UpdateUser(ctx, storetest.Permit(t, userpool.ActionUpdateUser, u.Resource()), u))
	}
	return name.User{Issuer: userpool.Issuer(pools.PublicURL, "people"), Subject: "usr_1"}
}
