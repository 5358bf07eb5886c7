package provider

import (
	"context"
	"encoding/json"
	"time"

	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// ClientPath is where the Client ID Metadata Document of a provider is, whose
// address is its client id (draft-ietf-oauth-client-id-metadata-document).
func ClientPath(providerID string) string { return "/provider-client/" + providerID }

// clientName is what people see on the third party's consent page.
const clientName = "Deputy"

// clientDocument is what a client says about itself (RFC 7591, section 2).
type clientDocument struct {
	ClientID      string   `json:"client_id"`
	Name          string   `json:"client_name"`
	URI           string   `json:"client_uri"`
	RedirectURIs  []string `json:"redirect_uris"`
	GrantTypes    []string `json:"grant_types"`
	ResponseTypes []string `json:"response_types"`
	AuthMethod    string   `json:"token_endpoint_auth_method"`
	KeysURI       string   `json:"jwks_uri,omitempty"`
	SigningAlg    string   `json:"token_endpoint_auth_signing_alg,omitempty"`
}

func grantTypes() []string { return []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken} }

// ClientDocument returns the document that is the client id of the provider with
// that id. One whose client is another has none, which is the fault of [NotFound].
func (r *Registry) ClientDocument(ctx context.Context, providerID string) ([]byte, error) {
	v, err := r.Store.ProviderByID(ctx, providerID)
	if err != nil {
		return nil, err
	}
	if v.Options.MCP == nil || v.Options.MCP.Client != ByDocument {
		return nil, NotFound("", providerID, nil)
	}
	d := clientDocument{ClientID: v.ClientID, Name: clientName, URI: r.PublicURL, RedirectURIs: []string{r.Callback(v)}, GrantTypes: grantTypes(),
		ResponseTypes: []string{oauth.ResponseTypeCode}, AuthMethod: oauth.ClientAuthNone}
	if v.Options.AuthMethod == vendor.AuthPrivateKeyJWT {
		d.AuthMethod, d.KeysURI, d.SigningAlg = oauth.PrivateKeyJWT, r.PublicURL+KeysPath(v.ID), jwt.ES256
	}
	return json.Marshal(d)
}

// registers reports whether a client is to be registered for s.
func (s Settings) registers() bool {
	return s.Options.MCP != nil && s.Options.MCP.Client == ByRegistration && s.ClientID == ""
}

// Registered reports whether Deputy registered the client of v.
func (v Provider) Registered() bool {
	return v.Options.MCP != nil && v.Options.MCP.Client == ByRegistration
}

// register makes a client at the authorization server that was found, for v.
func (r *Registry) register(ctx context.Context, v Provider, s Settings) (Settings, error) {
	v.Options = s.Options
	may := s.Scopes
	if offered, err := name.NewScopes(s.found.resource.Scopes...); err == nil {
		may = may.Union(offered) // agents may ask for more than the default, when the MCP server wants more
	}
	ask := discovery.Registration{Name: clientName, RedirectURI: r.Callback(v), GrantTypes: grantTypes(), Scope: may.String()}
	for _, m := range authMethods {
		if m.ours == s.Options.AuthMethod {
			ask.AuthMethod = m.theirs
		}
	}
	if s.Options.AuthMethod == vendor.AuthPrivateKeyJWT {
		ask.KeysURI = r.PublicURL + KeysPath(v.ID)
	}
	got, err := r.Metadata.Register(ctx, s.found.server, ask, s.InitialToken)
	if err != nil {
		return s, fault.As(err).WithSource("mcpServer")
	}
	defer got.Clear()
	for _, m := range authMethods {
		if m.theirs == got.AuthMethod {
			s.Options.AuthMethod = m.ours
		}
	}
	made := *s.Options.MCP
	made.Management, made.SecretEnds = got.URI, got.SecretEnds
	s.ClientID, s.Options.MCP = got.ClientID, &made
	s.ClientSecret, err = pack(got)
	return s, err
}

// clientSecrets are what is sealed of a registered client, as its provider's
// secret.
type clientSecrets struct {
	Secret []byte `json:"s,omitempty"`
	Token  []byte `json:"t,omitempty"`
}

func pack(c discovery.Registered) (secret.Text, error) {
	b, err := json.Marshal(clientSecrets{c.ClientSecret.Reveal(), c.Token.Reveal()})
	return secret.New(b), err
}

func unpack(plain secret.Text) (discovery.Registered, error) {
	var c clientSecrets
	if err := json.Unmarshal(plain.Reveal(), &c); err != nil {
		return discovery.Registered{}, fault.New(fault.Internal, "secret_unreadable", "what was sealed for a registered client is not that")
	}
	return discovery.Registered{ClientSecret: secret.New(c.Secret), Token: secret.New(c.Token)}, nil
}

// abandon deletes the client that was registered for a provider which could not be
// saved. Nobody knows of it, so that there is nothing more to do if that fails.
func (r *Registry) abandon(ctx context.Context, v Provider) {
	if v.Registered() && v.Options.MCP.Management != "" {
		_ = r.unregister(context.WithoutCancel(ctx), v)
	}
}

// unregister deletes the client of v at its authorization server.
func (r *Registry) unregister(ctx context.Context, v Provider) error {
	plain, err := r.Sealer.Open(ctx, v.place(), v.SealedSecret)
	if err != nil {
		return err
	}
	defer plain.Clear()
	kept, err := unpack(plain)
	if err != nil {
		return err
	}
	defer kept.Clear()
	return r.Metadata.Unregister(ctx, v.Options.MCP.Management, kept.Token)
}

// unregisterFor is how long it is tried to delete a client whose authorization
// server does not answer.
const unregisterFor = 7 * 24 * time.Hour

// maxFormer bounds how many clients are deleted at once.
const maxFormer = 100

// Sweep deletes the clients that were registered for providers which are deleted
// by now, once the tokens that they got are revoked: before, the third party would
// not know who revokes them.
func (r *Registry) Sweep(ctx context.Context) error {
	list, err := r.Store.FormerClients(ctx, maxFormer)
	if err != nil {
		return err
	}
	var failure error
	for _, f := range list {
		if err := r.endClient(ctx, f); err != nil && !fault.Is(err, fault.NotFound) { // another replica was faster
			failure = err
		}
	}
	return failure
}

// endClient deletes one client, and records what became of it. One that may be
// deleted later is left.
func (r *Registry) endClient(ctx context.Context, f Former) error {
	p, err := r.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionUnregister, Resource(f.Pool, f.Name))
	if err != nil {
		return err
	}
	p = p.With(f.Name, name.Scopes{}, map[string]string{"client": f.ClientID, "authorizationServer": f.Options.Discovery.Issuer})
	if f.Options.MCP.Management == "" {
		return r.Store.ForgetFormer(ctx, p.Failed("registration_kept"), f.Provider)
	}
	switch err := r.unregister(ctx, f.Provider); {
	case err == nil:
	case !fault.Is(err, fault.Upstream) && r.Now().Before(f.Ended.Add(unregisterFor)):
		return err
	default:
		p = p.Failed(fault.As(err).Code)
	}
	return r.Store.ForgetFormer(ctx, p, f.Provider)
}
