package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/provider"
)

// Providers keeps credential providers; it implements [provider.Store].
type Providers struct{ DB *DB }

const providerColumns = `pool, name, id, type, vendor, flow, client_id, sealed_secret, scopes, endpoints, options, version, created, updated`

func scanProvider(v *provider.Provider) func(scanner) error {
	return func(sc scanner) error {
		return sc.Scan(&v.Pool, &v.Name, &v.ID, &v.Type, &v.Vendor, &v.Flow, &v.ClientID, &v.SealedSecret,
			scopesText{&v.Scopes}, jsonText{&v.Endpoints}, jsonText{&v.Options}, &v.Version, timeMS{&v.Created}, timeMS{&v.Updated})
	}
}

// CreateProvider implements [provider.Store].
func (s Providers) CreateProvider(ctx context.Context, p guard.Permit, v provider.Provider) error {
	endpoints, options, err := settingsJSON(v)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, provider.ActionCreate, provider.Resource(v.Pool, v.Name), func(ctx context.Context, tx *txn) error {
		if err := lockPool(ctx, tx, v.Pool); err != nil {
			return err
		}
		return must(ctx, tx, fault.New(fault.Conflict, "provider_exists", "there is a credential provider %q in pool %q already", v.Name, v.Pool),
			`INSERT INTO providers (`+providerColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING`,
			v.Pool, v.Name, v.ID, string(v.Type), v.Vendor, string(v.Flow), v.ClientID, v.SealedSecret, v.Scopes.String(), endpoints, options, v.Version, ms(v.Created), ms(v.Updated))
	})
}

// settingsJSON returns what of v is kept as JSON.
func settingsJSON(v provider.Provider) (endpoints, options string, err error) {
	if endpoints, err = toJSON(v.Endpoints); err != nil {
		return "", "", err
	}
	options, err = toJSON(v.Options)
	return endpoints, options, err
}

// UpdateProvider implements [provider.Store].
func (s Providers) UpdateProvider(ctx context.Context, p guard.Permit, v provider.Provider) error {
	return s.update(ctx, p, v, func(context.Context, *txn) error { return nil })
}

// MoveProvider implements [provider.Store].
func (s Providers) MoveProvider(ctx context.Context, p guard.Permit, v provider.Provider) error {
	return s.update(ctx, p, v, func(ctx context.Context, tx *txn) error {
		var tokens int64
		err := row(ctx, tx, nil, func(sc scanner) error { return sc.Scan(&tokens) },
			`SELECT (SELECT COUNT(*) FROM grants WHERE pool = $1 AND provider = $2) + (SELECT COUNT(*) FROM revocations WHERE provider_id = $3)`, v.Pool, v.Name, v.ID)
		if err == nil && tokens > 0 {
			return provider.HasGrants(v)
		}
		return err
	})
}

// update replaces the provider if, in the same transaction, check agrees after the
// row is locked, so that no grant of the version before can come in between.
func (s Providers) update(ctx context.Context, p guard.Permit, v provider.Provider, check func(context.Context, *txn) error) error {
	endpoints, options, err := settingsJSON(v)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, provider.ActionUpdate, provider.Resource(v.Pool, v.Name), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, fault.New(fault.Conflict, "provider_changed", "credential provider %q was changed or deleted in between", v.Name).WithFix("read it again and repeat the change"),
			`UPDATE providers SET vendor = $1, client_id = $2, sealed_secret = $3, scopes = $4, endpoints = $5, options = $6, version = $7, updated = $8
			 WHERE pool = $9 AND name = $10 AND id = $11 AND version = $12`,
			v.Vendor, v.ClientID, v.SealedSecret, v.Scopes.String(), endpoints, options, v.Version, ms(v.Updated), v.Pool, v.Name, v.ID, v.Version-1)
		if err != nil {
			return err
		}
		return check(ctx, tx)
	})
}

// DeleteProvider implements [provider.Store].
func (s Providers) DeleteProvider(ctx context.Context, p guard.Permit, pool, providerName string) error {
	return s.DB.change(ctx, p, provider.ActionDelete, provider.Resource(pool, providerName), func(ctx context.Context, tx *txn) error {
		if err := endProvider(ctx, tx, p, pool, providerName); err != nil {
			return err
		}
		return inUse(must(ctx, tx, provider.NotFound(pool, providerName, nil), `DELETE FROM providers WHERE pool = $1 AND name = $2`, pool, providerName), "provider")
	})
}

// Provider implements [provider.Store].
func (s Providers) Provider(ctx context.Context, pool, providerName string) (provider.Provider, error) {
	var v provider.Provider
	err := row(ctx, s.DB.read, provider.NotFound(pool, providerName, nil), scanProvider(&v),
		`SELECT `+providerColumns+` FROM providers WHERE pool = $1 AND name = $2`, pool, providerName)
	if fault.Is(err, fault.NotFound) {
		return v, s.DB.providerNotFound(ctx, pool, providerName)
	}
	return v, err
}

func (db *DB) providerNotFound(ctx context.Context, pool, providerName string) error {
	return provider.NotFound(pool, providerName, db.names(ctx, `SELECT name FROM providers WHERE pool = $1 ORDER BY name LIMIT 1000`, pool))
}

// ProviderByID implements [provider.Store].
func (s Providers) ProviderByID(ctx context.Context, id string) (provider.Provider, error) {
	var v provider.Provider
	err := row(ctx, s.DB.read, provider.NotFound("", id, nil), scanProvider(&v), `SELECT `+providerColumns+` FROM providers WHERE id = $1`, id)
	return v, err
}

// Providers implements [provider.Store].
func (s Providers) Providers(ctx context.Context, pool string) ([]provider.Provider, error) {
	if _, err := (Workloads{s.DB}).WorkloadPool(ctx, pool); err != nil {
		return nil, err
	}
	var list []provider.Provider
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var v provider.Provider
		err := scanProvider(&v)(sc)
		list = append(list, v)
		return err
	}, `SELECT `+providerColumns+` FROM providers WHERE pool = $1 ORDER BY name`, pool)
	return list, err
}
