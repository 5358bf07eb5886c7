package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// clientCommand is deputy client.
type clientCommand struct {
	List   clientList    `cmd:"" help:"List a pool's clients."`
	Show   clientShow    `cmd:"" help:"Show a client."`
	Create clientCreate  `cmd:"" help:"Create a client; its secret is shown once."`
	Update clientUpdate  `cmd:"" help:"Change a client; what is not named stays."`
	Delete clientDelete  `cmd:"" help:"Delete a client."`
	Secret clientSecret  `cmd:"" help:"Give a client a new secret; the old one ends at once."`
	Token  initialTokens `cmd:"" help:"Tokens with which clients may register themselves."`
}

// oneClient names a client.
type oneClient struct {
	inPool
	Client string `arg:"" help:"Name or id of the client."`
}

func (c oneClient) find(ctx context.Context) (*apiclient.Client, apiclient.OAuthClient, error) {
	api, err := c.client()
	if err != nil {
		return nil, apiclient.OAuthClient{}, err
	}
	found, err := api.OAuthClient(ctx, c.Pool, c.Client)
	return api, found, err
}

// shownClient is a client with the secret that was just made.
type shownClient struct {
	apiclient.OAuthClient
	Secret string `json:"secret,omitempty"`
}

// printClient shows a client, and its secret if there is one to be shown.
func printClient(o output, c apiclient.OAuthClient, s secret.Text) error {
	return o.print(shownClient{c, s.RevealString()}, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		pushed := ""
		if c.RequirePushed {
			pushed = "required"
		}
		keys := c.KeysURI
		if len(c.Keys) > 0 {
			keys = string(c.Keys)
		}
		seconds := func(n int) string { return (time.Duration(n) * time.Second).String() }
		for _, r := range [][2]string{
			{"id", c.ID}, {"name", c.Name}, {"shown as", c.DisplayName}, {"type", c.Type}, {"made by", c.Origin}, {"authenticates by", c.AuthMethod}, {"keys", keys},
			{"tokens signed with", c.Algorithm}, {"grants", strings.Join(c.Grants, " ")}, {"redirect to", strings.Join(c.RedirectURIs, " ")},
			{"after logout to", strings.Join(c.PostLogoutRedirectURIs, " ")}, {"told of logouts at", c.BackchannelLogoutURI}, {"scopes", strings.Join(c.Scopes, " ")},
			{"audiences", strings.Join(c.Audiences, " ")}, {"pushed requests", pushed}, {"access tokens live", seconds(c.AccessTokenLifetime)},
			{"refresh tokens live", seconds(c.RefreshLifetime) + ", unused " + seconds(c.RefreshIdle)}, {"created", c.CreatedAt.Local().Format("2006-01-02 15:04")},
		} {
			if r[1] == "" {
				continue
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil || s.Empty() {
			return err
		}
		_, err := fmt.Fprintf(w, "\nClient secret, shown this once: %s\n", s.RevealString())
		return err
	})
}

type clientList struct{ inPool }

// Run implements kong's command.
func (l clientList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	all, err := api.OAuthClients(ctx, l.Pool)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, c := range all {
		if err := o.print(c, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.Type, c.AuthMethod, c.Origin, c.ID)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type clientShow struct{ oneClient }

// Run implements kong's command.
func (s clientShow) Run(ctx context.Context, o output) error {
	_, c, err := s.find(ctx)
	if err != nil {
		return err
	}
	return printClient(o, c, secret.Text{})
}

// clientFlags are what is decided about a client.
type clientFlags struct {
	DisplayName       *string       `help:"What people see on the consent page."`
	AuthMethod        *string       `help:"How it authenticates: client_secret, client_secret_basic, client_secret_post, private_key_jwt or none." placeholder:"METHOD"`
	KeysFile          string        `help:"File with its public keys, a JWK set." type:"existingfile" placeholder:"FILE"`
	KeysURI           *string       `help:"Address of its public keys." name:"keys-uri" placeholder:"URL"`
	Algorithm         *string       `help:"That its tokens are signed with: ES256, EdDSA or RS256."`
	Grant             []string      `help:"Grant type; may be given several times." sep:"none"`
	RedirectURI       []string      `help:"Address that people come back to; may be given several times." name:"redirect-uri" sep:"none" placeholder:"URL"`
	LogoutURI         []string      `help:"Address that people may go to after a logout; may be given several times." name:"logout-uri" sep:"none" placeholder:"URL"`
	BackchannelLogout *string       `help:"Address that is told when a session ends." placeholder:"URL"`
	Scope             []string      `help:"Scope that it may ask for; may be given several times." sep:"none"`
	Audience          []string      `help:"Resource that it may ask tokens for; may be given several times." sep:"none"`
	RequirePushed     *bool         `help:"Authorization requests must be pushed." negatable:""`
	AccessLifetime    time.Duration `help:"Of access tokens, such as 1h."`
	RefreshLifetime   time.Duration `help:"Of refresh tokens, from the login, such as 720h."`
	RefreshIdle       time.Duration `help:"Of refresh tokens that are not used, such as 168h."`
}

// maxKeysFile bounds a file with keys, in bytes.
const maxKeysFile = 64 << 10

// settings returns what the flags say.
func (f clientFlags) settings() (apiclient.ClientSettings, error) {
	s := apiclient.ClientSettings{
		DisplayName: f.DisplayName, AuthMethod: f.AuthMethod, KeysURI: f.KeysURI, Algorithm: f.Algorithm, Grants: f.Grant, RedirectURIs: f.RedirectURI,
		PostLogoutRedirectURIs: f.LogoutURI, BackchannelLogoutURI: f.BackchannelLogout, Scopes: f.Scope, Audiences: f.Audience, RequirePushed: f.RequirePushed,
		AccessTokenLifetime: int(f.AccessLifetime / time.Second), RefreshLifetime: int(f.RefreshLifetime / time.Second), RefreshIdle: int(f.RefreshIdle / time.Second),
	}
	if f.KeysFile == "" {
		return s, nil
	}
	file, err := os.Open(f.KeysFile)
	if err != nil {
		return s, fault.Wrap(err, fault.Invalid, "keys_unreadable", "the keys cannot be read").WithSource(f.KeysFile)
	}
	defer file.Close() // only read
	if s.Keys, err = wire.ReadAll(file, maxKeysFile); err != nil {
		return s, fault.Wrap(err, fault.Invalid, "keys_unreadable", "the keys cannot be read").WithSource(f.KeysFile)
	}
	var set struct{}
	if err := wire.DecodeForeign(s.Keys, &set); err != nil {
		return s, fault.New(fault.Invalid, "client_keys_invalid", "the file is not a JWK set").WithSource(f.KeysFile)
	}
	return s, nil
}

type clientCreate struct {
	inPool
	Name    string `arg:"" help:"Name of the client."`
	Public  bool   `help:"It runs at the user's and can keep no secret."`
	EnvFile string `help:"New file for what the application has to know (OAUTH2_ISSUER_URI, OAUTH2_CLIENT_ID and so on), with the secret, which is not shown then." placeholder:"FILE"`
	clientFlags
}

// Run implements kong's command.
func (c clientCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	s, err := c.settings()
	if err != nil {
		return err
	}
	if s.Name = c.Name; c.Public {
		s.Type = "public"
	}
	env, err := newEnvFile(c.EnvFile)
	if err != nil {
		return err
	}
	defer env.abandon()
	pool, err := api.UserPool(ctx, c.Pool)
	if err != nil {
		return err
	}
	made, value, err := api.CreateOAuthClient(ctx, c.Pool, s)
	if err != nil {
		return err
	}
	if env.file != nil {
		// The names that OAuth 2.0 applications know.
		lines := [][2]string{{"OAUTH2_ISSUER_URI", pool.Issuer}, {"OAUTH2_CLIENT_ID", made.ID}, {"OAUTH2_CLIENT_SECRET", value.RevealString()}, {"OAUTH2_SCOPES", strings.Join(made.Scopes, " ")}}
		if len(made.RedirectURIs) > 0 {
			lines = append(lines, [2]string{"OAUTH2_REDIRECT_URI", made.RedirectURIs[0]})
		}
		if err := env.write(lines); err != nil {
			return fault.Wrap(err, fault.Unavailable, "env_file_unwritable", "%s cannot be written; the client %s is there", c.EnvFile, made.Name).
				WithFix("give it a new secret: deputy client secret %s %s", c.Pool, made.Name)
		}
		value = secret.Text{}
	}
	return printClient(o, made, value)
}

type clientUpdate struct {
	oneClient
	Name string `help:"Another name."`
	clientFlags
}

// Run implements kong's command.
func (u clientUpdate) Run(ctx context.Context, o output) error {
	s, err := u.settings()
	if err != nil {
		return err
	}
	api, found, err := u.find(ctx)
	if err != nil {
		return err
	}
	s.Name, s.Version = u.Name, found.Version
	changed, value, err := api.ChangeOAuthClient(ctx, u.Pool, found.ID, s)
	if err != nil {
		return err
	}
	return printClient(o, changed, value)
}

type clientDelete struct{ oneClient }

// Run implements kong's command.
func (d clientDelete) Run(ctx context.Context, o output) error {
	api, found, err := d.find(ctx)
	if err != nil {
		return err
	}
	if err := api.DeleteOAuthClient(ctx, d.Pool, found.ID); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": found.ID}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s (%s)\n", found.Name, found.ID)
		return err
	})
}

