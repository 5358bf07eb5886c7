package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/guard"
)

// Agents keeps agents and their keys; it implements [agent.Store] and [agent.KeyStore].
type Agents struct{ DB *DB }

const agentColumns = `pool, name, definition, directory, version, build, repeats, desired, created, updated`

func scanAgent(a *agent.Agent) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&a.Pool, &a.Name, jsonText{&a.Definition}, &a.Directory, &a.Version, &a.Build, &a.Repeats, &a.Desired, timeMS{&a.CreatedAt}, timeMS{&a.UpdatedAt})
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
			if err := must(ctx, tx, agent.Changed(a.Pool, a.Name),
				`INSERT INTO agents (`+agentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
				a.Pool, a.Name, definition, a.Directory, a.Version, a.Build, a.Repeats, string(a.Desired), ms(a.CreatedAt), ms(a.UpdatedAt)); err != nil {
				return err
			}
		} else if err := must(ctx, tx, agent.Changed(a.Pool, a.Name),
			`UPDATE agents SET definition = $1, directory = $2, version = $3, build = $4, repeats = $5, desired = $6, updated = $7 WHERE pool = $8 AND name = $9 AND version = $10`,
			definition, a.Directory, a.Version, a.Build, a.Repeats, string(a.Desired), ms(a.UpdatedAt), a.Pool, a.Name, a.Version-1); err != nil {
			return err
		}
		if _, err := addBuild(ctx, tx, agent.Build{Pool: a.Pool, Agent: a.Name, Number: a.Build, Directory: a.Directory, CreatedAt: a.UpdatedAt}, definition); err != nil {
			return err
		}
		return nil
	})
}

// addBuild stores a build, unless its number is taken, and drops those that are not
// kept any more. It reports whether it was stored.
func addBuild(ctx context.Context, tx *txn, b agent.Build, definition string) (bool, error) {
	n, err := exec(ctx, tx, `INSERT INTO agent_builds (pool, agent, build, definition, directory, created) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		b.Pool, b.Agent, b.Number, definition, b.Directory, ms(b.CreatedAt))
	if err != nil || n == 0 {
		return false, err
	}
	_, err = exec(ctx, tx, `DELETE FROM agent_builds WHERE pool = $1 AND agent = $2 AND build <= $3 AND build <> (SELECT build FROM agents WHERE pool = $1 AND name = $2)`,
		b.Pool, b.Agent, b.Number-agent.KeptBuilds)
	return true, err
}

// AddBuild implements [agent.Store].
func (s Agents) AddBuild(ctx context.Context, p guard.Permit, b agent.Build) error {
	definition, err := toJSON(b.Definition)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, agent.ActionPut, agent.Resource(b.Pool, b.Agent), func(ctx context.Context, tx *txn) error {
		// Writing to the agent's row makes those who build at once wait for each other.
		if err := must(ctx, tx, agent.NotFound(b.Pool, b.Agent), `UPDATE agents SET version = version WHERE pool = $1 AND name = $2`, b.Pool, b.Agent); err != nil {
			return err
		}
		stored, err := addBuild(ctx, tx, b, definition)
		if err == nil && !stored {
			return agent.Changed(b.Pool, b.Agent)
		}
		return err
	})
}

// Builds implements [agent.Store].
func (s Agents) Builds(ctx context.Context, pool, agentName string) ([]agent.Build, error) {
	var list []agent.Build
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var b agent.Build
		err := sc.Scan(&b.Pool, &b.Agent, &b.Number, jsonText{&b.Definition}, &b.Directory, timeMS{&b.CreatedAt})
		list = append(list, b)
		return err
	}, `SELECT pool, agent, build, definition, directory, created FROM agent_builds WHERE pool = $1 AND agent = $2 ORDER BY build DESC`, pool, agentName)
	return list, err
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
