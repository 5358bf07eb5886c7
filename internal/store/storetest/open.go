// Package storetest opens databases for tests (SQLite always, and a private PostgreSQL started from the installed binaries) and has the suite that both must pass.
package storetest

import (
	"testing"

	"github.com/deputy-id/deputy/internal/store"
)

// Open makes a new, empty database and returns two ways to it: on PostgreSQL
// those of two replicas, on SQLite, which serves one process, the same one
// twice. Both are closed with the test.
type Open func(t testing.TB) (first, second *store.DB)

// Each runs test on every kind of database.
func Each(t *testing.T, test func(t *testing.T, open Open)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) (first, second *store.DB) {
			db := SQLite(t)
			return db, db
		})
	})
	t.Run("postgres", func(t *testing.T) {
		server := Postgres(t)
		test(t, func(t testing.TB) (first, second *store.DB) {
			url := server.URL(t)
			return opened(t)(store.OpenPostgres(t.Context(), url)), opened(t)(store.OpenPostgres(t.Context(), url))
		})
	})
}

// SQLite opens a new SQLite database in a temporary directory.
func SQLite(t testing.TB) *store.DB {
	t.Helper()
	return opened(t)(store.OpenSQLite(t.Context(), t.TempDir()))
}

func opened(t testing.TB) func(*store.DB, error) *store.DB {
	return func(db *store.DB, err error) *store.DB {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
}
