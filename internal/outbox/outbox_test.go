package outbox_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/outbox"
)

// box is a store of duties, each with the time at which it is due.
type box struct {
	mu    sync.Mutex
	due   map[string]time.Time
	done  []string
	fail  map[string]int // how often each fails
	rings chan struct{}
}

func (b *box) Listen(string) (<-chan struct{}, func()) { return b.rings, func() {} }

func (b *box) take(_ context.Context, now, then time.Time, limit int) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for duty, at := range b.due {
		if !at.After(now) && len(list) < limit {
			b.due[duty] = then
			list = append(list, duty)
		}
	}
	return list, nil
}

func (b *box) do(_ context.Context, duty string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail[duty] > 0 {
		b.fail[duty]--
		return errors.New("the store does not work")
	}
	delete(b.due, duty)
	b.done = append(b.done, duty)
	return nil
}

func (b *box) finished() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.done))
}

func TestAWorkerDoesWhatIsDueAndComesBackToWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{due: map[string]time.Time{}, fail: map[string]int{"c": 1}, rings: make(chan struct{}, 1)}
		for _, duty := range []string{"a", "b", "c"} {
			b.due[duty] = time.Now()
		}
		b.due["later"] = time.Now().Add(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			outbox.Worker[string]{What: "duties", Topic: "x", Bell: b, Take: b.take, Do: b.do, AtOnce: 2, Hold: time.Minute, Look: 15 * time.Second,
				Log: slog.New(slog.DiscardHandler), Now: time.Now}.Run(ctx)
		})
		defer group.Wait()
		defer cancel()
		want := func(what string, duties ...string) {
			t.Helper()
			synctest.Wait()
			if got := b.finished(); !slices.Equal(got, duties) {
				t.Errorf("%s: %v are done, want %v", what, got, duties)
			}
		}
		want("at once", "a", "b")
		time.Sleep(59 * time.Second)
		want("while it is held", "a", "b")
		time.Sleep(16 * time.Second)
		want("after the hold", "a", "b", "c")
		b.mu.Lock()
		b.due["new"] = time.Now()
		b.mu.Unlock()
		b.rings <- struct{}{}
		want("after a ring", "a", "b", "c", "new")
		time.Sleep(time.Hour)
		want("an hour later", "a", "b", "c", "later", "new")
	})
}

func TestPausesGrowToABound(t *testing.T) {
	for failed, least := range map[int64]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 6: time.Minute, 1 << 40: time.Minute} {
		if got := outbox.Pause(time.Second, time.Minute, failed); got < least || got > least+least/4 {
			t.Errorf("after %d failures: %v, want %v and up to a quarter more", failed, got, least)
		}
	}
}
