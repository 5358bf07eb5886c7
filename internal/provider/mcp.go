package provider

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/vendor"
)

// MCP is an MCP server that tokens are for, as it was found when the settings
// were saved (Model Context Protocol, Authorization). Server, the authorization
// server and the client never change: grants, secrets and tokens of one must not
// reach another because of what a stranger's document says today.
type MCP struct {
	Server     string       `json:"server"`               // address, as the operator wrote it
	Resource   string       `json:"resource"`             // what it calls itself, and tokens are for (RFC 9728, section 2; RFC 8707)
	Client     ClientOrigin `json:"client"`               // how Deputy is a client
	Management string       `json:"management,omitempty"` // of ByRegistration: where the client is deleted (RFC 7592); empty: nowhere
	SecretEnds time.Time    `json:"secretEnds,omitzero"`  // of ByRegistration: when the client's secret does; zero: never
}

// ClientOrigin says how Deputy became a client of an authorization server.
type ClientOrigin string

// The origins of clients.
const (
	ByOperator     ClientOrigin = "given"      // the operator made it
	ByDocument     ClientOrigin = "document"   // its id is the address of a document of ours (Client ID Metadata Document)
	ByRegistration ClientOrigin = "registered" // it was registered when the settings were saved (RFC 7591)
)

// VendorMCP is the catalogue's entry with which MCP servers are spoken for.
const VendorMCP = "custom"

// discoverMCP finds the authorization server of an MCP server; for a provider
// that there is already, only if that was asked for.
func (r *Registry) discoverMCP(ctx context.Context, v Provider, s Settings) (Settings, error) {
	if err := s.checkMCP(v); err != nil {
		return s, err
	}
	s.Options.OwnCallback = true // most do not name themselves in their answers, and registering it costs nobody anything
	before := v.Options.MCP
	if before != nil {
		s.ClientID, s.Options.MCP, s.Options.Discovery = keptClient(v, s.ClientID), before, v.Options.Discovery
		s.Options.AuthMethod = cmp.Or(s.Options.AuthMethod, v.Options.AuthMethod)
		if !s.Rediscover {
			return s, nil
		}
		s.AuthorizationServer = v.Options.Discovery.Issuer
	}
	found, err := find(ctx, r.Metadata, s.MCPServer, s.AuthorizationServer)
	if err != nil {
		return s, err
	}
	s.found = found
	s.Options.Discovery = found.discovery()
	made := MCP{Server: s.MCPServer, Resource: found.resource.Resource}
	if before != nil {
		made.Client, made.Management, made.SecretEnds = before.Client, before.Management, before.SecretEnds
	}
	s.Options.MCP = &made
	if before != nil {
		return s, nil
	}
	if s.Scopes.Len() == 0 {
		if s.Scopes, err = found.scopes(); err != nil {
			return s, err
		}
	}
	return r.identify(v, s)
}

// checkMCP refuses what has no meaning with an MCP server, and what never changes.
func (s Settings) checkMCP(v Provider) error {
	for _, other := range []struct {
		field string
		given bool
	}{
		{"vendor", s.Vendor != VendorMCP}, {"flow", s.Flow != UserFederation}, {"discoveryUrl", s.DiscoveryURL != ""}, {"endpoints", s.Endpoints != vendor.Endpoints{}},
		{"device", s.Options.Device},
	} {
		if other.given {
			return fault.New(fault.Invalid, "field_not_for_mcp", "%s is not for MCP servers, which say themselves who gives tokens for them", other.field).
				WithSource(other.field).WithFix("leave it out")
		}
	}
	before, fixed := v.Options.MCP, ""
	switch {
	case v.Type == "":
		return nil
	case before == nil || s.MCPServer != before.Server:
		fixed = "mcpServer"
	case s.AuthorizationServer != "" && !sameIssuer(s.AuthorizationServer, v.Options.Discovery.Issuer):
		fixed = "authorizationServer"
	case before.Client != ByOperator && s.ClientID != "" && s.ClientID != v.ClientID:
		fixed = "clientId"
	case before.Client != ByOperator && s.newSecret:
		fixed = "clientSecret"
	case before.Client == ByRegistration && s.Options.AuthMethod != "" && s.Options.AuthMethod != v.Options.AuthMethod:
		fixed = "authMethod"
	default:
		return nil
	}
	return fault.New(fault.Invalid, "mcp_fixed", "%s of credential provider %q never changes: what people granted is for the MCP server, authorization server and client that it has", fixed, v.Name).
		WithSource(fixed).WithFix("create another one, or delete this one first")
}

