package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/idp/idptest"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

func TestIdentities(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		idptest.Run(t, func(t *testing.T) idptest.Backend {
			db, _ := open(t)
			addPools(t, db)
			pools := store.UserPools{DB: db}
			for _, v := range idptest.Users() {
				u := userpool.User{ID: v.ID, Pool: v.Pool, UserName: v.ID, Email: v.Email, EmailVerified: v.Verified, CreatedAt: time.UnixMilli(1)}
				if err := pools.CreateUser(t.Context(), storetest.Permit(t, userpool.ActionCreateUser, u.Resource()), u); err != nil {
					t.Fatal(err)
				}
			}
			return idptest.Backend{
				Stores:  store.Identities{DB: db},
				Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) },
				DeleteUser: func(ctx context.Context, pool, id string) error {
					return pools.DeleteUser(ctx, storetest.Permit(t, userpool.ActionDeleteUser, userpool.UserResource(pool, id)), pool, id)
				},
				DeletePool: func(ctx context.Context, pool string) error {
					return pools.DeletePool(ctx, storetest.Permit(t, userpool.ActionDeletePool, userpool.Resource(pool)), pool)
				},
			}
		})
	})
}
