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
type UserPools struct {
	DB        *DB
	PublicURL string // of the identity service: the grants of a user who is deleted name him with his issuer
}

const userColumns = `pool, id, user_name, display_name, email, email_verified, phone, password_hash, former_passwords, password_changed, must_change,
	attributes, group_names, external_id, disabled, created, version`

func scanUser(u *userpool.User) func(scanner) error {
	return func(sc scanner) error {
		var hash string
		var former []string
		err := sc.Scan(&u.Pool, &u.ID, &u.UserName, &u.DisplayName, &u.Email, &u.EmailVerified, &u.Phone, &hash, jsonText{&former}, timeMS{&u.PasswordChangedAt}, &u.MustChangePassword,
			jsonText{&u.Attributes}, jsonText{&u.Groups}, &u.ExternalID, &u.Disabled, timeMS{&u.CreatedAt}, &u.Version)
		if hash != "" {
			u.PasswordHash = secret.FromString(hash)
		}
		for _, h := range former {
			u.FormerPasswords = append(u.FormerPasswords, secret.FromString(h))
		}
		return err
	}
}

// userJSON returns what of u is stored as JSON.
func userJSON(u userpool.User) (former, attributes string, err error) {
	hashes := make([]string, len(u.FormerPasswords))
	for i, h := range u.FormerPasswords {
		hashes[i] = h.RevealString()
	}
	if former, err = toJSON(hashes); err != nil {
		return "", "", err
	}
	attributes, err = toJSON(u.Attributes)
	return former, attributes, err
}

// CreateUser implements [userpool.Users].
func (s UserPools) CreateUser(ctx context.Context, p guard.Permit, u userpool.User) error {
	return s.DB.change(ctx, p, userpool.ActionCreateUser, u.Resource(), func(ctx context.Context, tx *txn) error { return insertUser(ctx, tx, u) })
}

func insertUser(ctx context.Context, tx *txn, u userpool.User) error {
	former, attributes, err := userJSON(u)
	if err != nil {
		return err
	}
	if err := lockUserPool(ctx, tx, u.Pool); err != nil {
		return err
	}
	return must(ctx, tx, userpool.Exists("user", u.UserName),
		`INSERT INTO users (`+userColumns+`, login_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'null', $13, $14, $15, 1, $16) ON CONFLICT DO NOTHING`,
		u.Pool, u.ID, u.UserName, u.DisplayName, u.Email, u.EmailVerified, u.Phone, u.PasswordHash.RevealString(), former, ms(u.PasswordChangedAt), u.MustChangePassword,
		attributes, u.ExternalID, u.Disabled, ms(u.CreatedAt), userpool.LoginName(u.UserName))
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
	return s.userList(ctx, `SELECT `+userColumns+` FROM users WHERE pool = $1 AND login_name > $2 ORDER BY login_name LIMIT $3`, pool, after, limit)
}

func (s UserPools) userList(ctx context.Context, text string, args ...any) ([]userpool.User, error) {
	var list []userpool.User
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var u userpool.User
		err := scanUser(&u)(sc)
		list = append(list, u)
		return err
	}, text, args...)
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
		former := userpool.Letter{ID: name.NewID("let"), Pool: u.Pool, Kind: userpool.LetterChanged, UserID: u.ID, Language: "en", DueAt: p.Entry().Time, CreatedAt: p.Entry().Time}
		err := row(ctx, tx, userpool.NotFound("user", u.ID), func(sc scanner) error { return sc.Scan(&former.Email) }, `SELECT email FROM users WHERE pool = $1 AND id = $2`, u.Pool, u.ID)
		if err != nil {
			return err
		}
		if err := updateUser(ctx, tx, p, u); err != nil || former.Email == "" || userpool.EmailKey(former.Email) == userpool.EmailKey(u.Email) {
			return err
		}
		return insertLetter(ctx, tx, former)
	})
}

func updateUser(ctx context.Context, tx *txn, p guard.Permit, u userpool.User) error {
	former, attributes, err := userJSON(u)
	if err != nil {
		return err
	}
	var taken int64
	if err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&taken) },
		`SELECT COUNT(*) FROM users WHERE pool = $1 AND login_name = $2 AND id <> $3`, u.Pool, userpool.LoginName(u.UserName), u.ID); err != nil {
		return err
	}
	if taken > 0 {
		return userpool.Exists("user", u.UserName)
	}
	err = must(ctx, tx, userpool.Changed("user", u.ID),
		`UPDATE users SET login_name = $1, user_name = $2, display_name = $3, email = $4, email_verified = $5, phone = $6, password_hash = $7, former_passwords = $8,
		 password_changed = $9, must_change = $10, attributes = $11, external_id = $12, disabled = $13, version = version + 1 WHERE pool = $14 AND id = $15 AND version = $16`,
		userpool.LoginName(u.UserName), u.UserName, u.DisplayName, u.Email, u.EmailVerified, u.Phone, u.PasswordHash.RevealString(), former,
		ms(u.PasswordChangedAt), u.MustChangePassword, attributes, u.ExternalID, u.Disabled, u.Pool, u.ID, u.Version)
	if err != nil {
		return changedOrGone(ctx, tx, err, "user", u.Pool, u.ID, countUser)
	}
	return endVoid(ctx, tx, p, u)
}

// SetPassword implements [userpool.Users].
func (s UserPools) SetPassword(ctx context.Context, p guard.Permit, u userpool.User) error {
	former, _, err := userJSON(u)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionSetPassword, u.Resource(), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.Changed("user", u.ID),
			`UPDATE users SET password_hash = $1, former_passwords = $2, password_changed = $3, must_change = $4, version = version + 1 WHERE pool = $5 AND id = $6 AND version = $7`,
			u.PasswordHash.RevealString(), former, ms(u.PasswordChangedAt), u.MustChangePassword, u.Pool, u.ID, u.Version)
		if err != nil {
			return changedOrGone(ctx, tx, err, "user", u.Pool, u.ID, countUser)
		}
		return endVoid(ctx, tx, p, u)
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
		if _, err := endSessions(ctx, tx, p, `TRUE`, pool, id); err != nil { // before the families go, which know whom to tell
			return err
		}
		if err := s.endUser(ctx, tx, p, pool, id); err != nil {
			return err
		}
		return must(ctx, tx, userpool.NotFound("user", id), `DELETE FROM users WHERE pool = $1 AND id = $2`, pool, id)
	})
}
