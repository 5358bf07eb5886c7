package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Identities keeps external identity providers, links and logins under way; it
// implements [idp.Stores].
type Identities struct{ DB *DB }

const identityColumns = `pool, name, id, title, type, client_id, sealed_secret, issuer, endpoints, scopes, mapping, link_by_email, create_users, upstream_logout,
	enabled, created, updated, version`

func scanIdentity(v *idp.Provider) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&v.Pool, &v.Name, &v.ID, &v.Title, &v.Type, &v.ClientID, &v.SealedSecret, &v.Issuer, jsonText{&v.Endpoints}, scopesText{&v.Scopes}, jsonText{&v.Mapping},
			&v.LinkByVerifiedEmail, &v.CreateUsers, &v.UpstreamLogout, &v.Enabled, timeMS{&v.CreatedAt}, timeMS{&v.UpdatedAt}, &v.Version)
	}
}

// identityJSON returns what of v is stored as JSON.
func identityJSON(v idp.Provider) (endpoints, mapping string, err error) {
	if endpoints, err = toJSON(v.Endpoints); err != nil {
		return "", "", err
	}
	mapping, err = toJSON(v.Mapping)
	return endpoints, mapping, err
}

// CreateProvider implements [idp.Store].
func (s Identities) CreateProvider(ctx context.Context, p guard.Permit, v idp.Provider) error {
	endpoints, mapping, err := identityJSON(v)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, idp.ActionCreate, v.Resource(), func(ctx context.Context, tx *txn) error {
		if err := lockUserPool(ctx, tx, v.Pool); err != nil {
			return err
		}
		return must(ctx, tx, idp.Exists(v.Name),
			`INSERT INTO identity_providers (`+identityColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT DO NOTHING`,
			v.Pool, v.Name, v.ID, v.Title, string(v.Type), v.ClientID, v.SealedSecret, v.Issuer, endpoints, v.Scopes.String(), mapping,
			v.LinkByVerifiedEmail, v.CreateUsers, v.UpstreamLogout, v.Enabled, ms(v.CreatedAt), ms(v.UpdatedAt), v.Version)
	})
}

// Provider implements [idp.Store].
func (s Identities) Provider(ctx context.Context, pool, providerName string) (idp.Provider, error) {
	var v idp.Provider
	err := row(ctx, s.DB.read, idp.NotFound(providerName), scanIdentity(&v),
		`SELECT `+identityColumns+` FROM identity_providers WHERE pool = $1 AND name = $2`, pool, providerName)
	if fault.Is(err, fault.NotFound) {
		return v, idp.NotFound(providerName, s.DB.names(ctx, `SELECT name FROM identity_providers WHERE pool = $1 ORDER BY name LIMIT 1000`, pool)...)
	}
	return v, err
}

// Providers implements [idp.Store].
func (s Identities) Providers(ctx context.Context, pool string) ([]idp.Provider, error) {
	var list []idp.Provider
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var v idp.Provider
		err := scanIdentity(&v)(sc)
		list = append(list, v)
		return err
	}, `SELECT `+identityColumns+` FROM identity_providers WHERE pool = $1 ORDER BY name`, pool)
	return list, err
}

// UpdateProvider implements [idp.Store].
func (s Identities) UpdateProvider(ctx context.Context, p guard.Permit, v idp.Provider) error {
	endpoints, mapping, err := identityJSON(v)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, idp.ActionUpdate, v.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, idp.Changed(v.Name),
			`UPDATE identity_providers SET title = $1, client_id = $2, sealed_secret = $3, issuer = $4, endpoints = $5, scopes = $6, mapping = $7, link_by_email = $8,
			 create_users = $9, upstream_logout = $10, enabled = $11, updated = $12, version = $13 WHERE pool = $14 AND name = $15 AND id = $16 AND version = $17`,
			v.Title, v.ClientID, v.SealedSecret, v.Issuer, endpoints, v.Scopes.String(), mapping, v.LinkByVerifiedEmail,
			v.CreateUsers, v.UpstreamLogout, v.Enabled, ms(v.UpdatedAt), v.Version, v.Pool, v.Name, v.ID, v.Version-1)
	})
}

// DeleteProvider implements [idp.Store].
func (s Identities) DeleteProvider(ctx context.Context, p guard.Permit, pool, providerName string) error {
	return s.DB.change(ctx, p, idp.ActionDelete, idp.Resource(pool, providerName), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, idp.NotFound(providerName), `DELETE FROM identity_providers WHERE pool = $1 AND name = $2`, pool, providerName)
	})
}

// CreateLink implements [idp.Links].
func (s Identities) CreateLink(ctx context.Context, p guard.Permit, l idp.Link) error {
	return s.DB.change(ctx, p, idp.ActionCreateLink, idp.UserResource(l.Pool, l.UserID), func(ctx context.Context, tx *txn) error {
		if err := lockUser(ctx, tx, l.Pool, l.UserID); err != nil {
			return err
		}
		err := must(ctx, tx, idp.LinkExists(),
			`INSERT INTO identity_links (pool, provider_id, issuer, subject, user_id, name, created) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			l.Pool, l.ProviderID, l.Issuer, l.Subject, l.UserID, l.Name, ms(l.CreatedAt))
		if foreign(err) {
			return idp.NotFound(l.ProviderID)
		}
		return err
	})
}

