package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// selection is a WHERE clause in the making. Its conditions are texts of ours;
// values go into the arguments.
type selection struct {
	where []string
	args  []any
}

// and adds a condition, whose %d is the number of the argument, if value is not empty.
func (s *selection) and(condition, value string) {
	if value == "" {
		return
	}
	s.args = append(s.args, value)
	s.where = append(s.where, fmt.Sprintf(condition, len(s.args)))
}

// find scans the rows of from that s selects, a page of them, and counts them all.
func (s *selection) find(ctx context.Context, db *DB, columns, from, order string, offset, limit int, scan func(scanner) error) (total int, err error) {
	clause := ` FROM ` + from + ` WHERE ` + strings.Join(s.where, ` AND `)
	if err := row(ctx, db.read, nil, func(sc scanner) error { return sc.Scan(&total) }, `SELECT COUNT(*)`+clause, s.args...); err != nil {
		return 0, err
	}
	text := fmt.Sprintf(`SELECT %s%s ORDER BY %s LIMIT $%d OFFSET $%d`, columns, clause, order, len(s.args)+1, len(s.args)+2)
	return total, rows(ctx, db.read, scan, text, append(s.args, limit, offset)...)
}

// FindUsers implements [userpool.Directory].
func (s UserPools) FindUsers(ctx context.Context, pool string, q userpool.UserQuery) ([]userpool.User, int, error) {
	var list []userpool.User
	by := &selection{where: []string{`pool = $1`}, args: []any{pool}}
	by.and(`login_name = $%d`, userpool.LoginName(q.UserName))
	by.and(`lower(email) = lower($%d)`, q.Email)
	by.and(`display_name = $%d`, q.DisplayName)
	by.and(`external_id = $%d`, q.ExternalID)
	total, err := by.find(ctx, s.DB, userColumns, `users`, `login_name`, q.Offset, q.Limit, func(sc scanner) error {
		var u userpool.User
		err := scanUser(&u)(sc)
		list = append(list, u)
		return err
	})
	return list, total, err
}

// FindGroups implements [userpool.Directory].
func (s UserPools) FindGroups(ctx context.Context, pool string, q userpool.GroupQuery) ([]userpool.Group, int, error) {
	var list []userpool.Group
	by := &selection{where: []string{`pool = $1`}, args: []any{pool}}
	by.and(`name = $%d`, q.Name)
	by.and(`external_id = $%d`, q.ExternalID)
	by.and(`EXISTS (SELECT 1 FROM group_members m WHERE m.pool = user_groups.pool AND m.group_id = user_groups.id AND m.user_id = $%d)`, q.Member)
	total, err := by.find(ctx, s.DB, groupColumns, `user_groups`, `name`, q.Offset, q.Limit, func(sc scanner) error {
		var g userpool.Group
		err := scanGroup(&g)(sc)
		list = append(list, g)
		return err
	})
	return list, total, err
}

// CreateMember implements [userpool.Directory].
func (s UserPools) CreateMember(ctx context.Context, p guard.Permit, u userpool.User, groups []string) error {
	return s.DB.change(ctx, p, userpool.ActionCreateUser, u.Resource(), func(ctx context.Context, tx *txn) error {
		if err := insertUser(ctx, tx, u); err != nil {
			return err
		}
		for _, id := range groups {
			if err := must(ctx, tx, userpool.NotFound("group", id), `UPDATE user_groups SET version = version + 1 WHERE pool = $1 AND id = $2`, u.Pool, id); err != nil {
				return err
			}
			if _, err := exec(ctx, tx, `INSERT INTO group_members (pool, group_id, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, u.Pool, id, u.ID); err != nil {
				return err
			}
		}
		return nameGroups(ctx, tx, u.Pool, []string{u.ID})
	})
}

const provisioningColumns = `pool, id, name, hash, created`

func scanProvisioning(t *userpool.ProvisioningToken) func(scanner) error {
	return func(sc scanner) error {
		var hash string
		err := sc.Scan(&t.Pool, &t.ID, &t.Name, &hash, timeMS{&t.CreatedAt})
		if err == nil {
			t.Hash, err = secret.ParseHash(hash)
		}
		return err
	}
}

// AddProvisioningToken implements [userpool.ProvisioningTokens].
func (s UserPools) AddProvisioningToken(ctx context.Context, p guard.Permit, t userpool.ProvisioningToken) error {
	return s.DB.change(ctx, p, userpool.ActionCreateProvisioning, userpool.ProvisioningResource(t.Pool, t.ID), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, t.Pool); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("provisioning-token", t.Name),
			`INSERT INTO provisioning_tokens (`+provisioningColumns+`) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, t.Pool, t.ID, t.Name, t.Hash.String(), ms(t.CreatedAt))
	})
}

// ProvisioningTokens implements [userpool.ProvisioningTokens].
func (s UserPools) ProvisioningTokens(ctx context.Context, pool string) ([]userpool.ProvisioningToken, error) {
	var list []userpool.ProvisioningToken
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var t userpool.ProvisioningToken
		err := scanProvisioning(&t)(sc)
		list = append(list, t)
		return err
	}, `SELECT `+provisioningColumns+` FROM provisioning_tokens WHERE pool = $1 ORDER BY name`, pool)
	return list, err
}

// ProvisioningToken implements [userpool.ProvisioningTokens].
func (s UserPools) ProvisioningToken(ctx context.Context, pool string, hash secret.Hash) (userpool.ProvisioningToken, error) {
	var t userpool.ProvisioningToken
	err := row(ctx, s.DB.read, userpool.NotFound("provisioning-token", ""), scanProvisioning(&t),
		`SELECT `+provisioningColumns+` FROM provisioning_tokens WHERE pool = $1 AND hash = $2`, pool, hash.String())
	return t, err
}

// DeleteProvisioningToken implements [userpool.ProvisioningTokens].
func (s UserPools) DeleteProvisioningToken(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionDeleteProvisioning, userpool.ProvisioningResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("provisioning-token", id), `DELETE FROM provisioning_tokens WHERE pool = $1 AND id = $2`, pool, id)
	})
}
