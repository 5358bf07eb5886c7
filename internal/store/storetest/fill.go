package storetest

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/vault"
)

const (
	fillRows   = 100 // of one statement
	fillCommit = 500 // statements of one transaction: the write-ahead log grows with it
)

const (
	fillGrants = `INSERT INTO grants (id, pool, provider, issuer, subject, account_id, account_name, scopes, state, reason, sealed, expires, refresh_expires, due, used, version, lease_owner, lease_until, created, updated) VALUES `
	grantRow   = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, ?, ?)`

	fillDelegations = `INSERT INTO delegations (id, grant_id, pool, workload, scopes, created, updated) VALUES `
	delegationRow   = `(?, ?, ?, ?, ?, ?, ?)`
)

// chunk is what two statements put there.
type chunk struct{ grants, delegations []any }

// Fill puts n grants into the SQLite database in dir, each with a delegation of
// all its scopes to w, for tests that need very many: behind the store's back,
// with no records, and without the indexes, which are made of all rows at once
// afterwards. Several goroutines call grant, once for each i below n. The store may
// be open, but must not have been asked for these grants.
func Fill(t testing.TB, dir string, w name.Workload, n int, grant func(i int) (vault.Grant, error)) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "deputy.db")+"?_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)&_pragma=cache_size(-200000)&_pragma=temp_store(MEMORY)")
	must(t, err)
	defer func() { must(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	indexes := dropIndexes(t, db)
	chunks, made := make(chan chunk, 8), make(chan error, 1)
	go func() { made <- makeChunks(chunks, w, n, grant) }()
	err = putChunks(t.Context(), db, chunks)
	must(t, errors.Join(err, <-made))
	for _, text := range append(indexes, `PRAGMA wal_checkpoint(TRUNCATE)`) {
		_, err := db.ExecContext(t.Context(), text)
		must(t, err)
	}
}

// dropIndexes drops what indexes it can of the tables that are filled, and returns
// the statements that make them again.
func dropIndexes(t testing.TB, db *sql.DB) (texts []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('grants', 'delegations') AND sql IS NOT NULL`)
	must(t, err)
	var names []string
	for rows.Next() {
		var index, text string
		must(t, rows.Scan(&index, &text))
		names, texts = append(names, index), append(texts, text)
	}
	must(t, errors.Join(rows.Err(), rows.Close()))
	for _, index := range names {
		_, err := db.ExecContext(t.Context(), `DROP INDEX `+index)
		must(t, err)
	}
	return texts
}

// makeChunks has every processor make grants, and closes chunks after the last.
func makeChunks(chunks chan<- chunk, w name.Workload, n int, grant func(i int) (vault.Grant, error)) error {
	defer close(chunks)
	var begin atomic.Int64
	var makers sync.WaitGroup
	failed := make([]error, runtime.GOMAXPROCS(0))
	for maker := range failed {
		makers.Go(func() {
			for {
				end := int(begin.Add(fillRows))
				var c chunk
				for i := end - fillRows; i < min(end, n) && failed[maker] == nil; i++ {
					var g vault.Grant
					g, failed[maker] = grant(i)
					c.add(g, w)
				}
				if len(c.grants) == 0 || failed[maker] != nil {
					return
				}
				chunks <- c
			}
		})
	}
	makers.Wait()
	return errors.Join(failed...)
}

func (c *chunk) add(g vault.Grant, w name.Workload) {
	at := func(t time.Time) int64 { return max(0, t.UnixMilli()) } // that of the zero time is stored as 0
	c.grants = append(c.grants, g.ID, g.Pool, g.Provider, g.User.Issuer, g.User.Subject, g.Account.ID, g.Account.Name, g.Scopes.String(), string(g.State), g.Reason, g.Sealed,
		at(g.Expires), at(g.RefreshExpires), at(g.Due), at(g.Used), g.Version, at(g.Created), at(g.Updated))
	c.delegations = append(c.delegations, name.NewID("dlg"), g.ID, w.Pool, w.Name, g.Scopes.String(), at(g.Created), at(g.Created))
}

// putChunks writes all chunks. After an error it only takes them.
func putChunks(ctx context.Context, db *sql.DB, chunks <-chan chunk) (err error) {
	count := 0
	prepared := map[string]*sql.Stmt{} // closed with db
	do := func(text string, args ...any) {
		if err == nil && prepared[text] == nil {
			prepared[text], err = db.PrepareContext(ctx, text)
		}
		if err == nil {
			_, err = prepared[text].ExecContext(ctx, args...)
		}
	}
	for c := range chunks {
		if count%fillCommit == 0 {
			do(`BEGIN IMMEDIATE`)
		}
		do(fillGrants+list(grantRow, len(c.grants)), c.grants...)
		do(fillDelegations+list(delegationRow, len(c.delegations)), c.delegations...)
		if count++; count%fillCommit == 0 {
			do(`COMMIT`)
		}
	}
	if count%fillCommit != 0 {
		do(`COMMIT`)
	}
	return err
}

// list repeats a row until it has that many arguments.
func list(row string, args int) string {
	return row + strings.Repeat(", "+row, args/strings.Count(row, "?")-1)
}
