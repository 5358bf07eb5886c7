// Package accesskey has the access keys of workloads: pairs of an id and a secret, with which requests are signed as clouds have them signed.
//
// A signature proves the workload and does not carry the secret, but whoever reads
// the secret is the workload until the key is deleted. Where a launch token or a
// token of the platform is to be had, that is the better proof.
package accesskey

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions that permits are given for, all on [Resource].
const (
	ActionCreate guard.Action = "access-key.create"
	ActionDelete guard.Action = "access-key.delete"
	// ActionUse is only ever refused: a request that is signed with the key, and good for nothing.
	ActionUse guard.Action = "access-key.use"
)

// Resource is what permits for an access key name.
func Resource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "access-key", Pool: pool, ID: id}
}

// MethodAccessKey is the method of requests that are signed with an access key.
const MethodAccessKey = "access-key"

// Service is what requests for tokens are signed for: the service of the
// signature's scope. Its region may be any.
const Service = "deputy"

// The bounds of keys.
const (
	DefaultLife = 90 * 24 * time.Hour
	MaxLife     = 366 * 24 * time.Hour
	MaxKeys     = 10 // of one workload
)

// Key lets whoever has its secret sign requests as a workload.
type Key struct {
	ID       string // "ak_…"
	Workload name.Workload
	Name     string // unique for the workload: who signs with it
	Sealed   []byte // the secret, which is needed as it is to verify signatures
	Created  time.Time
	Expires  time.Time
	Used     time.Time // last, to the minute; zero: never
}

func (k Key) place() keys.Place {
	return keys.Place{Kind: "access-key.secret", Pool: k.Workload.Pool, Record: k.ID}
}

// NotFound is the fault for a key that does not exist.
func NotFound(id string) error {
	return fault.New(fault.NotFound, "access-key_not_found", "there is no access key %q", name.Clip(id, 80))
}

// Exists is the fault for a second key of one name.
func Exists(keyName string) error {
	return fault.New(fault.Conflict, "access-key_exists", "the workload has an access key %q already", name.Clip(keyName, 80)).WithFix("choose another name, or delete that key first")
}

// Full is the fault for one key more than [MaxKeys].
func Full() error {
	return fault.New(fault.Conflict, "access_keys_full", "the workload has %d access keys, which is the most", MaxKeys).WithFix("delete those that nobody uses")
}

// Replayed is the fault for a signature that was used before.
func Replayed() error {
	return fault.New(fault.Unauthenticated, "signature_replayed", "a request with this very signature was here before").
		WithFix("sign each request anew; two alike in one second are told apart by a signed header with something random, such as X-Nonce")
}

// Store keeps access keys, which go with their workload. A write begins with
// Permit.Check for the named action on [Resource] and commits the permit's entry
// together with the change.
type Store interface {
	// AddAccessKey needs a permit for ActionCreate. It returns the faults of [Exists], [Full], and of
	// workload.NotFound.
	AddAccessKey(ctx context.Context, p guard.Permit, k Key) error
	// AccessKey returns a key, also an expired one, or the fault of [NotFound].
	AccessKey(ctx context.Context, id string) (Key, error)
	// AccessKeys returns a workload's keys, in order of name.
	AccessKeys(ctx context.Context, w name.Workload) ([]Key, error)
	// UseAccessKey says that a key was used at a time, and remembers the signature, unless it is zero, until then: used
	// before, it is the fault of [Replayed]. A key that is gone is that of [NotFound]. Of this there is no entry in the
	// audit log.
	UseAccessKey(ctx context.Context, id string, signature secret.Hash, at, until time.Time) error
	// DeleteAccessKey needs a permit for ActionDelete.
	DeleteAccessKey(ctx context.Context, p guard.Permit, w name.Workload, id string) error
}

// Sealer seals the secrets; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Keys issues access keys and verifies what is signed with them. All fields are
// required. All methods may be called concurrently.
type Keys struct {
	Store  Store
	Sealer Sealer
	Guard  *guard.Guard
	Host   string // of Deputy's public URL, which requests are signed for
	Now    func() time.Time
}

// Create issues a key for a workload. The secret is returned this once. A life of
// zero stands for [DefaultLife].
func (k *Keys) Create(ctx context.Context, c name.Caller, w name.Workload, keyName string, life time.Duration) (Key, secret.Text, error) {
	if err := name.Check("access key", keyName); err != nil {
		return Key{}, secret.Text{}, err
	}
	if life == 0 {
		life = DefaultLife
	}
	if life < time.Minute || life > MaxLife {
		return Key{}, secret.Text{}, fault.New(fault.Invalid, "access-key_life", "an access key cannot live for %v", life).
			WithFix("choose a minute to %d days", int(MaxLife.Hours()/24))
	}
	now := k.Now().UTC().Truncate(time.Millisecond)
	made := Key{ID: name.NewID("ak"), Workload: w, Name: keyName, Created: now, Expires: now.Add(life).Truncate(time.Millisecond)}
	p, err := k.Guard.Allow(ctx, c, ActionCreate, Resource(w.Pool, made.ID))
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	shown := secret.FromString(name.NewToken("dsk"))
	if made.Sealed, err = k.Sealer.Seal(ctx, made.place(), shown); err != nil {
		return Key{}, secret.Text{}, err
	}
	return made, shown, k.Store.AddAccessKey(ctx, p.Detail(map[string]string{"workload": w.Name, "name": keyName}), made)
}

