// Package keys keeps the key hierarchy: a root key wraps data keys, one per workload pool and version; data keys seal records; and signing keys are records too.
//
// A sealed record opens only in its [Place]. Moved to another user's row, or
// put under another version number, it fails to open (DESIGN.md rule 2).
package keys

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions that keys are made under.
const (
	ActionCreateDataKey    guard.Action = "datakey.create"    // on {datakey, pool, version}
	ActionCreateSigningKey guard.Action = "signingkey.create" // on {signingkey, owner, id}
	ActionSweepSigningKeys guard.Action = "signingkey.sweep"  // on SweepResource
)

// Place says where a sealed record belongs. Every field is part of the
// associated data; unused ones stay zero.
type Place struct {
	Kind     string    // "grant.tokens", "provider.secret", …
	Pool     string    // workload pool or user pool; also selects the data key
	Provider string    // credential provider
	User     name.User // whose record it is
	Record   string    // the record's id
	Version  int64     // the record's version
}

// encode returns an injective encoding: each field with its length before it.
func (p Place) encode() []byte {
	var b []byte
	for _, s := range []string{"deputy/place/1", p.Kind, p.Pool, p.Provider, p.User.Issuer, p.User.Subject, p.Record} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(p.Version))
}

// DataKey is a wrapped data key as the store keeps it.
type DataKey struct {
	Pool    string
	Version int64 // from 1
	Wrapped []byte
	Created time.Time
}

// Store keeps wrapped keys.
type Store interface {
	// DataKeys returns the data keys of all pools.
	DataKeys(ctx context.Context) ([]DataKey, error)
	// AddDataKey adds a key with a permit for ActionCreateDataKey. It returns a
	// fault of kind Conflict when this version of this pool exists: another replica was faster.
	AddDataKey(ctx context.Context, p guard.Permit, k DataKey) error
	// SigningKeys returns the signing keys of an owner, oldest first.
	SigningKeys(ctx context.Context, owner string) ([]SigningKey, error)
	// AddSigningKey adds a key with a permit for ActionCreateSigningKey and, if othersUntil is not zero,
	// sets it as PublishedUntil of the owner's other keys of that algorithm that have none. It returns a fault
	// of kind Conflict when the owner has a key with this generation already.
	AddSigningKey(ctx context.Context, p guard.Permit, k SigningKey, othersUntil time.Time) error
	// SweepSigningKeys removes the keys of all owners whose PublishedUntil is before t, with a permit for
	// ActionSweepSigningKeys. The entry is committed only when something was removed.
	SweepSigningKeys(ctx context.Context, p guard.Permit, t time.Time) error
}

// Ring seals and opens records. It is safe for concurrent use.
type Ring struct {
	root  Root
	store Store
	guard *guard.Guard
	now   func() time.Time

	mu   sync.RWMutex
	keys map[dataKeyID]secret.Text
	last map[string]int64 // newest version per pool
}

type dataKeyID struct {
	pool    string
	version int64
}

// NewRing loads the data keys of the store and checks that root opens them. A
// root that does not is a fault of kind Invalid with code "root_key_wrong".
// now may be nil, for time.Now.
func NewRing(ctx context.Context, root Root, store Store, g *guard.Guard, now func() time.Time) (*Ring, error) {
	if now == nil {
		now = time.Now
	}
	r := &Ring{root: root, store: store, guard: g, now: now, keys: map[dataKeyID]secret.Text{}, last: map[string]int64{}}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	// The default pool's key doubles as the proof, from the first start on, that
	// a root key belongs to this store.
	if _, _, err := r.current(ctx, name.DefaultPool); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Ring) load(ctx context.Context) error {
	stored, err := r.store.DataKeys(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range stored {
		id := dataKeyID{k.Pool, k.Version}
		if _, known := r.keys[id]; known {
			continue
		}
		plain, err := r.root.Unwrap(id.context(), k.Wrapped)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "root_key_wrong", "the root key does not open this store").
				WithFix("start with the root key that this store was created with; nothing was changed")
		}
		r.keys[id] = secret.New(plain)
		r.last[k.Pool] = max(r.last[k.Pool], k.Version)
	}
	return nil
}

func (id dataKeyID) context() []byte {
	return Place{Kind: "datakey", Pool: id.pool, Version: id.version}.encode()
}

// current returns the newest data key of pool, making the first one if there is none.
func (r *Ring) current(ctx context.Context, pool string) (secret.Text, int64, error) {
	r.mu.RLock()
	version := r.last[pool]
	key := r.keys[dataKeyID{pool, version}]
	r.mu.RUnlock()
	if version > 0 {
		return key, version, nil
	}
	return r.create(ctx, pool)
}

