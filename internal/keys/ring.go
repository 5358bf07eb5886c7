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
	"errors"
	"fmt"
	"strings"
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
	ActionReseal           guard.Action = "datakey.reseal"    // as above; the key under which records are sealed anew
	ActionRewrapDataKey    guard.Action = "datakey.rewrap"    // as above
	ActionRemoveDataKey    guard.Action = "datakey.remove"    // as above
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
	Root    string // id of the root key that wrapped it, and "#" with its version if it has versions; "" if that was not written down
	Created time.Time
}

// wrappedBy reports whether the root key with that id wraps k, in whatever version.
func (k DataKey) wrappedBy(id string) bool {
	key, _, _ := strings.Cut(k.Root, "#")
	return key == id
}

func (k DataKey) id() DataKeyID { return DataKeyID{k.Pool, k.Version} }

// DataKeyID names a data key.
type DataKeyID struct {
	Pool    string
	Version int64
}

// Store keeps wrapped keys.
type Store interface {
	// DataKeys returns the data keys of all pools, ordered by pool and version.
	DataKeys(ctx context.Context) ([]DataKey, error)
	// AddDataKey adds a key with a permit for ActionCreateDataKey. It returns a
	// fault of kind Conflict when this version of this pool exists: another replica was faster.
	AddDataKey(ctx context.Context, p guard.Permit, k DataKey) error
	// RewrapDataKey stores k's Wrapped and Root with a permit for ActionRewrapDataKey. It returns a fault of kind
	// Conflict when the data key is not wrapped as former any more.
	RewrapDataKey(ctx context.Context, p guard.Permit, k DataKey, former []byte) error
	// RemoveDataKey removes a key with a permit for ActionRemoveDataKey. It returns a fault of kind Conflict
	// when a record is sealed with it, decided in the same transaction, and NotFound when there is no such key.
	RemoveDataKey(ctx context.Context, p guard.Permit, pool string, version int64) error
	// SealedColumns names every place in the store that holds sealed records.
	SealedColumns() []string
	// SealedBefore returns up to limit records of a column that are sealed with data keys of pool from before
	// version, ordered by their ids, from the one that follows after.
	SealedBefore(ctx context.Context, column, pool string, version int64, after string, limit int) ([]Sealed, error)
	// Reseal replaces the bytes of those records that still have the bytes given, in one transaction, with a
	// permit for ActionReseal on the data key that sealed the new ones, and returns how many those were.
	Reseal(ctx context.Context, p guard.Permit, pool string, version int64, changes []Resealed) (int, error)
	// SealedCounts returns how many records each data key seals.
	SealedCounts(ctx context.Context) (map[DataKeyID]int, error)
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

	loading sync.Mutex // held by whoever refreshes what may be old

	mu     sync.RWMutex
	keys   map[DataKeyID]secret.Text
	last   map[string]int64 // newest version per pool
	loaded time.Time        // when last was true
}

// ringFresh is how long a ring goes on with the data keys that it knows: for so
// long may a replica seal with a data key that another one has replaced.
const ringFresh = time.Minute

// NewRing loads the data keys of the store and checks that root opens them. A
// root that does not is a fault of kind Invalid with code "root_key_wrong".
// now may be nil, for time.Now.
func NewRing(ctx context.Context, root Root, store Store, g *guard.Guard, now func() time.Time) (*Ring, error) {
	if now == nil {
		now = time.Now
	}
	r := &Ring{root: root, store: store, guard: g, now: now, keys: map[DataKeyID]secret.Text{}, last: map[string]int64{}}
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

// load reads the data keys of the store. Those that do not open keep no other
// one from being loaded, and are the error; a root key that cannot be asked is
// asked no further. What is known is used meanwhile.
func (r *Ring) load(ctx context.Context) error {
	begin := r.now()
	stored, err := r.store.DataKeys(ctx)
	if err != nil {
		return err
	}
	var wrong error
	for _, k := range stored {
		if _, known := r.key(k.id()); known {
			continue
		}
		plain, err := r.root.Unwrap(ctx, k.id().context(), k.Wrapped)
		if err != nil {
			wrong = rootFailed{r.rootWrong(err, k)}
			if fault.Is(err, fault.Unavailable) {
				break
			}
			continue
		}
		r.learn(k.id(), secret.New(plain))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded = begin
	return wrong
}

func (r *Ring) learn(id DataKeyID, key secret.Text) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[id] = key
	r.last[id.Pool] = max(r.last[id.Pool], id.Version)
}

// rootFailed marks an error of the root key, as against one of the store.
type rootFailed struct{ error }

func (f rootFailed) Unwrap() error { return f.error }

func (r *Ring) rootWrong(err error, k DataKey) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	if k.Root == "" || k.wrappedBy(r.root.ID()) {
		return fault.Wrap(err, fault.Invalid, "root_key_wrong", "the root key does not open this store").
			WithFix("start with the root key that this store was created with; nothing was changed")
	}
	return fault.Wrap(err, fault.Invalid, "root_key_wrong", "the root key does not open this store: it is %s, and data keys are wrapped by %s", r.root.ID(), k.Root).
		WithFix("start with that root key; while the root key is being changed, with it as the former one (--former-root-key-file, --former-root-kms); nothing was changed")
}