// Delete deletes a key, with which nothing is proven from then on.
func (k *Keys) Delete(ctx context.Context, c name.Caller, w name.Workload, id string) error {
	p, err := k.Guard.Allow(ctx, c, ActionDelete, Resource(w.Pool, id))
	if err != nil {
		return err
	}
	return k.Store.DeleteAccessKey(ctx, p.Detail(map[string]string{"workload": w.Name}), w, id)
}

// Verify returns the key with which r, whose body is body, is signed for service,
// and notes its use. Otherwise it returns a fault of kind Unauthenticated: those of
// [reqsign.Parse] and [reqsign.Signature.Verify], access_key_unknown and
// access_key_expired, scope_wrong for what is signed for another service, and, if
// once is true, that of [Replayed].
//
// A signature is good for a quarter of an hour. once is for what must not happen
// again when somebody who saw the request sends it again.
func (k *Keys) Verify(r *http.Request, body []byte, service string, once bool) (Key, error) {
	sig, err := reqsign.Parse(r)
	if err != nil {
		return Key{}, err
	}
	ctx, now := r.Context(), k.Now()
	found, err := k.Store.AccessKey(ctx, sig.KeyID)
	if fault.Is(err, fault.NotFound) {
		return Key{}, unknown(sig.KeyID)
	}
	if err != nil {
		return Key{}, err
	}
	plain, err := k.Sealer.Open(ctx, found.place(), found.Sealed)
	if err != nil {
		return Key{}, err
	}
	defer plain.Clear()
	// What was signed is our own name: a proxy may have put another one in its place, and what is signed for somebody
	// else is none of ours.
	own := *r
	own.Host = k.Host
	if err := sig.Verify(&own, body, reqsign.Key{ID: found.ID, Secret: plain}, now); err != nil {
		return Key{}, err
	}
	if err := k.judge(ctx, found, sig, service, once, now); err != nil {
		return Key{}, k.refuse(ctx, found, err)
	}
	return found, nil
}

// judge says what a good signature is good for, and notes that the key was used.
func (k *Keys) judge(ctx context.Context, found Key, sig reqsign.Signature, service string, once bool, now time.Time) error {
	switch {
	case sig.Scope.Service != service:
		return fault.New(fault.Unauthenticated, "scope_wrong", "the request is signed for the service %q", name.Clip(sig.Scope.Service, 80)).WithFix("sign it for %q", service)
	case !now.Before(found.Expires):
		return fault.New(fault.Unauthenticated, "access_key_expired", "the access key has expired").WithFix("ask an operator for another")
	case once:
		// A replica whose clock is behind takes the signature for a little longer.
		return k.Store.UseAccessKey(ctx, found.ID, sig.Digest(), now, sig.Until().Add(reqsign.MaxSkew))
	case now.Sub(found.Used) >= time.Minute:
		return k.Store.UseAccessKey(ctx, found.ID, secret.Hash{}, now, now)
	}
	return nil
}

// refuse records why a good signature was good for nothing: whoever sent it has the
// key, or has seen what was signed with it.
func (k *Keys) refuse(ctx context.Context, found Key, cause error) error {
	if fault.Is(cause, fault.NotFound) { // deleted in between
		cause = unknown(found.ID)
	}
	if !fault.Is(cause, fault.Unauthenticated) {
		return cause
	}
	if err := k.Guard.Refuse(ctx, name.Caller{}, ActionUse, Resource(found.Workload.Pool, found.ID), fault.As(cause).Code, map[string]string{"workload": found.Workload.Name}); err != nil {
		return err
	}
	return cause
}

func unknown(id string) error {
	return fault.New(fault.Unauthenticated, "access_key_unknown", "there is no access key %q", name.Clip(id, 80)).WithFix("it may have been deleted: ask an operator for another")
}

// Attest implements [attest.Attestor]: each signed request is good once.
func (k *Keys) Attest(r *http.Request, body []byte) (attest.Proof, bool, error) {
	header := r.Header.Get("Authorization")
	if !strings.HasPrefix(header, "HMAC-SHA256 ") && !strings.HasPrefix(header, "AWS4-HMAC-SHA256 ") {
		return attest.Proof{}, false, nil // in a query there is no proof: addresses are logged
	}
	found, err := k.Verify(r, body, Service, true)
	return attest.Proof{Workload: found.Workload, Method: MethodAccessKey, ID: found.ID}, true, err
}