func (r *Ring) create(ctx context.Context, pool string) (secret.Text, int64, error) {
	id := dataKeyID{pool, 1}
	plain := make([]byte, 32)
	_, _ = rand.Read(plain) // never fails (crypto/rand, since Go 1.24)
	defer clear(plain)
	wrapped, err := r.root.Wrap(id.context(), plain)
	if err != nil {
		return secret.Text{}, 0, fault.Wrap(err, fault.Unavailable, "root_key_unavailable", "the root key cannot wrap a data key")
	}
	p, err := r.guard.Allow(ctx, name.Caller{Kind: name.System}, ActionCreateDataKey, guard.Resource{Kind: "datakey", Pool: pool, ID: "1"})
	if err != nil {
		return secret.Text{}, 0, err
	}
	err = r.store.AddDataKey(ctx, p, DataKey{Pool: pool, Version: 1, Wrapped: wrapped, Created: r.now()})
	if err != nil && !fault.Is(err, fault.Conflict) {
		return secret.Text{}, 0, err
	}
	// Whoever won, the store has the key now, and what the store has is what counts.
	if err := r.load(ctx); err != nil {
		return secret.Text{}, 0, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.last[pool] == 0 {
		return secret.Text{}, 0, fault.New(fault.Internal, "datakey_missing", "the data key of pool %q was written and is not there", pool)
	}
	return r.keys[dataKeyID{pool, r.last[pool]}], r.last[pool], nil
}

// A sealed record is: format (1 byte, 1), data key version (8), salt (16), then
// AES-256-GCM with a random nonce, under a key of its own derived from the data
// key and the salt. So the number of records per data key is not bounded by
// GCM's nonce, and the format and key version are authenticated with the place.
const (
	formatV1   = 1
	saltSize   = 16
	headerSize = 1 + 8 + saltSize
)

// Seal encrypts plain for its place.
func (r *Ring) Seal(ctx context.Context, place Place, plain secret.Text) ([]byte, error) {
	key, version, err := r.current(ctx, place.Pool)
	if err != nil {
		return nil, err
	}
	header := make([]byte, headerSize, headerSize+len(plain.Reveal())+28)
	header[0] = formatV1
	binary.BigEndian.PutUint64(header[1:], uint64(version))
	_, _ = rand.Read(header[9:]) // never fails (crypto/rand, since Go 1.24)
	aead, err := recordCipher(key, header)
	if err != nil {
		return nil, err
	}
	return aead.Seal(header, nil, plain.Reveal(), append(bytes.Clone(header), place.encode()...)), nil
}

// Open decrypts what was sealed for the same place. Anything else is a fault of
// kind Internal with code "seal_broken": the store was altered, or the code asks
// for the wrong place. The caller clears the result when it is done.
func (r *Ring) Open(ctx context.Context, place Place, sealed []byte) (secret.Text, error) {
	if len(sealed) < headerSize || sealed[0] != formatV1 {
		return secret.Text{}, sealBroken(place, fmt.Errorf("%d bytes of unknown format", len(sealed)))
	}
	header := sealed[:headerSize:headerSize]
	id := dataKeyID{place.Pool, int64(binary.BigEndian.Uint64(header[1:9]))}
	key, ok := r.key(id)
	if !ok {
		// Another replica may have made the key since this one started.
		if err := r.load(ctx); err != nil {
			return secret.Text{}, err
		}
		if key, ok = r.key(id); !ok {
			return secret.Text{}, sealBroken(place, fmt.Errorf("no data key %v", id))
		}
	}
	aead, err := recordCipher(key, header)
	if err != nil {
		return secret.Text{}, err
	}
	plain, err := aead.Open(nil, nil, sealed[headerSize:], append(bytes.Clone(header), place.encode()...))
	if err != nil {
		return secret.Text{}, sealBroken(place, err)
	}
	return secret.New(plain), nil
}

func (r *Ring) key(id dataKeyID) (secret.Text, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.keys[id]
	return k, ok
}

func sealBroken(place Place, err error) error {
	return fault.Wrap(err, fault.Internal, "seal_broken", "a sealed record (%s %s) does not open in its place", place.Kind, place.Record).
		WithFix("the database was altered or restored in part; see the operating guide")
}

func recordCipher(dataKey secret.Text, header []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, dataKey.Reveal(), header[9:], "deputy/record/1", 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