// Link implements [idp.Links].
func (s Identities) Link(ctx context.Context, pool, providerID, issuer, subject string) (idp.Link, error) {
	l := idp.Link{Pool: pool, ProviderID: providerID, Issuer: issuer, Subject: subject}
	err := row(ctx, s.DB.read, idp.LinkNotFound(), func(sc scanner) error { return sc.Scan(&l.UserID, &l.Name, timeMS{&l.CreatedAt}) },
		`SELECT user_id, name, created FROM identity_links WHERE pool = $1 AND provider_id = $2 AND issuer = $3 AND subject = $4`, pool, providerID, issuer, subject)
	return l, err
}

// LinksOf implements [idp.Links].
func (s Identities) LinksOf(ctx context.Context, pool, userID string) ([]idp.Link, error) {
	var list []idp.Link
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		l := idp.Link{Pool: pool, UserID: userID}
		err := sc.Scan(&l.ProviderID, &l.Issuer, &l.Subject, &l.Name, timeMS{&l.CreatedAt})
		list = append(list, l)
		return err
	}, `SELECT provider_id, issuer, subject, name, created FROM identity_links WHERE pool = $1 AND user_id = $2 ORDER BY created, provider_id, issuer, subject`, pool, userID)
	return list, err
}

// DeleteLink implements [idp.Links].
func (s Identities) DeleteLink(ctx context.Context, p guard.Permit, l idp.Link) error {
	return s.DB.change(ctx, p, idp.ActionDeleteLink, idp.UserResource(l.Pool, l.UserID), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, idp.LinkNotFound(), `DELETE FROM identity_links WHERE pool = $1 AND user_id = $2 AND provider_id = $3 AND issuer = $4 AND subject = $5`,
			l.Pool, l.UserID, l.ProviderID, l.Issuer, l.Subject)
	})
}

// VerifiedUsers implements [idp.Links].
func (s Identities) VerifiedUsers(ctx context.Context, pool, email string) ([]string, error) {
	var ids []string
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var id string
		err := sc.Scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT id FROM users WHERE pool = $1 AND lower(email) = $2 AND email_verified ORDER BY id LIMIT 2`, pool, userpool.EmailKey(email))
	return ids, err
}

// BeginLogin implements [idp.Logins].
func (s Identities) BeginLogin(ctx context.Context, p guard.Permit, l idp.Login) error {
	return s.DB.change(ctx, p, idp.ActionBegin, l.Resource(), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, idp.LoginGone(),
			`INSERT INTO identity_logins (state_hash, id, pool, provider_id, browser_hash, nonce, sealed_verifier, return_to, user_id, session_id, expires)
			 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`,
			l.Hash.String(), l.ID, l.Pool, l.ProviderID, l.Browser.String(), l.Nonce, l.SealedVerifier, l.ReturnTo, l.UserID, l.SessionID, ms(l.ExpiresAt))
		if foreign(err) {
			return idp.NotFound(l.ProviderID)
		}
		return err
	})
}

// Login implements [idp.Logins].
func (s Identities) Login(ctx context.Context, pool string, state secret.Hash) (idp.Login, error) {
	l := idp.Login{Pool: pool, Hash: state}
	var browser string
	err := row(ctx, s.DB.read, idp.LoginGone(), func(sc scanner) error {
		return sc.Scan(&l.ID, &l.ProviderID, &browser, &l.Nonce, &l.SealedVerifier, &l.ReturnTo, &l.UserID, &l.SessionID, timeMS{&l.ExpiresAt})
	}, `SELECT id, provider_id, browser_hash, nonce, sealed_verifier, return_to, user_id, session_id, expires FROM identity_logins WHERE state_hash = $1 AND pool = $2`, state.String(), pool)
	if err != nil {
		return idp.Login{}, err
	}
	l.Browser, err = secret.ParseHash(browser)
	return l, err
}

// FinishLogin implements [idp.Logins].
func (s Identities) FinishLogin(ctx context.Context, p guard.Permit, l idp.Login) error {
	return s.DB.change(ctx, p, idp.ActionFinish, l.Resource(), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, idp.LoginGone(), `DELETE FROM identity_logins WHERE pool = $1 AND id = $2 AND state_hash = $3`, l.Pool, l.ID, l.Hash.String())
	})
}

// SweepLogins implements [idp.Logins].
func (s Identities) SweepLogins(ctx context.Context, p guard.Permit, t time.Time) (int, error) {
	return s.DB.sweep(ctx, p, idp.ActionSweep, idp.SweepResource(), func(ctx context.Context, tx *txn) (int64, error) {
		return exec(ctx, tx, `DELETE FROM identity_logins WHERE expires < $1`, ms(t))
	})
}
