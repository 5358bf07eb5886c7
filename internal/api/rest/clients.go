package rest

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// ClientSettings is what an operator may decide about a client, when it is made
// and later. What is left out is the default, and later stays.
type ClientSettings struct {
	DisplayName            *string             `json:"displayName,omitempty" doc:"What people see on the consent page; the name if empty"`
	Type                   userpool.ClientType `json:"type,omitempty" enum:"web,public" doc:"\"web\" (the default) authenticates, \"public\" cannot"`
	AuthMethod             *string             `json:"authMethod,omitempty" enum:"client_secret,client_secret_basic,client_secret_post,private_key_jwt,none" doc:"How the client authenticates, and no other way; client_secret is either of the two"`
	Keys                   json.RawMessage     `json:"keys,omitempty" doc:"The client's public keys, a JWK set; null: none"`
	KeysURI                *string             `json:"keysUri,omitempty" doc:"Where the client's public keys are"`
	Algorithm              *string             `json:"algorithm,omitempty" enum:",ES256,EdDSA,RS256" doc:"That the client's tokens are signed with; empty: the pool's"`
	Grants                 []string            `json:"grants,omitempty" doc:"authorization_code and refresh_token if left out"`
	RedirectURIs           []string            `json:"redirectUris,omitempty" example:"[\"https://chat.example/callback\"]" doc:"Compared exactly; https, or http on the loopback interface, there without port for any port"`
	PostLogoutRedirectURIs []string            `json:"postLogoutRedirectUris,omitempty"`
	BackchannelLogoutURI   *string             `json:"backchannelLogoutUri,omitempty" doc:"Is told when a session ends; empty: nobody is"`
	Scopes                 []string            `json:"scopes,omitempty" doc:"openid, profile and email if left out"`
	Audiences              []string            `json:"audiences,omitempty" doc:"Resources that the client may ask tokens for, besides itself"`
	RequirePushed          *bool               `json:"requirePushed,omitempty" doc:"Authorization requests must be pushed (RFC 9126)"`
	AccessTokenLifetime    int                 `json:"accessTokenLifetime,omitempty" doc:"Seconds; ten hours if left out, shorter is safer"`
	RefreshLifetime        int                 `json:"refreshLifetime,omitempty" doc:"Seconds from the login; 30 days if left out"`
	RefreshIdle            int                 `json:"refreshIdle,omitempty" doc:"Seconds without a refresh; 7 days if left out"`
}

type newClient struct {
	Name string `json:"name" example:"chat"`
	ClientSettings
}

type changedClient struct {
	Version int64   `json:"version,omitempty" doc:"If given, the change is refused unless the client still has this version"`
	Name    *string `json:"name,omitempty"`
	ClientSettings
}

type clientJSON struct {
	ID                     string                `json:"id"`
	Secret                 string                `json:"secret,omitempty" doc:"Shown only when it is made"`
	Name                   string                `json:"name"`
	DisplayName            string                `json:"displayName,omitempty"`
	Type                   userpool.ClientType   `json:"type"`
	Origin                 userpool.ClientOrigin `json:"origin" doc:"Who made it: operator, registered (itself) or document (its client_id is the URL of one)"`
	AuthMethod             string                `json:"authMethod"`
	Keys                   json.RawMessage       `json:"keys,omitempty"`
	KeysURI                string                `json:"keysUri,omitempty"`
	Algorithm              string                `json:"algorithm,omitempty"`
	Grants                 []string              `json:"grants"`
	RedirectURIs           []string              `json:"redirectUris"`
	PostLogoutRedirectURIs []string              `json:"postLogoutRedirectUris,omitempty"`
	BackchannelLogoutURI   string                `json:"backchannelLogoutUri,omitempty"`
	Scopes                 name.Scopes           `json:"scopes"`
	Audiences              []string              `json:"audiences,omitempty"`
	RequirePushed          bool                  `json:"requirePushed"`
	AccessTokenLifetime    int                   `json:"accessTokenLifetime"`
	RefreshLifetime        int                   `json:"refreshLifetime"`
	RefreshIdle            int                   `json:"refreshIdle"`
	CreatedAt              time.Time             `json:"createdAt"`
	Version                int64                 `json:"version"`
}

