// Package registration turns what clients say about themselves into clients of a user pool: registered metadata and Client ID Metadata Documents.
//
// Both are strangers' JSON. What Deputy does not know is ignored, as RFC 7591,
// section 2, demands; what it knows must be right, and gives a client no more
// than the pool's settings allow to clients that no operator made.
package registration

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// MaxMetadata is the size in bytes beyond which metadata is refused unread.
const MaxMetadata = 32 << 10

// Metadata is what a client says about itself (RFC 7591, section 2; OpenID
// Connect Dynamic Client Registration 1.0, section 2; RFC 9126, section 6).
type Metadata struct {
	RedirectURIs            []string        `json:"redirect_uris,omitempty"`
	TokenEndpointAuthMethod string          `json:"token_endpoint_auth_method,omitempty"`
	AuthSigningAlgorithm    string          `json:"token_endpoint_auth_signing_alg,omitempty"`
	GrantTypes              []string        `json:"grant_types,omitempty"`
	ResponseTypes           []string        `json:"response_types,omitempty"`
	ClientName              string          `json:"client_name,omitempty"`
	Scope                   string          `json:"scope,omitempty"`
	JWKSURI                 string          `json:"jwks_uri,omitempty"`
	JWKS                    json.RawMessage `json:"jwks,omitempty"`
	SoftwareStatement       string          `json:"software_statement,omitempty"`
	PostLogoutRedirectURIs  []string        `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI    string          `json:"backchannel_logout_uri,omitempty"`
	IDTokenAlgorithm        string          `json:"id_token_signed_response_alg,omitempty"`
	RequirePushed           bool            `json:"require_pushed_authorization_requests,omitempty"`
}

// AssertionAlgorithms are those that clients may sign their assertions with.
func AssertionAlgorithms() []string { return []string{jwt.ES256, jwt.EdDSA, jwt.RS256, "PS256"} }

// Parse reads metadata. An error is an [oauth.Error] (RFC 7591, section 3.2.2).
func Parse(b []byte) (Metadata, error) {
	var m Metadata
	if len(b) > MaxMetadata {
		return m, invalid("the metadata is too large")
	}
	if err := wire.DecodeForeign(b, &m); err != nil {
		return m, invalid(fault.As(err).Message)
	}
	return m, nil
}

// Client returns the client that m describes, which has neither id, name nor
// secret yet. An error is an [oauth.Error].
func (m Metadata) Client(pool userpool.Pool, now time.Time) (userpool.Client, error) {
	if m.SoftwareStatement != "" {
		return userpool.Client{}, oauth.NewError(oauth.CodeUnapprovedSoftware, "software statements are not accepted here")
	}
	c := userpool.NewClient(pool.Name, "", userpool.Web, now)
	c.DisplayName = m.ClientName
	c.RedirectURIs, c.PostLogoutRedirectURIs, c.BackchannelLogoutURI = m.RedirectURIs, m.PostLogoutRedirectURIs, m.BackchannelLogoutURI
	c.KeysURI, c.Algorithm, c.RequirePushed = m.JWKSURI, m.IDTokenAlgorithm, m.RequirePushed
	if len(m.JWKS) > 0 && string(m.JWKS) != "null" {
		c.Keys = string(m.JWKS)
	}
	c.Audiences = pool.Settings.Open.Audiences
	for _, fill := range []func(*userpool.Client) error{m.fillMethod, m.fillGrants, m.fillScopes(pool)} {
		if err := fill(&c); err != nil {
			return userpool.Client{}, err
		}
	}
	for _, uri := range c.RedirectURIs {
		if err := oauth.CheckRegistered(uri); err != nil {
			return userpool.Client{}, oauth.NewError(oauth.CodeInvalidRedirectURI, fault.As(err).Message)
		}
	}
	return c, nil
}

func (m Metadata) fillMethod(c *userpool.Client) error {
	c.AuthMethod = m.TokenEndpointAuthMethod
	switch c.AuthMethod {
	case "":
		c.AuthMethod = oauth.ClientSecretBasic // RFC 7591, section 2
	case oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.PrivateKeyJWT:
	case oauth.ClientAuthNone:
		c.Type = userpool.Public
	default:
		return invalid("this token_endpoint_auth_method is not supported")
	}
	if m.AuthSigningAlgorithm != "" && (c.AuthMethod != oauth.PrivateKeyJWT || !slices.Contains(AssertionAlgorithms(), m.AuthSigningAlgorithm)) {
		return invalid("this token_endpoint_auth_signing_alg is not supported, or the client signs nothing")
	}
	return nil
}

// fillGrants takes the grant types. A client that nobody vouches for does not
// exchange other clients' tokens.
func (m Metadata) fillGrants(c *userpool.Client) error {
	if c.Grants = m.GrantTypes; len(c.Grants) == 0 {
		c.Grants = []string{oauth.GrantAuthorizationCode} // RFC 7591, section 2
	}
	if slices.Contains(c.Grants, oauth.GrantTokenExchange) {
		return invalid("clients that registered themselves cannot exchange tokens")
	}
	for _, r := range m.ResponseTypes {
		if r != oauth.ResponseTypeCode {
			return invalid("only the response type code is supported")
		}
	}
	if len(m.ResponseTypes) > 0 && !c.HasGrant(oauth.GrantAuthorizationCode) { // RFC 7591, section 2.1
		return invalid("the response type code goes with the grant type authorization_code")
	}
	return nil
}

// fillScopes takes what of the scopes the pool allows; a client that names none
// may ask for all of that.
func (m Metadata) fillScopes(pool userpool.Pool) func(*userpool.Client) error {
	return func(c *userpool.Client) error {
		allowed, err := name.NewScopes(slices.Concat(userpool.KnownScopes(), pool.Settings.Open.Scopes)...)
		if err != nil {
			return err
		}
		asked, err := name.ParseScopes(m.Scope)
		if err != nil {
			return invalid(fault.As(err).Message)
		}
		c.Scopes = allowed
		if asked.Len() > 0 {
			c.Scopes = asked.Intersect(allowed)
		}
		if c.Scopes.Len() == 0 {
			return invalid("this pool lets clients that registered themselves ask for: " + allowed.String())
		}
		return nil
	}
}

// Check is [userpool.Client.Check] in the words of RFC 7591.
func Check(c userpool.Client) error {
	err := c.Check()
	if err == nil {
		return nil
	}
	f := fault.As(err)
	if f.Kind != fault.Invalid {
		return err
	}
	if f.Code == "redirect_uri_invalid" {
		return oauth.NewError(oauth.CodeInvalidRedirectURI, f.Message)
	}
	return invalid(f.Message)
}

// Of returns what is registered about c.
func Of(c userpool.Client) Metadata {
	m := Metadata{
		RedirectURIs: c.RedirectURIs, TokenEndpointAuthMethod: c.AuthMethod, GrantTypes: c.Grants, ClientName: c.DisplayName, Scope: c.Scopes.String(),
		JWKSURI: c.KeysURI, JWKS: json.RawMessage(c.Keys), PostLogoutRedirectURIs: c.PostLogoutRedirectURIs, BackchannelLogoutURI: c.BackchannelLogoutURI,
		IDTokenAlgorithm: c.Algorithm, RequirePushed: c.RequirePushed,
	}
	if c.HasGrant(oauth.GrantAuthorizationCode) {
		m.ResponseTypes = []string{oauth.ResponseTypeCode}
	}
	return m
}

func invalid(description string) error {
	return oauth.NewError(oauth.CodeInvalidClientMetadata, strings.TrimSpace(description))
}
