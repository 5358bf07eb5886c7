// Package operator has the operators' API tokens: who may administer this Deputy, in which role, and where.
package operator

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// TokenPrefix begins every operator token, for people and secret scanners.
const TokenPrefix = "dop"

// The bounds of tokens.
const (
	DefaultTokenLife = 90 * 24 * time.Hour
	MaxTokenLife     = 366 * 24 * time.Hour
	MaxTokens        = 500
	MaxPools         = 100 // that one token is limited to, of both sorts together
)

// root is the operator of the first token. Nobody else is named so, for a
// start that finds no owner makes it again.
const root = "root"

// Role is how much an operator may do.
type Role string

// The roles, each with all that the ones before it may do.
const (
	Auditor  Role = "auditor"  // reads everything, changes nothing
	Operator Role = "operator" // does the day's work
	Owner    Role = "owner"    // also says who operates, and turns keys
)

// Roles are all roles, the least first.
func Roles() []Role { return []Role{Auditor, Operator, Owner} }

// AtLeast reports whether r may do what least may. What is not a role may do
// nothing.
func (r Role) AtLeast(least Role) bool {
	have, want := slices.Index(Roles(), r), slices.Index(Roles(), least)
	return want >= 0 && have >= want
}

// Pools are those that an operator is limited to, by name. None of either sort
// stands for no limit; some of one sort, for none of the other.
type Pools struct {
	User     []string `json:"user,omitempty"`
	Workload []string `json:"workload,omitempty"`
}

// Limited reports whether there is a limit.
func (p Pools) Limited() bool { return len(p.User)+len(p.Workload) > 0 }

// HasUser reports whether a user pool is within the limit.
func (p Pools) HasUser(pool string) bool { return !p.Limited() || slices.Contains(p.User, pool) }

// HasWorkload reports whether a workload pool is within the limit.
func (p Pools) HasWorkload(pool string) bool {
	return !p.Limited() || slices.Contains(p.Workload, pool)
}

// Token proves an operator.
type Token struct {
	ID        string // "opt_…"
	Name      string // unique: who calls with it
	Role      Role
	Pools     Pools
	Hash      secret.Hash
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never, which only the first one may
	UsedAt    time.Time // zero: never yet; exact to [useStep]
}

// Caller returns whom the token proves.
func (t Token) Caller() name.Caller {
	return name.Caller{Kind: name.Operator, Operator: t.Name, Token: t.ID}
}

// Resource returns what permits for the token name.
func (t Token) Resource() guard.Resource { return Resource(t.ID) }

// Resource is what permits for an operator token name.
func Resource(id string) guard.Resource {
	return guard.Resource{Kind: "operator-token", ID: id}
}

// The actions that permits are given for, all on [Resource].
const (
	ActionCreateToken guard.Action = "operator-token.create"
	ActionDeleteToken guard.Action = "operator-token.delete"
)

// check returns a fault of kind Invalid if an operator cannot be given the token.
func (t Token) check() error {
	if err := name.Check("operator", t.Name); err != nil {
		return err
	}
	switch all := slices.Concat(t.Pools.User, t.Pools.Workload); {
	case t.Name == root:
		return fault.New(fault.Invalid, "operator-token_name", "the name %q is kept for the first owner", root).WithSource("name").WithFix("choose another name")
	case !t.Role.AtLeast(Auditor):
		return fault.New(fault.Invalid, "operator-token_role", "there is no role %q", name.Clip(string(t.Role), 40)).WithSource("role").WithFix("use %s, %s or %s", Auditor, Operator, Owner)
	case t.Role == Owner && len(all) > 0:
		return fault.New(fault.Invalid, "operator-token_pools", "an owner is not limited to pools").WithSource("role").WithFix("make it an %s, or leave the pools out", Operator)
	case len(all) > MaxPools:
		return fault.New(fault.Invalid, "operator-token_pools", "the token is limited to %d pools", len(all)).WithFix("name at most %d", MaxPools)
	default:
		for _, pool := range all {
			if err := name.Check("pool", pool); err != nil {
				return err
			}
		}
		return nil
	}
}

// Store keeps tokens, by their hashes. A write that takes a permit begins with
// Permit.Check for the named action on [Resource] and commits the permit's entry
// together with the change.
type Store interface {
	// AddToken keeps a token. A name taken is the fault of [TokenExists], one more
	// than [MaxTokens] that of [TokensFull].
	AddToken(ctx context.Context, p guard.Permit, t Token) error
	// Token returns the token with a hash, or the fault of [TokenNotFound].
	Token(ctx context.Context, hash secret.Hash) (Token, error)
	// Tokens returns all tokens, expired ones too, in order of name.
	Tokens(ctx context.Context) ([]Token, error)
	// DeleteToken removes a token. It returns the fault of [TokenNotFound], or that
	// of [LastOwner] if no other owner's token is good at now.
	DeleteToken(ctx context.Context, p guard.Permit, id string, now time.Time) error
	// NoteUse sets when a token was used last. It takes no permit: who may use the
	// token was decided with it, and what is done with it has entries of its own.
	NoteUse(ctx context.Context, id string, at time.Time) error
	// HasOwner reports whether an owner's token is good at now.
	HasOwner(ctx context.Context, now time.Time) (bool, error)
}

// TokenNotFound is the fault for a token that does not exist.
func TokenNotFound(id string) error {
	return fault.New(fault.NotFound, "operator-token_not_found", "there is no operator token %q", name.Clip(id, 80))
}

// TokenExists is the fault for a second token of one name.
func TokenExists(tokenName string) error {
	return fault.New(fault.Conflict, "operator-token_exists", "there is an operator token %q already", name.Clip(tokenName, 80)).
		WithFix("choose another name, or revoke that token first")
}

// TokensFull is the fault for one token more than [MaxTokens].
func TokensFull() error {
	return fault.New(fault.Conflict, "operator_tokens_full", "there are %d operator tokens, which is the most", MaxTokens).WithFix("revoke those that nobody uses")
}

// LastOwner is the fault for taking away the only owner that there is.
func LastOwner() error {
	return fault.New(fault.Conflict, "operator_last_owner", "this is the last owner's token that is good: without it nobody could say who operates").
		WithFix("create another owner's token first")
}
