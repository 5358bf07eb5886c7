package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/factor/factortest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin/signintest"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

// addPools makes the pools staff and guests.
func addPools(t *testing.T, db *store.DB) {
	t.Helper()
	for _, pool := range []string{"staff", "guests"} {
		p := userpool.Pool{Name: pool, CreatedAt: time.UnixMilli(1)}
		if err := (store.UserPools{DB: db}).CreatePool(t.Context(), storetest.Permit(t, userpool.ActionCreatePool, p.Resource()), p); err != nil {
			t.Fatal(err)
		}
	}
}

// addOwners makes the users that the suite of the factors' stores wants.
func addOwners(t *testing.T, db *store.DB) {
	t.Helper()
	addPools(t, db)
	for _, o := range []factor.Owner{factortest.Zhang, factortest.Li, factortest.Foreign} {
		u := userpool.User{ID: o.UserID, Pool: o.Pool, UserName: o.UserID, CreatedAt: time.UnixMilli(1)}
		if err := (store.UserPools{DB: db}).CreateUser(t.Context(), storetest.Permit(t, userpool.ActionCreateUser, u.Resource()), u); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFactors(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		factortest.Run(t, func(t *testing.T) factortest.Backend {
			db, _ := open(t)
			addOwners(t, db)
			return factortest.Backend{Stores: store.Factors{DB: db}, Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) }}
		})
	})
}

func TestFactorsGoWithTheirUser(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		addOwners(t, db)
		ctx, o, factors := t.Context(), factortest.Zhang, store.Factors{DB: db}
		f := factor.Factor{ID: "fac_1", Owner: o, Kind: factor.TOTP, Name: "phone", SealedSeed: []byte("x"), CreatedAt: time.UnixMilli(1)}
		add := func() error { return factors.AddFactor(ctx, storetest.Permit(t, factor.ActionAdd, f.Resource()), f) }
		set := func() error {
			return factors.SetRecovery(ctx, storetest.Permit(t, factor.ActionSetRecovery, o.Resource()), o, []secret.Hash{{1}})
		}
		for _, do := range []func() error{add, set} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		p := storetest.Permit(t, userpool.ActionDeleteUser, userpool.UserResource(o.Pool, o.UserID))
		if err := (store.UserPools{DB: db}).DeleteUser(ctx, p, o.Pool, o.UserID); err != nil {
			t.Fatal(err)
		}
		if list, err := factors.Factors(ctx, o); err != nil || len(list) > 0 {
			t.Errorf("factors of nobody: %+v, %v", list, err)
		}
		if n, err := factors.RecoveryLeft(ctx, o); err != nil || n > 0 {
			t.Errorf("%d recovery codes of nobody, %v", n, err)
		}
		for what, do := range map[string]func() error{"a factor": add, "recovery codes": set} {
			if err := do(); !fault.HasCode(err, "user_not_found") {
				t.Errorf("%s for nobody: %v", what, err)
			}
		}
	})
}

func TestAttempts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		signintest.Run(t, func(t *testing.T) signintest.Backend {
			db, _ := open(t)
			addOwners(t, db)
			return signintest.Backend{Attempts: store.Attempts{DB: db}, Entries: func(ctx context.Context) ([]audit.Entry, error) { return storetest.Entries(ctx, db) }}
		})
	})
}
