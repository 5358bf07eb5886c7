package rest

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/trial"
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
	Type         provider.Type     `json:"type,omitempty" enum:"oauth2,api_key,basic,sts" doc:"oauth2 if left out; it never changes"`
	Vendor       string            `json:"vendor,omitempty" example:"feishu" doc:"oauth2: one that listVendors lists"`
	Flow         provider.Flow     `json:"flow,omitempty" enum:"USER_FEDERATION,M2M,ON_BEHALF_OF" doc:"oauth2: USER_FEDERATION if left out; it never changes"`
	ClientID     string            `json:"clientId,omitempty" example:"cli_a1b2c3d4e5f6" doc:"oauth2"`
	ClientSecret secret.Text       `json:"clientSecret,omitempty" doc:"oauth2; never shown again. When replacing, leave it out to keep it"`
	Scopes       name.Scopes       `json:"scopes,omitempty" example:"[\"docx:document:readonly\"]" doc:"oauth2: asked for when an agent names none"`
	Endpoints    vendor.Endpoints  `json:"endpoints,omitzero" doc:"oauth2: replace the vendor's where given"`
	DiscoveryURL string            `json:"discoveryUrl,omitempty" example:"https://login.example/.well-known/openid-configuration" doc:"oauth2: the third party says there what its endpoints are (OpenID Connect Discovery, RFC 8414); read when saved, again with each PUT that has it"`
	CallbackURL  string            `json:"callbackUrl,omitempty" doc:"oauth2: may be left out; if given it must be Deputy's own"`
	Parameters   map[string]string `json:"parameters,omitempty" doc:"oauth2: further parameters of authorization requests; they replace none"`
	APIKey       *apiKeySettings   `json:"apiKey,omitempty" doc:"api_key"`
	Basic        *basicSettings    `json:"basic,omitempty" doc:"basic"`
	STS          *stsSettings      `json:"sts,omitempty" doc:"sts"`
	Workloads    []string          `json:"workloads,omitempty" doc:"Names of the pool's workloads that may use the provider; all if left out"`

	AuthMethod  vendor.Auth            `json:"authMethod,omitempty" enum:"basic,post,private_key_jwt,none" doc:"oauth2: how the client proves itself; the vendor's way if left out"`
	Audience    string                 `json:"audience,omitempty" doc:"M2M, ON_BEHALF_OF: whom the token is for"`
	Resource    string                 `json:"resource,omitempty" doc:"M2M, ON_BEHALF_OF: the same as an address (RFC 8707)"`
	OwnCallback bool                   `json:"ownCallback,omitempty" doc:"oauth2: a callback URL of the provider's own, against mix-up (RFC 9700, section 4.4)"`
	Device      bool                   `json:"device,omitempty" doc:"oauth2: users agree by a code that they type at the third party (RFC 8628), instead of being sent there and back"`
	Assertion   provider.AssertionKind `json:"assertion,omitempty" enum:"token-exchange,jwt-bearer" doc:"ON_BEHALF_OF: how the third party is told about the user; token-exchange if left out"`

	MCPServer           string      `json:"mcpServer,omitempty" example:"https://mcp.example/mcp" doc:"oauth2: the tokens are for this MCP server, which says who gives them (RFC 9728); it never changes"`
	AuthorizationServer string      `json:"authorizationServer,omitempty" example:"https://login.example" doc:"mcpServer: the issuer that is trusted, if it names several; it never changes"`
	InitialAccessToken  secret.Text `json:"initialAccessToken,omitzero" doc:"mcpServer: with which Deputy registers itself as a client (RFC 7591), if that needs one; it is not kept"`
	Rediscover          bool        `json:"rediscover,omitempty" doc:"mcpServer, when replacing: ask it again what was read when the provider was made"`
}

type apiKeySettings struct {
	Key    secret.Text `json:"key,omitzero" doc:"Never shown again. When replacing, leave it out to keep it"`
	Header string      `json:"header,omitempty" example:"X-API-Key" doc:"That carries the key; Authorization if left out"`
	Prefix string      `json:"prefix,omitempty" example:"Bearer " doc:"Stands before the key, with its space; \"Bearer \" if the header is left out too"`
}

