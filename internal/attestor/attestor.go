// Package attestor knows who vouches for workloads that Deputy did not launch: clusters and SPIFFE trust domains, and which of their subjects is which workload.
package attestor

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions that permits are given for, all on [Resource].
const (
	ActionCreate guard.Action = "attestor.create"
	ActionUpdate guard.Action = "attestor.update"
	ActionDelete guard.Action = "attestor.delete"
	// ActionVouch is only ever refused: a proof that is good, of a subject that is no workload, or two.
	ActionVouch guard.Action = "attestor.vouch"
)

// Resource is what permits for an attestor name.
func Resource(pool, attestorName string) guard.Resource {
	return guard.Resource{Kind: "attestor", Pool: pool, ID: attestorName}
}

// NotFound is the fault for an attestor that does not exist; existing are the names
// that its pool has.
func NotFound(attestorName string, existing []string) *fault.Error {
	return fault.New(fault.NotFound, "attestor_not_found", "there is no attestor %q", name.Clip(attestorName, 80)).
		WithFix("%s", name.DidYouMean(attestorName, existing, "see: deputy attestor list"))
}

// Exists is the fault for a second attestor of one name.
func Exists(attestorName string) error {
	return fault.New(fault.Conflict, "attestor_exists", "there is an attestor %q already", name.Clip(attestorName, 80)).WithFix("choose another name, or update that one")
}

// Changed is the fault for an update of a version that is not the present one.
func Changed(attestorName string) error {
	return fault.New(fault.Conflict, "attestor_changed", "the attestor %q was changed in between", name.Clip(attestorName, 80)).WithFix("read it again, then change it")
}

// Kind is a kind of attestors.
type Kind string

// The kinds.
const (
	Kubernetes Kind = "kubernetes" // a cluster, which makes tokens for the service accounts of its pods
	SPIFFE     Kind = "spiffe"     // a trust domain, which makes JWT-SVIDs
)

// Attestor vouches for workloads of one pool.
type Attestor struct {
	ID   string // "att_…"
	Pool string
	Name string // unique in its pool
	Settings
	Sealed  []byte // the reviewer's token; empty for none
	Version int64  // from 1; grows with each change
	Created time.Time
	Updated time.Time
}

func (a Attestor) place() keys.Place {
	return keys.Place{Kind: "attestor.reviewer", Pool: a.Pool, Record: a.ID, Version: a.Version}
}

// Settings is what an operator says about an attestor.
type Settings struct {
	Kind Kind `json:"kind"`
	// Issuer is the iss of a cluster's tokens, or the trust domain as "spiffe://example.org".
	Issuer string `json:"issuer"`
	// Audience is what proofs must be for, and nothing else; "" is Deputy's public URL.
	Audience string `json:"audience,omitempty"`
	// Where the keys are that verify proofs. None of the three: the discovery document of Issuer tells, which a trust
	// domain has none of.
	KeysURL   string `json:"keysUrl,omitempty"`
	BundleURL string `json:"bundleUrl,omitempty"` // of a SPIFFE trust bundle (profile https_web)
	Server    string `json:"server,omitempty"`    // of an API server, which has the keys, and is asked about each token besides
	// Authority is the certificate authority, in PEM, of whoever is asked for keys or reviews; "" for those of the system.
	Authority string `json:"authority,omitempty"`
	Rules     []Rule `json:"rules"`
	// Reviewer is the bearer token with which Server is asked.
	Reviewer secret.Text `json:"-"`
}

