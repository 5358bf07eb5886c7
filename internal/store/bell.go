package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// bell wakes those who wait for a topic. On SQLite there is one process, and
// ringing is a local matter; on PostgreSQL a ring is a NOTIFY in the
// transaction that made the change, so that every replica hears it exactly when
// the change can be seen.
type bell struct {
	mu        sync.Mutex
	listeners map[string]map[chan struct{}]struct{}
	stop      context.CancelFunc
	stopped   sync.WaitGroup
	remote    bool
}

// notifyChannel is PostgreSQL's channel; the payload is the topic.
const notifyChannel = "deputy"

func newBell() *bell { return &bell{listeners: map[string]map[chan struct{}]struct{}{}} }

// Bell implements consent.Bell over the database.
type Bell struct{ DB *DB }

// Listen implements consent.Bell.
func (b Bell) Listen(topic string) (<-chan struct{}, func()) { return b.DB.bell.listen(topic) }

func (b *bell) listen(topic string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners[topic] == nil {
		b.listeners[topic] = map[chan struct{}]struct{}{}
	}
	b.listeners[topic][ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners[topic], ch)
		if len(b.listeners[topic]) == 0 {
			delete(b.listeners, topic)
		}
	}
}

// notify announces tx to the other replicas, if there can be any: PostgreSQL
// delivers with the commit, so that whoever is woken sees the change.
func (b *bell) notify(ctx context.Context, tx *txn) error {
	if !b.remote {
		return nil
	}
	for _, topic := range tx.topics {
		if _, err := tx.ExecContext(ctx, `SELECT pg_notify($1, $2)`, notifyChannel, topic); err != nil {
			return err
		}
	}
	return nil
}

// committed wakes this process's listeners.
func (b *bell) committed(tx *txn) {
	for _, topic := range tx.topics {
		b.local(topic)
	}
	for _, topic := range tx.here {
		b.local(topic)
	}
}

// local wakes the listeners of this process.
func (b *bell) local(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.listeners[topic] {
		wake(ch)
	}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // a ring is waiting already
	}
}

// everybody wakes all listeners, after a time in which rings may have been missed.
func (b *bell) everybody() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range b.listeners {
		for ch := range topic {
			wake(ch)
		}
	}
}

// follow listens to the rings of all replicas until close.
func (b *bell) follow(config *pgx.ConnConfig) {
	ctx, cancel := context.WithCancel(context.Background())
	b.remote, b.stop = true, cancel
	b.stopped.Go(func() {
		pause := 100 * time.Millisecond
		for ctx.Err() == nil {
			if heard := b.hear(ctx, config); heard {
				pause = 100 * time.Millisecond
			}
			select {
			case <-time.After(pause):
				pause = min(2*pause, 5*time.Second)
			case <-ctx.Done():
			}
		}
	})
}

// hear holds one listening connection and reports whether it was ever made.
func (b *bell) hear(ctx context.Context, config *pgx.ConnConfig) (heard bool) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the connection is given up either way
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+notifyChannel); err != nil {
		return false
	}
	// Rings between the last connection and this one were not heard.
	b.everybody()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		b.local(n.Payload)
	}
}

func (b *bell) close() {
	if b.stop != nil {
		b.stop()
	}
	b.stopped.Wait()
}
