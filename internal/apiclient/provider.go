package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Vendor is an entry of the catalogue.
type Vendor struct {
	ID     string        `json:"id"`
	Name   vendor.Words  `json:"name"`
	Docs   string        `json:"docs,omitempty"`
	Scopes []VendorScope `json:"scopes"`
	Setup  vendor.Words  `json:"setup"` // what to do in the vendor's console
}

// VendorScope is a scope that people commonly need.
type VendorScope struct {
	Scope string       `json:"scope"`
	What  vendor.Words `json:"what"`
}

// ProviderSettings is what an operator says about a credential provider. What
// was read goes back with a change, or it would be taken away.
type ProviderSettings struct {
	Type      string   `json:"type,omitempty"`      // empty: oauth2
	Workloads []string `json:"workloads,omitempty"` // that may use it; empty: all

	// Of oauth2.
	Vendor       string            `json:"vendor,omitempty"`
	Flow         string            `json:"flow,omitempty"` // empty: USER_FEDERATION
	ClientID     string            `json:"clientId,omitempty"`
	Scopes       []string          `json:"scopes,omitempty"`
	DiscoveryURL string            `json:"discoveryUrl,omitempty"` // where the third party says what its endpoints are
	Endpoints    vendor.Endpoints  `json:"endpoints,omitzero"`     // replace the vendor's where set
	Parameters   map[string]string `json:"parameters,omitempty"`   // further ones of authorization requests
	OwnCallback  bool              `json:"ownCallback,omitempty"`  // a callback URL of its own
	Device       bool              `json:"device,omitempty"`       // users agree by a code (RFC 8628)
	AuthMethod   string            `json:"authMethod,omitempty"`   // empty: the vendor's
	Audience     string            `json:"audience,omitempty"`     // of M2M and ON_BEHALF_OF
	Resource     string            `json:"resource,omitempty"`     // of M2M and ON_BEHALF_OF
	Assertion    string            `json:"assertion,omitempty"`    // of ON_BEHALF_OF

	MCPServer           string      `json:"mcpServer,omitempty"`           // that the tokens are for, and that says who gives them
	AuthorizationServer string      `json:"authorizationServer,omitempty"` // that is trusted, if it names several
	Rediscover          bool        `json:"rediscover,omitempty"`          // on an update: ask it again
	InitialAccessToken  secret.Text `json:"-"`                             // with which Deputy registers itself; it is not kept

	APIKey *KeyHeader     `json:"apiKey,omitempty"` // of api_key
	Basic  *Login         `json:"basic,omitempty"`  // of basic
	STS    *TemporaryKeys `json:"sts,omitempty"`    // of sts
}

