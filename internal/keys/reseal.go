package keys

import (
	"context"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The times of data keys.
const (
	// DataKeyLifetime is after how long a pool gets its next data key.
	DataKeyLifetime = 365 * 24 * time.Hour
	// DataKeyRetention is how long a data key is kept after its successor was made,
	// even if nothing in the store is sealed with it. Other replicas seal with it for
	// up to a minute (see [ringFresh]); a replica that is down may have refreshed
	// tokens in its journal that are sealed with it.
	DataKeyRetention = 7 * 24 * time.Hour
)

// resealBatch is how many records are sealed anew in one transaction: few enough
// for requests not to notice.
const resealBatch = 200

// Sealed is a record as it lies in the store.
type Sealed struct {
	Column string // one of [Store.SealedColumns]
	Place  Place
	Bytes  []byte
}

// Resealed is a record with the bytes that shall follow those it has.
type Resealed struct {
	Sealed
	New []byte
}

// VersionBytes returns a data key's version as it stands in sealed records.
func VersionBytes(version int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(version))
}

// ParseVersion reverses [VersionBytes]; what is no version is 0.
func ParseVersion(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// DataKeyResource is what guard permits about a data key.
func DataKeyResource(pool string, version int64) guard.Resource {
	return guard.Resource{Kind: "datakey", Pool: pool, ID: strconv.FormatInt(version, 10)}
}

// DataKeyStatus is what may be told of a data key.
type DataKeyStatus struct {
	DataKeyID
	Created time.Time
	Newest  bool   // new records are sealed with it
	Records int    // how many are sealed with it now
	Root    string // as in [DataKey]
	Former  bool   // another root key than this ring's wraps it, or may: that one is still needed
}

// DataKeys tells of the data keys of all pools, oldest first in each.
func (r *Ring) DataKeys(ctx context.Context) ([]DataKeyStatus, error) {
	stored, err := r.store.DataKeys(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := r.store.SealedCounts(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]DataKeyStatus, len(stored))
	for i, k := range stored {
		newest := i+1 == len(stored) || stored[i+1].Pool != k.Pool
		list[i] = DataKeyStatus{DataKeyID: k.id(), Created: k.Created, Newest: newest, Records: counts[k.id()], Root: k.Root, Former: !k.wrappedBy(r.root.ID())}
	}
	return list, nil
}

// RotateDataKeys makes the next data key of every pool on behalf of c. A pool in
// which records wait to be sealed anew gets none: its rotation is under way. So
// a rotation that was interrupted goes on where it was. [Ring.Reseal] does the rest.
func (r *Ring) RotateDataKeys(ctx context.Context, c name.Caller) error {
	return r.rotateData(ctx, c, func(DataKeyStatus) bool { return true })
}

// RotateDataKeysDue is RotateDataKeys for the pools whose newest data key was
// made lifetime ago or earlier. It is called now and then, by every replica.
func (r *Ring) RotateDataKeysDue(ctx context.Context, lifetime time.Duration) error {
	return r.rotateData(ctx, name.Caller{Kind: name.System}, func(k DataKeyStatus) bool { return r.now().Sub(k.Created) >= lifetime })
}

func (r *Ring) rotateData(ctx context.Context, c name.Caller, due func(newest DataKeyStatus) bool) error {
	list, err := r.DataKeys(ctx)
	if err != nil {
		return err
	}
	waiting := map[string]int{}
	for _, k := range list {
		if !k.Newest {
			waiting[k.Pool] += k.Records
			continue
		}
		if waiting[k.Pool] > 0 || !due(k) {
			continue
		}
		if err := r.create(ctx, c, DataKeyID{k.Pool, k.Version + 1}); err != nil {
			return err
		}
	}
	return nil
}

// BrokenRecord names a record that does not open in its place: somebody has
// altered it, or restored it without its data key.
type BrokenRecord struct {
	Column string // as in [Sealed]
	Pool   string // whose data key it should open with
	Record string // the row's id
	Err    error  // with code "seal_broken"
}

// maxBroken bounds how many broken records one call names.
const maxBroken = 100

// Resealing is what a call of [Ring.Reseal] came to.
type Resealing struct {
	Done   int            // records that were sealed anew; 0 when none is left but broken ones
	Broken []BrokenRecord // those that the call met, up to 100
}

// Reseal seals up to most records of all pools anew under the newest data keys,
// on behalf of c, and tells how many it did; 0 means that none is left. Each
// record is replaced only if it still is what was read, so a request that
// changes it at the same moment wins, and several replicas may do this at once.
// It may end at any point; the next call finds what is left. A record that does not
// open keeps no other one from its turn: it is named, stays as it is, and keeps
// the data key that it was sealed with.
func (r *Ring) Reseal(ctx context.Context, c name.Caller, most int) (Resealing, error) {
	var all Resealing
	if err := r.load(ctx); err != nil {
		return all, err
	}
	r.mu.RLock()
	newest := make([]DataKeyID, 0, len(r.last))
	for pool, version := range r.last {
		newest = append(newest, DataKeyID{pool, version})
	}
	r.mu.RUnlock()
	for _, id := range newest {
		if id.Version == 1 {
			continue
		}
		for _, column := range r.store.SealedColumns() {
			if err := r.resealColumn(ctx, c, column, id, most, &all); err != nil || all.Done >= most {
				return all, err
			}
		}
	}
	return all, nil
}

// resealColumn does this for what one column holds of one pool.
func (r *Ring) resealColumn(ctx context.Context, c name.Caller, column string, id DataKeyID, most int, all *Resealing) error {
	for after := ""; all.Done < most; {
		batch, err := r.store.SealedBefore(ctx, column, id.Pool, id.Version, after, min(resealBatch, most-all.Done))
		if err != nil || len(batch) == 0 {
			return err
		}
		after = batch[len(batch)-1].Place.Record
		changes := make([]Resealed, 0, len(batch))
		for _, s := range batch {
			sealed, err := r.resealed(ctx, s)
			if fault.HasCode(err, "seal_broken") {
				if len(all.Broken) < maxBroken {
					all.Broken = append(all.Broken, BrokenRecord{column, id.Pool, s.Place.Record, err})
				}
				continue
			}
			if err != nil {
				return err
			}
			changes = append(changes, Resealed{s, sealed})
		}
		n, err := r.commitResealed(ctx, c, id, column, changes)
		if all.Done += n; err != nil {
			return err
		}
	}
	return nil
}

func (r *Ring) commitResealed(ctx context.Context, c name.Caller, id DataKeyID, column string, changes []Resealed) (int, error) {
	if len(changes) == 0 {
		return 0, nil
	}
	p, err := r.guard.Allow(ctx, c, ActionReseal, DataKeyResource(id.Pool, id.Version))
	if err != nil {
		return 0, err
	}
	p = p.Detail(map[string]string{"in": column, "records": strconv.Itoa(len(changes))})
	return r.store.Reseal(ctx, p, id.Pool, id.Version, changes)
}

func (r *Ring) resealed(ctx context.Context, s Sealed) ([]byte, error) {
	plain, err := r.Open(ctx, s.Place, s.Bytes)
	if err != nil {
		return nil, err
	}
	defer plain.Clear()
	return r.Seal(ctx, s.Place, plain)
}

// RemoveDataKeys removes the data keys with which nothing is sealed any more and
// whose successor was made [DataKeyRetention] ago. One that a broken record keeps
// holds back no other one.
func (r *Ring) RemoveDataKeys(ctx context.Context) error {
	list, err := r.DataKeys(ctx)
	if err != nil {
		return err
	}
	for i, k := range list {
		if k.Newest || k.Records > 0 || r.now().Sub(list[i+1].Created) < DataKeyRetention {
			continue
		}
		p, err := r.guard.Allow(ctx, name.Caller{Kind: name.System}, ActionRemoveDataKey, DataKeyResource(k.Pool, k.Version))
		if err != nil {
			return err
		}
		// Of two replicas that do this at once, one comes too late.
		if err := r.store.RemoveDataKey(ctx, p, k.Pool, k.Version); err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
			return err
		}
		r.forget(k.DataKeyID)
	}
	return nil
}

