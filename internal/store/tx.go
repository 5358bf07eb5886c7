package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// change makes one permitted change: the permit is checked, do is run, and the
// permit's entry is appended to the audit log, all in one transaction. do must
// bear being run again, because a database may ask for that.
func (db *DB) change(ctx context.Context, p guard.Permit, action guard.Action, r guard.Resource, do func(ctx context.Context, tx *txn) error) error {
	if err := p.Check(action, r); err != nil {
		return err
	}
	return db.transact(ctx, func(ctx context.Context, tx *txn) error {
		tx.touch(action, r)
		return do(ctx, tx)
	}, p.Entry())
}

// transact runs do, which may be nil, in a transaction, and appends the entries
// if it returns nil. On PostgreSQL that happens again if the database aborted the
// transaction in favour of another one; on SQLite, with other changes in one
// transaction.
func (db *DB) transact(ctx context.Context, do func(ctx context.Context, tx *txn) error, entries ...audit.Entry) error {
	ctx, cancel := db.bounded(ctx)
	defer cancel()
	w := &work{ctx: ctx, do: do, entries: entries}
	if db.pg == nil {
		return unavailable(db.group.run(w))
	}
	for range 4 {
		if db.once(ctx, []*work{w}); !aborted(w.err) {
			break
		}
	}
	return unavailable(w.err)
}

// bounded returns the context for one operation. On PostgreSQL it ends after
// opTimeout, or with ctx. On SQLite it does not end: there the work is done in
// this process within microseconds, a wait for another connection is bounded by
// busy_timeout, and for every statement with a context that can end the driver
// starts a goroutine that costs as much as the statement.
func (db *DB) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if db.pg == nil {
		return context.WithoutCancel(ctx), func() {}
	}
	return context.WithTimeout(ctx, opTimeout)
}

// aborted reports whether PostgreSQL ended the transaction because of another
// one (serialization failure or deadlock).
func aborted(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// exec runs one statement and returns how many rows it changed.
func exec(ctx context.Context, tx *txn, text string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// must runs one statement and returns none if it changed no row.
func must(ctx context.Context, tx *txn, none error, text string, args ...any) error {
	n, err := exec(ctx, tx, text, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

// row scans the single row of a query and returns none if there is none.
func row(ctx context.Context, q querier, none error, scan func(scanner) error, text string, args ...any) error {
	err := scan(q.QueryRowContext(ctx, text, args...))
	if errors.Is(err, sql.ErrNoRows) || unstorable(err) {
		return none
	}
	return unavailable(err)
}

// unstorable reports whether PostgreSQL refused a text that it could not keep
// either (a NUL, bad UTF-8): nothing that is stored equals it. Strangers send
// such texts, and that must not look like a database that does not work.
func unstorable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "22021"
}

// foreign reports whether a row was refused because what it refers to is gone.
// Referring to a row also keeps it from being deleted until the transaction
// ends.
func foreign(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	return errors.As(err, &pg) && pg.Code == "23503" || errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// rows scans every row of a query.
func rows(ctx context.Context, q querier, scan func(scanner) error, text string, args ...any) error {
	result, err := q.QueryContext(ctx, text, args...)
	if unstorable(err) {
		return nil
	}
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = result.Close() }() // after Next has returned false, Err tells what there is to tell
	for result.Next() {
		if err := scan(result); err != nil {
			return unavailable(err)
		}
	}
	return unavailable(result.Err())
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// scanner is a row.
type scanner interface{ Scan(into ...any) error }

// ms is a time as it is stored.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timeMS scans a stored time.
type timeMS struct{ t *time.Time }

// Scan implements [sql.Scanner].
func (s timeMS) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fault.New(fault.Internal, "store_type", "a stored time is not a number")
	}
	*s.t = time.Time{}
	if n != 0 {
		*s.t = time.UnixMilli(n).UTC()
	}
	return nil
}

// scopesText scans a stored scope set.
type scopesText struct{ s *name.Scopes }

// Scan implements [sql.Scanner].
func (s scopesText) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fault.New(fault.Internal, "store_type", "a stored scope set is not text")
	}
	set, err := name.ParseScopes(text)
	*s.s = set
	return err
}

// jsonText scans and writes a value stored as JSON.
type jsonText struct{ into any }

// Scan implements [sql.Scanner].
func (j jsonText) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fault.New(fault.Internal, "store_type", "stored JSON is not text")
	}
	return json.Unmarshal([]byte(text), j.into)
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
