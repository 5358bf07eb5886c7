package scim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/userpool"
)

// groupJSON is a group on the wire, with at most [roster.MaxMembers] members.
type groupJSON struct {
	Schemas     []string    `json:"schemas"`
	ID          string      `json:"id"`
	ExternalID  string      `json:"externalId,omitempty"`
	DisplayName string      `json:"displayName"`
	Members     []valueJSON `json:"members,omitempty"`
	Meta        meta        `json:"meta"`
}

func (h *Handler) showGroup(c *call, g userpool.Group) (groupJSON, error) {
	shown := groupJSON{Schemas: []string{groupSchema}, ID: g.ID, ExternalID: g.ExternalID, DisplayName: g.Name, Meta: meta{"Group", g.CreatedAt, c.base + "/Groups/" + g.ID, etag(g.Version)}}
	if strings.Contains(strings.ToLower(c.r.FormValue("excludedAttributes")), "members") {
		return shown, nil
	}
	members, err := h.Roster.Store.Members(c.r.Context(), g.Pool, g.ID, "", roster.MaxMembers)
	for _, id := range members {
		shown.Members = append(shown.Members, valueJSON{Value: id})
	}
	return shown, err
}

// group answers with the group as it is now.
func (h *Handler) group(c *call, status int, id string) error {
	g, err := h.Roster.Store.Group(c.r.Context(), c.pool.Name, id)
	if err != nil {
		return err
	}
	shown, err := h.showGroup(c, g)
	if err != nil {
		return err
	}
	return c.resource(status, g.Version, shown.Meta.Location, shown)
}

func (h *Handler) listGroups(c *call) error {
	l, err := c.listing()
	if err != nil {
		return err
	}
	q := userpool.GroupQuery{Offset: l.start - 1, Limit: l.count}
	for _, t := range l.terms {
		field, ok := map[string]*string{"displayname": &q.Name, "externalid": &q.ExternalID, "members": &q.Member, "members.value": &q.Member}[t.attribute]
		if !ok || *field != "" || t.value == "" {
			return badFilter(c.r.FormValue("filter"))
		}
		*field = t.value
	}
	groups, total, err := h.Roster.Store.FindGroups(c.r.Context(), c.pool.Name, q)
	if err != nil {
		return err
	}
	var items []any
	for _, g := range groups {
		shown, err := h.showGroup(c, g)
		if err != nil {
			return err
		}
		items = append(items, shown)
	}
	return c.list(l, total, items)
}

// memberIDs returns the users that a value of members names.
func memberIDs(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value} // one alone, as some send it
	}
	var ids []string
	for _, item := range list {
		inner, _ := item.(map[string]any)
		one := &values{in: inner}
		id := one.text("value")
		if id == "" || one.err != nil {
			return nil, fault.New(fault.Invalid, "scim_value_invalid", "a member has no value").WithFix("give members as [{\"value\": \"usr_…\"}]")
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) > roster.MaxMembers {
		return nil, fault.New(fault.Invalid, "members_too_many", "the request has too many members").WithFix("add at most %d at a time", roster.MaxMembers)
	}
	return ids, nil
}

// group returns g with the names that d gives it.
func (d document) group(g userpool.Group) (userpool.Group, error) {
	v := &values{in: d}
	g.Name, g.ExternalID = v.text("displayname"), v.text("externalid")
	if v.err != nil {
		return userpool.Group{}, v.err
	}
	return g, g.Check()
}

func (h *Handler) createGroup(c *call) error {
	d, err := c.document()
	if err != nil {
		return err
	}
	members, err := memberIDs(d["members"])
	if err != nil {
		return err
	}
	g, err := d.group(userpool.Group{Pool: c.pool.Name})
	if err != nil {
		return err
	}
	for _, id := range members { // before the group is made: it is made with all of them
		if _, err := h.Roster.Store.User(c.r.Context(), c.pool.Name, id); err != nil {
			return unknownMember(err)
		}
	}
	if g, err = h.Roster.CreateGroup(c.r.Context(), c.caller, g); err != nil {
		return err
	}
	if err := h.changeMembers(c, g.ID, members, nil); err != nil {
		return err
	}
	return h.group(c, http.StatusCreated, g.ID)
}