// keptClient is the client id of a provider whose settings say given: that of a
// client which nobody gave stays.
func keptClient(v Provider, given string) string {
	if v.Options.MCP.Client == ByOperator {
		return given
	}
	return v.ClientID
}

// findings are what an MCP server and its authorization server say.
type findings struct {
	resource discovery.Resource
	server   discovery.Server
}

// find asks an MCP server for its authorization server, and that for its
// endpoints. wanted is the issuer's name, which may be empty if there is one only.
func find(ctx context.Context, m Metadata, server, wanted string) (findings, error) {
	resource, err := m.Resource(ctx, server)
	if err != nil {
		return findings{}, fault.As(err).WithSource("mcpServer")
	}
	issuer, err := choose(resource.Servers, wanted)
	if err != nil {
		return findings{}, err
	}
	found, err := m.ServerOf(ctx, issuer)
	if err != nil {
		return findings{}, fault.As(err).WithSource("mcpServer")
	}
	lacks := ""
	switch {
	case found.Authorization == "":
		lacks = "has no authorization endpoint"
	case !slices.Contains(found.ChallengeMethods, oauth.ChallengeS256):
		lacks = "does not say that it takes PKCE with S256, which MCP requires"
	default:
		return findings{resource, found}, nil
	}
	return findings{}, fault.New(fault.Upstream, "discovery_invalid", "the authorization server %s %s", name.Clip(issuer, 200), lacks).WithSource("mcpServer").
		WithFix("ask whoever runs the MCP server")
}

// maxListed bounds how many authorization servers a message lists.
const maxListed = 10

// choose returns the issuer that is wanted, or the only one.
func choose(issuers []string, wanted string) (string, error) {
	list := make([]string, 0, maxListed)
	for _, issuer := range issuers[:min(len(issuers), maxListed)] {
		list = append(list, name.Clip(issuer, 200))
	}
	named := strings.Join(list, ", ")
	if wanted == "" && len(issuers) == 1 {
		return issuers[0], nil
	}
	if wanted == "" {
		return "", fault.New(fault.Invalid, "authorization_server_ambiguous", "the MCP server names several authorization servers: %s", named).
			WithSource("authorizationServer").WithFix("say which one is to be trusted with your users")
	}
	for _, issuer := range issuers {
		if sameIssuer(issuer, wanted) {
			return issuer, nil
		}
	}
	return "", fault.New(fault.Upstream, "authorization_server_changed", "the MCP server does not name %s, but %s", name.Clip(wanted, 200), named).WithSource("authorizationServer").
		WithFix("nothing was changed. If it was meant to move, delete the credential provider and create it again; if not, somebody may be trying to get at your users' tokens")
}

// sameIssuer compares as discovery does: a slash at the end is no difference.
func sameIssuer(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }

// discovery returns what is kept of the authorization server. Tokens are for the
// MCP server, so that nobody else is asked about them with them.
func (f findings) discovery() *Discovery {
	return &Discovery{Issuer: f.server.Issuer, Names: f.server.IssInAnswer, Endpoints: vendor.Endpoints{
		Authorization: f.server.Authorization, Token: f.server.Token, DeviceAuthorization: f.server.DeviceAuthorization, Revocation: f.server.Revocation,
	}}
}

// scopes are those that the MCP server asks for when it refuses, else all that it
// has (Model Context Protocol, Scope Selection Strategy); and the one for a refresh
// token, if the authorization server knows it.
func (f findings) scopes() (name.Scopes, error) {
	asked := strings.Fields(f.resource.Asked)
	if len(asked) == 0 {
		asked = slices.Clone(f.resource.Scopes)
	}
	if slices.Contains(f.server.Scopes, oauth.ScopeOfflineAccess) {
		asked = append(asked, oauth.ScopeOfflineAccess)
	}
	scopes, err := name.NewScopes(asked...)
	if err != nil {
		return scopes, fault.Wrap(err, fault.Upstream, "discovery_invalid", "the MCP server names scopes that cannot be some").WithSource("mcpServer").WithFix("give the scopes yourself")
	}
	return scopes, nil
}

