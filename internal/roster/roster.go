// Package roster keeps the people of a user pool for others than themselves: operators, imports and provisioning systems.
package roster

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// Store is what a Roster keeps people in.
type Store interface {
	userpool.Users
	userpool.Groups
	userpool.Directory
	EndSessions(ctx context.Context, p guard.Permit, pool, userID, except string) ([]userpool.Session, error)
}

// Roster changes users and groups. Every change is authorized and recorded as
// its caller's.
type Roster struct {
	Store     Store
	Passwords *userpool.Passwords
	Guard     *guard.Guard
	Now       func() time.Time
}

// Password is how a user may log in: by Text, or by what Hash was made of. The
// zero Password is none.
type Password struct {
	Text      secret.Text
	Temporary bool        // Text must be changed at the first login
	Hash      secret.Text // Argon2id in PHC format; taken as it is, since the policy cannot look into it
}

// maxGroups bounds how many groups are given to a user at once.
const maxGroups = 64

// Create adds u, who gets an id here, with a password and in the named groups,
// all or nothing. A group that is not there is a fault of kind NotFound.
func (r *Roster) Create(ctx context.Context, c name.Caller, pool userpool.Pool, u userpool.User, pw Password) (userpool.User, error) {
	u.ID, u.Pool, u.CreatedAt = name.NewID("usr"), pool.Name, r.now()
	if err := u.Check(); err != nil {
		return userpool.User{}, err
	}
	groups, err := r.groupIDs(ctx, pool.Name, u.Groups)
	if err != nil {
		return userpool.User{}, err
	}
	p, err := r.Guard.Allow(ctx, c, userpool.ActionCreateUser, u.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	if u, err = r.withPassword(ctx, pool, u, pw); err != nil {
		return userpool.User{}, err
	}
	slices.Sort(u.Groups)
	u.Groups, u.Version = slices.Compact(u.Groups), 1
	return u, r.Store.CreateMember(ctx, p.Detail(map[string]string{"userName": u.UserName}), u, groups)
}

func (r *Roster) withPassword(ctx context.Context, pool userpool.Pool, u userpool.User, pw Password) (userpool.User, error) {
	switch {
	case !pw.Text.Empty() && !pw.Hash.Empty():
		return userpool.User{}, fault.New(fault.Invalid, "password_ambiguous", "there is more than one password").WithFix("give one of password, temporaryPassword and passwordHash")
	case !pw.Text.Empty():
		return r.Passwords.Set(ctx, pool.Settings.Password, u, pw.Text, pw.Temporary, r.now())
	case !pw.Hash.Empty():
		u.PasswordHash, u.PasswordChangedAt = pw.Hash, r.now()
		return u, userpool.CheckPasswordHash(pw.Hash)
	}
	return u, nil
}

// Update replaces was, as it was read, by u. A user who is disabled by it loses
// his sessions.
func (r *Roster) Update(ctx context.Context, c name.Caller, was, u userpool.User) (userpool.User, error) {
	if err := u.Check(); err != nil {
		return userpool.User{}, err
	}
	return r.update(ctx, c, u, "attributes", u.Disabled && !was.Disabled)
}

// SetPassword gives u, as he was read, another password and ends his sessions.
func (r *Roster) SetPassword(ctx context.Context, c name.Caller, pool userpool.Pool, u userpool.User, pw Password) (userpool.User, error) {
	u, err := r.withPassword(ctx, pool, u, pw)
	if err != nil {
		return userpool.User{}, err
	}
	return r.update(ctx, c, u, "password", true)
}

// update stores u. His sessions are void by what is stored already; that they are
// removed afterwards is tidiness, and a crash in between lets nobody in.
func (r *Roster) update(ctx context.Context, c name.Caller, u userpool.User, change string, endSessions bool) (userpool.User, error) {
	p, err := r.Guard.Allow(ctx, c, userpool.ActionUpdateUser, u.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	if err := r.Store.UpdateUser(ctx, p.Detail(map[string]string{"change": change}), u); err != nil {
		return userpool.User{}, err
	}
	u.Version++
	if !endSessions {
		return u, nil
	}
	end, err := r.Guard.Allow(ctx, c, userpool.ActionEndSession, u.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	_, err = r.Store.EndSessions(ctx, end, u.Pool, u.ID, "")
	return u, err
}

// SetGroups makes u a member of the named groups and of no others.
func (r *Roster) SetGroups(ctx context.Context, c name.Caller, u userpool.User, names []string) (userpool.User, error) {
	wanted, err := r.groupIDs(ctx, u.Pool, names)
	if err != nil {
		return userpool.User{}, err
	}
	had, err := r.groupIDs(ctx, u.Pool, u.Groups)
	if err != nil {
		return userpool.User{}, err
	}
	for _, id := range wanted {
		if !slices.Contains(had, id) {
			if err := r.ChangeMembers(ctx, c, u.Pool, id, []string{u.ID}, nil); err != nil {
				return userpool.User{}, err
			}
		}
	}
	for _, id := range had {
		if !slices.Contains(wanted, id) {
			if err := r.ChangeMembers(ctx, c, u.Pool, id, nil, []string{u.ID}); err != nil {
				return userpool.User{}, err
			}
		}
	}
	return r.Store.User(ctx, u.Pool, u.ID)
}

// groupIDs returns the ids of the named groups, each once.
func (r *Roster) groupIDs(ctx context.Context, pool string, names []string) ([]string, error) {
	if len(names) > maxGroups {
		return nil, fault.New(fault.Invalid, "groups_too_many", "the user is in %d groups", len(names)).WithFix("give at most %d", maxGroups)
	}
	var ids []string
	for _, n := range names {
		g, err := r.groupByName(ctx, pool, n)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, g.ID) {
			ids = append(ids, g.ID)
		}
	}
	return ids, nil
}

func (r *Roster) groupByName(ctx context.Context, pool, groupName string) (userpool.Group, error) {
	if groupName == "" { // would select all
		return userpool.Group{}, userpool.NotFound("group", groupName)
	}
	found, _, err := r.Store.FindGroups(ctx, pool, userpool.GroupQuery{Name: groupName, Limit: 1})
	if err != nil {
		return userpool.Group{}, err
	}
	if len(found) == 0 {
		return userpool.Group{}, userpool.NotFound("group", groupName).WithFix("create the group first")
	}
	return found[0], nil
}

// Delete removes a user with all that he has.
func (r *Roster) Delete(ctx context.Context, c name.Caller, pool, id string) error {
	p, err := r.Guard.Allow(ctx, c, userpool.ActionDeleteUser, userpool.UserResource(pool, id))
	if err != nil {
		return err
	}
	return r.Store.DeleteUser(ctx, p, pool, id)
}

// CreateGroup adds g, which gets an id here.
func (r *Roster) CreateGroup(ctx context.Context, c name.Caller, g userpool.Group) (userpool.Group, error) {
	g.ID, g.CreatedAt, g.Version = name.NewID("grp"), r.now(), 1
	if err := g.Check(); err != nil {
		return userpool.Group{}, err
	}
	p, err := r.Guard.Allow(ctx, c, userpool.ActionCreateGroup, g.Resource())
	if err != nil {
		return userpool.Group{}, err
	}
	return g, r.Store.CreateGroup(ctx, p.Detail(map[string]string{"name": g.Name}), g)
}

// UpdateGroup replaces the name and the external id of a group as it was read.
func (r *Roster) UpdateGroup(ctx context.Context, c name.Caller, g userpool.Group) (userpool.Group, error) {
	if err := g.Check(); err != nil {
		return userpool.Group{}, err
	}
	p, err := r.Guard.Allow(ctx, c, userpool.ActionUpdateGroup, g.Resource())
	if err != nil {
		return userpool.Group{}, err
	}
	if err := r.Store.UpdateGroup(ctx, p.Detail(map[string]string{"name": g.Name}), g); err != nil {
		return userpool.Group{}, err
	}
	g.Version++
	return g, nil
}

// DeleteGroup removes a group; its members stay.
func (r *Roster) DeleteGroup(ctx context.Context, c name.Caller, pool, id string) error {
	p, err := r.Guard.Allow(ctx, c, userpool.ActionDeleteGroup, userpool.GroupResource(pool, id))
	if err != nil {
		return err
	}
	return r.Store.DeleteGroup(ctx, p, pool, id)
}

// MaxMembers bounds how many members are added and removed at once.
const MaxMembers = 1000

// ChangeMembers adds users to a group and removes others, all or none.
func (r *Roster) ChangeMembers(ctx context.Context, c name.Caller, pool, id string, add, remove []string) error {
	if len(add)+len(remove) > MaxMembers {
		return fault.New(fault.Invalid, "members_too_many", "%d members are added or removed at once", len(add)+len(remove)).WithFix("give at most %d at a time", MaxMembers)
	}
	p, err := r.Guard.Allow(ctx, c, userpool.ActionUpdateGroup, userpool.GroupResource(pool, id))
	if err != nil {
		return err
	}
	return r.Store.ChangeMembers(ctx, p.Detail(map[string]string{"change": "members"}), pool, id, add, remove)
}

// now is the time with the precision that stores keep.
func (r *Roster) now() time.Time { return r.Now().UTC().Truncate(time.Millisecond) }
