// Package discovery finds authorization servers: from their metadata, from an issuer, or from a protected resource such as an MCP server; and registers clients at them.
//
// What is found is a stranger's JSON. A document counts only for the issuer,
// or the resource, whose well-known address it was found at.
package discovery

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/wire"
)

// Server is what an authorization server says about itself (RFC 8414, section
// 2; OpenID Connect Discovery 1.0, section 3; RFC 9207, section 3).
type Server struct {
	Issuer              string   `json:"issuer"`
	Authorization       string   `json:"authorization_endpoint"`
	Token               string   `json:"token_endpoint"`
	UserInfo            string   `json:"userinfo_endpoint"`
	Revocation          string   `json:"revocation_endpoint"`
	Introspection       string   `json:"introspection_endpoint"`
	DeviceAuthorization string   `json:"device_authorization_endpoint"`
	Registration        string   `json:"registration_endpoint"`
	AuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods    []string `json:"code_challenge_methods_supported"`
	GrantTypes          []string `json:"grant_types_supported"`
	Scopes              []string `json:"scopes_supported"`
	IssInAnswer         bool     `json:"authorization_response_iss_parameter_supported"`
	ClientDocuments     bool     `json:"client_id_metadata_document_supported"`
}

// Takes reports whether the server takes an authentication method. One that
// says nothing takes client_secret_basic (RFC 8414, section 2).
func (s Server) Takes(method string) bool {
	if len(s.AuthMethods) == 0 {
		return method == oauth.ClientSecretBasic
	}
	return slices.Contains(s.AuthMethods, method)
}

// Client finds servers and registers at them. Its errors are faults, of kind
// Invalid for addresses that cannot be right, Unavailable for servers that do
// not answer, and Upstream for documents that cannot be used.
type Client struct{ Outbound *outbound.Client }

// Server reads the metadata at a discovery URL.
func (c *Client) Server(ctx context.Context, discoveryURL string) (Server, error) {
	if err := checkAddress(discoveryURL, "discoveryUrl"); err != nil {
		return Server{}, err
	}
	var s Server
	if err := c.document(ctx, discoveryURL, &s); err != nil {
		return Server{}, err
	}
	if !jwt.IsDiscoveryURLOf(discoveryURL, s.Issuer) {
		return Server{}, fault.New(fault.Upstream, "discovery_invalid", "the metadata at %s is that of another issuer, %s", name.Clip(discoveryURL, 200), name.Clip(s.Issuer, 200)).
			WithSource("discoveryUrl").WithFix("use the address under the issuer itself, such as https://issuer.example/.well-known/openid-configuration")
	}
	return s, s.check(discoveryURL)
}

// ServerOf finds the metadata of an issuer, at the well-known addresses of RFC
// 8414, section 3.1, and of OpenID Connect Discovery 1.0, section 4, in this
// order.
func (c *Client) ServerOf(ctx context.Context, issuer string) (Server, error) {
	if err := checkAddress(issuer, "issuer"); err != nil {
		return Server{}, err
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return Server{}, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	root := u.Scheme + "://" + u.Host
	var failure error
	for _, address := range slices.Compact([]string{
		root + "/.well-known/oauth-authorization-server" + path, root + "/.well-known/openid-configuration" + path, root + path + "/.well-known/openid-configuration",
	}) {
		s, err := c.Server(ctx, address)
		if err == nil && s.Issuer != issuer && s.Issuer != issuer+"/" && s.Issuer+"/" != issuer {
			err = fault.New(fault.Upstream, "discovery_invalid", "the metadata at %s is that of %s", name.Clip(address, 200), name.Clip(s.Issuer, 200))
		}
		if err == nil || ctx.Err() != nil {
			return s, err
		}
		if failure == nil || !fault.HasCode(err, "discovery_missing") {
			failure = err // what was there and wrong says more than what was not there
		}
	}
	return Server{}, failure
}

// check returns a fault that says what s lacks to be used from here.
func (s Server) check(at string) error {
	lacks := ""
	switch {
	case s.Token == "":
		lacks = "no token endpoint"
	case s.Authorization == "" && !slices.Contains(s.GrantTypes, oauth.GrantClientCredentials):
		lacks = "no authorization endpoint"
	case len(s.ChallengeMethods) > 0 && !slices.Contains(s.ChallengeMethods, oauth.ChallengeS256):
		lacks = "no PKCE with S256"
	default:
		return nil
	}
	return fault.New(fault.Upstream, "discovery_invalid", "the server whose metadata is at %s has %s", name.Clip(at, 200), lacks)
}

// maxDocument bounds a document in bytes.
const maxDocument = 256 << 10

// document reads a JSON document. One that is not there is a fault with code
// discovery_missing.
func (c *Client) document(ctx context.Context, address string, into any) error {
	resp, err := c.Outbound.Do(ctx, outbound.Request{URL: address, Header: http.Header{"Accept": {"application/json"}}, MaxBody: maxDocument, Purpose: "metadata"})
	if err != nil {
		return unreachable(address, err)
	}
	if resp.Status != http.StatusOK {
		return fault.New(fault.Upstream, "discovery_missing", "there is no metadata at %s: it answers %d", name.Clip(address, 200), resp.Status).
			WithFix("check the address; a server without metadata needs its endpoints one by one")
	}
	if err := wire.DecodeForeign(resp.Body, into); err != nil {
		return fault.Wrap(err, fault.Upstream, "discovery_invalid", "the answer at %s is no metadata", name.Clip(address, 200))
	}
	return nil
}

func unreachable(address string, err error) error {
	var own *fault.Error
	if errors.As(err, &own) && (own.Kind == fault.Forbidden || own.Kind == fault.Invalid) {
		return err // the address is refused, and the error says so
	}
	return fault.Wrap(err, fault.Unavailable, "discovery_unreachable", "nobody answers at %s", name.Clip(address, 200)).WithFix("check the address, and that it can be reached from here")
}

func checkAddress(s, source string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || len(s) > 2000 || u.Scheme != "https" && u.Scheme != "http" {
		return fault.New(fault.Invalid, "discovery_url_invalid", "%q is not the address of a server", name.Clip(s, 200)).WithSource(source).
			WithFix("write an address such as https://example.com, without query and fragment")
	}
	return nil
}
