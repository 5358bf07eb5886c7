package keys_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

var operator = name.Caller{Kind: name.Operator}

// TestDataKeysRotate rotates while a replica goes on with the former data key,
// and ends when that one is removed and everything still opens.
func TestDataKeysRotate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		one, two := open(t)
		now := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		a, err := ringAt(t, one, 1, clock)
		must(t, err)
		b, err := ringAt(t, two, 1, clock)
		must(t, err)
		const owners = 5
		want := map[string]string{}
		for i := range owners {
			owner := string(rune('a' + i))
			list, err := a.Signing(t.Context(), owner, jwt.ES256)
			must(t, err)
			want[owner] = list[0].ID
		}
		must(t, a.RotateDataKeys(t.Context(), operator))
		// Interrupted after two records, and asked for again: it goes on and makes no third key.
		if got, err := a.Reseal(t.Context(), operator, 2); err != nil || got.Done != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		must(t, a.RotateDataKeys(t.Context(), operator))
		list, err := a.DataKeys(t.Context())
		must(t, err)
		if len(list) != 2 || list[0].Records != owners-2 || list[0].Newest || list[1].Records != 2 || !list[1].Newest {
			t.Fatalf("in the middle: %+v", list)
		}
		// The other replica does not know yet and seals with the former key.
		late, err := b.Signing(t.Context(), "late", jwt.ES256)
		must(t, err)
		want["late"] = late[0].ID
		if got, err := a.Reseal(t.Context(), operator, 100); err != nil || got.Done != owners-2+1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if got, err := a.Reseal(t.Context(), operator, 100); err != nil || got.Done != 0 || got.Broken != nil {
			t.Fatalf("are left: %+v, %v", got, err)
		}
		must(t, a.RemoveDataKeys(t.Context()))
		if list, err = a.DataKeys(t.Context()); err != nil || len(list) != 2 {
			t.Fatalf("a data key was removed before its time: %+v, %v", list, err)
		}
		now = now.Add(keys.DataKeyRetention)
		must(t, b.RemoveDataKeys(t.Context()))
		if list, err = a.DataKeys(t.Context()); err != nil || len(list) != 1 || list[0].Version != 2 || list[0].Records != owners+1 {
			t.Fatalf("after the rotation: %+v, %v", list, err)
		}
		fresh, err := ringAt(t, two, 1, clock)
		must(t, err)
		for owner, id := range want {
			list, err := fresh.Signing(t.Context(), owner, jwt.ES256)
			if err != nil || list[0].ID != id {
				t.Errorf("the key of %s: %v", owner, err)
			}
		}
	})
}

func TestDataKeysRotateWhenTheyAreDue(t *testing.T) {
	db := storetest.SQLite(t)
	now := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	r, err := ringAt(t, db, 1, func() time.Time { return now })
	must(t, err)
	for _, after := range []struct {
		passed time.Duration
		want   int
	}{{keys.DataKeyLifetime - time.Hour, 1}, {time.Hour, 2}, {time.Hour, 2}} {
		now = now.Add(after.passed)
		must(t, r.RotateDataKeysDue(t.Context(), keys.DataKeyLifetime))
		if list, err := r.DataKeys(t.Context()); err != nil || len(list) != after.want {
			t.Errorf("%d data keys, want %d; %v", len(list), after.want, err)
		}
	}
}

