package provider

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// discover asks the third party for its endpoints, if the settings say where. v is
// the provider as it was.
func (r *Registry) discover(ctx context.Context, v Provider, s Settings) (Settings, error) {
	s.Options.Discovery, s.Options.MCP = nil, nil
	if s.Type == TypeOAuth2 && (s.MCPServer != "" || v.Options.MCP != nil) {
		return r.discoverMCP(ctx, v, s)
	}
	if s.DiscoveryURL == "" || s.Type != TypeOAuth2 { // with another type it is refused
		return s, nil
	}
	server, err := r.Metadata.Server(ctx, s.DiscoveryURL)
	if err != nil {
		f := fault.As(err)
		if f.Source == "" {
			f = f.WithSource("discoveryUrl")
		}
		return s, f
	}
	s.Options.Discovery = &Discovery{URL: s.DiscoveryURL, Issuer: server.Issuer, Names: server.IssInAnswer, Endpoints: vendor.Endpoints{
		Authorization: server.Authorization, Token: server.Token, DeviceAuthorization: server.DeviceAuthorization,
		UserInfo: server.UserInfo, Revocation: server.Revocation, Introspection: server.Introspection,
	}}
	// The catalogue's entry for servers that nothing is known about sends the secret in a header; not every server takes that.
	if s.Options.AuthMethod == "" && !server.Takes("client_secret_basic") && server.Takes("client_secret_post") {
		s.Options.AuthMethod = vendor.AuthPost
	}
	return s, nil
}

// CheckIssuer returns the fault for an answer that another issuer gave than the
// one that was asked (RFC 9207, section 2.4): iss is what the answer says. A third
// party that does not announce that it names itself may be silent.
func (v Provider) CheckIssuer(iss string) error {
	d := v.Options.Discovery
	if d == nil || iss == d.Issuer || iss == "" && !d.Names {
		return nil
	}
	return fault.New(fault.Forbidden, "issuer_mismatch", "the answer is not from the third party that was asked").
		WithFix("nothing was stored; if the third party has another name by now, save the credential provider again")
}