// unknownMember tells a member that is not there from a group that is not.
func unknownMember(err error) error {
	if fault.HasCode(err, "user_not_found") {
		return fault.Wrap(err, fault.Invalid, "scim_value_invalid", "%s", fault.As(err).Message)
	}
	return err
}

func (h *Handler) changeMembers(c *call, id string, add, remove []string) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	return unknownMember(h.Roster.ChangeMembers(c.r.Context(), c.caller, c.pool.Name, id, add, remove))
}

// setMembers makes wanted the group's members.
func (h *Handler) setMembers(c *call, id string, wanted []string) error {
	had, err := h.Roster.Store.Members(c.r.Context(), c.pool.Name, id, "", roster.MaxMembers+1)
	if err != nil {
		return err
	}
	if len(had) > roster.MaxMembers {
		return fault.New(fault.Invalid, "members_too_many", "the group has too many members to be replaced at once").WithFix("add and remove single members")
	}
	without := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return slices.Contains(other, id) })
	}
	return h.changeMembers(c, id, without(wanted, had), without(had, wanted))
}

// named returns the group that the request names, of the version that it wants.
func (h *Handler) named(c *call) (userpool.Group, error) {
	g, err := h.Roster.Store.Group(c.r.Context(), c.pool.Name, c.r.PathValue("id"))
	if err != nil {
		return userpool.Group{}, err
	}
	return g, c.match(g.Version)
}

func (h *Handler) getGroup(c *call) error { return h.group(c, http.StatusOK, c.r.PathValue("id")) }

func (h *Handler) replaceGroup(c *call) error {
	d, err := c.document()
	if err != nil {
		return err
	}
	members, err := memberIDs(d["members"])
	if err != nil {
		return err
	}
	was, err := h.named(c)
	if err != nil {
		return err
	}
	g, err := d.group(was)
	if err != nil {
		return err
	}
	if err := h.rename(c, was, g); err != nil {
		return err
	}
	if err := h.setMembers(c, g.ID, members); err != nil {
		return err
	}
	return h.group(c, http.StatusOK, g.ID)
}

func (h *Handler) rename(c *call, was, g userpool.Group) error {
	if g == was {
		return nil
	}
	_, err := h.Roster.UpdateGroup(c.r.Context(), c.caller, g)
	return err
}

// patchGroup works on members one operation after the other, without reading
// those that stay.
func (h *Handler) patchGroup(c *call) error {
	var in patchRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	was, err := h.named(c)
	if err != nil {
		return err
	}
	d := document{"displayname": was.Name, "externalid": was.ExternalID}
	var members []func() error
	if err := in.each(func(op string, t target, value any) error {
		if t.attribute != "members" {
			return d.apply(op, t, value)
		}
		do, err := h.memberChange(c, was.ID, op, t, value)
		members = append(members, do)
		return err
	}); err != nil {
		return err
	}
	g, err := d.group(was)
	if err != nil {
		return err
	}
	if err := h.rename(c, was, g); err != nil {
		return err
	}
	for _, do := range members {
		if err := do(); err != nil {
			return err
		}
	}
	return h.group(c, http.StatusOK, g.ID)
}

// memberChange returns what an operation on members does.
func (h *Handler) memberChange(c *call, id, op string, t target, value any) (func() error, error) {
	if t.sub != "" {
		return nil, badPath("members." + t.sub)
	}
	if t.filter != nil {
		if op != "remove" || len(t.filter) != 1 || t.filter[0].attribute != "value" {
			return nil, badPath("members[…]")
		}
		value = []any{map[string]any{"value": t.filter[0].value}}
	}
	ids, err := memberIDs(value)
	if err != nil {
		return nil, err
	}
	switch {
	case op == "add":
		return func() error { return h.changeMembers(c, id, ids, nil) }, nil
	case op == "remove" && len(ids) > 0:
		return func() error { return h.changeMembers(c, id, nil, ids) }, nil
	default: // replaced by others, or by none
		return func() error { return h.setMembers(c, id, ids) }, nil
	}
}

func (h *Handler) deleteGroup(c *call) error {
	if _, err := h.named(c); err != nil {
		return err
	}
	if err := h.Roster.DeleteGroup(c.r.Context(), c.caller, c.pool.Name, c.r.PathValue("id")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
