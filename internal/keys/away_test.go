package keys_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

// service is a root key that others keep: it can be away, and slow.
type service struct {
	keys.Root
	away  atomic.Bool
	asked chan struct{} // has a value while it is asked, if it is not nil
	reply chan struct{} // is waited for then
}

func (s *service) Unwrap(ctx context.Context, context, wrapped []byte) ([]byte, error) {
	if s.asked != nil {
		s.asked <- struct{}{}
		<-s.reply
	}
	if s.away.Load() {
		return nil, fault.New(fault.Unavailable, "root_key_unreachable", "away")
	}
	return s.Root.Unwrap(ctx, context, wrapped)
}

// TestTheRootKeyIsAway has another replica make a data key meanwhile: this one
// goes on with the one that it knows, and nobody waits for the answer but who asked.
func TestTheRootKeyIsAway(t *testing.T) {
	db := storetest.SQLite(t)
	now := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	root := &service{Root: local(t, 1)}
	r, err := keys.NewRing(t.Context(), root, store.Keys{DB: db}, guardOf(t, db), func() time.Time { return now })
	must(t, err)
	other, err := ring(t, db, 1)
	must(t, err)
	must(t, other.RotateDataKeys(t.Context(), operator))
	place := keys.Place{Kind: "x", Pool: "default"}
	seals := func(want int64) {
		t.Helper()
		b, err := r.Seal(t.Context(), place, secret.FromString("x"))
		must(t, err)
		if got := keys.ParseVersion(b[1:9]); got != want {
			t.Errorf("sealed with version %d, want %d", got, want)
		}
		if _, err := r.Open(t.Context(), place, b); err != nil {
			t.Error(err)
		}
	}
	root.away.Store(true)
	now = now.Add(time.Hour)
	seals(1)
	now = now.Add(time.Hour)
	root.asked, root.reply = make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := r.Seal(t.Context(), place, secret.FromString("x"))
		done <- err
	}()
	<-root.asked // and while it is asked:
	seals(1)
	root.away.Store(false)
	close(root.reply)
	must(t, <-done)
	seals(2)
	away := &service{Root: local(t, 1)}
	away.away.Store(true)
	if _, err := keys.NewRing(t.Context(), away, store.Keys{DB: db}, guardOf(t, db), nil); !fault.HasCode(err, "root_key_unreachable") {
		t.Errorf("a start meanwhile: %v", err)
	}
}
