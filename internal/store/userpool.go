package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// UserPools keeps user pools and what they have; it implements
// [userpool.Stores].
type UserPools struct{ DB *DB }

// CreatePool implements [userpool.Pools].
func (s UserPools) CreatePool(ctx context.Context, p guard.Permit, pool userpool.Pool) error {
	return s.DB.change(ctx, p, userpool.ActionCreatePool, pool.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.Exists("userpool", pool.Name),
			`INSERT INTO user_pools (name, display_name, created) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, pool.Name, pool.DisplayName, ms(pool.CreatedAt))
	})
}

// Pool implements [userpool.Pools].
func (s UserPools) Pool(ctx context.Context, pool string) (userpool.Pool, error) {
	var found userpool.Pool
	err := row(ctx, s.DB.read, userpool.NotFound("userpool", pool), func(sc scanner) error {
		return sc.Scan(&found.Name, &found.DisplayName, timeMS{&found.CreatedAt})
	}, `SELECT name, display_name, created FROM user_pools WHERE name = $1`, pool)
	return found, err
}

// Pools implements [userpool.Pools].
func (s UserPools) Pools(ctx context.Context) ([]userpool.Pool, error) {
	var list []userpool.Pool
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var pool userpool.Pool
		err := sc.Scan(&pool.Name, &pool.DisplayName, timeMS{&pool.CreatedAt})
		list = append(list, pool)
		return err
	}, `SELECT name, display_name, created FROM user_pools ORDER BY name`)
	return list, err
}

// lockUserPool is lockPool for user pools.
func lockUserPool(ctx context.Context, tx *txn, pool string) error {
	return must(ctx, tx, userpool.NotFound("userpool", pool), `UPDATE user_pools SET name = name WHERE name = $1`, pool)
}

const userColumns = `pool, id, user_name, display_name, email, email_verified, phone, password_hash, password_changed, disabled, created, version`

func scanUser(u *userpool.User) func(scanner) error {
	return func(sc scanner) error {
		var hash string
		err := sc.Scan(&u.Pool, &u.ID, &u.UserName, &u.DisplayName, &u.Email, &u.EmailVerified, &u.Phone, &hash, timeMS{&u.PasswordChangedAt}, &u.Disabled, timeMS{&u.CreatedAt}, &u.Version)
		if hash != "" {
			u.PasswordHash = secret.FromString(hash)
		}
		return err
	}
}

// CreateUser implements [userpool.Users].
func (s UserPools) CreateUser(ctx context.Context, p guard.Permit, u userpool.User) error {
	return s.DB.change(ctx, p, userpool.ActionCreateUser, u.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, u.Pool); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("user", u.UserName),
			`INSERT INTO users (`+userColumns+`, login_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12) ON CONFLICT DO NOTHING`,
			u.Pool, u.ID, u.UserName, u.DisplayName, u.Email, u.EmailVerified, u.Phone, u.PasswordHash.RevealString(), ms(u.PasswordChangedAt), u.Disabled, ms(u.CreatedAt),
			userpool.LoginName(u.UserName))
	})
}

// User implements [userpool.Users].
func (s UserPools) User(ctx context.Context, pool, id string) (userpool.User, error) {
	var u userpool.User
	err := row(ctx, s.DB.read, userpool.NotFound("user", id), scanUser(&u), `SELECT `+userColumns+` FROM users WHERE pool = $1 AND id = $2`, pool, id)
	return u, err
}

// UserByName implements [userpool.Users].
func (s UserPools) UserByName(ctx context.Context, pool, userName string) (userpool.User, error) {
	var u userpool.User
	err := row(ctx, s.DB.read, userpool.NotFound("user", userName), scanUser(&u),
		`SELECT `+userColumns+` FROM users WHERE pool = $1 AND login_name = $2`, pool, userpool.LoginName(userName))
	return u, err
}

// Users implements [userpool.Users].
func (s UserPools) Users(ctx context.Context, pool, after string, limit int) ([]userpool.User, error) {
	var list []userpool.User
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var u userpool.User
		err := scanUser(&u)(sc)
		list = append(list, u)
		return err
	}, `SELECT `+userColumns+` FROM users WHERE pool = $1 AND login_name > $2 ORDER BY login_name LIMIT $3`, pool, after, limit)
	return list, err
}

// changedOrGone tells a write that found nothing why: changed if the row is there.
func changedOrGone(ctx context.Context, tx *txn, err error, what, pool, id, text string) error {
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	var n int64
	if scanErr := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&n) }, text, pool, id); scanErr != nil {
		return scanErr
	}
	if n == 0 {
		return userpool.NotFound(what, id)
	}
	return err
}

const countUser = `SELECT COUNT(*) FROM users WHERE pool = $1 AND id = $2`

// UpdateUser implements [userpool.Users].
func (s UserPools) UpdateUser(ctx context.Context, p guard.Permit, u userpool.User) error {
	return s.DB.change(ctx, p, userpool.ActionUpdateUser, u.Resource(), func(ctx context.Context, tx *txn) error {
		var taken int64
		if err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&taken) },
			`SELECT COUNT(*) FROM users WHERE pool = $1 AND login_name = $2 AND id <> $3`, u.Pool, userpool.LoginName(u.UserName), u.ID); err != nil {
			return err
		}
		if taken > 0 {
			return userpool.Exists("user", u.UserName)
		}
		err := must(ctx, tx, userpool.Changed("user", u.ID),
			`UPDATE users SET login_name = $1, user_name = $2, display_name = $3, email = $4, email_verified = $5, phone = $6, password_hash = $7, password_changed = $8, disabled = $9,
			 version = version + 1 WHERE pool = $10 AND id = $11 AND version = $12`,
			userpool.LoginName(u.UserName), u.UserName, u.DisplayName, u.Email, u.EmailVerified, u.Phone, u.PasswordHash.RevealString(), ms(u.PasswordChangedAt), u.Disabled,
			u.Pool, u.ID, u.Version)
		return changedOrGone(ctx, tx, err, "user", u.Pool, u.ID, countUser)
	})
}

// UpgradePassword implements [userpool.Users].
func (s UserPools) UpgradePassword(ctx context.Context, p guard.Permit, pool, id string, old, upgraded secret.Text) error {
	return s.DB.change(ctx, p, userpool.ActionUpgradePassword, userpool.UserResource(pool, id), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.Changed("user", id),
			`UPDATE users SET password_hash = $1, version = version + 1 WHERE pool = $2 AND id = $3 AND password_hash = $4`,
			upgraded.RevealString(), pool, id, old.RevealString())
		return changedOrGone(ctx, tx, err, "user", pool, id, countUser)
	})
}

// DeleteUser implements [userpool.Users].
func (s UserPools) DeleteUser(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionDeleteUser, userpool.UserResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("user", id), `DELETE FROM users WHERE pool = $1 AND id = $2`, pool, id)
	})
}

const clientColumns = `pool, id, name, type, secret_hash, redirect_uris, logout_uris, scopes, token_lifetime, created, version`

func scanClient(c *userpool.Client) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&c.Pool, &c.ID, &c.Name, &c.Type, &c.SecretHash, jsonText{&c.RedirectURIs}, jsonText{&c.PostLogoutRedirectURIs}, scopesText{&c.Scopes}, &c.AccessTokenLifetime,
			timeMS{&c.CreatedAt}, &c.Version)
	}
}

// CreateClient implements [userpool.Clients].
func (s UserPools) CreateClient(ctx context.Context, p guard.Permit, c userpool.Client) error {
	uris, logout, err := clientURIs(c)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionCreateClient, c.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, c.Pool); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("client", c.Name),
			`INSERT INTO clients (`+clientColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1) ON CONFLICT DO NOTHING`,
			c.Pool, c.ID, c.Name, string(c.Type), c.SecretHash, uris, logout, c.Scopes.String(), int64(c.AccessTokenLifetime), ms(c.CreatedAt))
	})
}