type basicSettings struct {
	Username string      `json:"username"`
	Password secret.Text `json:"password,omitzero" doc:"Never shown again. When replacing, leave it out to keep it"`
}

type stsSettings struct {
	Cloud           provider.Cloud             `json:"cloud" enum:"volcengine,aws"`
	AccessKeyID     string                     `json:"accessKeyId" doc:"Of somebody who may assume the role, and nothing else"`
	SecretAccessKey secret.Text                `json:"secretAccessKey,omitzero" doc:"Never shown again. When replacing, leave it out to keep it"`
	Role            string                     `json:"role" example:"trn:iam::2100000001:role/agent" doc:"TRN or ARN"`
	Region          string                     `json:"region,omitempty" example:"cn-beijing"`
	Endpoint        string                     `json:"endpoint,omitempty" doc:"The cloud's own if left out"`
	ExternalID      string                     `json:"externalId,omitempty" doc:"aws"`
	LifetimeSeconds int64                      `json:"lifetimeSeconds,omitempty" doc:"Of the temporary keys: 900 to 43200; 3600 if left out"`
	Policy          json.RawMessage            `json:"policy,omitempty" doc:"Narrows what the role may do, for workloads that policies does not name"`
	Policies        map[string]json.RawMessage `json:"policies,omitempty" doc:"Narrow what the role may do, by name of the workload; without policy, others get nothing"`
}

// newProvider is providerSettings and a name; the document cannot show fields
// that are embedded from an unexported type.
type newProvider struct {
	Name         string            `json:"name" example:"feishu_oauth"`
	Type         provider.Type     `json:"type,omitempty" enum:"oauth2,api_key,basic,sts" doc:"oauth2 if left out; it never changes"`
	Vendor       string            `json:"vendor,omitempty" example:"feishu" doc:"oauth2: one that listVendors lists"`
	Flow         provider.Flow     `json:"flow,omitempty" enum:"USER_FEDERATION,M2M,ON_BEHALF_OF" doc:"oauth2: USER_FEDERATION if left out; it never changes"`
	ClientID     string            `json:"clientId,omitempty" example:"cli_a1b2c3d4e5f6" doc:"oauth2"`
	ClientSecret secret.Text       `json:"clientSecret,omitempty" doc:"oauth2; never shown again"`
	Scopes       name.Scopes       `json:"scopes,omitempty" example:"[\"docx:document:readonly\"]" doc:"oauth2: asked for when an agent names none"`
	Endpoints    vendor.Endpoints  `json:"endpoints,omitzero" doc:"oauth2: replace the vendor's where given"`
	DiscoveryURL string            `json:"discoveryUrl,omitempty" example:"https://login.example/.well-known/openid-configuration" doc:"oauth2: the third party says there what its endpoints are (OpenID Connect Discovery, RFC 8414); read when saved, again with each PUT that has it"`
	CallbackURL  string            `json:"callbackUrl,omitempty" doc:"oauth2: may be left out; if given it must be Deputy's own"`
	Parameters   map[string]string `json:"parameters,omitempty" doc:"oauth2: further parameters of authorization requests; they replace none"`
	APIKey       *apiKeySettings   `json:"apiKey,omitempty" doc:"api_key"`
	Basic        *basicSettings    `json:"basic,omitempty" doc:"basic"`
	STS          *stsSettings      `json:"sts,omitempty" doc:"sts"`
	Workloads    []string          `json:"workloads,omitempty" doc:"Names of the pool's workloads that may use the provider; all if left out"`

	AuthMethod  vendor.Auth            `json:"authMethod,omitempty" enum:"basic,post,private_key_jwt,none" doc:"oauth2: how the client proves itself; the vendor's way if left out"`
	Audience    string                 `json:"audience,omitempty" doc:"M2M, ON_BEHALF_OF: whom the token is for"`
	Resource    string                 `json:"resource,omitempty" doc:"M2M, ON_BEHALF_OF: the same as an address (RFC 8707)"`
	OwnCallback bool                   `json:"ownCallback,omitempty" doc:"oauth2: a callback URL of the provider's own, against mix-up (RFC 9700, section 4.4)"`
	Device      bool                   `json:"device,omitempty" doc:"oauth2: users agree by a code that they type at the third party (RFC 8628), instead of being sent there and back"`
	Assertion   provider.AssertionKind `json:"assertion,omitempty" enum:"token-exchange,jwt-bearer" doc:"ON_BEHALF_OF: how the third party is told about the user; token-exchange if left out"`

	MCPServer           string      `json:"mcpServer,omitempty" example:"https://mcp.example/mcp" doc:"oauth2: the tokens are for this MCP server, which says who gives them (RFC 9728); it never changes"`
	AuthorizationServer string      `json:"authorizationServer,omitempty" example:"https://login.example" doc:"mcpServer: the issuer that is trusted, if it names several; it never changes"`
	InitialAccessToken  secret.Text `json:"initialAccessToken,omitzero" doc:"mcpServer: with which Deputy registers itself as a client (RFC 7591), if that needs one; it is not kept"`
	Rediscover          bool        `json:"rediscover,omitempty" doc:"mcpServer, when replacing: ask it again what was read when the provider was made"`
}