// KeyHeader says how an API key is carried.
type KeyHeader struct {
	Header string `json:"header,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

// Login is whose password a provider of type basic has.
type Login struct {
	Username string `json:"username"`
}

// TemporaryKeys says which role temporary keys are for, and what they may do.
type TemporaryKeys struct {
	Cloud           string                     `json:"cloud"` // "volcengine" or "aws"
	AccessKeyID     string                     `json:"accessKeyId"`
	Role            string                     `json:"role"`
	Region          string                     `json:"region,omitempty"`
	Endpoint        string                     `json:"endpoint,omitempty"`
	ExternalID      string                     `json:"externalId,omitempty"`
	LifetimeSeconds int64                      `json:"lifetimeSeconds,omitempty"`
	Policy          json.RawMessage            `json:"policy,omitempty"`
	Policies        map[string]json.RawMessage `json:"policies,omitempty"`
}

// Provider is a configured credential provider.
type Provider struct {
	Name string `json:"name"`
	ProviderSettings
	MCP         *MCPFound        `json:"mcp,omitempty"`
	Issuer      string           `json:"issuer,omitempty"`    // of DiscoveryURL, or named by MCPServer
	Discovered  vendor.Endpoints `json:"discovered,omitzero"` // what was read at DiscoveryURL
	CallbackURL string           `json:"callbackUrl"`         // to register at the third party
	CreatedAt   time.Time        `json:"createdAt"`
	UpdatedAt   time.Time        `json:"updatedAt"`

	Checks []TestStep `json:"checks,omitempty"` // what was found out when it was saved or checked
}

// MCPFound is what was found out about an MCP server.
type MCPFound struct {
	Resource              string    `json:"resource"` // what it calls itself
	Client                string    `json:"client"`   // "given", "document" or "registered"
	ClientSecretExpiresAt time.Time `json:"clientSecretExpiresAt,omitzero"`
}

// providerBody is how settings are sent, with the secret where its type has it.
type providerBody struct {
	Name string `json:"name,omitempty"`
	ProviderSettings
	ClientSecret string `json:"clientSecret,omitempty"`
	InitialToken string `json:"initialAccessToken,omitempty"`

	APIKey *keyBody   `json:"apiKey,omitempty"`
	Basic  *loginBody `json:"basic,omitempty"`
	STS    *stsBody   `json:"sts,omitempty"`
}

type keyBody struct {
	*KeyHeader
	Key string `json:"key,omitempty"`
}

type loginBody struct {
	*Login
	Password string `json:"password,omitempty"`
}

type stsBody struct {
	*TemporaryKeys
	SecretAccessKey string `json:"secretAccessKey,omitempty"`
}

func body(providerName string, s ProviderSettings, own secret.Text) providerBody {
	b := providerBody{Name: providerName, ProviderSettings: s, InitialToken: s.InitialAccessToken.RevealString()}
	switch plain := own.RevealString(); {
	case s.APIKey != nil:
		b.APIKey = &keyBody{s.APIKey, plain}
	case s.Basic != nil:
		b.Basic = &loginBody{s.Basic, plain}
	case s.STS != nil:
		b.STS = &stsBody{s.STS, plain}
	default:
		b.ClientSecret = plain
	}
	return b
}

// ProviderTest is one test of a credential provider.
type ProviderTest struct {
	ID        string     `json:"id"`
	Provider  string     `json:"provider"`
	State     string     `json:"state"` // "done" at the end
	Works     bool       `json:"works"`
	URL       string     `json:"url,omitempty"` // to open in a browser; told once
	Steps     []TestStep `json:"steps"`
	ExpiresAt time.Time  `json:"expiresAt"`
}

// TestStep is how one step of a test went.
type TestStep struct {
	Step    string       `json:"step"`
	Outcome string       `json:"outcome"` // "passed", "failed" or "skipped"
	Text    vendor.Words `json:"text"`
	Fix     vendor.Words `json:"fix,omitzero"`
	Code    string       `json:"code,omitempty"`
	Paste   string       `json:"paste,omitempty"` // the exact value that the fix speaks of
}

// Vendors returns the catalogue.
func (c *Client) Vendors(ctx context.Context) ([]Vendor, error) {
	var all list[Vendor]
	err := c.call(ctx, http.MethodGet, "/vendors", nil, nil, &all)
	return all.Items, err
}

// Providers returns the credential providers of a workload pool.
func (c *Client) Providers(ctx context.Context, pool string) ([]Provider, error) {
	var all list[Provider]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "providers"), nil, nil, &all)
	return all.Items, err
}

// Provider returns a credential provider.
func (c *Client) Provider(ctx context.Context, pool, provider string) (Provider, error) {
	var p Provider
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "providers", provider), nil, nil, &p)
	return p, err
}

// CreateProvider makes a credential provider. own is its secret: the client's,
// the API key, the password or the secret access key.
func (c *Client) CreateProvider(ctx context.Context, pool, provider string, s ProviderSettings, own secret.Text) (Provider, error) {
	var made Provider
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "providers"), nil, body(provider, s, own), &made)
	return made, err
}

// UpdateProvider replaces the settings of a credential provider; an empty
// secret keeps the old one.
func (c *Client) UpdateProvider(ctx context.Context, pool, provider string, s ProviderSettings, own secret.Text) (Provider, error) {
	var now Provider
	err := c.call(ctx, http.MethodPut, path("workload-pools", pool, "providers", provider), nil, body("", s, own), &now)
	return now, err
}

// DeleteProvider deletes a credential provider with all grants to it.
func (c *Client) DeleteProvider(ctx context.Context, pool, provider string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "providers", provider), nil, nil, nil)
}

// CheckProvider returns a provider with what can be found out about it without a
// person.
func (c *Client) CheckProvider(ctx context.Context, pool, provider string) (Provider, error) {
	var p Provider
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "providers", provider, "check"), nil, nil, &p)
	return p, err
}

// TestProvider begins a test of a credential provider.
func (c *Client) TestProvider(ctx context.Context, pool, provider string) (ProviderTest, error) {
	var t ProviderTest
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "providers", provider, "tests"), nil, nil, &t)
	return t, err
}

// ProviderTest returns a test when it is done, and as it is after at most wait,
// a minute or less.
func (c *Client) ProviderTest(ctx context.Context, pool, provider, id string, wait time.Duration) (ProviderTest, error) {
	var t ProviderTest
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "providers", provider, "tests", id), url.Values{"wait": {wait.String()}}, nil, &t)
	return t, err
}