func clientURIs(c userpool.Client) (uris, logout string, err error) {
	if uris, err = toJSON(c.RedirectURIs); err != nil {
		return "", "", err
	}
	logout, err = toJSON(c.PostLogoutRedirectURIs)
	return uris, logout, err
}

// Client implements [userpool.Clients].
func (s UserPools) Client(ctx context.Context, pool, id string) (userpool.Client, error) {
	var c userpool.Client
	err := row(ctx, s.DB.read, userpool.NotFound("client", id), scanClient(&c), `SELECT `+clientColumns+` FROM clients WHERE pool = $1 AND id = $2`, pool, id)
	return c, err
}

// Clients implements [userpool.Clients].
func (s UserPools) Clients(ctx context.Context, pool string) ([]userpool.Client, error) {
	var list []userpool.Client
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var c userpool.Client
		err := scanClient(&c)(sc)
		list = append(list, c)
		return err
	}, `SELECT `+clientColumns+` FROM clients WHERE pool = $1 ORDER BY name`, pool)
	return list, err
}

// UpdateClient implements [userpool.Clients].
func (s UserPools) UpdateClient(ctx context.Context, p guard.Permit, c userpool.Client) error {
	uris, logout, err := clientURIs(c)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionUpdateClient, c.Resource(), func(ctx context.Context, tx *txn) error {
		var taken int64
		if err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&taken) },
			`SELECT COUNT(*) FROM clients WHERE pool = $1 AND name = $2 AND id <> $3`, c.Pool, c.Name, c.ID); err != nil {
			return err
		}
		if taken > 0 {
			return userpool.Exists("client", c.Name)
		}
		err := must(ctx, tx, userpool.Changed("client", c.ID),
			`UPDATE clients SET name = $1, type = $2, secret_hash = $3, redirect_uris = $4, logout_uris = $5, scopes = $6, token_lifetime = $7, version = version + 1
			 WHERE pool = $8 AND id = $9 AND version = $10`,
			c.Name, string(c.Type), c.SecretHash, uris, logout, c.Scopes.String(), int64(c.AccessTokenLifetime), c.Pool, c.ID, c.Version)
		return changedOrGone(ctx, tx, err, "client", c.Pool, c.ID, `SELECT COUNT(*) FROM clients WHERE pool = $1 AND id = $2`)
	})
}