// TestABrokenRecordKeepsNoOtherFromItsTurn also keeps the data key that it was sealed with.
func TestABrokenRecordKeepsNoOtherFromItsTurn(t *testing.T) {
	db := storetest.SQLite(t)
	now := time.Now()
	r, err := ringAt(t, db, 1, func() time.Time { return now })
	must(t, err)
	for _, owner := range []string{"a", "b"} {
		_, err := r.Signing(t.Context(), owner, jwt.ES256)
		must(t, err)
	}
	_, err = r.Seal(t.Context(), keys.Place{Kind: "x", Pool: "other"}, secret.FromString("x")) // another pool's key, with nothing in the store
	must(t, err)
	s := store.Keys{DB: db}
	elsewhere := keys.Place{Kind: "elsewhere", Pool: name.DefaultPool}
	sealed, err := r.Seal(t.Context(), elsewhere, secret.FromString("x"))
	must(t, err)
	k := keys.SigningKey{Owner: "c", Generation: 1, ID: "0", Algorithm: jwt.ES256, Sealed: sealed, Created: now}
	must(t, s.AddSigningKey(t.Context(), storetest.Permit(t, keys.ActionCreateSigningKey, guard.Resource{Kind: "signingkey", Pool: "c", ID: "0"}), k, time.Time{}))
	must(t, r.RotateDataKeys(t.Context(), operator))
	got, err := r.Reseal(t.Context(), operator, 100)
	must(t, err)
	if got.Done != 2 || len(got.Broken) != 1 {
		t.Fatalf("got %+v", got)
	}
	if b := got.Broken[0]; b.Column != "signing_keys.sealed" || b.Pool != name.DefaultPool || b.Record != "0" || !fault.HasCode(b.Err, "seal_broken") {
		t.Errorf("named was %+v", b)
	}
	now = now.Add(keys.DataKeyRetention)
	must(t, r.RemoveDataKeys(t.Context()))
	if list, err := r.DataKeys(t.Context()); err != nil || len(list) != 3 || list[0].Records != 1 || list[2].Pool != "other" || list[2].Version != 2 {
		t.Errorf("got %+v, %v", list, err)
	}
}

// stopping is a store in which wrapping anew fails after some data keys, before
// or after the change, as when the process ends there.
type stopping struct {
	store.Keys
	left  *int
	after bool
}

var errStopped = errors.New("stopped")

func (s stopping) RewrapDataKey(ctx context.Context, p guard.Permit, k keys.DataKey, former []byte) error {
	if *s.left > 0 {
		*s.left--
		return s.Keys.RewrapDataKey(ctx, p, k, former)
	}
	if s.after {
		if err := s.Keys.RewrapDataKey(ctx, p, k, former); err != nil {
			return err
		}
	}
	return errStopped
}

// TestTheRootKeyChanges stops a change at every point, before and after each
// step: with both root keys the store opens and the change goes on.
func TestTheRootKeyChanges(t *testing.T) {
	pools := []string{"default", "p", "q"}
	for stop := range len(pools) {
		for _, after := range []bool{false, true} {
			db := storetest.SQLite(t)
			old, err := ring(t, db, 1)
			must(t, err)
			sealed := map[string][]byte{}
			for _, pool := range pools {
				sealed[pool], err = old.Seal(t.Context(), keys.Place{Kind: "x", Pool: pool}, secret.FromString(pool))
				must(t, err)
			}
			both := keys.Change{New: local(t, 2), Former: local(t, 1)}
			left := stop
			r, err := keys.NewRing(t.Context(), both, stopping{store.Keys{DB: db}, &left, after}, guardOf(t, db), nil)
			must(t, err)
			if _, _, err := r.Rewrap(t.Context(), operator, 100); !errors.Is(err, errStopped) {
				t.Fatalf("got %v", err)
			}
			want := len(pools) - stop
			if after {
				want--
			}
			if want > 0 && want < len(pools) { // in the middle
				for _, b := range []byte{1, 2} {
					if _, err := ring(t, db, b); !fault.HasCode(err, "root_key_wrong") {
						t.Errorf("stopped after %d, with root key %d alone: %v", stop, b, err)
					}
				}
			}
			r, err = keys.NewRing(t.Context(), both, store.Keys{DB: db}, guardOf(t, db), nil)
			must(t, err)
			if n, left, err := r.Rewrap(t.Context(), operator, 100); err != nil || n != want || left != 0 {
				t.Errorf("%d data keys wrapped anew, want %d; %d left; %v", n, want, left, err)
			}
			if _, err := ring(t, db, 1); !fault.HasCode(err, "root_key_wrong") {
				t.Errorf("the former root key still opens the store: %v", err)
			}
			r, err = ring(t, db, 2)
			must(t, err)
			for pool, b := range sealed {
				plain, err := r.Open(t.Context(), keys.Place{Kind: "x", Pool: pool}, b)
				if err != nil || plain.RevealString() != pool {
					t.Errorf("what was sealed for %s: %v", pool, err)
				}
			}
		}
	}
}

func local(t *testing.T, b byte) keys.Root {
	t.Helper()
	root, err := keys.NewLocal(secret.New(bytes.Repeat([]byte{b}, keys.RootSize)))
	must(t, err)
	return root
}

func guardOf(t *testing.T, db *store.DB) *guard.Guard {
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	return &guard.Guard{Log: log}
}
