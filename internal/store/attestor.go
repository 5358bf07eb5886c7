package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/guard"
)

// Attestors keeps attestors; it implements [attestor.Store].
type Attestors struct{ DB *DB }

const attestorColumns = `id, pool, name, settings, sealed, version, created, updated`

func attestorFrom(sc scanner) (attestor.Attestor, error) {
	var a attestor.Attestor
	err := sc.Scan(&a.ID, &a.Pool, &a.Name, jsonText{&a.Settings}, &a.Sealed, &a.Version, timeMS{&a.Created}, timeMS{&a.Updated})
	return a, err
}

// CreateAttestor implements [attestor.Store].
func (s Attestors) CreateAttestor(ctx context.Context, p guard.Permit, a attestor.Attestor) error {
	settings, err := toJSON(a.Settings)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, attestor.ActionCreate, attestor.Resource(a.Pool, a.Name), func(ctx context.Context, tx *txn) error {
		if err := lockPool(ctx, tx, a.Pool); err != nil {
			return err
		}
		return must(ctx, tx, attestor.Exists(a.Name), `INSERT INTO attestors (`+attestorColumns+`, issuer) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			a.ID, a.Pool, a.Name, settings, a.Sealed, a.Version, ms(a.Created), ms(a.Updated), a.Issuer)
	})
}

// UpdateAttestor implements [attestor.Store].
func (s Attestors) UpdateAttestor(ctx context.Context, p guard.Permit, a attestor.Attestor) error {
	settings, err := toJSON(a.Settings)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, attestor.ActionUpdate, attestor.Resource(a.Pool, a.Name), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, attestor.Changed(a.Name), `UPDATE attestors SET settings = $1, sealed = $2, version = $3, updated = $4, issuer = $5 WHERE id = $6 AND version = $7`,
			settings, a.Sealed, a.Version, ms(a.Updated), a.Issuer, a.ID, a.Version-1)
	})
}

// Attestor implements [attestor.Store].
func (s Attestors) Attestor(ctx context.Context, pool, attestorName string) (attestor.Attestor, error) {
	list, err := s.list(ctx, `pool = $1 AND name = $2`, pool, attestorName)
	if err != nil {
		return attestor.Attestor{}, err
	}
	if len(list) == 0 {
		return attestor.Attestor{}, attestor.NotFound(attestorName, s.DB.names(ctx, `SELECT name FROM attestors WHERE pool = $1 ORDER BY name LIMIT 1000`, pool))
	}
	return list[0], nil
}

// Attestors implements [attestor.Store].
func (s Attestors) Attestors(ctx context.Context, pool string) ([]attestor.Attestor, error) {
	if _, err := (Workloads{s.DB}).WorkloadPool(ctx, pool); err != nil {
		return nil, err
	}
	return s.list(ctx, `pool = $1`, pool)
}

// AttestorsOf implements [attestor.Store].
func (s Attestors) AttestorsOf(ctx context.Context, issuers ...string) ([]attestor.Attestor, error) {
	each, args := make([]string, len(issuers)), make([]any, len(issuers))
	for i, issuer := range issuers {
		each[i], args[i] = fmt.Sprintf("issuer = $%d", i+1), issuer
	}
	if len(each) == 0 {
		return nil, nil
	}
	return s.list(ctx, strings.Join(each, " OR "), args...)
}

func (s Attestors) list(ctx context.Context, where string, args ...any) ([]attestor.Attestor, error) {
	var list []attestor.Attestor
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		a, err := attestorFrom(sc)
		list = append(list, a)
		return err
	}, `SELECT `+attestorColumns+` FROM attestors WHERE `+where+` ORDER BY pool, name`, args...)
	return list, err
}

// DeleteAttestor implements [attestor.Store].
func (s Attestors) DeleteAttestor(ctx context.Context, p guard.Permit, pool, attestorName string) error {
	return s.DB.change(ctx, p, attestor.ActionDelete, attestor.Resource(pool, attestorName), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, attestor.NotFound(attestorName, nil), `DELETE FROM attestors WHERE pool = $1 AND name = $2`, pool, attestorName)
	})
}
