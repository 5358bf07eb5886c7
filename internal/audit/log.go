package audit

import (
	"context"
	"runtime"
	"sync"

	"github.com/deputy-id/deputy/internal/fault"
)

// Filter selects records. Zero fields select everything.
type Filter struct {
	After    int64 // records with a greater Seq
	Action   string
	Actions  []string // one of these; none: whatever Action says
	Outcome  Outcome
	Provider string
	Pool     string // the resource's pool
	Workload string // the caller's workload, as "pool/name"
	Subject  string // the subject of the caller's user
	Newest   bool   // the last records that match, instead of the first; still in order of Seq
	Limit    int    // at most this many; 1 to 1000
}

// Store keeps the chain. Implementations are tested by the store suite.
type Store interface {
	// AppendAudit adds the entries to the end of the chain, in order, in one
	// transaction. It returns only when they are durable; on an error none is.
	AppendAudit(ctx context.Context, entries []Entry) error
	// AuditRecords returns the records that match f in order of Seq.
	AuditRecords(ctx context.Context, f Filter) ([]Record, error)
}

// maxGroup bounds the entries that share one commit: enough that a full group
// costs little more than one entry, few enough that its commit stays short.
const maxGroup = 256

// maxYields is how often a group that is being gathered lets others run first.
const maxYields = 3

// Log is the group-committing way to the chain: while one group is being
// committed, the entries that arrive form the next one. So a single caller
// waits for one commit, and many callers share commits instead of queueing
// for them.
type Log struct {
	store Store
	in    chan appendCall
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
}

type appendCall struct {
	entry Entry
	done  chan<- error
}

// NewLog starts a log over store; [Log.Close] ends it.
func NewLog(store Store) *Log {
	l := &Log{store: store, in: make(chan appendCall, maxGroup), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// Append returns when e is durable. An error (a fault of kind Unavailable, or
// the context's) means that the caller must act as if e had not been recorded:
// above all, release no credential.
func (l *Log) Append(ctx context.Context, e Entry) error {
	done := make(chan error, 1)
	select {
	case l.in <- appendCall{e, done}:
	case <-l.stop:
		return errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		// The run loop has ended: it has answered this call already, or never will.
		select {
		case err := <-done:
			return err
		default:
			return errClosed()
		}
	}
}

// Close commits what has been accepted and stops the log.
func (l *Log) Close() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

func errClosed() error {
	return fault.New(fault.Unavailable, "audit_closed", "the audit log is closed").WithFix("the server is shutting down; try again")
}

func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case call := <-l.in:
			l.commit(call)
		case <-l.stop:
			for {
				select {
				case call := <-l.in:
					l.commit(call)
				default:
					return
				}
			}
		}
	}
}

// commit writes first and everything that waits behind it as one group.
func (l *Log) commit(first appendCall) {
	entries := []Entry{first.entry}
	waiting := []chan<- error{first.done}
	for yields := 0; len(entries) < maxGroup; {
		select {
		case call := <-l.in:
			entries = append(entries, call.entry)
			waiting = append(waiting, call.done)
			continue
		default:
		}
		// Callers that are ready to run and have not come this far yet are let run first: under load the
		// groups become large, and when nobody is ready this takes no time.
		if yields == maxYields {
			break
		}
		yields++
		runtime.Gosched()
	}
	// The group belongs to many callers, so no caller's context may cancel it;
	// the store bounds the time itself.
	err := l.store.AppendAudit(context.Background(), entries)
	if err != nil {
		err = fault.Wrap(err, fault.Unavailable, "audit_unavailable", "the audit log cannot be written").
			WithFix("check the database and its free space; no credential is released until this works")
	}
	for _, w := range waiting {
		w <- err
	}
}