func (id DataKeyID) context() []byte {
	return Place{Kind: "datakey", Pool: id.Pool, Version: id.Version}.encode()
}

// current returns the newest data key of pool, making the first one if there is none.
func (r *Ring) current(ctx context.Context, pool string) (secret.Text, int64, error) {
	key, version, stale := r.newest(pool)
	if version > 0 && !stale {
		return key, version, nil
	}
	if version > 0 {
		if err := r.refresh(ctx); err != nil {
			return secret.Text{}, 0, err
		}
	} else if err := r.create(ctx, name.Caller{Kind: name.System}, DataKeyID{pool, 1}); err != nil {
		return secret.Text{}, 0, err
	}
	if key, version, _ = r.newest(pool); version == 0 {
		return secret.Text{}, 0, fault.New(fault.Internal, "datakey_missing", "the data key of pool %q was written and is not there", pool)
	}
	return key, version, nil
}

// refresh looks for data keys that other replicas have made. That the root key
// does not open one of them, or cannot be asked, must not keep this replica from
// working with those that it knows; nor must waiting for the answer.
func (r *Ring) refresh(ctx context.Context) error {
	if !r.loading.TryLock() {
		return nil
	}
	defer r.loading.Unlock()
	err := r.load(ctx)
	var root rootFailed
	if errors.As(err, &root) {
		return nil
	}
	return err
}

// newest returns the newest data key of pool that is known, and whether that
// knowledge is old. The version is 0 if there is none.
func (r *Ring) newest(pool string) (key secret.Text, version int64, stale bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	version = r.last[pool]
	return r.keys[DataKeyID{pool, version}], version, r.now().Sub(r.loaded) >= ringFresh
}

// create makes a data key on behalf of c, unless another replica does.
func (r *Ring) create(ctx context.Context, c name.Caller, id DataKeyID) error {
	plain := make([]byte, 32)
	_, _ = rand.Read(plain) // never fails (crypto/rand, since Go 1.24)
	defer clear(plain)
	k, err := r.wrap(ctx, id, secret.New(plain), r.now())
	if err != nil {
		return err
	}
	p, err := r.guard.Allow(ctx, c, ActionCreateDataKey, DataKeyResource(id.Pool, id.Version))
	if err != nil {
		return err
	}
	if err := r.store.AddDataKey(ctx, p, k); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	// Whoever won, the store has the key now, and what the store has is what counts.
	return r.load(ctx)
}

// wrap has the root key wrap a data key, and unwrap it again: from now on, that
// is the only copy, and a root key may be one that may be asked for one of the two only.
func (r *Ring) wrap(ctx context.Context, id DataKeyID, plain secret.Text, made time.Time) (DataKey, error) {
	wrapped, version, err := r.root.Wrap(ctx, id.context(), plain.Reveal())
	if err != nil {
		return DataKey{}, rootUnable(err, "the root key cannot wrap a data key")
	}
	again, err := r.root.Unwrap(ctx, id.context(), wrapped)
	if err != nil {
		return DataKey{}, rootUnable(err, "the root key does not unwrap what it has wrapped")
	}
	defer clear(again)
	if !secret.Equal(secret.New(again), plain) {
		return DataKey{}, fault.New(fault.Unavailable, "root_key_unavailable", "the root key unwraps something else than it has wrapped")
	}
	k := DataKey{Pool: id.Pool, Version: id.Version, Wrapped: wrapped, Root: r.root.ID(), Created: made}
	if version != "" {
		k.Root += "#" + version
	}
	return k, nil
}

// rootUnable keeps what the root key's service said to do.
func rootUnable(err error, what string) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "root_key_unavailable", "%s", what)
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
	id := DataKeyID{place.Pool, ParseVersion(header[1:9])}
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

func (r *Ring) key(id DataKeyID) (secret.Text, bool) {
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
