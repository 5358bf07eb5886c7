package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/workload"
)

// Workloads keeps workload pools and workloads; it implements [workload.Store] and
// consent.Workloads.
type Workloads struct{ DB *DB }

// CreatePool implements [workload.Store].
func (s Workloads) CreatePool(ctx context.Context, p guard.Permit, pool workload.Pool) error {
	return s.DB.change(ctx, p, workload.ActionCreatePool, workload.PoolResource(pool.Name), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "workload_pool_exists", "there is a workload pool %q already", pool.Name),
			`INSERT INTO workload_pools (name, description, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			pool.Name, pool.Description, ms(pool.Created))
	})
}

// WorkloadPool implements [workload.Store].
func (s Workloads) WorkloadPool(ctx context.Context, pool string) (workload.Pool, error) {
	var found workload.Pool
	err := row(ctx, s.DB.read, workload.PoolNotFound(pool), func(sc scanner) error {
		return sc.Scan(&found.Name, &found.Description, timeMS{&found.Created})
	}, `SELECT name, description, created FROM workload_pools WHERE name = $1`, pool)
	return found, err
}

// WorkloadPools implements [workload.Store].
func (s Workloads) WorkloadPools(ctx context.Context) ([]workload.Pool, error) {
	var list []workload.Pool
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var pool workload.Pool
		err := sc.Scan(&pool.Name, &pool.Description, timeMS{&pool.Created})
		list = append(list, pool)
		return err
	}, `SELECT name, description, created FROM workload_pools ORDER BY name`)
	return list, err
}

// CreateWorkload implements [workload.Store].
func (s Workloads) CreateWorkload(ctx context.Context, p guard.Permit, w workload.Workload) error {
	return s.DB.change(ctx, p, workload.ActionCreate, workload.Resource(w.Identity), func(ctx context.Context, tx *txn) error {
		if err := lockPool(ctx, tx, w.Identity.Pool); err != nil {
			return err
		}
		urls, trust, err := workloadJSON(w.Settings)
		if err != nil {
			return err
		}
		return must(ctx, tx, fault.New(fault.Conflict, "workload_exists", "there is a workload %q in pool %q already", w.Identity.Name, w.Identity.Pool),
			`INSERT INTO workloads (`+workloadColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			w.Identity.Pool, w.Identity.Name, w.Description, urls, w.Disabled, trust, w.Version, ms(w.Created))
	})
}

// UpdateWorkload implements [workload.Store].
func (s Workloads) UpdateWorkload(ctx context.Context, p guard.Permit, w workload.Workload) error {
	return s.DB.change(ctx, p, workload.ActionUpdate, workload.Resource(w.Identity), func(ctx context.Context, tx *txn) error {
		urls, trust, err := workloadJSON(w.Settings)
		if err != nil {
			return err
		}
		return must(ctx, tx, fault.New(fault.Conflict, "workload_changed", "the workload %q was changed in between", w.Identity.Name).WithFix("read it again, then change it"),
			`UPDATE workloads SET description = $1, return_urls = $2, disabled = $3, trust = $4, version = $5 WHERE pool = $6 AND name = $7 AND version = $8`,
			w.Description, urls, w.Disabled, trust, w.Version, w.Identity.Pool, w.Identity.Name, w.Version-1)
	})
}

const workloadColumns = `pool, name, description, return_urls, disabled, trust, version, created`

// workloadJSON returns what of s is stored as JSON.
func workloadJSON(s workload.Settings) (urls, trust string, err error) {
	if urls, err = toJSON(s.ReturnURLs); err != nil {
		return "", "", err
	}
	trust, err = toJSON(s.Trust)
	return urls, trust, err
}

func workloadFrom(sc scanner) (workload.Workload, error) {
	var w workload.Workload
	err := sc.Scan(&w.Identity.Pool, &w.Identity.Name, &w.Description, jsonText{&w.ReturnURLs}, &w.Disabled, jsonText{&w.Trust}, &w.Version, timeMS{&w.Created})
	return w, err
}

// lockPool returns NotFound unless the workload pool exists, and keeps it from
// being deleted until the transaction ends.
func lockPool(ctx context.Context, tx *txn, pool string) error {
	return must(ctx, tx, workload.PoolNotFound(pool), `UPDATE workload_pools SET created = created WHERE name = $1`, pool)
}

// Workload implements [workload.Store].
func (s Workloads) Workload(ctx context.Context, w name.Workload) (workload.Workload, error) {
	var found workload.Workload
	err := row(ctx, s.DB.read, workload.NotFound(w, nil), func(sc scanner) (err error) {
		found, err = workloadFrom(sc)
		return err
	}, `SELECT `+workloadColumns+` FROM workloads WHERE pool = $1 AND name = $2`, w.Pool, w.Name)
	if fault.Is(err, fault.NotFound) {
		return workload.Workload{}, workload.NotFound(w, s.DB.names(ctx, `SELECT name FROM workloads WHERE pool = $1 ORDER BY name LIMIT 1000`, w.Pool))
	}
	return found, err
}

// names returns a column of names for the message of a fault; a database that
// fails here has failed before, and the message does without.
func (db *DB) names(ctx context.Context, text string, args ...any) []string {
	var list []string
	if err := rows(ctx, db.read, func(sc scanner) error {
		var n string
		err := sc.Scan(&n)
		list = append(list, n)
		return err
	}, text, args...); err != nil {
		return nil
	}
	return list
}

// Workloads implements [workload.Store].
func (s Workloads) Workloads(ctx context.Context, pool string) ([]workload.Workload, error) {
	if _, err := s.WorkloadPool(ctx, pool); err != nil {
		return nil, err
	}
	var list []workload.Workload
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		w, err := workloadFrom(sc)
		list = append(list, w)
		return err
	}, `SELECT `+workloadColumns+` FROM workloads WHERE pool = $1 ORDER BY name`, pool)
	return list, err
}

// DeleteWorkload implements [workload.Store].
func (s Workloads) DeleteWorkload(ctx context.Context, p guard.Permit, w name.Workload) error {
	return s.DB.change(ctx, p, workload.ActionDelete, workload.Resource(w), func(ctx context.Context, tx *txn) error {
		if err := endWorkload(ctx, tx, p, w); err != nil {
			return err
		}
		return inUse(must(ctx, tx, workload.NotFound(w, nil), `DELETE FROM workloads WHERE pool = $1 AND name = $2`, w.Pool, w.Name), "workload")
	})
}

// ReturnURLs implements consent.Workloads.
func (s Workloads) ReturnURLs(ctx context.Context, w name.Workload) ([]string, error) {
	found, err := s.Workload(ctx, w)
	return found.ReturnURLs, err
}