// identify decides how Deputy is a client of the authorization server that was
// found.
func (r *Registry) identify(v Provider, s Settings) (Settings, error) {
	https := strings.HasPrefix(r.PublicURL, "https://")
	switch {
	case s.ClientID != "" || !s.ClientSecret.Empty():
		s.Options.MCP.Client = ByOperator
		if s.Options.AuthMethod == "" && s.ClientSecret.Empty() {
			s.Options.AuthMethod = vendor.AuthNone
		}
	case s.found.server.ClientDocuments && https && s.InitialToken.Empty():
		s.Options.MCP.Client, s.ClientID = ByDocument, r.PublicURL+ClientPath(v.ID)
		if s.Options.AuthMethod == "" {
			s.Options.AuthMethod = vendor.AuthNone
		}
	case s.found.server.Registration != "":
		s.Options.MCP.Client = ByRegistration // after everything else is found right
	case s.found.server.ClientDocuments:
		return s, fault.New(fault.Invalid, "client_document_unreachable", "%s would read Deputy's client metadata document, which has to be at an https address", name.Clip(s.found.server.Issuer, 200)).
			WithSource("--public-url").WithFix("start Deputy with an https --public-url, or register a client there, and give its id and secret")
	default:
		return s, fault.New(fault.Invalid, "registration_missing", "%s neither registers clients by itself nor takes client metadata documents", name.Clip(s.found.server.Issuer, 200)).
			WithSource("clientId").WithFix("register a client there, with the redirect URI %s, and give its id and secret", r.CallbackURL+"/"+v.Pool+"/"+v.Name)
	}
	if s.Options.AuthMethod == "" {
		if s.Options.AuthMethod = firstTaken(s.found.server); s.Options.AuthMethod == "" {
			return s, fault.New(fault.Invalid, "auth_method_unknown", "%s takes none of the ways in which Deputy proves itself by itself", name.Clip(s.found.server.Issuer, 200)).
				WithSource("authMethod").WithFix("say which one, such as private_key_jwt, or register a client there, and give its id")
		}
	}
	return s, nil
}

// authMethods are the ways in which clients prove themselves, in the words of RFC
// 7591; the better one first, among those that need nothing from an operator.
var authMethods = []struct {
	ours   vendor.Auth
	theirs string
}{
	{vendor.AuthBasic, oauth.ClientSecretBasic}, {vendor.AuthPost, oauth.ClientSecretPost}, {vendor.AuthNone, oauth.ClientAuthNone}, {vendor.AuthPrivateKeyJWT, oauth.PrivateKeyJWT},
}

func firstTaken(s discovery.Server) vendor.Auth {
	for _, m := range authMethods {
		if m.ours != vendor.AuthPrivateKeyJWT && s.Takes(m.theirs) {
			return m.ours
		}
	}
	return ""
}

// speak makes an entry say for which MCP server its tokens are, in every request
// (RFC 8707, section 2), and try them there.
func (m MCP) speak(e vendor.Entry, scopes name.Scopes) vendor.Entry {
	e.Authorize.Params, e.Token.Params, e.Header = with(e.Authorize.Params, "resource", m.Resource), with(e.Token.Params, "resource", m.Resource), with(e.Header, "Accept", discovery.Accept)
	e.Endpoints.API, e.Endpoints.UserInfo = m.Server, ""
	e.Test = vendor.Test{Method: http.MethodPost, Body: discovery.Initialize, URL: "{api}"}
	if scopes.Has(oauth.ScopeOfflineAccess) {
		e.RefreshScope = oauth.ScopeOfflineAccess
	}
	return e
}

func with(params map[string]string, key, value string) map[string]string {
	all := map[string]string{key: value}
	maps.Copy(all, params)
	return all
}

// Recheck asks an MCP server, and its authorization server, whether they still say
// what was saved. It returns a fault with code "authorization_server_changed" or
// "discovery_changed" if they do not. For other providers it does nothing.
func (d Dialect) Recheck(ctx context.Context) error {
	m, saved := d.Provider.Options.MCP, d.Provider.Options.Discovery
	if m == nil {
		return nil
	}
	found, err := find(ctx, d.metadata, m.Server, saved.Issuer)
	if err != nil {
		return err
	}
	if now := found.discovery(); now.Endpoints != saved.Endpoints || now.Names != saved.Names || found.resource.Resource != m.Resource {
		return fault.New(fault.Upstream, "discovery_changed", "the MCP server or its authorization server says something else than when it was saved, which is still used").
			WithFix("see whether that is right, then run: deputy provider update %s --rediscover", d.Provider.Name)
	}
	return nil
}
