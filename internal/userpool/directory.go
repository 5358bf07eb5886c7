package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// UserQuery selects users: those that have every value that is not empty.
type UserQuery struct {
	UserName    string // compared as [LoginName]
	Email       string // compared without regard to case
	DisplayName string // compared byte by byte, like the rest
	ExternalID  string
	Offset      int // so many of those found are left out
	Limit       int // at most so many are returned
}

// GroupQuery selects groups in the same way.
type GroupQuery struct {
	Name       string // compared byte by byte, like the rest
	ExternalID string
	Member     string // id of a user who is in the group
	Offset     int
	Limit      int
}

// Directory finds users and groups by what others know them by.
type Directory interface {
	// FindUsers returns users of the pool that q selects, in order of LoginName, and how many there are.
	FindUsers(ctx context.Context, pool string, q UserQuery) (found []User, total int, err error)
	// FindGroups returns groups of the pool that q selects, in order of name, and how many there are.
	FindGroups(ctx context.Context, pool string, q GroupQuery) (found []Group, total int, err error)
	// CreateMember is Users.CreateUser, and adds the user to the groups with the given ids in the same
	// transaction; ActionCreateUser. A group that the pool does not have: NotFound("group", id).
	CreateMember(ctx context.Context, p guard.Permit, u User, groups []string) error
}

// The actions on provisioning tokens.
const (
	ActionCreateProvisioning guard.Action = "provisioning-token.create"
	ActionDeleteProvisioning guard.Action = "provisioning-token.delete"
)

// ProvisioningPrefix begins every provisioning token, for people and secret scanners.
const ProvisioningPrefix = "dsc"

// ProvisioningToken entitles a system of the organisation's (an identity
// provider, a personnel system) to keep a pool's users and groups by SCIM.
type ProvisioningToken struct {
	ID        string // "prv_…"
	Pool      string
	Name      string // unique in the pool: who calls with it, in the audit log
	Hash      secret.Hash
	CreatedAt time.Time
}

// HashProvisioning returns what is stored in place of a provisioning token.
func HashProvisioning(token secret.Text) secret.Hash { return token.Digest("provisioning-token") }

// ProvisioningResource returns what guard permits about a provisioning token.
func ProvisioningResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "provisioning-token", Pool: pool, ID: id}
}

// Caller returns whom the token proves.
func (t ProvisioningToken) Caller() name.Caller {
	return name.Caller{Kind: name.Provisioner, Client: t.Name, Pool: t.Pool}
}

// Check returns a fault of kind Invalid unless t may be stored.
func (t ProvisioningToken) Check() error { return name.Check("provisioning token", t.Name) }

// ProvisioningTokens keeps provisioning tokens.
type ProvisioningTokens interface {
	// AddProvisioningToken needs a permit for ActionCreateProvisioning. A token of that name in the pool:
	// Exists("provisioning-token", name). No such pool: NotFound("userpool", name).
	AddProvisioningToken(ctx context.Context, p guard.Permit, t ProvisioningToken) error
	// ProvisioningTokens returns the pool's tokens in order of name.
	ProvisioningTokens(ctx context.Context, pool string) ([]ProvisioningToken, error)
	// ProvisioningToken returns the pool's token with that hash, or NotFound("provisioning-token", "").
	ProvisioningToken(ctx context.Context, pool string, hash secret.Hash) (ProvisioningToken, error)
	// DeleteProvisioningToken ends a token at once; ActionDeleteProvisioning. NotFound if there is none.
	DeleteProvisioningToken(ctx context.Context, p guard.Permit, pool, id string) error
}

// CheckPasswordHash returns a fault of kind Invalid unless hash is one of Argon2id
// in PHC format, with parameters that a login can afford.
func CheckPasswordHash(hash secret.Text) error {
	if _, err := parsePHC(hash.RevealString()); err != nil {
		return fault.New(fault.Invalid, "password_hash_invalid", "the password's hash is not one of Argon2id").
			WithFix("give it as $argon2id$v=19$m=…,t=…,p=…$salt$key, with at most 1 GiB and 16 passes; other hashes cannot be taken over")
	}
	return nil
}
