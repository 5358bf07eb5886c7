package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// idpCommand is deputy idp.
type idpCommand struct {
	Types  idpTypes  `cmd:"" help:"List the types of external identity providers, and what each needs."`
	List   idpList   `cmd:"" help:"List a pool's external identity providers."`
	Show   idpShow   `cmd:"" help:"Show an external identity provider and its callback URL."`
	Create idpCreate `cmd:"" help:"Add an external identity provider to a pool, and test it."`
	Update idpUpdate `cmd:"" help:"Change an external identity provider, and test it; what is not named stays."`
	Test   idpTest   `cmd:"" help:"Ask an external identity provider whether its settings work."`
	Delete idpDelete `cmd:"" help:"Delete an external identity provider; its users stay."`
}

type idpTypes struct{}

// Run implements kong's command.
func (idpTypes) Run(o output) error {
	type row struct {
		Type  string `json:"type"`
		Needs string `json:"needs"`
		Scope string `json:"scopes"`
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, r := range []row{
		{"feishu", "App ID and App Secret of an app at open.feishu.cn", "contact:user.base:readonly contact:contact.base:readonly"},
		{"lark", "the same of an app at open.larksuite.com", "as feishu"},
		{"google", "client id and secret of a web application", "openid email profile"},
		{"github", "client id and secret of an OAuth app", "read:user user:email"},
		{"oidc", "client id, secret and --issuer of any OpenID provider", "openid email profile"},
		{"oauth2", "client id, secret, --endpoint authorization=, token= and userInfo=, and --map subject=", ""},
	} {
		if err := o.print(r, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\n", r.Type, r.Needs, r.Scope)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// oneIDP names an external identity provider.
type oneIDP struct {
	inPool
	Name string `arg:"" help:"Name of the identity provider; part of its callback URL."`
}

// printIDP shows a provider and what a test of it found.
func printIDP(o output, p apiclient.SavedIdentityProvider) error {
	return o.print(p, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		state := "enabled"
		if p.Disabled {
			state = "disabled"
		}
		for _, r := range [][2]string{
			{"name", p.Name}, {"type", p.Type}, {"shown as", p.Title}, {"client id", p.ClientID}, {"issuer", p.Issuer}, {"scopes", strings.Join(p.Scopes, " ")},
			{"state", state}, {"makes users", yes(p.CreateUsers)}, {"links by e-mail", yes(p.LinkByVerifiedEmail)}, {"logs out there", yes(p.UpstreamLogout)},
			{"callback URL", p.CallbackURL}, {"or, if it asks", p.SignupCallbackURL},
		} {
			if r[1] == "" {
				continue
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, c := range p.Checks {
			mark := "✓"
			if !c.OK {
				mark = "✗"
			}
			text := mark + " " + c.Message + "\n"
			if c.Fix != "" && !c.OK {
				text += "  fix:  " + c.Fix + "\n"
			}
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
		}
		return nil
	})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

type idpList struct{ inPool }

// Run implements kong's command.
func (l idpList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	all, err := api.IdentityProviders(ctx, l.Pool)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, p := range all {
		if err := o.print(p, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.Type, p.Title, p.CallbackURL)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type idpShow struct{ oneIDP }

// Run implements kong's command.
func (s idpShow) Run(ctx context.Context, o output) error {
	api, err := s.client()
	if err != nil {
		return err
	}
	p, err := api.IdentityProvider(ctx, s.Pool, s.Name)
	if err != nil {
		return err
	}
	return printIDP(o, p)
}

// idpFlags are what is decided about a provider.
type idpFlags struct {
	Title      *string           `help:"On the button of the login page."`
	ClientID   *string           `help:"Client id (App ID) at the provider." name:"client-id"`
	SecretFile string            `help:"File with the client secret; - is standard input." placeholder:"FILE"`
	Issuer     *string           `help:"Issuer URL, of type oidc." placeholder:"URL"`
	Endpoint   map[string]string `help:"Address in place of the type's: authorization, token, userInfo, api. May be repeated." placeholder:"KIND=URL" mapsep:"none"`
	Scope      []string          `help:"Scope; may be repeated. The type's if there is none." sep:"none"`
	LinkEmail  *bool             `help:"Trust the provider about e-mail addresses: one that is verified on both sides links." name:"link-email" negatable:""`
	MakeUsers  *bool             `help:"Accounts that nobody has become new users." name:"make-users" negatable:""`
	LogOut     *bool             `help:"Who logs out here after a login there is sent there to log out, too; of types oidc and google." name:"log-out" negatable:""`
	Disabled   *bool             `help:"Take the button from the login page." negatable:""`
}

// over puts what was given over p, and returns the secret if there is one.
func (f idpFlags) over(p *apiclient.IdentityProvider) (secret.Text, error) {
	assign(&p.Title, f.Title)
	assign(&p.ClientID, f.ClientID)
	assign(&p.Issuer, f.Issuer)
	assign(&p.LinkByVerifiedEmail, f.LinkEmail)
	assign(&p.CreateUsers, f.MakeUsers)
	assign(&p.UpstreamLogout, f.LogOut)
	assign(&p.Disabled, f.Disabled)
	if f.Scope != nil {
		p.Scopes = f.Scope
	}
	for kind, address := range f.Endpoint {
		if p.Endpoints == nil {
			p.Endpoints = map[string]string{}
		}
		p.Endpoints[kind] = address
	}
	if f.SecretFile == "" {
		return secret.Text{}, nil
	}
	return readSecret(f.SecretFile, "--secret-file")
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

type idpCreate struct {
	oneIDP
	Type string `help:"Type: ${enum}." enum:"feishu,lark,google,github,oidc,oauth2" required:""`
	idpFlags
}

// Run implements kong's command.
func (c idpCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	p := apiclient.IdentityProvider{Name: c.Name, Type: c.Type, CreateUsers: true}
	clientSecret, err := c.over(&p)
	if err != nil {
		return err
	}
	defer clientSecret.Clear()
	made, err := api.CreateIdentityProvider(ctx, c.Pool, p, clientSecret)
	if err != nil {
		return err
	}
	return printIDP(o, made)
}

type idpUpdate struct {
	oneIDP
	idpFlags
}

// Run implements kong's command.
func (u idpUpdate) Run(ctx context.Context, o output) error {
	api, err := u.client()
	if err != nil {
		return err
	}
	p, err := api.IdentityProvider(ctx, u.Pool, u.Name)
	if err != nil {
		return err
	}
	clientSecret, err := u.over(&p.IdentityProvider)
	if err != nil {
		return err
	}
	defer clientSecret.Clear()
	changed, err := api.UpdateIdentityProvider(ctx, u.Pool, p.IdentityProvider, clientSecret)
	if err != nil {
		return err
	}
	return printIDP(o, changed)
}

type idpTest struct{ oneIDP }

// Run implements kong's command.
func (t idpTest) Run(ctx context.Context, o output) error {
	api, err := t.client()
	if err != nil {
		return err
	}
	p, err := api.TestIdentityProvider(ctx, t.Pool, t.Name)
	if err != nil {
		return err
	}
	if err := printIDP(o, p); err != nil {
		return err
	}
	for _, c := range p.Checks {
		if !c.OK {
			return fault.New(fault.Conflict, "idp_test_failed", "%s does not work: %s", t.Name, c.Message).WithFix("%s", c.Fix)
		}
	}
	return nil
}

type idpDelete struct{ oneIDP }

// Run implements kong's command.
func (d idpDelete) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if err := api.DeleteIdentityProvider(ctx, d.Pool, d.Name); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": d.Name}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s\n", d.Name)
		return err
	})
}
