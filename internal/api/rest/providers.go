package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

type vendorJSON struct {
	ID     string       `json:"id"`
	Name   vendor.Words `json:"name"`
	Docs   string       `json:"docs,omitempty"`
	Scopes []scopeJSON  `json:"scopes"`
	Setup  vendor.Words `json:"setup" doc:"What to do in the vendor's console"`
}

type scopeJSON struct {
	Scope string       `json:"scope"`
	What  vendor.Words `json:"what"`
}

func (a *API) listVendors(*call) (any, error) {
	l := list[vendorJSON]{Items: []vendorJSON{}}
	for _, id := range a.Providers.Catalogue.IDs() {
		e, err := a.Providers.Catalogue.Lookup(id)
		if err != nil {
			return nil, err
		}
		v := vendorJSON{id, e.Name, e.Docs, []scopeJSON{}, e.ConsoleHelp(a.Providers.CallbackURL)}
		for _, s := range e.Scopes {
			v.Scopes = append(v.Scopes, scopeJSON{s.Scope, s.What})
		}
		l.Items = append(l.Items, v)
	}
	return l, nil
}

type providerSettings struct {
	Type         string           `json:"type,omitempty" enum:"oauth2"`
	Vendor       string           `json:"vendor" example:"feishu" doc:"One that listVendors lists"`
	Flow         provider.Flow    `json:"flow,omitempty" enum:"USER_FEDERATION"`
	ClientID     string           `json:"clientId" example:"cli_a1b2c3d4e5f6"`
	ClientSecret secret.Text      `json:"clientSecret,omitempty" doc:"Never shown again; when replacing, leave it out to keep it"`
	Scopes       name.Scopes      `json:"scopes,omitempty" doc:"Asked for when an agent names none"`
	Endpoints    vendor.Endpoints `json:"endpoints,omitzero" doc:"Replace the vendor's where given"`
	CallbackURL  string           `json:"callbackUrl,omitempty" doc:"May be left out; if given it must be Deputy's own"`
}

// newProvider is providerSettings and a name; the document cannot show fields
// that are embedded from an unexported type.
type newProvider struct {
	Name         string           `json:"name" example:"feishu_oauth"`
	Type         string           `json:"type,omitempty" enum:"oauth2"`
	Vendor       string           `json:"vendor" example:"feishu" doc:"One that listVendors lists"`
	Flow         provider.Flow    `json:"flow,omitempty" enum:"USER_FEDERATION"`
	ClientID     string           `json:"clientId" example:"cli_a1b2c3d4e5f6"`
	ClientSecret secret.Text      `json:"clientSecret" doc:"Never shown again"`
	Scopes       name.Scopes      `json:"scopes,omitempty" example:"[\"docx:document:readonly\"]" doc:"Asked for when an agent names none"`
	Endpoints    vendor.Endpoints `json:"endpoints,omitzero" doc:"Replace the vendor's where given"`
	CallbackURL  string           `json:"callbackUrl,omitempty" doc:"May be left out; if given it must be Deputy's own"`
}

func (n newProvider) settings() provider.Settings {
	return providerSettings{n.Type, n.Vendor, n.Flow, n.ClientID, n.ClientSecret, n.Scopes, n.Endpoints, n.CallbackURL}.settings()
}

type providerJSON struct {
	Name        string           `json:"name"`
	Pool        string           `json:"pool"`
	Type        string           `json:"type"`
	Vendor      string           `json:"vendor"`
	Flow        provider.Flow    `json:"flow"`
	ClientID    string           `json:"clientId"`
	Scopes      name.Scopes      `json:"scopes"`
	Endpoints   vendor.Endpoints `json:"endpoints,omitzero"`
	CallbackURL string           `json:"callbackUrl" doc:"To register at the third party"`
	Version     int64            `json:"version"`
	CreatedAt   time.Time        `json:"createdAt"`
	UpdatedAt   time.Time        `json:"updatedAt"`
}

func (a *API) provider(v provider.Provider) providerJSON {
	return providerJSON{v.Name, v.Pool, v.Type, v.Vendor, v.Flow, v.ClientID, v.Scopes, v.Endpoints, a.Providers.CallbackURL, v.Version, v.Created, v.Updated}
}

func (s providerSettings) settings() provider.Settings {
	return provider.Settings{Type: s.Type, Vendor: s.Vendor, Flow: s.Flow, ClientID: s.ClientID, ClientSecret: s.ClientSecret, Scopes: s.Scopes, Endpoints: s.Endpoints, CallbackURL: s.CallbackURL}
}

func (a *API) listProviders(c *call) (any, error) {
	found, err := a.Providers.Store.Providers(c.ctx, c.path("pool"))
	return listOf(found, a.provider), err
}

func (a *API) createProvider(c *call) (any, error) {
	var in newProvider
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, err := a.Providers.Create(c.ctx, c.caller, c.path("pool"), in.Name, in.settings())
	return a.provider(made), err
}

func (a *API) getProvider(c *call) (any, error) {
	found, err := a.Providers.Store.Provider(c.ctx, c.path("pool"), c.path("provider"))
	return a.provider(found), err
}

func (a *API) updateProvider(c *call) (any, error) {
	var in providerSettings
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	changed, err := a.Providers.Update(c.ctx, c.caller, c.path("pool"), c.path("provider"), in.settings())
	return a.provider(changed), err
}

func (a *API) deleteProvider(c *call) (any, error) {
	return nil, a.Providers.Delete(c.ctx, c.caller, c.path("pool"), c.path("provider"))
}
