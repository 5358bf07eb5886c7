package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/guard"
)

// Agents keeps agents and their keys; it implements [agent.Store] and [agent.KeyStore].
type Agents struct{ DB *DB }

const agentColumns = `pool, name, definition, directory, version, desired, created, updated`

func scanAgent(a *agent.Agent) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&a.Pool, &a.Name, jsonText{&a.Definition}, &a.Directory, &a.Version, &a.Desired, timeMS{&a.CreatedAt}, timeMS{&a.UpdatedAt})
	}
}

// PutAgent implements [agent.Store].
func (s Agents) PutAgent(ctx context.Context, p guard.Permit, a agent.Agent) error {
	definition, err := toJSON(a.Definition)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, agent.ActionPut, agent.Resource(a.Pool, a.Name), func(ctx context.Context, tx *txn) error {
		if err := lockPool(ctx, tx, a.Pool); err != nil {
			return err
		}
		if a.Version == 1 {
			// The agent's identity comes with it, and outlives it: what people delegated to it is there again
			// when it is deployed again.
			if _, err := exec(ctx, tx, `INSERT INTO workloads (pool, name, description, created) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
				a.Pool, a.Name, a.Definition.Description, ms(a.CreatedAt)); err != nil {
				return err
			}
			return must(ctx, tx, agent.Changed(a.Pool, a.Name),
				`INSERT INTO agents (`+agentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
				a.Pool, a.Name, definition, a.Directory, a.Version, string(a.Desired), ms(a.CreatedAt), ms(a.UpdatedAt))
		}
		return must(ctx, tx, agent.Changed(a.Pool, a.Name),
			`UPDATE agents SET definition = $1, directory = $2, version = $3, desired = $4, updated = $5 WHERE pool = $6 AND name = $7 AND version = $8`,
			definition, a.Directory, a.Version, string(a.Desired), ms(a.UpdatedAt), a.Pool, a.Name, a.Version-1)
	})
}

// Agent implements [agent.Store].
func (s Agents) Agent(ctx context.Context, pool, agentName string) (agent.Agent, error) {
	var a agent.Agent
	err := row(ctx, s.DB.read, agent.NotFound(pool, agentName), scanAgent(&a), `SELECT `+agentColumns+` FROM agents WHERE pool = $1 AND name = $2`, pool, agentName)
	return a, err
}

// Agents implements [agent.Store].
func (s Agents) Agents(ctx context.Context, pool string) ([]agent.Agent, error) {
	var list []agent.Agent
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var a agent.Agent
		err := scanAgent(&a)(sc)
		list = append(list, a)
		return err
	}, `SELECT `+agentColumns+` FROM agents WHERE $1 = '' OR pool = $1 ORDER BY pool, name`, pool)
	return list, err
}

// DeleteAgent implements [agent.Store].
func (s Agents) DeleteAgent(ctx context.Context, p guard.Permit, pool, agentName string) error {
	return s.DB.change(ctx, p, agent.ActionDelete, agent.Resource(pool, agentName), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, agent.NotFound(pool, agentName), `DELETE FROM agents WHERE pool = $1 AND name = $2`, pool, agentName)
	})
}