func client(c userpool.Client) clientJSON {
	return clientJSON{
		c.ID, "", c.Name, c.DisplayName, c.Type, c.Origin, c.AuthMethod, json.RawMessage(c.Keys), c.KeysURI, c.Algorithm, c.Grants, c.RedirectURIs,
		c.PostLogoutRedirectURIs, c.BackchannelLogoutURI, c.Scopes, c.Audiences, c.RequirePushed, int(c.AccessTokenLifetime / time.Second),
		int(c.RefreshLifetime / time.Second), int(c.RefreshIdle / time.Second), c.CreatedAt, c.Version,
	}
}

// withSecret is client, with the secret shown this once.
func withSecret(c userpool.Client, s secret.Text) clientJSON {
	shown := client(c)
	shown.Secret = s.RevealString()
	return shown
}

// set changes c as s says.
func (s ClientSettings) set(c *userpool.Client) error {
	for _, f := range []struct {
		to   *string
		from *string
	}{
		{&c.DisplayName, s.DisplayName}, {&c.AuthMethod, s.AuthMethod}, {&c.KeysURI, s.KeysURI}, {&c.Algorithm, s.Algorithm}, {&c.BackchannelLogoutURI, s.BackchannelLogoutURI},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	for _, f := range []struct {
		to   *[]string
		from []string
	}{
		{&c.Grants, s.Grants}, {&c.RedirectURIs, s.RedirectURIs}, {&c.PostLogoutRedirectURIs, s.PostLogoutRedirectURIs}, {&c.Audiences, s.Audiences},
	} {
		if f.from != nil {
			*f.to = f.from
		}
	}
	for _, f := range []struct {
		to      *time.Duration
		seconds int
	}{
		{&c.AccessTokenLifetime, s.AccessTokenLifetime}, {&c.RefreshLifetime, s.RefreshLifetime}, {&c.RefreshIdle, s.RefreshIdle},
	} {
		if f.seconds != 0 {
			*f.to = time.Duration(f.seconds) * time.Second
		}
	}
	if s.Type != "" && s.Type != c.Type {
		return fault.New(fault.Invalid, "client_type_fixed", "a client of type %q does not become one of type %q", c.Type, name.Clip(string(s.Type), 40)).WithFix("make another client")
	}
	if s.RequirePushed != nil {
		c.RequirePushed = *s.RequirePushed
	}
	if s.Keys != nil {
		if c.Keys = string(s.Keys); c.Keys == "null" {
			c.Keys = ""
		}
	}
	if s.Scopes == nil {
		return nil
	}
	var err error
	c.Scopes, err = name.NewScopes(s.Scopes...)
	return err
}

func (a *API) listClients(c *call) (any, error) {
	if _, err := a.Pools.Pool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	clients, err := a.Clients.Clients(c.ctx, c.path("pool"))
	return listOf(clients, client), err
}

func (a *API) createClient(c *call) (any, error) {
	var in newClient
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Type == "" {
		in.Type = userpool.Web
	}
	if in.Scopes == nil && (in.Grants == nil || slices.Contains(in.Grants, oauth.GrantAuthorizationCode)) {
		in.Scopes = []string{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail}
	}
	made := userpool.NewClient(c.path("pool"), in.Name, in.Type, a.now())
	made.Version = 1
	if err := in.set(&made); err != nil {
		return nil, err
	}
	shown := made.FitSecret()
	if err := made.Check(); err != nil {
		return nil, err
	}
	return withSecret(made, shown), a.permitted(c, userpool.ActionCreateClient, made.Resource(), func(p guard.Permit) error {
		return a.Clients.CreateClient(c.ctx, p.Detail(map[string]string{"name": made.Name}), made)
	})
}

func (a *API) getClient(c *call) (any, error) {
	found, err := a.Clients.Client(c.ctx, c.path("pool"), c.path("client"))
	return client(found), err
}

// ownClient returns a client that operators may change: what a document says is
// changed there.
func (a *API) ownClient(c *call) (userpool.Client, error) {
	found, err := a.Clients.Client(c.ctx, c.path("pool"), c.path("client"))
	if err == nil && found.Origin == userpool.ByDocument {
		return found, fault.New(fault.Invalid, "client_is_document", "what this client is stands in its metadata document").
			WithFix("change it there, or forbid documents in the pool's settings")
	}
	return found, err
}

func (a *API) changeClient(c *call) (any, error) {
	var in changedClient
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	changed, err := a.ownClient(c)
	if err != nil {
		return nil, err
	}
	if in.Version != 0 && in.Version != changed.Version {
		return nil, userpool.Changed("client", changed.ID)
	}
	if in.Name != nil {
		changed.Name = *in.Name
	}
	if err := in.set(&changed); err != nil {
		return nil, err
	}
	shown := changed.FitSecret()
	if err := changed.Check(); err != nil {
		return nil, err
	}
	err = a.permitted(c, userpool.ActionUpdateClient, changed.Resource(), func(p guard.Permit) error { return a.Clients.UpdateClient(c.ctx, p, changed) })
	changed.Version++
	return withSecret(changed, shown), err
}

func (a *API) deleteClient(c *call) (any, error) {
	return nil, a.permitted(c, userpool.ActionDeleteClient, userpool.ClientResource(c.path("pool"), c.path("client")), func(p guard.Permit) error {
		return a.Clients.DeleteClient(c.ctx, p, c.path("pool"), c.path("client"))
	})
}

func (a *API) regenerateSecret(c *call) (any, error) {
	found, err := a.ownClient(c)
	if err != nil {
		return nil, err
	}
	if found.SecretHash == "" {
		return nil, fault.New(fault.Invalid, "client_secret_invalid", "a client that authenticates by %q has no secret", found.AuthMethod)
	}
	found.SecretHash = ""
	fresh := found.FitSecret()
	err = a.permitted(c, userpool.ActionUpdateClient, found.Resource(), func(p guard.Permit) error {
		return a.Clients.UpdateClient(c.ctx, p.Detail(map[string]string{"change": "secret"}), found)
	})
	found.Version++
	return withSecret(found, fresh), err
}

type newInitialToken struct {
	Note     string `json:"note,omitempty" doc:"What it is made for"`
	Uses     int    `json:"uses,omitempty" doc:"How many clients may register with it; 1 if left out"`
	Lifetime int    `json:"lifetime,omitempty" doc:"Seconds; a day if left out"`
}

type initialTokenJSON struct {
	ID        string    `json:"id"`
	Token     string    `json:"token,omitempty" doc:"Shown only when it is made"`
	Note      string    `json:"note,omitempty"`
	Uses      int       `json:"uses" doc:"How many clients may still register with it"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func initialToken(t userpool.InitialToken) initialTokenJSON {
	return initialTokenJSON{t.ID, "", t.Note, t.Uses, t.CreatedAt, t.ExpiresAt}
}

func (a *API) listInitialTokens(c *call) (any, error) {
	if _, err := a.Pools.Pool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	tokens, err := a.Registrations.InitialTokens(c.ctx, c.path("pool"))
	return listOf(tokens, initialToken), err
}

func (a *API) createInitialToken(c *call) (any, error) {
	in := newInitialToken{Uses: 1, Lifetime: int(24 * time.Hour / time.Second)}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	if !pool.Settings.DynamicRegistration {
		return nil, fault.New(fault.Conflict, "registration_off", "clients do not register themselves in user pool %q", pool.Name).
			WithFix("allow it in the pool's settings: dynamicRegistration")
	}
	t, value := userpool.NewInitialToken(pool.Name, in.Note, in.Uses, time.Duration(in.Lifetime)*time.Second, a.now())
	if err := t.Check(); err != nil {
		return nil, err
	}
	shown := initialToken(t)
	shown.Token = value.RevealString()
	return shown, a.permitted(c, userpool.ActionCreateInitialToken, t.Resource(), func(p guard.Permit) error {
		return a.Registrations.CreateInitialToken(c.ctx, p, t)
	})
}

func (a *API) deleteInitialToken(c *call) (any, error) {
	return nil, a.permitted(c, userpool.ActionDeleteInitialToken, userpool.InitialTokenResource(c.path("pool"), c.path("token")), func(p guard.Permit) error {
		return a.Registrations.DeleteInitialToken(c.ctx, p, c.path("pool"), c.path("token"))
	})
}
