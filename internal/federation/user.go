package federation

import (
	"context"
	"maps"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// user returns the user that an account is, with what the provider tells of him
// now: the one with whom it is linked, else the one who has verified the same
// address, else a new one.
func (f *Federation) user(ctx context.Context, p idp.Provider, id Identity) (userpool.User, error) {
	link, err := f.Store.Link(ctx, p.Pool, p.ID, id.Issuer, id.Subject)
	if err == nil {
		u, err := f.Users.User(ctx, p.Pool, link.UserID)
		if err != nil || u.Disabled {
			return u, err
		}
		return f.refresh(ctx, p, u, id)
	}
	if !fault.Is(err, fault.NotFound) {
		return userpool.User{}, err
	}
	if p.LinkByVerifiedEmail && id.EmailVerified && id.Email != "" {
		same, err := f.Store.VerifiedUsers(ctx, p.Pool, id.Email)
		if err != nil {
			return userpool.User{}, err
		}
		if len(same) == 1 { // of two, nobody knows whose it is
			return f.adopt(ctx, p, same[0], id)
		}
	}
	if !p.CreateUsers {
		return userpool.User{}, fault.New(fault.Forbidden, "idp_user_unknown", "nobody here has this account of %s", p.Label()).
			WithFix("ask your administrator to add you, or log in with a user name and password")
	}
	return f.create(ctx, p, id)
}

// adopt links an account with a user that is there.
func (f *Federation) adopt(ctx context.Context, p idp.Provider, userID string, id Identity) (userpool.User, error) {
	u, err := f.Users.User(ctx, p.Pool, userID)
	if err != nil || u.Disabled {
		return u, err
	}
	if err := f.link(ctx, p, u, id, "verified address"); err != nil {
		return userpool.User{}, err
	}
	return f.refresh(ctx, p, u, id)
}

func (f *Federation) link(ctx context.Context, p idp.Provider, u userpool.User, id Identity, why string) error {
	permit, err := f.Guard.Allow(ctx, system(), idp.ActionCreateLink, idp.UserResource(u.Pool, u.ID))
	if err != nil {
		return err
	}
	permit = permit.Detail(map[string]string{"idp": p.Name, "issuer": name.Clip(id.Issuer, 200), "subject": id.Subject, "by": why})
	return f.Store.CreateLink(ctx, permit, idp.Link{
		Pool: p.Pool, ProviderID: p.ID, Issuer: id.Issuer, Subject: id.Subject, UserID: u.ID, Name: id.label(), CreatedAt: f.Now().UTC(),
	})
}

// apply writes what the provider tells into u. What is not fit for a user is
// left out: nobody stays out because of an odd telephone number.
func apply(u userpool.User, p idp.Provider, id Identity) userpool.User {
	try := func(change func(*userpool.User)) {
		changed := u
		if change(&changed); changed.Check() == nil {
			u = changed
		}
	}
	if id.Name != "" {
		try(func(u *userpool.User) { u.DisplayName = id.Name })
	}
	if id.Phone != "" {
		try(func(u *userpool.User) { u.Phone = id.Phone })
	}
	trusted := p.LinkByVerifiedEmail && id.EmailVerified
	if id.Email != "" && (trusted || u.Email == "" || (!u.EmailVerified && id.Email != u.Email)) {
		try(func(u *userpool.User) { u.Email, u.EmailVerified = id.Email, trusted })
	}
	for attribute, value := range id.Attributes {
		try(func(u *userpool.User) {
			u.Attributes = maps.Clone(u.Attributes)
			if u.Attributes == nil {
				u.Attributes = map[string]string{}
			}
			u.Attributes[attribute] = value
		})
	}
	return u
}

// refresh brings a user up to date.
func (f *Federation) refresh(ctx context.Context, p idp.Provider, u userpool.User, id Identity) (userpool.User, error) {
	fresh := apply(u, p, id)
	if fresh.DisplayName == u.DisplayName && fresh.Phone == u.Phone && fresh.Email == u.Email && fresh.EmailVerified == u.EmailVerified &&
		maps.Equal(fresh.Attributes, u.Attributes) {
		return u, nil
	}
	permit, err := f.Guard.Allow(ctx, system(), userpool.ActionUpdateUser, u.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	err = f.Users.UpdateUser(ctx, permit.Detail(map[string]string{"idp": p.Name}), fresh)
	if fault.Is(err, fault.Conflict) { // somebody else changes him just now: the next login brings it again
		return u, nil
	}
	fresh.Version++
	return fresh, err
}

// create makes a user of an account.
func (f *Federation) create(ctx context.Context, p idp.Provider, id Identity) (userpool.User, error) {
	u := userpool.User{ID: name.NewID("usr"), Pool: p.Pool, CreatedAt: f.Now().UTC()}
	u.UserName = f.unused(p, id, 0)
	u = apply(u, p, id)
	permit, err := f.Guard.Allow(ctx, system(), userpool.ActionCreateUser, u.Resource())
	if err != nil {
		return userpool.User{}, err
	}
	permit = permit.Detail(map[string]string{"idp": p.Name, "subject": id.Subject})
	for try := range maxNames {
		u.UserName = f.unused(p, id, try)
		if err = f.Users.CreateUser(ctx, permit, u); !fault.HasCode(err, "user_exists") {
			break
		}
	}
	if err != nil {
		return userpool.User{}, err
	}
	u.Version = 1
	if err := f.link(ctx, p, u, id, "new user"); err != nil {
		return userpool.User{}, f.discard(ctx, u, err)
	}
	return u, nil
}

// discard removes a user who was made and could not be linked: nobody could ever
// log in as him. Two logins of one new account at once end here, the later one.
func (f *Federation) discard(ctx context.Context, u userpool.User, why error) error {
	permit, err := f.Guard.Allow(ctx, system(), userpool.ActionDeleteUser, u.Resource())
	if err == nil {
		err = f.Users.DeleteUser(ctx, permit, u.Pool, u.ID)
	}
	if err != nil {
		return err
	}
	return why
}

// maxNames is how many user names are tried.
const maxNames = 4

// unused returns a user name for an account: the one that it has there, then
// with something random behind, which nobody can have taken before.
func (f *Federation) unused(p idp.Provider, id Identity, try int) string {
	local, _, _ := strings.Cut(id.Email, "@")
	for _, s := range []string{id.UserName, local, id.Name} {
		if s = asUserName(s); s != "" && try == 0 {
			return s
		} else if s != "" {
			return s + "-" + random()
		}
	}
	return name.Clip(p.Name, 40) + "-" + random()
}

// random returns six characters that are hard to guess and easy to read.
func random() string {
	id := name.NewID("x")
	return id[len(id)-6:]
}

// asUserName returns what of s can be a user name (see [name.Check]), or "".
func asUserName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)) {
			return r
		}
		return -1
	}, s)
	s = strings.TrimLeft(s, "-_.")
	s = s[:min(len(s), 40)]
	if name.Check("user", s) != nil {
		return ""
	}
	return s
}
