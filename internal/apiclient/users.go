package apiclient

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// User is a person of a user pool.
type User struct {
	ID                 string            `json:"id"` // the subject in tokens
	UserName           string            `json:"userName"`
	DisplayName        string            `json:"displayName,omitempty"`
	Email              string            `json:"email,omitempty"`
	EmailVerified      bool              `json:"emailVerified"`
	Phone              string            `json:"phone,omitempty"`
	Attributes         map[string]string `json:"attributes,omitempty"`
	Groups             []string          `json:"groups,omitempty"`
	ExternalID         string            `json:"externalId,omitempty"`
	HasPassword        bool              `json:"hasPassword"`
	MustChangePassword bool              `json:"mustChangePassword"`
	Disabled           bool              `json:"disabled"`
	CreatedAt          time.Time         `json:"createdAt"`
	Version            int64             `json:"version"`
}

// NewUser is what a user is made from.
type NewUser struct {
	UserName          string
	DisplayName       string
	Email             string
	EmailVerified     bool
	Phone             string
	Attributes        map[string]string
	Password          secret.Text // empty: none
	TemporaryPassword secret.Text // empty: none; must be changed at the first login
}

// UserChange has what is to change of a user; what is nil stays.
type UserChange struct {
	Version       int64              `json:"version,omitempty"` // if not 0, the one that the user must have
	UserName      *string            `json:"userName,omitempty"`
	DisplayName   *string            `json:"displayName,omitempty"`
	Email         *string            `json:"email,omitempty"`
	EmailVerified *bool              `json:"emailVerified,omitempty"`
	Phone         *string            `json:"phone,omitempty"`
	Attributes    *map[string]string `json:"attributes,omitempty"` // all of them
	Disabled      *bool              `json:"disabled,omitempty"`
}

// passwords is how the API takes one of the two.
type passwords struct {
	Password          string `json:"password,omitempty"`
	TemporaryPassword string `json:"temporaryPassword,omitempty"`
}

// Users returns the users of a pool, page by page. The last pair may have an
// error.
func (c *Client) Users(ctx context.Context, pool string) iter.Seq2[User, error] {
	return each[User](ctx, c, path("user-pools", pool, "users"))
}

// each reads a list page by page.
func each[T any](ctx context.Context, c *Client, path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for query := (url.Values{"limit": {"500"}}); ; {
			var page list[T]
			if err := c.call(ctx, http.MethodGet, path, query, nil, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == query.Get("after") {
				return
			}
			query.Set("after", page.Next)
		}
	}
}

// UserByName returns the user with that name. If there is none, the fault is of
// kind NotFound.
func (c *Client) UserByName(ctx context.Context, pool, userName string) (User, error) {
	var found list[User]
	if err := c.call(ctx, http.MethodGet, path("user-pools", pool, "users"), url.Values{"userName": {userName}}, nil, &found); err != nil {
		return User{}, err
	}
	if len(found.Items) == 0 {
		return User{}, fault.New(fault.NotFound, "user_not_found", "the user pool %q has no user %q", name.Clip(pool, 80), name.Clip(userName, 80))
	}
	return found.Items[0], nil
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, pool string, u NewUser) (User, error) {
	in := struct {
		UserName      string            `json:"userName"`
		DisplayName   string            `json:"displayName,omitempty"`
		Email         string            `json:"email,omitempty"`
		EmailVerified bool              `json:"emailVerified,omitempty"`
		Phone         string            `json:"phone,omitempty"`
		Attributes    map[string]string `json:"attributes,omitempty"`
		passwords
	}{u.UserName, u.DisplayName, u.Email, u.EmailVerified, u.Phone, u.Attributes, passwords{u.Password.RevealString(), u.TemporaryPassword.RevealString()}}
	var made User
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "users"), nil, in, &made)
	return made, err
}

// ChangeUser changes a user.
func (c *Client) ChangeUser(ctx context.Context, pool, id string, change UserChange) (User, error) {
	var changed User
	err := c.call(ctx, http.MethodPatch, path("user-pools", pool, "users", id), nil, change, &changed)
	return changed, err
}

// SetPassword gives a user a password, and with temporary one that must be
// changed at the next login. His sessions end.
func (c *Client) SetPassword(ctx context.Context, pool, id string, password secret.Text, temporary bool) error {
	in := passwords{Password: password.RevealString()}
	if temporary {
		in = passwords{TemporaryPassword: password.RevealString()}
	}
	return c.call(ctx, http.MethodPut, path("user-pools", pool, "users", id, "password"), nil, in, nil)
}

// DeleteUser deletes a user.
func (c *Client) DeleteUser(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "users", id), nil, nil, nil)
}

// Group is a set of users of a pool.
type Group struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	ExternalID string    `json:"externalId,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	Version    int64     `json:"version"`
}

// Groups returns the groups of a pool, page by page.
func (c *Client) Groups(ctx context.Context, pool string) iter.Seq2[Group, error] {
	return each[Group](ctx, c, path("user-pools", pool, "groups"))
}

// GroupByName returns the group with that name. If there is none, the fault is
// of kind NotFound.
func (c *Client) GroupByName(ctx context.Context, pool, groupName string) (Group, error) {
	for g, err := range c.Groups(ctx, pool) {
		if err != nil || g.Name == groupName {
			return g, err
		}
	}
	return Group{}, fault.New(fault.NotFound, "group_not_found", "the user pool %q has no group %q", name.Clip(pool, 80), name.Clip(groupName, 80))
}

// CreateGroup makes a group.
func (c *Client) CreateGroup(ctx context.Context, pool, groupName string) (Group, error) {
	var made Group
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "groups"), nil, map[string]string{"name": groupName}, &made)
	return made, err
}

// DeleteGroup deletes a group. Its members stay.
func (c *Client) DeleteGroup(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "groups", id), nil, nil, nil)
}

// Members returns the ids of a group's users, page by page.
func (c *Client) Members(ctx context.Context, pool, id string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for m, err := range each[struct {
			ID string `json:"id"`
		}](ctx, c, path("user-pools", pool, "groups", id, "members")) {
			if !yield(m.ID, err) {
				return
			}
		}
	}
}

// ChangeMembers adds users to a group and removes others, by their ids.
func (c *Client) ChangeMembers(ctx context.Context, pool, id string, add, remove []string) error {
	in := struct {
		Add    []string `json:"add,omitempty"`
		Remove []string `json:"remove,omitempty"`
	}{add, remove}
	return c.call(ctx, http.MethodPost, path("user-pools", pool, "groups", id, "members"), nil, in, nil)
}

// User returns the user with that id.
func (c *Client) User(ctx context.Context, pool, id string) (User, error) {
	var u User
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "users", id), nil, nil, &u)
	return u, err
}
