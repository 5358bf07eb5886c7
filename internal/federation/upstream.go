package federation

import (
	"context"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/wire"
)

// metadata is what we need of an OpenID provider's discovery document (OpenID
// Connect Discovery 1.0, section 3; RFC 9207, section 3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	EndSession    string   `json:"end_session_endpoint"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	IssInAnswer   bool     `json:"authorization_response_iss_parameter_supported"`
}

// upstream is an OpenID provider as it was discovered.
type upstream struct {
	doc    metadata
	issuer *jwt.Issuer // verifies its tokens
	read   time.Time
}

// How long what was discovered is used, and how many issuers are remembered.
const (
	upstreamFresh = 10 * time.Minute
	maxUpstreams  = 1000
)

// discover returns the OpenID provider with that issuer.
func (f *Federation) discover(ctx context.Context, issuer string) (*upstream, error) {
	f.mu.Lock()
	known := f.upstreams[issuer]
	f.mu.Unlock()
	if known != nil && f.Now().Sub(known.read) < upstreamFresh {
		return known, nil
	}
	up, err := f.read(ctx, issuer)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.upstreams == nil || len(f.upstreams) >= maxUpstreams {
		f.upstreams = map[string]*upstream{}
	}
	f.upstreams[issuer] = up
	return up, nil
}

func (f *Federation) read(ctx context.Context, issuer string) (*upstream, error) {
	address := issuer + "/.well-known/openid-configuration"
	body, err := f.Outbound.Fetch(ctx, address)
	if err != nil {
		return nil, fault.Wrap(err, fault.As(err).Kind, "idp_unreachable", "the discovery document at %s cannot be read: %s", address, fault.As(err).Message).
			WithSource("issuer").WithFix("%s", fault.As(err).Fix)
	}
	up := &upstream{read: f.Now()}
	if err := wire.DecodeForeign(body, &up.doc); err != nil {
		return nil, fault.Wrap(err, fault.Upstream, "idp_discovery_invalid", "the answer at %s is not a discovery document", address).WithSource("issuer").
			WithFix("the issuer is the address to which /.well-known/openid-configuration is appended")
	}
	switch {
	case up.doc.Issuer != issuer:
		return nil, fault.New(fault.Upstream, "idp_discovery_invalid", "the discovery document at %s is that of another issuer", address).WithSource("issuer").
			WithFix("write the issuer exactly as the provider does")
	case up.doc.Authorization == "" || up.doc.Token == "":
		return nil, fault.New(fault.Upstream, "idp_discovery_invalid", "the discovery document at %s lacks the authorization or token endpoint", address).WithSource("issuer")
	case len(up.algorithms()) == 0:
		return nil, fault.New(fault.Upstream, "idp_discovery_invalid", "the provider at %s signs with no algorithm that can be trusted", issuer).WithSource("issuer").
			WithFix("let it sign ID tokens with RS256 or ES256")
	}
	up.issuer, err = jwt.NewIssuer(jwt.IssuerConfig{DiscoveryURL: address, Fetch: f.Outbound.Fetch, Now: f.Now})
	return up, err
}

// algorithms returns what the provider signs ID tokens with, as it announces,
// less what anybody could sign with. RS256 is what one that announces nothing
// must have (OpenID Connect Core 1.0, section 15.1).
func (u *upstream) algorithms() []string {
	if len(u.doc.Algorithms) == 0 {
		return []string{jwt.RS256}
	}
	return jwt.Acceptable(u.doc.Algorithms)
}

// catalogueID returns the catalogue's entry for how the client authenticates.
// A provider that announces nothing takes client_secret_basic (OpenID Connect
// Discovery 1.0, section 3).
func (u *upstream) catalogueID() string {
	if !slices.Contains(u.doc.AuthMethods, oauth.ClientSecretBasic) && slices.Contains(u.doc.AuthMethods, oauth.ClientSecretPost) {
		return "custom-post"
	}
	return "custom"
}
