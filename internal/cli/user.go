package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/secret"
)

// userCommand is deputy user.
type userCommand struct {
	List     userList     `cmd:"" help:"List a pool's users."`
	Show     userShow     `cmd:"" help:"Show a user."`
	Create   userCreate   `cmd:"" help:"Create a user."`
	Set      userSet      `cmd:"" help:"Change a user."`
	Password userPassword `cmd:"" help:"Give a user a password; his sessions end."`
	Disable  userDisable  `cmd:"" help:"Keep a user from logging in; his sessions end."`
	Enable   userEnable   `cmd:"" help:"Let a disabled user log in again."`
	Sessions userSessions `cmd:"" help:"List where a user is logged in."`
	End      userEnd      `cmd:"" help:"End sessions of a user; their applications are told."`
	Consents userConsents `cmd:"" help:"List what a user allowed applications."`
	Revoke   userRevoke   `cmd:"" help:"Take back what a user allowed an application; its tokens end."`
	Delete   userDelete   `cmd:"" help:"Delete a user with all that belongs to him."`

	RevokeTokens  userRevokeTokens  `cmd:"" name:"revoke-tokens" help:"End all access tokens that agents have for a user."`
	RevokeForeign userRevokeForeign `cmd:"" name:"revoke-foreign-tokens" help:"End those for a user of another issuer."`
	Import        userImport        `cmd:"" help:"Import users from a CSV or JSON-lines file."`
}

// inPool names a user pool.
type inPool struct {
	remote
	Pool string `arg:"" help:"Name of the user pool."`
}

// oneUser names a user.
type oneUser struct {
	inPool
	User string `arg:"" help:"User name, or id (usr_…)."`
}

func (u oneUser) find(ctx context.Context) (*apiclient.Client, apiclient.User, error) {
	client, err := u.client()
	if err != nil {
		return nil, apiclient.User{}, err
	}
	found, err := userNamed(ctx, client, u.Pool, u.User)
	return client, found, err
}

// userNamed finds a user by name or id.
func userNamed(ctx context.Context, client *apiclient.Client, pool, user string) (apiclient.User, error) {
	if strings.HasPrefix(user, "usr_") {
		return client.User(ctx, pool, user)
	}
	return client.UserByName(ctx, pool, user)
}

// change finds the user and changes him.
func (u oneUser) change(ctx context.Context, o output, c apiclient.UserChange) error {
	client, found, err := u.find(ctx)
	if err != nil {
		return err
	}
	changed, err := client.ChangeUser(ctx, u.Pool, found.ID, c)
	if err != nil {
		return err
	}
	return o.print(changed, func(w io.Writer) error { return writeUser(w, changed) })
}

