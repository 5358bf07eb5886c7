package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/userpool"
)

const poolColumns = `name, display_name, settings, created, version`

func scanPool(p *userpool.Pool) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&p.Name, &p.DisplayName, jsonText{&p.Settings}, timeMS{&p.CreatedAt}, &p.Version)
	}
}

// CreatePool implements [userpool.Pools].
func (s UserPools) CreatePool(ctx context.Context, p guard.Permit, pool userpool.Pool) error {
	settings, err := toJSON(pool.Settings)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionCreatePool, pool.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.Exists("userpool", pool.Name),
			`INSERT INTO user_pools (`+poolColumns+`) VALUES ($1, $2, $3, $4, 1) ON CONFLICT DO NOTHING`, pool.Name, pool.DisplayName, settings, ms(pool.CreatedAt))
	})
}

// Pool implements [userpool.Pools].
func (s UserPools) Pool(ctx context.Context, pool string) (userpool.Pool, error) {
	return s.DB.pools.find(pool, func() (userpool.Pool, error) {
		var found userpool.Pool
		err := row(ctx, s.DB.read, userpool.NotFound("userpool", pool), scanPool(&found), `SELECT `+poolColumns+` FROM user_pools WHERE name = $1`, pool)
		return found, err
	})
}

// Pools implements [userpool.Pools].
func (s UserPools) Pools(ctx context.Context) ([]userpool.Pool, error) {
	var list []userpool.Pool
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var pool userpool.Pool
		err := scanPool(&pool)(sc)
		list = append(list, pool)
		return err
	}, `SELECT `+poolColumns+` FROM user_pools ORDER BY name`)
	return list, err
}

// UpdatePool implements [userpool.Pools].
func (s UserPools) UpdatePool(ctx context.Context, p guard.Permit, pool userpool.Pool) error {
	settings, err := toJSON(pool.Settings)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionUpdatePool, pool.Resource(), func(ctx context.Context, tx *txn) error {
		n, err := exec(ctx, tx, `UPDATE user_pools SET display_name = $1, settings = $2, version = version + 1 WHERE name = $3 AND version = $4`,
			pool.DisplayName, settings, pool.Name, pool.Version)
		if err != nil || n == 1 {
			return err
		}
		if err := lockUserPool(ctx, tx, pool.Name); err != nil {
			return err
		}
		return userpool.Changed("userpool", pool.Name)
	})
}

// DeletePool implements [userpool.Pools].
func (s UserPools) DeletePool(ctx context.Context, p guard.Permit, pool string) error {
	return s.DB.change(ctx, p, userpool.ActionDeletePool, userpool.Resource(pool), func(ctx context.Context, tx *txn) error {
		// A pool that is given the name again must not believe this one's tokens.
		if _, err := exec(ctx, tx, `DELETE FROM signing_keys WHERE owner = $1`, userpool.KeyOwner(pool)); err != nil {
			return err
		}
		if err := s.endIssuer(ctx, tx, p, pool); err != nil {
			return err
		}
		return must(ctx, tx, userpool.NotFound("userpool", pool), `DELETE FROM user_pools WHERE name = $1`, pool)
	})
}

// lockUserPool is lockPool for user pools.
func lockUserPool(ctx context.Context, tx *txn, pool string) error {
	return must(ctx, tx, userpool.NotFound("userpool", pool), `UPDATE user_pools SET version = version WHERE name = $1`, pool)
}
