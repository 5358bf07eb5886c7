package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
)

const agentKeyColumns = `id, pool, agent, name, hash, user_issuer, user_subject, created, expires`

func scanAgentKey(k *agent.Key) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&k.ID, &k.Pool, &k.Agent, &k.Name, hashText{&k.Hash}, &k.User.Issuer, &k.User.Subject, timeMS{&k.CreatedAt}, timeMS{&k.ExpiresAt})
	}
}

// AddKey implements [agent.KeyStore].
func (s Agents) AddKey(ctx context.Context, p guard.Permit, k agent.Key) error {
	return s.DB.change(ctx, p, agent.ActionCreateKey, k.Resource(), func(ctx context.Context, tx *txn) error {
		// Writing to the agent's row makes those who add a key wait for each other, so that the count holds.
		if err := must(ctx, tx, agent.NotFound(k.Pool, k.Agent), `UPDATE agents SET version = version WHERE pool = $1 AND name = $2`, k.Pool, k.Agent); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM agent_keys WHERE pool = $1 AND agent = $2`, k.Pool, k.Agent).Scan(&n); err != nil {
			return err
		}
		if n >= agent.MaxKeys {
			return agent.KeysFull()
		}
		return must(ctx, tx, agent.KeyExists(k.Name), `INSERT INTO agent_keys (`+agentKeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			k.ID, k.Pool, k.Agent, k.Name, k.Hash.String(), k.User.Issuer, k.User.Subject, ms(k.CreatedAt), ms(k.ExpiresAt))
	})
}

// Key implements [agent.KeyStore].
func (s Agents) Key(ctx context.Context, hash secret.Hash) (agent.Key, error) {
	var k agent.Key
	err := row(ctx, s.DB.read, agent.KeyNotFound(""), scanAgentKey(&k), `SELECT `+agentKeyColumns+` FROM agent_keys WHERE hash = $1`, hash.String())
	return k, err
}

// Keys implements [agent.KeyStore].
func (s Agents) Keys(ctx context.Context, pool, agentName string) ([]agent.Key, error) {
	var list []agent.Key
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var k agent.Key
		err := scanAgentKey(&k)(sc)
		list = append(list, k)
		return err
	}, `SELECT `+agentKeyColumns+` FROM agent_keys WHERE pool = $1 AND agent = $2 ORDER BY name`, pool, agentName)
	return list, err
}

// DeleteKey implements [agent.KeyStore].
func (s Agents) DeleteKey(ctx context.Context, p guard.Permit, pool, agentName, id string) error {
	return s.DB.change(ctx, p, agent.ActionDeleteKey, agent.KeyResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, agent.KeyNotFound(id), `DELETE FROM agent_keys WHERE pool = $1 AND agent = $2 AND id = $3`, pool, agentName, id)
	})
}
