package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

type newClient struct {
	Name                   string              `json:"name" example:"chat"`
	Type                   userpool.ClientType `json:"type,omitempty" enum:"web,public" doc:"\"web\" (the default) keeps a secret, \"public\" has none"`
	RedirectURIs           []string            `json:"redirectUris" example:"[\"https://chat.example/callback\"]" doc:"Compared exactly; https, or http on the loopback interface"`
	PostLogoutRedirectURIs []string            `json:"postLogoutRedirectUris,omitempty"`
	Scopes                 []string            `json:"scopes,omitempty" doc:"openid, profile and email if left out"`
	AccessTokenLifetime    int                 `json:"accessTokenLifetime,omitempty" doc:"Seconds; ten hours if left out, shorter is safer"`
}

type clientJSON struct {
	ID                     string              `json:"id"`
	Secret                 string              `json:"secret,omitempty" doc:"Shown only when it is made"`
	Name                   string              `json:"name"`
	Type                   userpool.ClientType `json:"type"`
	RedirectURIs           []string            `json:"redirectUris"`
	PostLogoutRedirectURIs []string            `json:"postLogoutRedirectUris,omitempty"`
	Scopes                 name.Scopes         `json:"scopes"`
	AccessTokenLifetime    int                 `json:"accessTokenLifetime"`
	CreatedAt              time.Time           `json:"createdAt"`
}

func client(c userpool.Client) clientJSON {
	return clientJSON{c.ID, "", c.Name, c.Type, c.RedirectURIs, c.PostLogoutRedirectURIs, c.Scopes, int(c.AccessTokenLifetime / time.Second), c.CreatedAt}
}

// withSecret is client, with the secret shown this once.
func withSecret(c userpool.Client, s secret.Text) clientJSON {
	shown := client(c)
	shown.Secret = s.RevealString()
	return shown
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
	if in.Scopes == nil {
		in.Scopes = []string{oauth.ScopeOpenID, "profile", "email"}
	}
	scopes, err := name.NewScopes(in.Scopes...)
	if err != nil {
		return nil, err
	}
	made := userpool.NewClient(c.path("pool"), in.Name, in.Type, a.now())
	made.RedirectURIs, made.PostLogoutRedirectURIs, made.Scopes = in.RedirectURIs, in.PostLogoutRedirectURIs, scopes
	if in.AccessTokenLifetime != 0 {
		made.AccessTokenLifetime = time.Duration(in.AccessTokenLifetime) * time.Second
	}
	var clientSecret secret.Text
	if made.Type == userpool.Web {
		clientSecret = userpool.NewSecret()
		made.SecretHash = userpool.HashSecret(clientSecret)
	}
	if err := made.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionCreateClient, made.Resource())
	if err != nil {
		return nil, err
	}
	return withSecret(made, clientSecret), a.Clients.CreateClient(c.ctx, p.Detail(map[string]string{"name": made.Name}), made)
}

func (a *API) getClient(c *call) (any, error) {
	found, err := a.Clients.Client(c.ctx, c.path("pool"), c.path("client"))
	return client(found), err
}

func (a *API) deleteClient(c *call) (any, error) {
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionDeleteClient, userpool.ClientResource(c.path("pool"), c.path("client")))
	if err != nil {
		return nil, err
	}
	return nil, a.Clients.DeleteClient(c.ctx, p, c.path("pool"), c.path("client"))
}

func (a *API) regenerateSecret(c *call) (any, error) {
	found, err := a.Clients.Client(c.ctx, c.path("pool"), c.path("client"))
	if err != nil {
		return nil, err
	}
	if found.Type != userpool.Web {
		return nil, fault.New(fault.Invalid, "client_secret_invalid", "a public client has no secret")
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionUpdateClient, found.Resource())
	if err != nil {
		return nil, err
	}
	fresh := userpool.NewSecret()
	found.SecretHash = userpool.HashSecret(fresh)
	return withSecret(found, fresh), a.Clients.UpdateClient(c.ctx, p.Detail(map[string]string{"change": "secret"}), found)
}

// now is the time with the precision that stores keep.
func (a *API) now() time.Time { return a.Now().UTC().Truncate(time.Millisecond) }