// writeUser shows a user to people.
func writeUser(w io.Writer, u apiclient.User) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	verified := ""
	if u.Email != "" && !u.EmailVerified {
		verified = " (not verified)"
	}
	rows := [][2]string{{"id", u.ID}, {"user name", u.UserName}, {"name", u.DisplayName}, {"e-mail", u.Email + verified}, {"phone", u.Phone},
		{"groups", strings.Join(u.Groups, ", ")}, {"state", userState(u)}, {"created", u.CreatedAt.Local().Format("2006-01-02 15:04")}}
	for _, key := range slices.Sorted(maps.Keys(u.Attributes)) {
		rows = append(rows, [2]string{key, u.Attributes[key]})
	}
	for _, r := range rows {
		if r[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	return t.Flush()
}

func userState(u apiclient.User) string {
	switch {
	case u.Disabled:
		return "disabled"
	case u.MustChangePassword:
		return "must change the password"
	case !u.HasPassword:
		return "no password"
	default:
		return "active"
	}
}

type userList struct{ inPool }

// Run implements kong's command.
func (l userList) Run(ctx context.Context, o output) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for u, err := range client.Users(ctx, l.Pool) {
		if err != nil {
			return err
		}
		if err := o.print(u, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", u.UserName, u.DisplayName, u.Email, userState(u), u.ID)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type userShow struct{ oneUser }

// Run implements kong's command.
func (s userShow) Run(ctx context.Context, o output) error {
	_, u, err := s.find(ctx)
	if err != nil {
		return err
	}
	return o.print(u, func(w io.Writer) error { return writeUser(w, u) })
}

// passwordFlags say which password a user gets. A password is no flag: every
// process list shows those.
type passwordFlags struct {
	PasswordFile string `help:"File with the password; - is standard input. Without it a temporary one is made and shown." placeholder:"FILE"`
	Temporary    bool   `help:"The password must be changed at the next login."`
}

// password returns the password, whether it is temporary, and whether it was
// made here, and so must be shown.
func (f passwordFlags) password() (p secret.Text, temporary, made bool, err error) {
	if f.PasswordFile == "" {
		return temporaryPassword(), true, true, nil
	}
	p, err = readSecret(f.PasswordFile, "--password-file")
	return p, f.Temporary, false, err
}

// temporaryPassword returns a password of 80 random bits that can be read out
// and typed.
func temporaryPassword() secret.Text {
	text := strings.ToLower(rand.Text())[:16]
	return secret.FromString(text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:])
}

// withPassword is a user with the temporary password that was made for him.
type withPassword struct {
	apiclient.User
	TemporaryPassword string `json:"temporaryPassword,omitempty"`
}

func (o output) printWithPassword(u apiclient.User, p secret.Text, made bool) error {
	shown := withPassword{User: u}
	if made {
		shown.TemporaryPassword = p.RevealString()
	}
	return o.print(shown, func(w io.Writer) error {
		if err := writeUser(w, u); err != nil || !made {
			return err
		}
		_, err := fmt.Fprintf(w, "\nTemporary password, shown this once: %s\n", shown.TemporaryPassword)
		return err
	})
}

type userCreate struct {
	inPool
	UserName      string            `arg:"" help:"User name: letters, digits, and . _ -"`
	DisplayName   string            `help:"What people see."`
	Email         string            `help:"E-mail address." name:"email"`
	EmailVerified bool              `help:"You vouch for the address." name:"email-verified"`
	Phone         string            `help:"Phone number with country code."`
	Attribute     map[string]string `help:"A claim of the user, such as department=R&D. May be repeated." placeholder:"KEY=VALUE" mapsep:"none"`
	passwordFlags
}

// Run implements kong's command.
func (c userCreate) Run(ctx context.Context, o output) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	password, temporary, made, err := c.password()
	if err != nil {
		return err
	}
	defer password.Clear()
	n := apiclient.NewUser{UserName: c.UserName, DisplayName: c.DisplayName, Email: c.Email, EmailVerified: c.EmailVerified, Phone: c.Phone, Attributes: c.Attribute}
	if temporary {
		n.TemporaryPassword = password
	} else {
		n.Password = password
	}
	u, err := client.CreateUser(ctx, c.Pool, n)
	if err != nil {
		return err
	}
	return o.printWithPassword(u, password, made)
}

type userSet struct {
	oneUser
	UserName      *string           `help:"New user name."`
	DisplayName   *string           `help:"What people see."`
	Email         *string           `help:"E-mail address; a changed one is not verified." name:"email"`
	EmailVerified *bool             `help:"Whether you vouch for the address." name:"email-verified" negatable:""`
	Phone         *string           `help:"Phone number with country code."`
	Attribute     map[string]string `help:"A claim of the user; one without a value is removed. May be repeated." placeholder:"KEY=VALUE" mapsep:"none"`
}

// Run implements kong's command.
func (s userSet) Run(ctx context.Context, o output) error {
	change := apiclient.UserChange{UserName: s.UserName, DisplayName: s.DisplayName, Email: s.Email, EmailVerified: s.EmailVerified, Phone: s.Phone}
	if len(s.Attribute) > 0 {
		_, u, err := s.find(ctx)
		if err != nil {
			return err
		}
		attributes := maps.Clone(u.Attributes)
		if attributes == nil {
			attributes = map[string]string{}
		}
		maps.Copy(attributes, s.Attribute)
		maps.DeleteFunc(attributes, func(_, value string) bool { return value == "" })
		change.Attributes, change.Version = &attributes, u.Version
	}
	return s.change(ctx, o, change)
}

type userPassword struct {
	oneUser
	passwordFlags
}

// Run implements kong's command.
func (p userPassword) Run(ctx context.Context, o output) error {
	client, u, err := p.find(ctx)
	if err != nil {
		return err
	}
	password, temporary, made, err := p.password()
	if err != nil {
		return err
	}
	defer password.Clear()
	if err := client.SetPassword(ctx, p.Pool, u.ID, password, temporary); err != nil {
		return err
	}
	if u, err = client.User(ctx, p.Pool, u.ID); err != nil {
		return err
	}
	return o.printWithPassword(u, password, made)
}

type userDisable struct{ oneUser }

// Run implements kong's command.
func (d userDisable) Run(ctx context.Context, o output) error {
	yes := true
	return d.change(ctx, o, apiclient.UserChange{Disabled: &yes})
}

type userEnable struct{ oneUser }

// Run implements kong's command.
func (e userEnable) Run(ctx context.Context, o output) error {
	no := false
	return e.change(ctx, o, apiclient.UserChange{Disabled: &no})
}

type userDelete struct{ oneUser }

// Run implements kong's command.
func (d userDelete) Run(ctx context.Context, o output) error {
	client, u, err := d.find(ctx)
	if err != nil {
		return err
	}
	if err := client.DeleteUser(ctx, d.Pool, u.ID); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": u.ID}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s (%s)\n", u.UserName, u.ID)
		return err
	})
}