// DeleteClient implements [userpool.Clients].
func (s UserPools) DeleteClient(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, userpool.ActionDeleteClient, userpool.ClientResource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, userpool.NotFound("client", id), `DELETE FROM clients WHERE pool = $1 AND id = $2`, pool, id)
	})
}

// Consent implements [userpool.Consents].
func (s UserPools) Consent(ctx context.Context, pool, userID, clientID string) (name.Scopes, error) {
	var scopes name.Scopes
	err := row(ctx, s.DB.read, nil, func(sc scanner) error { return sc.Scan(scopesText{&scopes}) },
		`SELECT scopes FROM consents WHERE pool = $1 AND user_id = $2 AND client_id = $3`, pool, userID, clientID)
	return scopes, err
}

// SetConsent implements [userpool.Consents].
func (s UserPools) SetConsent(ctx context.Context, p guard.Permit, c userpool.Consent) error {
	return s.DB.change(ctx, p, userpool.ActionSetConsent, c.Resource(), func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx,
			`INSERT INTO consents (pool, user_id, client_id, scopes, granted) VALUES ($1, $2, $3, $4, $5)
			 ON CONFLICT (pool, user_id, client_id) DO UPDATE SET scopes = excluded.scopes, granted = excluded.granted`,
			c.Pool, c.UserID, c.ClientID, c.Scopes.String(), ms(c.GrantedAt))
		return err
	})
}
