package store

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
)

// work is one change, and the audit entries that are committed with it.
type work struct {
	ctx     context.Context
	do      func(ctx context.Context, tx *txn) error // nil: there are only entries
	entries []audit.Entry
	err     error
	turn    chan bool // true: the work is done; false: whoever waits for it leads the next group
}

// maxGroup bounds a group: the first one waits for the last.
const maxGroup = 64

// group commits what many callers want changed in one transaction: on SQLite,
// where there is one writer, and a commit costs as much as many changes. There is
// no waiting for company: a group is those who came while the group before it was
// being committed, and those who were about to.
type group struct {
	commit func(batch []*work)
	mu     sync.Mutex
	queue  []*work
	led    bool
}

// run returns when w is committed or has failed.
func (g *group) run(w *work) error {
	w.turn = make(chan bool, 1)
	g.mu.Lock()
	g.queue = append(g.queue, w)
	leads := !g.led
	g.led = true
	g.mu.Unlock()
	if !leads && <-w.turn {
		return w.err
	}
	g.lead()
	return w.err
}

// lead commits the head of the queue, which begins with the leader's own work,
// and hands over to the first one behind it.
func (g *group) lead() {
	// Callers that are ready to run and have not come this far yet are let run first. On one core they would
	// otherwise hardly ever come in time, because a commit rarely leaves them the processor; when nobody is
	// ready this takes no time.
	runtime.Gosched()
	g.mu.Lock()
	n := min(len(g.queue), maxGroup)
	batch := g.queue[:n:n]
	g.queue = g.queue[n:]
	g.mu.Unlock()
	for _, w := range batch { // what holds if one of them panics
		w.err = fault.New(fault.Internal, "change_interrupted", "the change was not made, because another one broke off")
	}
	defer func() {
		for _, w := range batch[1:] {
			w.turn <- true
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.led = len(g.queue) > 0; g.led {
			g.queue[0].turn <- false
		}
	}()
	g.commit(batch)
}

// commitGroup runs a batch in one transaction, each work in a savepoint of its
// own, so that one which is refused leaves the others alone. If the transaction
// fails before its commit, each is tried by itself; a commit that fails may have
// happened, and is not tried again.
func (db *DB) commitGroup(batch []*work) {
	if len(batch) > 1 {
		again := db.once(batch[0].ctx, batch)
		if !again {
			return
		}
	}
	for _, w := range batch {
		db.once(w.ctx, []*work{w})
	}
}

// once runs a batch in one transaction and sets every err. It reports whether
// the works may be tried again, because they failed without their doing.
func (db *DB) once(ctx context.Context, batch []*work) (again bool) {
	fail := func(err error) {
		for _, w := range batch {
			w.err = err
		}
	}
	begun, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		fail(err)
		return true
	}
	tx := &txn{Tx: begun, db: db.write}
	defer func() {
		_ = tx.Rollback() // of what is committed, that does nothing
		tx.ended(ctx)
	}()
	var entries []audit.Entry
	good := 0
	for _, w := range batch {
		if err := tx.attempt(w, len(batch) > 1); err != nil {
			fail(err)
			return true
		}
		if w.err == nil {
			good++
			entries = append(entries, w.entries...)
		}
	}
	if good == 0 {
		return false
	}
	if entries = append(entries, tx.noted...); len(entries) > 0 {
		err = db.appendAudit(ctx, tx, entries...)
	}
	if err == nil {
		err = db.bell.notify(ctx, tx)
	}
	if err != nil {
		fail(err)
		return true
	}
	if err := db.commit(tx); err != nil {
		fail(err)
		return false
	}
	db.bell.committed(tx)
	return false
}

// attempt does one work and keeps its error, if it is one of the work's own. With
// others in the transaction, it is undone then.
func (tx *txn) attempt(w *work, others bool) error {
	w.err = nil
	if w.do == nil {
		return nil
	}
	if !others {
		w.err = w.do(w.ctx, tx)
		return nil
	}
	if _, err := tx.ExecContext(w.ctx, `SAVEPOINT work`); err != nil {
		return err
	}
	topics, here, noted := len(tx.topics), len(tx.here), len(tx.noted)
	if w.err = w.do(w.ctx, tx); w.err != nil {
		tx.topics, tx.here, tx.noted = tx.topics[:topics], tx.here[:here], tx.noted[:noted]
		if _, err := tx.ExecContext(w.ctx, `ROLLBACK TO work`); err != nil {
			return errors.Join(w.err, err)
		}
	}
	_, err := tx.ExecContext(w.ctx, `RELEASE work`)
	return err
}
