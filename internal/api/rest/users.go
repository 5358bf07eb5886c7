package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

type newUser struct {
	UserName          string            `json:"userName" example:"zhangsan"`
	Password          *secret.Text      `json:"password,omitempty" doc:"Never shown again; without one, and without a temporary one, the user cannot log in by password"`
	TemporaryPassword *secret.Text      `json:"temporaryPassword,omitempty" doc:"In place of password: must be changed at the first login"`
	DisplayName       string            `json:"displayName,omitempty" example:"Zhang San"`
	Email             string            `json:"email,omitempty" example:"zhangsan@example.com"`
	EmailVerified     bool              `json:"emailVerified,omitempty" doc:"The operator vouches for the address"`
	Phone             string            `json:"phone,omitempty" example:"+8613800138000"`
	Attributes        map[string]string `json:"attributes,omitempty" doc:"Claims of the user, such as department"`
	ExternalID        string            `json:"externalId,omitempty"`
}

// changedUser has what is to change; what is left out stays.
type changedUser struct {
	Version       int64              `json:"version,omitempty" doc:"If given, the change is refused unless the user still has this version"`
	UserName      *string            `json:"userName,omitempty"`
	DisplayName   *string            `json:"displayName,omitempty"`
	Email         *string            `json:"email,omitempty" doc:"A changed address is not verified, unless emailVerified is given, too"`
	EmailVerified *bool              `json:"emailVerified,omitempty"`
	Phone         *string            `json:"phone,omitempty"`
	Attributes    *map[string]string `json:"attributes,omitempty" doc:"All attributes: those that are not in it are removed"`
	ExternalID    *string            `json:"externalId,omitempty"`
	Disabled      *bool              `json:"disabled,omitempty" doc:"A disabled user cannot log in, and his sessions end"`
}

type newPassword struct {
	Password          *secret.Text `json:"password,omitempty"`
	TemporaryPassword *secret.Text `json:"temporaryPassword,omitempty" doc:"In place of password: must be changed at the next login"`
}

type userJSON struct {
	ID                 string            `json:"id"`
	UserName           string            `json:"userName"`
	DisplayName        string            `json:"displayName,omitempty"`
	Email              string            `json:"email,omitempty"`
	EmailVerified      bool              `json:"emailVerified"`
	Phone              string            `json:"phone,omitempty"`
	Attributes         map[string]string `json:"attributes,omitempty"`
	Groups             []string          `json:"groups,omitempty" doc:"Names of the groups that the user is in"`
	ExternalID         string            `json:"externalId,omitempty"`
	HasPassword        bool              `json:"hasPassword"`
	MustChangePassword bool              `json:"mustChangePassword"`
	Disabled           bool              `json:"disabled"`
	CreatedAt          time.Time         `json:"createdAt"`
	Version            int64             `json:"version"`
}

func user(u userpool.User) userJSON {
	return userJSON{
		u.ID, u.UserName, u.DisplayName, u.Email, u.EmailVerified, u.Phone, u.Attributes, u.Groups, u.ExternalID,
		!u.PasswordHash.Empty(), u.MustChangePassword, u.Disabled, u.CreatedAt, u.Version,
	}
}

// userQuery are the parameters of a list of users.
var userQuery = append([]parameter{{"userName", "string", "Only the user with this name, without regard to case"}}, page...)

func (a *API) listUsers(c *call) (any, error) {
	limit, err := c.number("limit", 100, 1, 500)
	if err != nil {
		return nil, err
	}
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	if userName, ok := c.query["userName"]; ok {
		u, err := a.Users.UserByName(c.ctx, pool.Name, userName)
		if fault.Is(err, fault.NotFound) {
			return listOf[userpool.User](nil, user), nil
		}
		return listOf([]userpool.User{u}, user), err
	}
	users, err := a.Users.Users(c.ctx, pool.Name, userpool.LoginName(c.query["after"]), limit)
	l := listOf(users, user)
	if len(users) == limit {
		l.Next = userpool.LoginName(users[limit-1].UserName)
	}
	return l, err
}

