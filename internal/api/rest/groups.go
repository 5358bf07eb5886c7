package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

type newGroup struct {
	Name       string `json:"name" example:"editors"`
	ExternalID string `json:"externalId,omitempty"`
}

type changedGroup struct {
	Version    int64   `json:"version,omitempty" doc:"If given, the change is refused unless the group still has this version"`
	Name       *string `json:"name,omitempty"`
	ExternalID *string `json:"externalId,omitempty"`
}

type changedMembers struct {
	Add    []string `json:"add,omitempty" doc:"Ids of users; at most 1000"`
	Remove []string `json:"remove,omitempty" doc:"Ids of users; at most 1000"`
}

type groupJSON struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	ExternalID string    `json:"externalId,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	Version    int64     `json:"version"`
}

type memberJSON struct {
	ID string `json:"id"`
}

func group(g userpool.Group) groupJSON {
	return groupJSON{g.ID, g.Name, g.ExternalID, g.CreatedAt, g.Version}
}

func (a *API) listGroups(c *call) (any, error) {
	limit, err := c.number("limit", 100, 1, 500)
	if err != nil {
		return nil, err
	}
	if _, err := a.Pools.Pool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	groups, err := a.Groups.Groups(c.ctx, c.path("pool"), c.query["after"], limit)
	l := listOf(groups, group)
	if len(groups) == limit {
		l.Next = groups[limit-1].Name
	}
	return l, err
}

func (a *API) createGroup(c *call) (any, error) {
	var in newGroup
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	g := userpool.Group{ID: name.NewID("grp"), Pool: c.path("pool"), Name: in.Name, ExternalID: in.ExternalID, CreatedAt: a.now(), Version: 1}
	if err := g.Check(); err != nil {
		return nil, err
	}
	return group(g), a.permitted(c, userpool.ActionCreateGroup, g.Resource(), func(p guard.Permit) error {
		return a.Groups.CreateGroup(c.ctx, p.Detail(map[string]string{"name": g.Name}), g)
	})
}

func (a *API) getGroup(c *call) (any, error) {
	g, err := a.Groups.Group(c.ctx, c.path("pool"), c.path("group"))
	return group(g), err
}

func (a *API) changeGroup(c *call) (any, error) {
	var in changedGroup
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	g, err := a.Groups.Group(c.ctx, c.path("pool"), c.path("group"))
	if err != nil {
		return nil, err
	}
	if in.Version != 0 && in.Version != g.Version {
		return nil, userpool.Changed("group", g.ID)
	}
	amend(&g.Name, in.Name)
	amend(&g.ExternalID, in.ExternalID)
	if err := g.Check(); err != nil {
		return nil, err
	}
	err = a.permitted(c, userpool.ActionUpdateGroup, g.Resource(), func(p guard.Permit) error {
		return a.Groups.UpdateGroup(c.ctx, p.Detail(map[string]string{"name": g.Name}), g)
	})
	g.Version++
	return group(g), err
}

func (a *API) deleteGroup(c *call) (any, error) {
	r := userpool.GroupResource(c.path("pool"), c.path("group"))
	return nil, a.permitted(c, userpool.ActionDeleteGroup, r, func(p guard.Permit) error { return a.Groups.DeleteGroup(c.ctx, p, r.Pool, r.ID) })
}

func (a *API) listMembers(c *call) (any, error) {
	limit, err := c.number("limit", 100, 1, 500)
	if err != nil {
		return nil, err
	}
	if _, err := a.Groups.Group(c.ctx, c.path("pool"), c.path("group")); err != nil {
		return nil, err
	}
	ids, err := a.Groups.Members(c.ctx, c.path("pool"), c.path("group"), c.query["after"], limit)
	l := listOf(ids, func(id string) memberJSON { return memberJSON{id} })
	if len(ids) == limit {
		l.Next = ids[limit-1]
	}
	return l, err
}

// maxMembers bounds one change of a group's members.
const maxMembers = 1000

func (a *API) changeMembers(c *call) (any, error) {
	var in changedMembers
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Add) > maxMembers || len(in.Remove) > maxMembers {
		return nil, fault.New(fault.Invalid, "members_too_many", "the request changes more than %d members", maxMembers).WithFix("send several requests")
	}
	r := userpool.GroupResource(c.path("pool"), c.path("group"))
	return nil, a.permitted(c, userpool.ActionUpdateGroup, r, func(p guard.Permit) error {
		return a.Groups.ChangeMembers(c.ctx, p.Detail(map[string]string{"change": "members"}), r.Pool, r.ID, in.Add, in.Remove)
	})
}
