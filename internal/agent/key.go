package agent

import (
	"context"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// KeyPrefix begins every key, for people and secret scanners.
const KeyPrefix = "dak"

// The bounds of keys.
const (
	DefaultKeyLife = 90 * 24 * time.Hour
	MaxKeyLife     = 366 * 24 * time.Hour
	MaxKeys        = 100 // of one agent
)

// Key lets whoever has it call one agent: a program with a name of its own, or
// one that calls as the single user to whom an operator bound the key.
type Key struct {
	ID        string // "agk_…"
	Pool      string
	Agent     string
	Name      string // unique for the agent: who calls with it
	Hash      secret.Hash
	User      name.User // zero: the key stands for no user
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Resource returns what permits for the key name.
func (k Key) Resource() guard.Resource { return KeyResource(k.Pool, k.ID) }

// KeyResource is what permits for a key name.
func KeyResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "agent-key", Pool: pool, ID: id}
}

// The actions that permits are given for, all on [KeyResource].
const (
	ActionCreateKey guard.Action = "agent-key.create"
	ActionDeleteKey guard.Action = "agent-key.delete"
)

// HashKey returns what is stored in place of a key: a plain hash is enough, for
// a key has 256 random bits.
func HashKey(key secret.Text) secret.Hash { return key.Digest("agent-key") }

// KeyStore keeps keys, which go with their agent. A write begins with
// Permit.Check for the named action on [KeyResource] and commits the permit's
// entry together with the change.
type KeyStore interface {
	// AddKey keeps a key. It returns the fault of [NotFound] if there is no such
	// agent, and faults of kind Conflict if it has a key of that name
	// (agent-key_exists) or [MaxKeys] of them (agent_keys_full).
	AddKey(ctx context.Context, p guard.Permit, k Key) error
	// Key returns the key with a hash, or the fault of [KeyNotFound].
	Key(ctx context.Context, hash secret.Hash) (Key, error)
	// Keys returns an agent's keys, expired ones too, in order of name.
	Keys(ctx context.Context, pool, agent string) ([]Key, error)
	// DeleteKey removes a key, or returns the fault of [KeyNotFound].
	DeleteKey(ctx context.Context, p guard.Permit, pool, agent, id string) error
}

// KeyNotFound is the fault for a key that does not exist.
func KeyNotFound(id string) error {
	return fault.New(fault.NotFound, "agent-key_not_found", "there is no agent key %q", name.Clip(id, 80))
}

// KeyExists is the fault for a second key of one name.
func KeyExists(keyName string) error {
	return fault.New(fault.Conflict, "agent-key_exists", "the agent has a key %q already", name.Clip(keyName, 80)).WithFix("choose another name, or revoke that key first")
}

// KeysFull is the fault for one key more than [MaxKeys].
func KeysFull() error {
	return fault.New(fault.Conflict, "agent_keys_full", "the agent has %d keys, which is the most", MaxKeys).WithFix("revoke those that nobody uses")
}

// Keys issues and verifies the keys of agents.
type Keys struct {
	Store KeyStore
	Guard *guard.Guard
	// Barred reports whether a user may not act any more, because he is deleted or disabled. A user of
	// whom nothing is known is not barred.
	Barred func(ctx context.Context, u name.User) (bool, error)
	Now    func() time.Time
}

// Create issues a key for an agent. The key itself is returned this once. A life
// of zero stands for [DefaultKeyLife].
func (r *Keys) Create(ctx context.Context, c name.Caller, w name.Workload, keyName string, u name.User, life time.Duration) (Key, secret.Text, error) {
	if err := name.Check("key", keyName); err != nil {
		return Key{}, secret.Text{}, err
	}
	if life == 0 {
		life = DefaultKeyLife
	}
	if life < time.Minute || life > MaxKeyLife {
		return Key{}, secret.Text{}, fault.New(fault.Invalid, "agent-key_life", "a key cannot live for %v", life).
			WithFix("choose a minute to %d days", int(MaxKeyLife.Hours()/24))
	}
	if err := r.checkUser(ctx, u); err != nil {
		return Key{}, secret.Text{}, err
	}
	key := secret.FromString(name.NewToken(KeyPrefix))
	now := r.Now().UTC().Truncate(time.Millisecond)
	k := Key{ID: name.NewID("agk"), Pool: w.Pool, Agent: w.Name, Name: keyName, Hash: HashKey(key), User: u, CreatedAt: now}
	k.ExpiresAt = now.Add(life).Truncate(time.Millisecond)
	p, err := r.Guard.Allow(ctx, c, ActionCreateKey, k.Resource())
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	detail := map[string]string{"agent": w.Name, "name": keyName}
	if !u.IsZero() {
		detail["user"] = u.String()
	}
	return k, key, r.Store.AddKey(ctx, p.Detail(detail), k)
}

func (r *Keys) checkUser(ctx context.Context, u name.User) error {
	if u.IsZero() {
		return nil
	}
	if u.Issuer == "" || len(u.Issuer) > 500 || !SubjectFits(u.Subject) {
		return fault.New(fault.Invalid, "agent-key_user", "the key's user is not one").WithFix("give issuer and subject; the subject is 1 to 255 printable ASCII characters")
	}
	barred, err := r.Barred(ctx, u)
	if err == nil && barred {
		err = fault.New(fault.Invalid, "agent-key_user", "the key's user does not exist or is disabled")
	}
	return err
}

// SubjectFits reports whether a user's subject can be handed to an agent as a
// header without being changed on the way (OpenID Connect Core 1.0, section 2:
// at most 255 ASCII characters).
func SubjectFits(s string) bool {
	if s == "" || len(s) > 255 || strings.TrimSpace(s) != s {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// IsKey reports whether a bearer value is meant to be a key.
func IsKey(s string) bool { return strings.HasPrefix(s, KeyPrefix+"_") }

// Verify returns the key that key is, if it is one for the agent. What proves
// nothing is a fault of kind Unauthenticated. A revoked key ends at once: the
// store is asked each time.
func (r *Keys) Verify(ctx context.Context, w name.Workload, key secret.Text) (Key, error) {
	k, err := r.Store.Key(ctx, HashKey(key))
	switch {
	case fault.Is(err, fault.NotFound):
		return Key{}, fault.New(fault.Unauthenticated, "key_unknown", "the agent key is not valid").WithFix("it may be revoked: ask whoever runs the agent for another")
	case err != nil:
		return Key{}, err
	case k.Pool != w.Pool || k.Agent != w.Name:
		return Key{}, fault.New(fault.Unauthenticated, "key_other_agent", "the key is for another agent")
	case !r.Now().Before(k.ExpiresAt):
		return Key{}, fault.New(fault.Unauthenticated, "key_expired", "the agent key has expired").WithFix("ask whoever runs the agent for another")
	case k.User.IsZero():
		return k, nil
	}
	barred, err := r.Barred(ctx, k.User)
	if err == nil && barred {
		err = fault.New(fault.Unauthenticated, "key_user_gone", "the key's user is deleted or disabled")
	}
	return k, err
}

// Revoke removes a key.
func (r *Keys) Revoke(ctx context.Context, c name.Caller, w name.Workload, id string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDeleteKey, KeyResource(w.Pool, id))
	if err != nil {
		return err
	}
	return r.Store.DeleteKey(ctx, p.Detail(map[string]string{"agent": w.Name}), w.Pool, w.Name, id)
}