type clientSecret struct{ oneClient }

// Run implements kong's command.
func (s clientSecret) Run(ctx context.Context, o output) error {
	api, found, err := s.find(ctx)
	if err != nil {
		return err
	}
	value, err := api.ReplaceSecret(ctx, s.Pool, found.ID)
	if err != nil {
		return err
	}
	return o.print(map[string]string{"id": found.ID, "secret": value.RevealString()}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Client secret, shown this once: %s\n", value.RevealString())
		return err
	})
}

// initialTokens is deputy client token.
type initialTokens struct {
	List   initialTokenList   `cmd:"" help:"List a pool's initial access tokens."`
	Create initialTokenCreate `cmd:"" help:"Create an initial access token; it is shown once."`
	Delete initialTokenDelete `cmd:"" help:"Revoke an initial access token."`
}

type initialTokenList struct{ inPool }

// Run implements kong's command.
func (l initialTokenList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	all, err := api.InitialTokens(ctx, l.Pool)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, v := range all {
		if err := o.print(v, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\tfor %d more\tuntil %s\t%s\n", v.ID, v.Uses, v.ExpiresAt.Local().Format("2006-01-02 15:04"), v.Note)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type initialTokenCreate struct {
	inPool
	Uses     int           `help:"How many clients may register with it." default:"1"`
	Lifetime time.Duration `help:"How long it holds." default:"24h"`
	Note     string        `help:"What it is made for."`
}

// Run implements kong's command.
func (c initialTokenCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	made, value, err := api.CreateInitialToken(ctx, c.Pool, c.Note, c.Uses, c.Lifetime)
	if err != nil {
		return err
	}
	return o.print(struct {
		apiclient.InitialToken
		Token string `json:"token"`
	}{made, value.RevealString()}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Initial access token %s, shown this once: %s\n", made.ID, value.RevealString())
		return err
	})
}

type initialTokenDelete struct {
	inPool
	ID string `arg:"" help:"Id of the token (iat_…)."`
}

// Run implements kong's command.
func (d initialTokenDelete) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if err := api.DeleteInitialToken(ctx, d.Pool, d.ID); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": d.ID}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "revoked %s\n", d.ID)
		return err
	})
}
