package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// idpSettings are all settings; a name is for creating only, and a type as well.
type idpSettings struct {
	Name                string           `json:"name,omitempty" example:"feishu" doc:"Part of the callback URL; when replacing, leave it out"`
	Type                idp.Type         `json:"type,omitempty" enum:"feishu,lark,oidc,google,github,oauth2" doc:"Never changes; when replacing, leave it out"`
	Title               string           `json:"title,omitempty" doc:"On the button of the login page"`
	ClientID            string           `json:"clientId" example:"cli_a1b2c3d4e5f6"`
	ClientSecret        secret.Text      `json:"clientSecret,omitempty" doc:"Never shown again; when replacing, leave it out to keep it"`
	Issuer              string           `json:"issuer,omitempty" doc:"Of oidc: where the discovery document is"`
	Endpoints           vendor.Endpoints `json:"endpoints,omitzero" doc:"Of the others: replace the type's where given"`
	Scopes              name.Scopes      `json:"scopes,omitempty" doc:"The type's if left out"`
	Mapping             idp.Mapping      `json:"mapping,omitzero" doc:"Paths such as data.name; the type's where left out"`
	LinkByVerifiedEmail bool             `json:"linkByVerifiedEmail,omitempty" doc:"Trust the provider about e-mail addresses: an address verified on both sides links"`
	CreateUsers         bool             `json:"createUsers,omitempty" doc:"Accounts that nobody has become new users"`
	UpstreamLogout      bool             `json:"upstreamLogout,omitempty" doc:"Of oidc and google: who logs out here after a login there is sent there to log out, too"`
	Disabled            bool             `json:"disabled,omitempty"`
}

func (s idpSettings) over(p idp.Provider) idp.Provider {
	p.Title, p.ClientID, p.Issuer, p.Endpoints, p.Scopes, p.Mapping = s.Title, s.ClientID, s.Issuer, s.Endpoints, s.Scopes, s.Mapping
	p.LinkByVerifiedEmail, p.CreateUsers, p.UpstreamLogout, p.Enabled = s.LinkByVerifiedEmail, s.CreateUsers, s.UpstreamLogout, !s.Disabled
	return p
}

type idpJSON struct {
	Name                string             `json:"name"`
	Type                idp.Type           `json:"type"`
	Title               string             `json:"title,omitempty"`
	ClientID            string             `json:"clientId"`
	Issuer              string             `json:"issuer,omitempty"`
	Endpoints           vendor.Endpoints   `json:"endpoints,omitzero"`
	Scopes              name.Scopes        `json:"scopes"`
	Mapping             idp.Mapping        `json:"mapping,omitzero"`
	LinkByVerifiedEmail bool               `json:"linkByVerifiedEmail"`
	CreateUsers         bool               `json:"createUsers"`
	UpstreamLogout      bool               `json:"upstreamLogout,omitempty"`
	Disabled            bool               `json:"disabled,omitempty"`
	CallbackURL         string             `json:"callbackUrl" doc:"To register at the provider"`
	SignupCallbackURL   string             `json:"signupCallbackUrl" doc:"Answers are taken here too; register it if the provider asks for one"`
	CreatedAt           time.Time          `json:"createdAt"`
	UpdatedAt           time.Time          `json:"updatedAt"`
	Checks              []federation.Check `json:"checks,omitempty" doc:"What a test found; after it was saved or tested"`
}

func (a *API) identityProvider(p idp.Provider) idpJSON {
	return idpJSON{
		p.Name, p.Type, p.Title, p.ClientID, p.Issuer, p.Endpoints, p.Scopes, p.Mapping, p.LinkByVerifiedEmail, p.CreateUsers, p.UpstreamLogout, !p.Enabled,
		a.Federation.CallbackURL(p), a.Federation.SignupCallbackURL(p), p.CreatedAt, p.UpdatedAt, nil,
	}
}

// tested is identityProvider with what a live test says: settings that are wrong
// are saved all the same, because what they name may be about to be set up.
func (a *API) tested(c *call, p idp.Provider) (any, error) {
	shown := a.identityProvider(p)
	var err error
	shown.Checks, err = a.Federation.Test(c.ctx, p)
	return shown, err
}

func (a *API) listIdentityProviders(c *call) (any, error) {
	if _, err := a.Pools.Pool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	providers, err := a.Identities.Providers(c.ctx, c.path("pool"))
	return listOf(providers, a.identityProvider), err
}

func (a *API) createIdentityProvider(c *call) (any, error) {
	var in idpSettings
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, err := a.Federation.Create(c.ctx, c.caller, in.over(idp.Provider{Pool: c.path("pool"), Name: in.Name, Type: in.Type}), in.ClientSecret)
	if err != nil {
		return nil, err
	}
	return a.tested(c, made)
}

// idp returns the provider that the path names.
func (a *API) idp(c *call) (idp.Provider, error) {
	return a.Identities.Provider(c.ctx, c.path("pool"), c.path("idp"))
}

func (a *API) getIdentityProvider(c *call) (any, error) {
	p, err := a.idp(c)
	return a.identityProvider(p), err
}

func (a *API) updateIdentityProvider(c *call) (any, error) {
	var in idpSettings
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	p, err := a.idp(c)
	if err != nil {
		return nil, err
	}
	if p, err = a.Federation.Update(c.ctx, c.caller, in.over(p), in.ClientSecret); err != nil {
		return nil, err
	}
	return a.tested(c, p)
}

func (a *API) deleteIdentityProvider(c *call) (any, error) {
	return nil, a.Federation.Delete(c.ctx, c.caller, c.path("pool"), c.path("idp"))
}

func (a *API) testIdentityProvider(c *call) (any, error) {
	p, err := a.idp(c)
	if err != nil {
		return nil, err
	}
	return a.tested(c, p)
}
