// Package audit records who did what, for whom, when and with which outcome: entries, the hash chain over them, and the group-committing log.
//
// An entry is written either in the transaction of the change it tells about
// (see package guard) or, for a read, through [Log.Append], which returns only
// when the entry is durable. That is how "no record, no credential" is kept.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/deputy-id/deputy/internal/name"
)

// Outcome says how an action ended.
type Outcome string

// The outcomes.
const (
	Allowed Outcome = "allowed" // permitted, and done
	Refused Outcome = "refused" // not permitted: nothing was done
	Failed  Outcome = "failed"  // permitted, but it did not work
)

// Resource is what an action was about.
type Resource struct {
	Kind string `json:"kind"`           // "grant", "provider", "user", …
	Pool string `json:"pool,omitempty"` // the workload pool or user pool that it belongs to
	ID   string `json:"id,omitempty"`
}

// Entry is one line of the audit log. It never holds a secret: Detail is for
// names, reasons and counts.
type Entry struct {
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"` // UTC, milliseconds
	RequestID string            `json:"requestId,omitempty"`
	Caller    name.Caller       `json:"caller"`
	Action    string            `json:"action"` // "credential.release", "user.create", …
	Resource  Resource          `json:"resource"`
	Provider  string            `json:"provider,omitempty"`
	Scopes    []string          `json:"scopes,omitempty"`
	Outcome   Outcome           `json:"outcome"`
	Reason    string            `json:"reason,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
}

// Encode returns the canonical bytes of e, the ones that are stored and hashed:
// JSON with fields in the order of the type and map keys sorted.
func (e Entry) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Hash is a link of the chain.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash is the inverse of [Hash.String]; it reports whether s is a hash.
func ParseHash(s string) (Hash, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return Hash{}, false
	}
	return Hash(b), true
}

// Next returns the chain's hash after the entry with canonical bytes leaf at
// position seq (from 1): SHA-256("deputy/audit/1" ‖ previous ‖ seq ‖ leaf). An
// entry altered, removed, inserted or moved changes every later hash.
func (h Hash) Next(seq int64, leaf []byte) Hash {
	d := sha256.New()
	d.Write([]byte("deputy/audit/1"))
	d.Write(h[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(seq))
	d.Write(n[:])
	d.Write(leaf)
	return Hash(d.Sum(nil))
}

// Record is an entry with its place in the chain.
type Record struct {
	Seq  int64
	Leaf []byte // canonical bytes of the entry, as stored
	Hash Hash   // the chain after this entry
}

// Entry decodes the record's entry.
func (r Record) Entry() (Entry, error) {
	var e Entry
	err := json.Unmarshal(r.Leaf, &e)
	return e, err
}

type requestIDKey struct{}

// WithRequestID returns a context that carries the request id which entries
// and log lines quote.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the request id of ctx, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
