// Package factortest is the suite that holds every implementation of the factors' stores to their contract, and a memory implementation for tests.
package factortest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
)

// Memory is an implementation of both stores for tests of other packages. It
// takes every user for one that exists. The zero Memory is empty and usable.
type Memory struct {
	Log guard.Recorder // gets the entry of every change; nil: nobody does

	mu      sync.Mutex
	factors []factor.Factor
	codes   map[code]bool // whether it was used
}

type code struct {
	owner factor.Owner
	hash  secret.Hash
}

var _ factor.Stores = (*Memory)(nil)

// change runs do under the lock and, if it succeeds, records the permit's entry.
func (m *Memory) change(ctx context.Context, p guard.Permit, a guard.Action, r guard.Resource, do func() error) error {
	if err := p.Check(a, r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := do(); err != nil || m.Log == nil {
		return err
	}
	return m.Log.Append(ctx, p.Entry())
}

// find returns the place of the user's factor, or -1. The lock is held.
func (m *Memory) find(f factor.Factor) int {
	return slices.IndexFunc(m.factors, func(o factor.Factor) bool { return o.ID == f.ID && o.Owner == f.Owner })
}

// AddFactor implements [factor.Store].
func (m *Memory) AddFactor(ctx context.Context, p guard.Permit, f factor.Factor) error {
	return m.change(ctx, p, factor.ActionAdd, f.Resource(), func() error {
		if slices.ContainsFunc(m.factors, func(o factor.Factor) bool {
			return (f.Kind == factor.TOTP && o.Kind == f.Kind && o.Owner == f.Owner) ||
				(f.Kind == factor.Passkey && o.Owner.Pool == f.Owner.Pool && bytes.Equal(o.Credential.ID, f.Credential.ID))
		}) {
			return factor.Exists(f.Kind)
		}
		f.CreatedAt, f.LastUsedAt = kept(f.CreatedAt), kept(f.LastUsedAt)
		m.factors = append(m.factors, f)
		return nil
	})
}

// Factors implements [factor.Store].
func (m *Memory) Factors(_ context.Context, o factor.Owner) ([]factor.Factor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.factors), func(f factor.Factor) bool { return f.Owner != o }), nil
}

// PasskeyOf implements [factor.Store].
func (m *Memory) PasskeyOf(_ context.Context, pool string, credentialID []byte) (factor.Factor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.factors {
		if f.Owner.Pool == pool && f.Kind == factor.Passkey && bytes.Equal(f.Credential.ID, credentialID) {
			return f, nil
		}
	}
	return factor.Factor{}, factor.NotFound()
}

// UseFactor implements [factor.Store].
func (m *Memory) UseFactor(ctx context.Context, p guard.Permit, f factor.Factor, was int64) error {
	return m.change(ctx, p, factor.ActionUse, f.Resource(), func() error {
		i := m.find(f)
		if i < 0 {
			return factor.NotFound()
		}
		if m.factors[i].Counter != was {
			return factor.Used()
		}
		m.factors[i].Counter, m.factors[i].LastUsedAt = f.Counter, kept(f.LastUsedAt)
		return nil
	})
}

// RenameFactor implements [factor.Store].
func (m *Memory) RenameFactor(ctx context.Context, p guard.Permit, f factor.Factor) error {
	return m.change(ctx, p, factor.ActionRename, f.Resource(), func() error {
		i := m.find(f)
		if i < 0 {
			return factor.NotFound()
		}
		m.factors[i].Name = f.Name
		return nil
	})
}

// RemoveFactor implements [factor.Store].
func (m *Memory) RemoveFactor(ctx context.Context, p guard.Permit, f factor.Factor) error {
	return m.change(ctx, p, factor.ActionRemove, f.Resource(), func() error {
		i := m.find(f)
		if i < 0 {
			return factor.NotFound()
		}
		m.factors = slices.Delete(m.factors, i, i+1)
		return nil
	})
}

// ResetFactors implements [factor.Store].
func (m *Memory) ResetFactors(ctx context.Context, p guard.Permit, o factor.Owner) error {
	return m.change(ctx, p, factor.ActionReset, o.Resource(), func() error {
		m.factors = slices.DeleteFunc(m.factors, func(f factor.Factor) bool { return f.Owner == o })
		m.dropCodes(o)
		return nil
	})
}

func (m *Memory) dropCodes(o factor.Owner) {
	for c := range m.codes {
		if c.owner == o {
			delete(m.codes, c)
		}
	}
}

// SetRecovery implements [factor.Recovery].
func (m *Memory) SetRecovery(ctx context.Context, p guard.Permit, o factor.Owner, hashes []secret.Hash) error {
	return m.change(ctx, p, factor.ActionSetRecovery, o.Resource(), func() error {
		m.dropCodes(o)
		if m.codes == nil {
			m.codes = map[code]bool{}
		}
		for _, h := range hashes {
			m.codes[code{o, h}] = false
		}
		return nil
	})
}

// RecoveryLeft implements [factor.Recovery].
func (m *Memory) RecoveryLeft(_ context.Context, o factor.Owner) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for c, used := range m.codes {
		if c.owner == o && !used {
			n++
		}
	}
	return n, nil
}

// UseRecovery implements [factor.Recovery].
func (m *Memory) UseRecovery(ctx context.Context, p guard.Permit, o factor.Owner, hash secret.Hash, _ time.Time) error {
	return m.change(ctx, p, factor.ActionUseRecovery, o.Resource(), func() error {
		if used, there := m.codes[code{o, hash}]; used || !there {
			return factor.NotFound()
		}
		m.codes[code{o, hash}] = true
		return nil
	})
}
