package store

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

const clientColumns = `pool, id, name, type, secret_hash, redirect_uris, logout_uris, scopes, token_lifetime, settings, created, version`

// clientSettings is what of a client nothing is ever looked for by.
type clientSettings struct {
	DisplayName          string                `json:"displayName,omitempty"`
	Origin               userpool.ClientOrigin `json:"origin"`
	AuthMethod           string                `json:"authMethod"`
	Keys                 string                `json:"keys,omitempty"`
	KeysURI              string                `json:"keysUri,omitempty"`
	Algorithm            string                `json:"algorithm,omitempty"`
	Grants               []string              `json:"grants"`
	BackchannelLogoutURI string                `json:"backchannelLogoutUri,omitempty"`
	Audiences            []string              `json:"audiences,omitempty"`
	RequirePushed        bool                  `json:"requirePushed,omitempty"`
	RefreshLifetime      time.Duration         `json:"refreshLifetime"`
	RefreshIdle          time.Duration         `json:"refreshIdle"`
	RegistrationHash     string                `json:"registrationHash,omitempty"`
}

func scanClient(c *userpool.Client) func(scanner) error {
	return func(sc scanner) error {
		var v clientSettings
		err := sc.Scan(&c.Pool, &c.ID, &c.Name, &c.Type, &c.SecretHash, jsonText{&c.RedirectURIs}, jsonText{&c.PostLogoutRedirectURIs}, scopesText{&c.Scopes}, &c.AccessTokenLifetime,
			jsonText{&v}, timeMS{&c.CreatedAt}, &c.Version)
		c.DisplayName = v.DisplayName
		c.Origin, c.AuthMethod, c.Keys, c.KeysURI, c.Algorithm, c.Grants = v.Origin, v.AuthMethod, v.Keys, v.KeysURI, v.Algorithm, v.Grants
		c.BackchannelLogoutURI, c.Audiences, c.RequirePushed = v.BackchannelLogoutURI, v.Audiences, v.RequirePushed
		c.RefreshLifetime, c.RefreshIdle, c.RegistrationHash = v.RefreshLifetime, v.RefreshIdle, v.RegistrationHash
		return err
	}
}

// CreateClient implements [userpool.Clients].
func (s UserPools) CreateClient(ctx context.Context, p guard.Permit, c userpool.Client) error {
	return s.DB.change(ctx, p, userpool.ActionCreateClient, c.Resource(), func(ctx context.Context, tx *txn) error { return insertClient(ctx, tx, c) })
}

func insertClient(ctx context.Context, tx *txn, c userpool.Client) error {
	uris, logout, settings, err := clientJSON(c)
	if err != nil {
		return err
	}
	if err := lockUserPool(ctx, tx, c.Pool); err != nil {
		return err
	}
	return must(ctx, tx, userpool.Exists("client", c.Name),
		`INSERT INTO clients (`+clientColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1) ON CONFLICT DO NOTHING`,
		c.Pool, c.ID, c.Name, string(c.Type), c.SecretHash, uris, logout, c.Scopes.String(), int64(c.AccessTokenLifetime), settings, ms(c.CreatedAt))
}

// clientJSON returns what of c is stored as JSON.
func clientJSON(c userpool.Client) (uris, logout, settings string, err error) {
	if uris, err = toJSON(c.RedirectURIs); err != nil {
		return "", "", "", err
	}
	if logout, err = toJSON(c.PostLogoutRedirectURIs); err != nil {
		return "", "", "", err
	}
	settings, err = toJSON(clientSettings{
		c.DisplayName, c.Origin, c.AuthMethod, c.Keys, c.KeysURI, c.Algorithm, c.Grants, c.BackchannelLogoutURI, c.Audiences, c.RequirePushed,
		c.RefreshLifetime, c.RefreshIdle, c.RegistrationHash,
	})
	return uris, logout, settings, err
}

// Client implements [userpool.Clients].
func (s UserPools) Client(ctx context.Context, pool, id string) (userpool.Client, error) {
	c, err := s.DB.clients.find(clientKey{pool, id}, func() (userpool.Client, error) {
		var c userpool.Client
		err := row(ctx, s.DB.read, userpool.NotFound("client", id), scanClient(&c), `SELECT `+clientColumns+` FROM clients WHERE pool = $1 AND id = $2`, pool, id)
		return c, err
	})
	for _, list := range []*[]string{&c.Grants, &c.RedirectURIs, &c.PostLogoutRedirectURIs, &c.Audiences} {
		*list = slices.Clone(*list) // the caller may change them, and what is remembered is shared
	}
	return c, err
}

type clientKey struct{ pool, id string }

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
	uris, logout, settings, err := clientJSON(c)
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
			`UPDATE clients SET name = $1, type = $2, secret_hash = $3, redirect_uris = $4, logout_uris = $5, scopes = $6, token_lifetime = $7, settings = $8,
			 version = version + 1 WHERE pool = $9 AND id = $10 AND version = $11`,
			c.Name, string(c.Type), c.SecretHash, uris, logout, c.Scopes.String(), int64(c.AccessTokenLifetime), settings, c.Pool, c.ID, c.Version)
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

// ConsentsOf implements [userpool.Consents].
func (s UserPools) ConsentsOf(ctx context.Context, pool, userID string) ([]userpool.Consent, error) {
	var list []userpool.Consent
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		c := userpool.Consent{Pool: pool, UserID: userID}
		err := sc.Scan(&c.ClientID, scopesText{&c.Scopes}, timeMS{&c.GrantedAt})
		list = append(list, c)
		return err
	}, `SELECT client_id, scopes, granted FROM consents WHERE pool = $1 AND user_id = $2 ORDER BY client_id`, pool, userID)
	return list, err
}

// DeleteConsent implements [userpool.Consents].
func (s UserPools) DeleteConsent(ctx context.Context, p guard.Permit, c userpool.Consent) error {
	return s.DB.change(ctx, p, userpool.ActionDeleteConsent, c.Resource(), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.NotFound("consent", ""), `DELETE FROM consents WHERE pool = $1 AND user_id = $2 AND client_id = $3`, c.Pool, c.UserID, c.ClientID)
		if err != nil {
			return err
		}
		return endWithConsent(ctx, tx, p, c)
	})
}