func (a *API) createUser(c *call) (any, error) {
	var in newUser
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	u := userpool.User{
		ID: name.NewID("usr"), Pool: pool.Name, UserName: in.UserName, DisplayName: in.DisplayName, Email: in.Email, EmailVerified: in.EmailVerified && in.Email != "",
		Phone: in.Phone, Attributes: in.Attributes, ExternalID: in.ExternalID, CreatedAt: a.now(), Version: 1,
	}
	if err := u.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionCreateUser, u.Resource())
	if err != nil {
		return nil, err
	}
	if password := (newPassword{in.Password, in.TemporaryPassword}); password != (newPassword{}) {
		if u, err = a.withPassword(c, pool, u, password); err != nil {
			return nil, err
		}
	}
	return user(u), a.Users.CreateUser(c.ctx, p.Detail(map[string]string{"userName": u.UserName}), u)
}

// withPassword returns u with the one password that in has.
func (a *API) withPassword(c *call, pool userpool.Pool, u userpool.User, in newPassword) (userpool.User, error) {
	if (in.Password == nil) == (in.TemporaryPassword == nil) {
		return userpool.User{}, fault.New(fault.Invalid, "password_invalid", "the request has no password, or two").
			WithFix("give either password or temporaryPassword")
	}
	password, temporary := in.Password, false
	if password == nil {
		password, temporary = in.TemporaryPassword, true
	}
	defer password.Clear()
	return a.Passwords.Set(c.ctx, pool.Settings.Password, u, *password, temporary, a.now())
}

func (a *API) getUser(c *call) (any, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	return user(u), err
}

func (a *API) changeUser(c *call) (any, error) {
	var in changedUser
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	if err != nil {
		return nil, err
	}
	if in.Version != 0 && in.Version != u.Version {
		return nil, userpool.Changed("user", u.ID)
	}
	disabled := !u.Disabled && in.Disabled != nil && *in.Disabled
	in.apply(&u)
	if err := u.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionUpdateUser, u.Resource())
	if err != nil {
		return nil, err
	}
	if err := a.Users.UpdateUser(c.ctx, p.Detail(map[string]string{"userName": u.UserName}), u); err != nil {
		return nil, err
	}
	u.Version++
	if disabled {
		err = a.endSessions(c, u)
	}
	return user(u), err
}

func (in changedUser) apply(u *userpool.User) {
	if in.Email != nil {
		u.SetEmail(*in.Email)
	}
	amend(&u.UserName, in.UserName)
	amend(&u.DisplayName, in.DisplayName)
	amend(&u.EmailVerified, in.EmailVerified)
	u.EmailVerified = u.EmailVerified && u.Email != ""
	amend(&u.Phone, in.Phone)
	amend(&u.Attributes, in.Attributes)
	amend(&u.ExternalID, in.ExternalID)
	amend(&u.Disabled, in.Disabled)
}

// amend changes what a request does not leave out.
func amend[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// endSessions ends all sessions of a user, who may not go on with them.
func (a *API) endSessions(c *call, u userpool.User) error {
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionEndSession, u.Resource())
	if err != nil {
		return err
	}
	_, err = a.Sessions.EndSessions(c.ctx, p, u.Pool, u.ID, "")
	return err
}

func (a *API) setPassword(c *call) (any, error) {
	var in newPassword
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	u, err := a.Users.User(c.ctx, pool.Name, c.path("user"))
	if err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionUpdateUser, u.Resource())
	if err != nil {
		return nil, err
	}
	if u, err = a.withPassword(c, pool, u, in); err != nil {
		return nil, err
	}
	if err := a.Users.UpdateUser(c.ctx, p.Detail(map[string]string{"change": "password"}), u); err != nil {
		return nil, err
	}
	return nil, a.endSessions(c, u)
}

func (a *API) deleteUser(c *call) (any, error) {
	r := userpool.UserResource(c.path("pool"), c.path("user"))
	return nil, a.permitted(c, userpool.ActionDeleteUser, r, func(p guard.Permit) error { return a.Users.DeleteUser(c.ctx, p, r.Pool, r.ID) })
}

// permitted does what the caller may do.
func (a *API) permitted(c *call, action guard.Action, r guard.Resource, do func(guard.Permit) error) error {
	p, err := a.Guard.Allow(c.ctx, c.caller, action, r)
	if err != nil {
		return err
	}
	return do(p)
}
