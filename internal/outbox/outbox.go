// Package outbox works off the duties that a store noted together with the changes that brought them about.
//
// Whoever makes a change does not wait for what follows from it in the world: the
// duty to do it is in the store as soon as the change is, and survives the
// process. Any number of replicas work; a duty that was taken is put off for all
// others, so that one of them does it, and comes up again if that one dies.
package outbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
)

// Bell rings when there are new duties.
type Bell interface {
	Listen(topic string) (rings <-chan struct{}, stop func())
}

// Worker works off one kind of duty. All fields are required.
type Worker[T any] struct {
	What  string // the duties, for the log: "logout notices"
	Topic string // that the bell rings for new ones
	Bell  Bell
	// Take returns at most limit duties that are due at now, and puts them off until then.
	Take func(ctx context.Context, now, then time.Time, limit int) ([]T, error)
	// Do makes one attempt at a duty, and removes it or puts it off. An error means that neither worked: the duty
	// comes up again when its hold is over.
	Do     func(ctx context.Context, duty T) error
	AtOnce int           // duties at the same time
	Hold   time.Duration // how long a duty stays with its taker; longer than Do takes
	Look   time.Duration // between two looks for what is due; new duties ring
	Log    *slog.Logger
	Now    func() time.Time
}

// Run does whatever is due until ctx is done.
func (w Worker[T]) Run(ctx context.Context) {
	rings, stop := w.Bell.Listen(w.Topic)
	defer stop()
	tick := time.NewTicker(w.Look)
	defer tick.Stop()
	for {
		if err := w.Once(ctx); err != nil && ctx.Err() == nil {
			w.Log.LogAttrs(ctx, slog.LevelWarn, "duties not read; tried again later", slog.String("what", w.What), slog.Any("err", fault.As(err)))
		}
		select {
		case <-rings:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Once makes one attempt at every duty that is due, and returns when all have
// been made. What fails is no error: it is due later.
func (w Worker[T]) Once(ctx context.Context) error {
	for ctx.Err() == nil {
		now := w.Now()
		due, err := w.Take(ctx, now, now.Add(w.Hold), w.AtOnce)
		if err != nil || len(due) == 0 {
			return err
		}
		var group sync.WaitGroup
		for _, duty := range due {
			group.Go(func() {
				if err := w.Do(ctx, duty); err != nil && ctx.Err() == nil {
					w.Log.LogAttrs(ctx, slog.LevelWarn, "duty not done; tried again later", slog.String("what", w.What), slog.Any("err", fault.As(err)))
				}
			})
		}
		group.Wait()
	}
	return ctx.Err()
}

// Pause returns how long to wait after a failure, when failed attempts went
// before it: the first pause, doubled with each, up to the most, and up to a
// quarter more, so that what failed together is not tried together.
func Pause(first, most time.Duration, failed int64) time.Duration {
	pause := min(most, first<<min(failed, 20))
	return pause + rand.N(pause/4+1)
}
