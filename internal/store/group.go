package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/userpool"
)

const groupColumns = `pool, id, name, external_id, created, version`

func scanGroup(g *userpool.Group) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&g.Pool, &g.ID, &g.Name, &g.ExternalID, timeMS{&g.CreatedAt}, &g.Version)
	}
}

// CreateGroup implements [userpool.Groups].
func (s UserPools) CreateGroup(ctx context.Context, p guard.Permit, g userpool.Group) error {
	return s.DB.change(ctx, p, userpool.ActionCreateGroup, g.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, g.Pool); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("group", g.Name), `INSERT INTO user_groups (`+groupColumns+`) VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT DO NOTHING`,
			g.Pool, g.ID, g.Name, g.ExternalID, ms(g.CreatedAt))
	})
}

// Group implements [userpool.Groups].
func (s UserPools) Group(ctx context.Context, pool, id string) (userpool.Group, error) {
	var g userpool.Group
	err := row(ctx, s.DB.read, userpool.NotFound("group", id), scanGroup(&g), `SELECT `+groupColumns+` FROM user_groups WHERE pool = $1 AND id = $2`, pool, id)
	return g, err
}

// Groups implements [userpool.Groups].
func (s UserPools) Groups(ctx context.Context, pool, after string, limit int) ([]userpool.Group, error) {
	var list []userpool.Group
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var g userpool.Group
		err := scanGroup(&g)(sc)
		list = append(list, g)
		return err
	}, `SELECT `+groupColumns+` FROM user_groups WHERE pool = $1 AND name > $2 ORDER BY name LIMIT $3`, pool, after, limit)
	return list, err
}

// UpdateGroup implements [userpool.Groups].
func (s UserPools) UpdateGroup(ctx context.Context, p guard.Permit, g userpool.Group) error {
	return s.DB.change(ctx, p, userpool.ActionUpdateGroup, g.Resource(), func(ctx context.Context, tx *txn) error {
		var taken int64
		if err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&taken) },
			`SELECT COUNT(*) FROM user_groups WHERE pool = $1 AND name = $2 AND id <> $3`, g.Pool, g.Name, g.ID); err != nil {
			return err
		}
		if taken > 0 {
			return userpool.Exists("group", g.Name)
		}
		err := must(ctx, tx, userpool.Changed("group", g.ID),
			`UPDATE user_groups SET name = $1, external_id = $2, version = version + 1 WHERE pool = $3 AND id = $4 AND version = $5`,
			g.Name, g.ExternalID, g.Pool, g.ID, g.Version)
		if err := changedOrGone(ctx, tx, err, "group", g.Pool, g.ID, `SELECT COUNT(*) FROM user_groups WHERE pool = $1 AND id = $2`); err != nil {
			return err
		}
		members, err := membersOf(ctx, tx, g.Pool, g.ID)
		if err != nil {
			return err
		}
		return nameGroups(ctx, tx, g.Pool, members)
	})
}

// DeleteGroup implements [userpool.Groups].
func (s UserPools) DeleteGroup(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionDeleteGroup, userpool.GroupResource(pool, id), func(ctx context.Context, tx *txn) error {
		members, err := membersOf(ctx, tx, pool, id)
		if err != nil {
			return err
		}
		if err := must(ctx, tx, userpool.NotFound("group", id), `DELETE FROM user_groups WHERE pool = $1 AND id = $2`, pool, id); err != nil {
			return err
		}
		return nameGroups(ctx, tx, pool, members)
	})
}

// Members implements [userpool.Groups].
func (s UserPools) Members(ctx context.Context, pool, id, after string, limit int) ([]string, error) {
	return texts(ctx, s.DB.read, `SELECT user_id FROM group_members WHERE pool = $1 AND group_id = $2 AND user_id > $3 ORDER BY user_id LIMIT $4`, pool, id, after, limit)
}

// ChangeMembers implements [userpool.Groups].
func (s UserPools) ChangeMembers(ctx context.Context, p guard.Permit, pool, id string, add, remove []string) error {
	return s.DB.change(ctx, p, userpool.ActionUpdateGroup, userpool.GroupResource(pool, id), func(ctx context.Context, tx *txn) error {
		if err := must(ctx, tx, userpool.NotFound("group", id), `UPDATE user_groups SET version = version + 1 WHERE pool = $1 AND id = $2`, pool, id); err != nil {
			return err
		}
		for _, user := range add {
			if err := lockUser(ctx, tx, pool, user); err != nil {
				return err
			}
			if _, err := exec(ctx, tx, `INSERT INTO group_members (pool, group_id, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, pool, id, user); err != nil {
				return err
			}
		}
		for _, user := range remove {
			if _, err := exec(ctx, tx, `DELETE FROM group_members WHERE pool = $1 AND group_id = $2 AND user_id = $3`, pool, id, user); err != nil {
				return err
			}
		}
		if err := nameGroups(ctx, tx, pool, add); err != nil {
			return err
		}
		return nameGroups(ctx, tx, pool, remove)
	})
}

func membersOf(ctx context.Context, tx *txn, pool, id string) ([]string, error) {
	return texts(ctx, tx, `SELECT user_id FROM group_members WHERE pool = $1 AND group_id = $2`, pool, id)
}

// nameGroups writes the names of their groups to the users. They stand there
// once more because every login and every token needs them, and groups change
// seldom.
func nameGroups(ctx context.Context, tx *txn, pool string, users []string) error {
	for _, user := range users {
		names, err := texts(ctx, tx,
			`SELECT g.name FROM group_members m JOIN user_groups g ON g.pool = m.pool AND g.id = m.group_id WHERE m.pool = $1 AND m.user_id = $2 ORDER BY g.name`, pool, user)
		if err != nil {
			return err
		}
		list, err := toJSON(names)
		if err != nil {
			return err
		}
		if _, err := exec(ctx, tx, `UPDATE users SET group_names = $1 WHERE pool = $2 AND id = $3`, list, pool, user); err != nil {
			return err
		}
	}
	return nil
}

// texts returns the only column of a query.
func texts(ctx context.Context, q querier, text string, args ...any) ([]string, error) {
	var list []string
	err := rows(ctx, q, func(sc scanner) error {
		var v string
		err := sc.Scan(&v)
		list = append(list, v)
		return err
	}, text, args...)
	return list, err
}
