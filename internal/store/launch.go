package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

// Launches keeps the runs of agents; it implements [workload.LaunchStore].
type Launches struct{ DB *DB }

// BeginLaunch implements [workload.LaunchStore].
func (s Launches) BeginLaunch(ctx context.Context, p guard.Permit, l workload.Launch) error {
	return s.DB.change(ctx, p, workload.ActionBeginLaunch, workload.LaunchResource(l.Launch), func(ctx context.Context, tx *txn) error {
		if _, err := exec(ctx, tx, `DELETE FROM launches WHERE until <= $1`, ms(l.Created)); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO launches (id, pool, workload, owner, bound, until, created) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			l.ID, l.Workload.Pool, l.Workload.Name, l.Owner, l.Bound.String(), ms(l.Until), ms(l.Created))
		if foreign(err) {
			return workload.NotFound(l.Workload, nil)
		}
		return err
	})
}

// KeepLaunch implements [workload.LaunchStore].
func (s Launches) KeepLaunch(ctx context.Context, id string, until time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `UPDATE launches SET until = $1 WHERE id = $2`, ms(until), id)
		return err
	})
}

// BindLaunch implements [workload.LaunchStore].
func (s Launches) BindLaunch(ctx context.Context, p guard.Permit, l attest.Launch, bound secret.Hash) error {
	return s.DB.change(ctx, p, workload.ActionBindLaunch, workload.LaunchResource(l), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, fault.New(fault.Conflict, "launch_changed", "the launch was bound or has ended in between"),
			`UPDATE launches SET bound = $1 WHERE id = $2 AND bound = $3`, bound.String(), l.ID, secret.Hash{}.String())
	})
}

// EndLaunch implements [workload.LaunchStore].
func (s Launches) EndLaunch(ctx context.Context, p guard.Permit, l attest.Launch) error {
	return s.DB.change(ctx, p, workload.ActionEndLaunch, workload.LaunchResource(l), func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `DELETE FROM launches WHERE id = $1`, l.ID)
		return err
	})
}

// Launch implements [workload.LaunchStore].
func (s Launches) Launch(ctx context.Context, id string) (workload.Launch, error) {
	var l workload.Launch
	err := row(ctx, s.DB.read, workload.LaunchNotFound(id), func(sc scanner) error {
		return sc.Scan(&l.ID, &l.Workload.Pool, &l.Workload.Name, &l.Owner, hashText{&l.Bound}, timeMS{&l.Until}, timeMS{&l.Created})
	}, `SELECT id, pool, workload, owner, bound, until, created FROM launches WHERE id = $1`, id)
	return l, err
}
