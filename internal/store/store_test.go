package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

func TestSuite(t *testing.T) { storetest.Each(t, storetest.Run) }

func TestReplicasMayStartAtOnce(t *testing.T) {
	server := storetest.Postgres(t)
	url := server.URL(t)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			db, err := store.OpenPostgres(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestTheDatabaseURLNeverShowsInErrors(t *testing.T) {
	for _, url := range []string{"postgres://deputy:hunter2@127.0.0.1:1/x?sslmode=disable&connect_timeout=1", "postgres://deputy:hunter2@host:port:x/%zz"} {
		_, err := store.OpenPostgres(t.Context(), url)
		if err == nil {
			t.Fatalf("opened %s", url)
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(fault.As(err).LogValue().String(), "hunter2") {
			t.Errorf("the password shows: %v", fault.As(err).LogValue())
		}
	}
}

func TestSQLiteSaysWhatIsWrongWithItsDirectory(t *testing.T) {
	_, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "missing"))
	if !fault.HasCode(err, "store_unavailable") || !strings.Contains(err.Error(), "rights of the data directory") {
		t.Errorf("a missing directory: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "deputy.db"), []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = store.OpenSQLite(t.Context(), dir); !fault.HasCode(err, "store_unavailable") {
		t.Errorf("a file that is no database: %v", err)
	}
}
