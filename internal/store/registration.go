package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

const pushedColumns = `hash, id, pool, client_id, parameters, created, expires, opened`

// CreatePushed implements [userpool.PushedRequests].
func (s UserPools) CreatePushed(ctx context.Context, p guard.Permit, v userpool.Pushed) error {
	return s.DB.change(ctx, p, userpool.ActionCreatePushed, v.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.Exists("pushed", v.ID), `INSERT INTO pushed_requests (`+pushedColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			v.Hash.String(), v.ID, v.Pool, v.ClientID, v.Parameters, ms(v.CreatedAt), ms(v.ExpiresAt), ms(v.OpenedAt))
	})
}

// Pushed implements [userpool.PushedRequests].
func (s UserPools) Pushed(ctx context.Context, pool string, hash secret.Hash) (userpool.Pushed, error) {
	var v userpool.Pushed
	err := row(ctx, s.DB.read, userpool.NotFound("pushed", ""), func(sc scanner) error {
		return sc.Scan(hashText{&v.Hash}, &v.ID, &v.Pool, &v.ClientID, &v.Parameters, timeMS{&v.CreatedAt}, timeMS{&v.ExpiresAt}, timeMS{&v.OpenedAt})
	}, `SELECT `+pushedColumns+` FROM pushed_requests WHERE hash = $1 AND pool = $2`, hash.String(), pool)
	return v, err
}

// OpenPushed implements [userpool.PushedRequests].
func (s UserPools) OpenPushed(ctx context.Context, p guard.Permit, pool, id string, at, until time.Time) error {
	return s.DB.change(ctx, p, userpool.ActionOpenPushed, userpool.PushedResource(pool, id), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.Changed("pushed", id), `UPDATE pushed_requests SET opened = $1, expires = $2 WHERE pool = $3 AND id = $4 AND opened = 0`,
			ms(at), ms(until), pool, id)
		return changedOrGone(ctx, tx, err, "pushed", pool, id, `SELECT COUNT(*) FROM pushed_requests WHERE pool = $1 AND id = $2`)
	})
}

// UsePushed implements [userpool.PushedRequests].
func (s UserPools) UsePushed(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionUsePushed, userpool.PushedResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("pushed", id), `DELETE FROM pushed_requests WHERE pool = $1 AND id = $2`, pool, id)
	})
}

// UseAssertion implements [userpool.Assertions].
func (s UserPools) UseAssertion(ctx context.Context, p guard.Permit, a userpool.Assertion) error {
	return s.DB.change(ctx, p, userpool.ActionUseAssertion, a.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.AssertionUsed(), `INSERT INTO client_assertions (pool, client_id, hash, expires) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			a.Pool, a.ClientID, a.Hash.String(), ms(a.ExpiresAt))
	})
}

const initialColumns = `hash, id, pool, note, uses, created, expires`

func scanInitial(t *userpool.InitialToken) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(hashText{&t.Hash}, &t.ID, &t.Pool, &t.Note, &t.Uses, timeMS{&t.CreatedAt}, timeMS{&t.ExpiresAt})
	}
}

// CreateInitialToken implements [userpool.Registrations].
func (s UserPools) CreateInitialToken(ctx context.Context, p guard.Permit, t userpool.InitialToken) error {
	return s.DB.change(ctx, p, userpool.ActionCreateInitialToken, t.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, t.Pool); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("initial_token", t.ID), `INSERT INTO initial_tokens (`+initialColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			t.Hash.String(), t.ID, t.Pool, t.Note, t.Uses, ms(t.CreatedAt), ms(t.ExpiresAt))
	})
}

// InitialToken implements [userpool.Registrations].
func (s UserPools) InitialToken(ctx context.Context, pool string, hash secret.Hash) (userpool.InitialToken, error) {
	var t userpool.InitialToken
	err := row(ctx, s.DB.read, userpool.NotFound("initial_token", ""), scanInitial(&t),
		`SELECT `+initialColumns+` FROM initial_tokens WHERE hash = $1 AND pool = $2`, hash.String(), pool)
	return t, err
}

// InitialTokens implements [userpool.Registrations].
func (s UserPools) InitialTokens(ctx context.Context, pool string) ([]userpool.InitialToken, error) {
	var list []userpool.InitialToken
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var t userpool.InitialToken
		err := scanInitial(&t)(sc)
		list = append(list, t)
		return err
	}, `SELECT `+initialColumns+` FROM initial_tokens WHERE pool = $1 ORDER BY created DESC, id LIMIT 1000`, pool)
	return list, err
}

// DeleteInitialToken implements [userpool.Registrations].
func (s UserPools) DeleteInitialToken(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionDeleteInitialToken, userpool.InitialTokenResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("initial_token", id), `DELETE FROM initial_tokens WHERE pool = $1 AND id = $2`, pool, id)
	})
}

// RegisterClient implements [userpool.Registrations].
func (s UserPools) RegisterClient(ctx context.Context, p guard.Permit, c userpool.Client, tokenID string) error {
	return s.DB.change(ctx, p, userpool.ActionCreateClient, c.Resource(), func(ctx context.Context, tx *txn) error {
		if err := must(ctx, tx, userpool.InitialTokenSpent(), `UPDATE initial_tokens SET uses = uses - 1 WHERE pool = $1 AND id = $2 AND uses > 0`, c.Pool, tokenID); err != nil {
			return err
		}
		return insertClient(ctx, tx, c)
	})
}

// sweepClients removes what clients left behind, and initial access tokens that
// have expired.
func sweepClients(ctx context.Context, tx *txn, t time.Time) (int64, error) {
	var swept int64
	for _, text := range []string{
		`DELETE FROM pushed_requests WHERE expires < $1`, `DELETE FROM client_assertions WHERE expires < $1`, `DELETE FROM initial_tokens WHERE expires < $1`,
	} {
		n, err := exec(ctx, tx, text, ms(t))
		if err != nil {
			return 0, err
		}
		swept += n
	}
	return swept, nil
}