func (r *Ring) forget(id DataKeyID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.keys, id)
}

// Rewrap wraps up to most of the data keys that another root key wraps, or an
// earlier version of it, with this ring's root key, one by one, on behalf of c. It
// returns how many it did and how many are left, as far as that is known; 0 done
// means that none is left. It may end at any point: each data key is wrapped by one
// of the two root keys, and the next call does those that are left.
func (r *Ring) Rewrap(ctx context.Context, c name.Caller, most int) (done, left int, err error) {
	stored, err := r.store.DataKeys(ctx)
	if err != nil {
		return 0, 0, err
	}
	newest := r.root.ID() // with its version, once wrapping has told
	for i, k := range stored {
		if k.Root == newest {
			continue
		}
		if done == most {
			return done, len(stored) - i, nil
		}
		again, err := r.rewrapped(ctx, k)
		if err != nil {
			return done, len(stored) - i, err
		}
		if newest = again.Root; k.Root == newest {
			continue
		}
		p, err := r.guard.Allow(ctx, c, ActionRewrapDataKey, DataKeyResource(k.Pool, k.Version))
		if err != nil {
			return done, len(stored) - i, err
		}
		err = r.store.RewrapDataKey(ctx, p.Detail(map[string]string{"root": again.Root}), again, k.Wrapped)
		if err == nil {
			done++
		} else if !fault.Is(err, fault.Conflict) { // a conflict: another replica was faster
			return done, len(stored) - i, err
		}
	}
	return done, 0, nil
}

// rewrapped returns k as the root key wraps it now.
func (r *Ring) rewrapped(ctx context.Context, k DataKey) (DataKey, error) {
	plain, err := r.root.Unwrap(ctx, k.id().context(), k.Wrapped)
	if err != nil {
		return DataKey{}, r.rootWrong(err, k)
	}
	defer clear(plain)
	return r.wrap(ctx, k.id(), secret.New(plain), k.Created)
}