func (n newProvider) settings() (provider.Settings, error) {
	return providerSettings{n.Type, n.Vendor, n.Flow, n.ClientID, n.ClientSecret, n.Scopes, n.Endpoints, n.DiscoveryURL, n.CallbackURL, n.Parameters, n.APIKey, n.Basic, n.STS, n.Workloads,
		n.AuthMethod, n.Audience, n.Resource, n.OwnCallback, n.Device, n.Assertion, n.MCPServer, n.AuthorizationServer, n.InitialAccessToken, n.Rediscover}.settings()
}

// settings are the same for every type to the registry, which keeps one name
// and one secret; each type has its own words for them here.
func (s providerSettings) settings() (provider.Settings, error) {
	to := provider.Settings{
		Type: s.Type, Vendor: s.Vendor, Flow: s.Flow, ClientID: s.ClientID, ClientSecret: s.ClientSecret, Scopes: s.Scopes, Endpoints: s.Endpoints,
		DiscoveryURL: s.DiscoveryURL, CallbackURL: s.CallbackURL, Options: provider.Options{
			Workloads: s.Workloads, Params: s.Parameters, AuthMethod: s.AuthMethod, Audience: s.Audience, Resource: s.Resource, Assertion: s.Assertion,
			OwnCallback: s.OwnCallback, Device: s.Device,
		},
		MCPServer: s.MCPServer, AuthorizationServer: s.AuthorizationServer, InitialToken: s.InitialAccessToken, Rediscover: s.Rediscover,
	}
	if err := cmp.Or(s.Type, provider.TypeOAuth2).Check(); err != nil {
		return to, err
	}
	for _, own := range []struct {
		of    provider.Type
		given bool
		field string
	}{
		{provider.TypeOAuth2, s.ClientID != "", "clientId"}, {provider.TypeOAuth2, !s.ClientSecret.Empty(), "clientSecret"},
		{provider.TypeAPIKey, s.APIKey != nil, "apiKey"}, {provider.TypeBasic, s.Basic != nil, "basic"}, {provider.TypeSTS, s.STS != nil, "sts"},
	} {
		if own.given && own.of != cmp.Or(s.Type, provider.TypeOAuth2) {
			return to, fault.New(fault.Invalid, "field_not_for_type", "%s is for providers of type %s", own.field, own.of).WithSource(own.field).
				WithFix("leave it out, or say \"type\": %q", own.of)
		}
	}
	if k := s.APIKey; k != nil {
		to.ClientSecret, to.Options.Header, to.Options.Prefix = k.Key, k.Header, k.Prefix
	}
	if l := s.Basic; l != nil {
		to.ClientID, to.ClientSecret = l.Username, l.Password
	}
	if t := s.STS; t != nil {
		to.ClientID, to.ClientSecret = t.AccessKeyID, t.SecretAccessKey
		to.Options.STS = &provider.STS{Cloud: t.Cloud, Endpoint: t.Endpoint, Region: t.Region, Role: t.Role, ExternalID: t.ExternalID,
			Lifetime: time.Duration(t.LifetimeSeconds) * time.Second, Policy: t.Policy, Policies: t.Policies}
	}
	return to, nil
}

