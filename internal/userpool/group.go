package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
)

// The actions on groups.
const (
	ActionCreateGroup guard.Action = "group.create"
	ActionUpdateGroup guard.Action = "group.update"
	ActionDeleteGroup guard.Action = "group.delete"
)

// Group is a set of users of a pool. Its name is a claim of its members.
type Group struct {
	ID         string // "grp_…"
	Pool       string
	Name       string // unique in the pool, byte by byte
	ExternalID string // what a provisioning system (SCIM) calls it; may be empty
	CreatedAt  time.Time
	Version    int64 // 1 when created, one more with every change of the group itself or of its members
}

// GroupResource returns what guard permits about a group.
func GroupResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "group", Pool: pool, ID: id}
}

// Resource returns what guard permits about g.
func (g Group) Resource() guard.Resource { return GroupResource(g.Pool, g.ID) }

// Check returns a fault of kind Invalid unless g may be stored.
func (g Group) Check() error {
	if g.Name == "" {
		return fault.New(fault.Invalid, "group_invalid", "the group has no name")
	}
	if err := checkText("group's name", g.Name); err != nil {
		return err
	}
	return checkText("external id", g.ExternalID)
}

// Groups keeps groups and who belongs to them.
type Groups interface {
	// CreateGroup adds a group with Version 1, whatever g says; ActionCreateGroup. A group of that name in
	// the pool: Exists("group", name). No such pool: NotFound("userpool", name).
	CreateGroup(ctx context.Context, p guard.Permit, g Group) error
	// Group returns a group by id, or NotFound("group", id).
	Group(ctx context.Context, pool, id string) (Group, error)
	// Groups returns at most limit groups in order of name, those after the name given.
	Groups(ctx context.Context, pool, after string, limit int) ([]Group, error)
	// UpdateGroup replaces name and external id if the version still is g.Version, and counts it up;
	// ActionUpdateGroup. Otherwise Changed("group", id), or NotFound, or, for a name that another group has, Exists.
	UpdateGroup(ctx context.Context, p guard.Permit, g Group) error
	// DeleteGroup removes a group; ActionDeleteGroup. NotFound if there is none.
	DeleteGroup(ctx context.Context, p guard.Permit, pool, id string) error
	// Members returns at most limit ids of the group's users in order of id, those after the id given.
	Members(ctx context.Context, pool, id, after string, limit int) ([]string, error)
	// ChangeMembers adds and removes users and counts the group's version up; ActionUpdateGroup. Adding a
	// member and removing a stranger change nothing. A user that the pool does not have: NotFound("user", id);
	// no such group: NotFound("group", id).
	ChangeMembers(ctx context.Context, p guard.Permit, pool, id string, add, remove []string) error
}