// Store keeps attestors, which go with their pool. A write begins with
// Permit.Check for the named action on [Resource] and commits the permit's entry
// together with the change. One not found is the fault of [NotFound].
type Store interface {
	// CreateAttestor needs a permit for ActionCreate. It returns the faults of [Exists], and of
	// workload.PoolNotFound.
	CreateAttestor(ctx context.Context, p guard.Permit, a Attestor) error
	// UpdateAttestor replaces the attestor whose version is a.Version-1, else it returns the fault of [Changed]. It
	// needs a permit for ActionUpdate.
	UpdateAttestor(ctx context.Context, p guard.Permit, a Attestor) error
	Attestor(ctx context.Context, pool, attestorName string) (Attestor, error)
	// Attestors returns those of a pool, by name.
	Attestors(ctx context.Context, pool string) ([]Attestor, error)
	// AttestorsOf returns those of all pools that have one of the issuers, by pool and name.
	AttestorsOf(ctx context.Context, issuers ...string) ([]Attestor, error)
	// DeleteAttestor needs a permit for ActionDelete.
	DeleteAttestor(ctx context.Context, p guard.Permit, pool, attestorName string) error
}

// Registry creates, changes and deletes attestors. All fields are required.
type Registry struct {
	Store  Store
	Sealer Sealer
	Trust  *Trust // with which the settings are tried before they are saved
	Guard  *guard.Guard
	Now    func() time.Time
}

// Sealer seals the reviewers' tokens; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Create makes an attestor, once it has shown its keys, and has reviewed a token if
// it is to.
func (r *Registry) Create(ctx context.Context, c name.Caller, pool, attestorName string, s Settings) (Attestor, error) {
	p, err := r.Guard.Allow(ctx, c, ActionCreate, Resource(pool, attestorName))
	if err != nil {
		return Attestor{}, err
	}
	if err := name.Check("attestor", attestorName); err != nil {
		return Attestor{}, err
	}
	now := r.Now().UTC().Truncate(time.Millisecond)
	made := Attestor{ID: name.NewID("att"), Pool: pool, Name: attestorName, Version: 1, Created: now, Updated: now}
	if err := r.apply(ctx, &made, s); err != nil {
		return Attestor{}, err
	}
	return made, r.Store.CreateAttestor(ctx, p.Detail(s.detail()), made)
}

// Update replaces the settings of an attestor. Without a reviewer's token the one
// that it has stays, for the same API server.
func (r *Registry) Update(ctx context.Context, c name.Caller, pool, attestorName string, s Settings) (Attestor, error) {
	p, err := r.Guard.Allow(ctx, c, ActionUpdate, Resource(pool, attestorName))
	if err != nil {
		return Attestor{}, err
	}
	a, err := r.Store.Attestor(ctx, pool, attestorName)
	if err != nil {
		return Attestor{}, err
	}
	// Another server must not be sent the token of the one before.
	if s.Reviewer.Empty() && len(a.Sealed) > 0 && s.Server == a.Server {
		if s.Reviewer, err = r.Sealer.Open(ctx, a.place(), a.Sealed); err != nil {
			return Attestor{}, err
		}
		defer s.Reviewer.Clear()
	}
	a.Version++
	a.Updated = r.Now().UTC().Truncate(time.Millisecond)
	if err := r.apply(ctx, &a, s); err != nil {
		return Attestor{}, err
	}
	return a, r.Store.UpdateAttestor(ctx, p.Detail(s.detail()), a)
}

// apply checks and tries settings, and puts them into a.
func (r *Registry) apply(ctx context.Context, a *Attestor, s Settings) error {
	if err := s.check(); err != nil {
		return err
	}
	if err := r.Trust.try(ctx, s); err != nil {
		return err
	}
	a.Sealed = []byte{} // a null would not be stored
	if !s.Reviewer.Empty() {
		sealed, err := r.Sealer.Seal(ctx, a.place(), s.Reviewer)
		if err != nil {
			return err
		}
		a.Sealed = sealed
	}
	a.Settings = s
	a.Reviewer = secret.Text{}
	a.Rules = slices.Clone(s.Rules)
	return nil
}

// Delete deletes an attestor. What it vouched for gets no tokens any more; those
// that are there end by themselves.
func (r *Registry) Delete(ctx context.Context, c name.Caller, pool, attestorName string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(pool, attestorName))
	if err != nil {
		return err
	}
	return r.Store.DeleteAttestor(ctx, p, pool, attestorName)
}