type providerJSON struct {
	Name         string            `json:"name"`
	Pool         string            `json:"pool"`
	Type         provider.Type     `json:"type" enum:"oauth2,api_key,basic,sts"`
	Vendor       string            `json:"vendor,omitempty"`
	Flow         provider.Flow     `json:"flow,omitempty" enum:"USER_FEDERATION,M2M,ON_BEHALF_OF"`
	ClientID     string            `json:"clientId,omitempty"`
	Scopes       name.Scopes       `json:"scopes"`
	Endpoints    vendor.Endpoints  `json:"endpoints,omitzero"`
	CallbackURL  string            `json:"callbackUrl,omitempty" doc:"To register at the third party"`
	DiscoveryURL string            `json:"discoveryUrl,omitempty"`
	Issuer       string            `json:"issuer,omitempty" doc:"Of discoveryUrl"`
	Discovered   vendor.Endpoints  `json:"discovered,omitzero" doc:"What was read at discoveryUrl; endpoints come first"`
	Parameters   map[string]string `json:"parameters,omitempty"`
	APIKey       *apiKeyJSON       `json:"apiKey,omitempty"`
	Basic        *basicJSON        `json:"basic,omitempty"`
	STS          *stsJSON          `json:"sts,omitempty"`
	Workloads    []string          `json:"workloads,omitempty" doc:"That may use it; all if missing"`
	Version      int64             `json:"version"`
	CreatedAt    time.Time         `json:"createdAt"`
	UpdatedAt    time.Time         `json:"updatedAt"`
	Checks       []trial.Result    `json:"checks,omitempty" doc:"What was found out without a person when it was saved or checked"`

	AuthMethod  vendor.Auth            `json:"authMethod,omitempty"`
	Audience    string                 `json:"audience,omitempty"`
	Resource    string                 `json:"resource,omitempty"`
	Assertion   provider.AssertionKind `json:"assertion,omitempty"`
	OwnCallback bool                   `json:"ownCallback,omitempty"`
	Device      bool                   `json:"device,omitempty"`
	KeysURL     string                 `json:"keysUrl,omitempty" doc:"Of private_key_jwt: where the third party finds the keys"`

	MCPServer           string   `json:"mcpServer,omitempty"`
	AuthorizationServer string   `json:"authorizationServer,omitempty" doc:"Of mcpServer"`
	MCP                 *mcpJSON `json:"mcp,omitempty" doc:"What was found out about mcpServer"`
}

type mcpJSON struct {
	Resource              string                `json:"resource" doc:"What the server calls itself; tokens are for that (RFC 8707)"`
	Client                provider.ClientOrigin `json:"client" enum:"given,document,registered" doc:"How Deputy became a client: the operator registered it, by its metadata document, or by registering itself"`
	ClientSecretExpiresAt *time.Time            `json:"clientSecretExpiresAt,omitempty" doc:"registered: never if left out"`
}

type apiKeyJSON struct {
	Header string `json:"header"`
	Prefix string `json:"prefix,omitempty"`
}

type basicJSON struct {
	Username string `json:"username"`
}

