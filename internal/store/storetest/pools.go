package storetest

import (
	"context"
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/store"
)

// Entries returns what is in the audit log of db, at most its first 1000 entries.
func Entries(ctx context.Context, db *store.DB) ([]audit.Entry, error) {
	records, err := store.Audit{DB: db}.AuditRecords(ctx, audit.Filter{Limit: 1000})
	if err != nil {
		return nil, err
	}
	list := make([]audit.Entry, len(records))
	for i, r := range records {
		if list[i], err = r.Entry(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Pools are the user pools of a SQLite database of the test's own, with the log
// for its guard.
type Pools struct {
	store.UserPools
	Log *audit.Log
}

// NewPools opens them for the time of the test.
func NewPools(t testing.TB) Pools {
	db := SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	return Pools{store.UserPools{DB: db}, log}
}

// Entries returns what is in the audit log.
func (p Pools) Entries(ctx context.Context) ([]audit.Entry, error) { return Entries(ctx, p.DB) }
