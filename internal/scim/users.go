package scim

import (
	"net/http"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func (h *Handler) listUsers(c *call) error {
	l, err := c.listing()
	if err != nil {
		return err
	}
	q := userpool.UserQuery{Offset: l.start - 1, Limit: l.count}
	for _, t := range l.terms {
		field, ok := map[string]*string{"username": &q.UserName, "externalid": &q.ExternalID, "emails": &q.Email, "emails.value": &q.Email, "displayname": &q.DisplayName}[t.attribute]
		if !ok || *field != "" || t.value == "" {
			return badFilter(c.r.FormValue("filter"))
		}
		*field = t.value
	}
	users, total, err := h.Roster.Store.FindUsers(c.r.Context(), c.pool.Name, q)
	if err != nil {
		return err
	}
	var items []any
	for _, u := range users {
		shown, err := h.shown(c, u)
		if err != nil {
			return err
		}
		items = append(items, shown)
	}
	return c.list(l, total, items)
}

// maxShownGroups bounds the groups that are shown with a user.
const maxShownGroups = 100

func (h *Handler) shown(c *call, u userpool.User) (userJSON, error) {
	var groups []userpool.Group
	if len(u.Groups) > 0 {
		var err error
		if groups, _, err = h.Roster.Store.FindGroups(c.r.Context(), c.pool.Name, userpool.GroupQuery{Member: u.ID, Limit: maxShownGroups}); err != nil {
			return userJSON{}, err
		}
	}
	return userShown(c.base, u, groups), nil
}

func (h *Handler) showUser(c *call, status int, u userpool.User) error {
	shown, err := h.shown(c, u)
	if err != nil {
		return err
	}
	return c.resource(status, u.Version, shown.Meta.Location, shown)
}

func (h *Handler) createUser(c *call) error {
	d, err := c.document()
	if err != nil {
		return err
	}
	u, password, err := d.user(userpool.User{})
	if err != nil {
		return err
	}
	defer password.Clear()
	if u, err = h.Roster.Create(c.r.Context(), c.caller, c.pool, u, roster.Password{Text: password}); err != nil {
		return err
	}
	return h.showUser(c, http.StatusCreated, u)
}

// user returns the user that the request names, of the version that it wants.
func (h *Handler) user(c *call) (userpool.User, error) {
	u, err := h.Roster.Store.User(c.r.Context(), c.pool.Name, c.r.PathValue("id"))
	if err != nil {
		return userpool.User{}, err
	}
	return u, c.match(u.Version)
}

func (h *Handler) getUser(c *call) error {
	u, err := h.Roster.Store.User(c.r.Context(), c.pool.Name, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	if c.r.Header.Get("If-None-Match") == etag(u.Version) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return h.showUser(c, http.StatusOK, u)
}

func (h *Handler) replaceUser(c *call) error {
	d, err := c.document()
	if err != nil {
		return err
	}
	was, err := h.user(c)
	if err != nil {
		return err
	}
	return h.save(c, was, d)
}

func (h *Handler) patchUser(c *call) error {
	var in patchRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	was, err := h.user(c)
	if err != nil {
		return err
	}
	d, err := documentOf(was)
	if err != nil {
		return err
	}
	named := false
	if err := in.each(func(op string, t target, value any) error {
		named = named || t.attribute == "displayname"
		return d.apply(op, t, value)
	}); err != nil {
		return err
	}
	// The formatted name is the display name once more: whoever changes one of the two means both.
	if full, ok := d["name"].(map[string]any); ok && !named && full["formatted"] != nil && full["formatted"] != was.DisplayName {
		d["displayname"] = full["formatted"]
	}
	return h.save(c, was, d)
}

// save stores what d says of a user and answers with him.
func (h *Handler) save(c *call, was userpool.User, d document) error {
	u, password, err := d.user(was)
	if err != nil {
		return err
	}
	defer password.Clear()
	if u, err = h.Roster.Update(c.r.Context(), c.caller, was, u); err != nil {
		return err
	}
	if u, err = h.setPassword(c, u, password); err != nil {
		return err
	}
	return h.showUser(c, http.StatusOK, u)
}

func (h *Handler) setPassword(c *call, u userpool.User, password secret.Text) (userpool.User, error) {
	if password.Empty() {
		return u, nil
	}
	return h.Roster.SetPassword(c.r.Context(), c.caller, c.pool, u, roster.Password{Text: password})
}

func (h *Handler) deleteUser(c *call) error {
	if _, err := h.user(c); err != nil {
		return err
	}
	if err := h.Roster.Delete(c.r.Context(), c.caller, c.pool.Name, c.r.PathValue("id")); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
