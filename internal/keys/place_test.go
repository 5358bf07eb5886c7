package keys_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newRing returns a ring on a store of its own.
func newRing(t testing.TB) *keys.Ring {
	t.Helper()
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	must(t, err)
	db := storetest.SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	r, err := keys.NewRing(t.Context(), root, store.Keys{DB: db}, &guard.Guard{Log: log}, nil)
	must(t, err)
	return r
}

// TestPlacesAreApart seals for one random place and opens in another: fields
// that together spell the same are not the same place.
func TestPlacesAreApart(t *testing.T) {
	r := newRing(t)
	part := rapid.SampledFrom([]string{"", "a", "b", "ab", "aa", "\x00", "a\x00b"})
	random := rapid.Custom(func(rt *rapid.T) keys.Place {
		return keys.Place{Kind: part.Draw(rt, "kind"), Pool: "default", Provider: part.Draw(rt, "provider"),
			User: name.User{Issuer: part.Draw(rt, "issuer"), Subject: part.Draw(rt, "subject")}, Record: part.Draw(rt, "record"), Version: rapid.Int64Range(0, 2).Draw(rt, "version")}
	})
	rapid.Check(t, func(rt *rapid.T) {
		one, two := random.Draw(rt, "one"), random.Draw(rt, "two")
		sealed, err := r.Seal(t.Context(), one, secret.FromString("x"))
		must(t, err)
		if _, err := r.Open(t.Context(), two, sealed); (err == nil) != (one == two) {
			rt.Fatalf("sealed for %+v, opened in %+v: %v", one, two, err)
		}
		// The fields shifted by one: the same letters in the same order.
		moved := keys.Place{Kind: one.Kind + one.Provider, Pool: one.Pool, Provider: one.User.Issuer, User: name.User{Issuer: one.User.Subject, Subject: one.Record}, Version: one.Version}
		if _, err := r.Open(t.Context(), moved, sealed); (err == nil) != (moved == one) {
			rt.Fatalf("sealed for %+v, opened in %+v: %v", one, moved, err)
		}
	})
}

// TestEveryByteOfARecordCounts alters each, and cuts the record everywhere.
func TestEveryByteOfARecordCounts(t *testing.T) {
	r := newRing(t)
	sealed, err := r.Seal(t.Context(), home, secret.FromString("tokens"))
	must(t, err)
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		for what, b := range map[string][]byte{"altered": altered, "cut": sealed[:i]} {
			if _, err := r.Open(t.Context(), home, b); !fault.HasCode(err, "seal_broken") {
				t.Errorf("%s at byte %d: %v", what, i, err)
			}
		}
	}
	if _, err := r.Open(t.Context(), home, append(sealed, 0)); !fault.HasCode(err, "seal_broken") {
		t.Errorf("with a byte more: %v", err)
	}
}