type stsJSON struct {
	Cloud           provider.Cloud             `json:"cloud" enum:"volcengine,aws"`
	AccessKeyID     string                     `json:"accessKeyId"`
	Role            string                     `json:"role"`
	Region          string                     `json:"region,omitempty"`
	Endpoint        string                     `json:"endpoint,omitempty"`
	ExternalID      string                     `json:"externalId,omitempty"`
	LifetimeSeconds int64                      `json:"lifetimeSeconds,omitempty"`
	Policy          json.RawMessage            `json:"policy,omitempty"`
	Policies        map[string]json.RawMessage `json:"policies,omitempty"`
}

func (a *API) provider(v provider.Provider) providerJSON {
	shown := providerJSON{
		Name: v.Name, Pool: v.Pool, Type: v.Type, Vendor: v.Vendor, Flow: v.Flow, Scopes: v.Scopes, Endpoints: v.Endpoints,
		Parameters: v.Options.Params, Workloads: v.Options.Workloads, Version: v.Version, CreatedAt: v.Created, UpdatedAt: v.Updated,
	}
	switch v.Type {
	case provider.TypeOAuth2:
		shown.ClientID = v.ClientID
		shown.AuthMethod, shown.Audience, shown.Resource, shown.Assertion = v.Options.AuthMethod, v.Options.Audience, v.Options.Resource, v.Options.Assertion
		if d := v.Options.Discovery; d != nil {
			shown.DiscoveryURL, shown.Issuer, shown.Discovered = d.URL, d.Issuer, d.Endpoints
		}
		if m := v.Options.MCP; m != nil {
			shown.MCPServer, shown.AuthorizationServer, shown.MCP = m.Server, shown.Issuer, &mcpJSON{Resource: m.Resource, Client: m.Client}
			if !m.SecretEnds.IsZero() {
				shown.MCP.ClientSecretExpiresAt = &m.SecretEnds
			}
		}
		if v.Options.AuthMethod == vendor.AuthPrivateKeyJWT {
			shown.KeysURL = a.PublicURL + provider.KeysPath(v.ID)
		}
		if v.Flow == provider.UserFederation {
			shown.OwnCallback, shown.Device = v.Options.OwnCallback, v.Options.Device
		}
		if v.Flow == provider.UserFederation && !v.Options.Device {
			shown.CallbackURL = a.Providers.Callback(v)
		}
	case provider.TypeAPIKey:
		shown.APIKey = &apiKeyJSON{v.Options.Header, v.Options.Prefix}
	case provider.TypeBasic:
		shown.Basic = &basicJSON{v.ClientID}
	case provider.TypeSTS:
		t := v.Options.STS
		shown.STS = &stsJSON{t.Cloud, v.ClientID, t.Role, t.Region, t.Endpoint, t.ExternalID, int64(t.Lifetime / time.Second), t.Policy, t.Policies}
	}
	return shown
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
	settings, err := in.settings()
	if err != nil {
		return nil, err
	}
	made, err := a.Providers.Create(c.ctx, c.caller, c.path("pool"), in.Name, settings)
	if err != nil {
		return nil, err
	}
	return a.checked(c, made)
}

// checked shows a provider with what can be found out about it without a person.
func (a *API) checked(c *call, v provider.Provider) (any, error) {
	shown := a.provider(v)
	if v.Type != provider.TypeOAuth2 {
		return shown, nil // what an operator gave can only be tried where it is used
	}
	var err error
	shown.Checks, err = a.Trials.Check(c.ctx, c.caller, v.Pool, v.Name)
	return shown, err
}

func (a *API) checkProvider(c *call) (any, error) {
	found, err := a.Providers.Store.Provider(c.ctx, c.path("pool"), c.path("provider"))
	if err != nil {
		return nil, err
	}
	return a.checked(c, found)
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
	settings, err := in.settings()
	if err != nil {
		return nil, err
	}
	changed, err := a.Providers.Update(c.ctx, c.caller, c.path("pool"), c.path("provider"), settings)
	if err != nil {
		return nil, err
	}
	return a.checked(c, changed)
}

func (a *API) deleteProvider(c *call) (any, error) {
	return nil, a.Providers.Delete(c.ctx, c.caller, c.path("pool"), c.path("provider"))
}
