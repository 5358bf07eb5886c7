package provider

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Sealer seals client secrets; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Registry creates, changes and deletes providers, and speaks to their vendors.
type Registry struct {
	Store       Store
	Guard       *guard.Guard
	Sealer      Sealer
	Catalogue   vendor.Catalogue
	Client      *vendor.Client
	PublicURL   string // of Deputy, without a slash at the end
	CallbackURL string // Deputy's own, the redirect URI of every provider that has none of its own; see [Registry.Callback]
	Keys        SigningKeys
	Metadata    Metadata
	Now         func() time.Time
}

// Metadata reads what authorization servers and protected resources say about
// themselves, and registers clients; discovery.Client does.
type Metadata interface {
	Server(ctx context.Context, discoveryURL string) (discovery.Server, error)
	ServerOf(ctx context.Context, issuer string) (discovery.Server, error)
	Resource(ctx context.Context, resource string) (discovery.Resource, error)
	Register(ctx context.Context, s discovery.Server, r discovery.Registration, initial secret.Text) (discovery.Registered, error)
	Unregister(ctx context.Context, uri string, token secret.Text) error
}

// SigningKeys are the keys with which providers prove themselves that have no
// secret; keys.Ring has them.
type SigningKeys interface {
	// Signing returns the owner's keys with one of the algorithm among them, which signs if it is the last one.
	Signing(ctx context.Context, owner, algorithm string) ([]jwt.Key, error)
}

// KeysPath is where the public keys of a provider are.
func KeysPath(providerID string) string { return "/provider-keys/" + providerID }

// Callback returns the redirect URI of v, to be registered at the third party.
func (r *Registry) Callback(v Provider) string { return r.CallbackURL + v.BelowCallback() }

// BelowCallback returns what follows the path of Deputy's callback in v's redirect
// URI: nothing, or if it has one of its own, "/<pool>/<name>".
func (v Provider) BelowCallback() string {
	if !v.Options.OwnCallback {
		return ""
	}
	return "/" + v.Pool + "/" + v.Name
}

// AnotherCallback is the fault for an answer that came to the redirect URI of
// another provider than the one that was asked.
func AnotherCallback() error {
	return fault.New(fault.Forbidden, "callback_mismatch", "the answer came to another address than the third party was told").
		WithFix("register the provider's callback URL at the third party; nothing was stored. If nobody changed that, somebody tried to mix up two third parties")
}

// KeyOwner is the owner of a provider's signing keys.
func KeyOwner(providerID string) string { return "provider/" + providerID }

// Settings is what an operator says about a provider.
type Settings struct {
	Type         Type // "" means TypeOAuth2; on update, what it is
	Vendor       string
	Flow         Flow // "" means UserFederation, if there is one at all; on update, what it is
	ClientID     string
	ClientSecret secret.Text // on update, empty keeps the old one
	Scopes       name.Scopes
	Endpoints    vendor.Endpoints
	DiscoveryURL string // where the third party says what its endpoints are; those in Endpoints come first. May be left out
	CallbackURL  string // may be left out; anything but Deputy's own callback is refused
	Options      Options

	// Of tokens for an MCP server, which says whose they are.
	MCPServer           string      // its address; it never changes
	AuthorizationServer string      // the issuer that is trusted, if the MCP server names several; it never changes
	InitialToken        secret.Text // an initial access token with which Deputy registers itself (RFC 7591, section 3); may be empty
	Rediscover          bool        // on update, ask the MCP server again

	newSecret bool     // on update, whether ClientSecret is not the kept one
	found     findings // where a client is to be registered
}

// Create checks the settings and makes a provider.
func (r *Registry) Create(ctx context.Context, c name.Caller, pool, providerName string, s Settings) (Provider, error) {
	p, err := r.Guard.Allow(ctx, c, ActionCreate, Resource(pool, providerName))
	if err != nil {
		return Provider{}, err
	}
	if err := name.Check("credential provider", providerName); err != nil {
		return Provider{}, err
	}
	now := r.Now().UTC()
	made := Provider{ID: name.NewID("prv"), Pool: pool, Name: providerName, Version: 1, Created: now, Updated: now}
	if err := r.apply(ctx, &made, s); err != nil {
		return Provider{}, err
	}
	if err = r.Store.CreateProvider(ctx, p.With(providerName, made.Scopes, made.detail()), made); err != nil {
		r.abandon(ctx, made)
	}
	return made, err
}

// Update checks the settings and replaces those of an existing provider.
func (r *Registry) Update(ctx context.Context, c name.Caller, pool, providerName string, s Settings) (Provider, error) {
	p, err := r.Guard.Allow(ctx, c, ActionUpdate, Resource(pool, providerName))
	if err != nil {
		return Provider{}, err
	}
	v, err := r.Store.Provider(ctx, pool, providerName)
	if err != nil {
		return Provider{}, err
	}
	if s.newSecret = !s.ClientSecret.Empty(); !s.newSecret {
		// The secret is sealed for the version it was written with, so that the
		// kept one has to be sealed again for the next version.
		if s.ClientSecret, err = r.Sealer.Open(ctx, v.place(), v.SealedSecret); err != nil {
			return Provider{}, err
		}
		defer s.ClientSecret.Clear()
	}
	s.Type, s.Flow = cmp.Or(s.Type, v.Type), cmp.Or(s.Flow, v.Flow)
	was := v
	v.Version++
	v.Updated = r.Now().UTC()
	if err := r.apply(ctx, &v, s); err != nil {
		return Provider{}, err
	}
	p = p.With(providerName, v.Scopes, v.detail())
	moves, err := r.moves(was, v)
	switch {
	case err != nil:
		return Provider{}, err
	case !moves:
		return v, r.Store.UpdateProvider(ctx, p, v)
	case !s.newSecret && !s.ClientSecret.Empty() && !v.Registered():
		return Provider{}, secretNeeded(v)
	default:
		return v, r.Store.MoveProvider(ctx, p, v)
	}
}

// apply validates s and writes it into v, whose identity and version are set.
func (r *Registry) apply(ctx context.Context, v *Provider, s Settings) error {
	s, err := r.discover(ctx, *v, s.withDefaults())
	if err != nil {
		return err
	}
	if err := r.check(s); err != nil {
		return err
	}
	if s.registers() {
		if s, err = r.register(ctx, *v, s); err != nil {
			return err
		}
		defer s.ClientSecret.Clear()
	}
	if v.Type != "" && (v.Type != s.Type || v.Flow != s.Flow) {
		return fault.New(fault.Invalid, "provider_type_fixed", "credential provider %q is of type %s and stays so", v.Name, strings.TrimSpace(string(v.Type)+" "+string(v.Flow))).
			WithSource("type").WithFix("create another one for the other kind of credential")
	}
	v.Type, v.Vendor, v.Flow, v.ClientID, v.Scopes, v.Endpoints, v.Options = s.Type, s.Vendor, s.Flow, s.ClientID, s.Scopes, s.Endpoints, s.Options
	v.SealedSecret, err = r.Sealer.Seal(ctx, v.place(), s.ClientSecret)
	return err
}

// Delete deletes a provider with all grants that people gave to it.
func (r *Registry) Delete(ctx context.Context, c name.Caller, pool, providerName string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(pool, providerName))
	if err != nil {
		return err
	}
	v, err := r.Store.Provider(ctx, pool, providerName)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := r.Store.DeleteProvider(ctx, p.With(providerName, name.Scopes{}, nil), pool, providerName); err != nil {
		return err
	}
	if v.Registered() {
		_ = r.Sweep(ctx) // the provider is gone; what is not done now is done later
	}
	return nil
}

// detail is what the audit log tells of a change.
func (v Provider) detail() map[string]string {
	d := map[string]string{"type": string(v.Type)}
	if v.Vendor != "" {
		d["vendor"] = v.Vendor
	}
	if m := v.Options.MCP; m != nil {
		d["mcpServer"], d["authorizationServer"], d["client"] = m.Server, v.Options.Discovery.Issuer, string(m.Client)
	}
	return d
}

func (v Provider) place() keys.Place {
	return keys.Place{Kind: "provider.secret", Pool: v.Pool, Provider: v.Name, Record: v.ID, Version: v.Version}
}

// Dialect is a provider made ready to speak to its third party.
type Dialect struct {
	Provider Provider
	Entry    vendor.Entry
	App      vendor.App
	client   *vendor.Client
	metadata Metadata
}

// Secret opens the secret of v, which the caller clears when it is done. The
// permit is the one for the step that needs it.
func (r *Registry) Secret(ctx context.Context, p guard.Permit, v Provider) (secret.Text, error) {
	if p.Caller().Kind == name.Nobody {
		return secret.Text{}, fault.New(fault.Internal, "permit_missing", "a provider's secret was asked for without a permit")
	}
	plain, err := r.Sealer.Open(ctx, v.place(), v.SealedSecret)
	if err != nil || !v.Registered() {
		return plain, err
	}
	defer plain.Clear()
	kept, err := unpack(plain)
	kept.Token.Clear()
	return kept.ClientSecret, err
}

// Dialect opens the provider's secret and returns what is needed to speak for
// it. The permit is the one for the step that needs it. A provider that is not
// of TypeOAuth2 speaks none: that is a fault of kind Invalid with code
// "provider_type_wrong".
func (r *Registry) Dialect(ctx context.Context, p guard.Permit, pool, providerName string) (Dialect, error) {
	v, err := r.Store.Provider(ctx, pool, providerName)
	if err != nil {
		return Dialect{}, err
	}
	return r.dialect(ctx, p, v)
}

// DialectOf is Dialect for the provider that had that id when it had that name:
// also one that was deleted since, as long as there is something to revoke.
func (r *Registry) DialectOf(ctx context.Context, p guard.Permit, pool, providerName, id string) (Dialect, error) {
	v, err := r.Store.Provider(ctx, pool, providerName)
	if fault.Is(err, fault.NotFound) || (err == nil && v.ID != id) {
		v, err = r.Store.FormerProvider(ctx, id)
	}
	if err != nil {
		return Dialect{}, err
	}
	return r.dialect(ctx, p, v)
}

// entry returns what is known of v's third party, and where it is.
func (r *Registry) entry(v Provider) (vendor.Entry, error) {
	entry, err := r.Catalogue.Lookup(v.Vendor)
	if err != nil {
		return vendor.Entry{}, err
	}
	return entry.With(v.Options.endpoints(v.Endpoints))
}

func (r *Registry) dialect(ctx context.Context, p guard.Permit, v Provider) (Dialect, error) {
	if v.Type != TypeOAuth2 {
		return Dialect{}, fault.New(fault.Invalid, "provider_type_wrong", "credential provider %q is of type %s, and this is for %s", v.Name, v.Type, TypeOAuth2)
	}
	entry, err := r.entry(v)
	if err != nil {
		return Dialect{}, err
	}
	if m := v.Options.MCP; m != nil {
		entry = m.speak(entry, v.Scopes)
	}
	entry.Authorize.Params = v.Options.params(entry.Authorize.Params)
	entry.Token.Auth = cmp.Or(v.Options.AuthMethod, entry.Token.Auth)
	clientSecret, err := r.Secret(ctx, p, v)
	if err != nil {
		return Dialect{}, err
	}
	d := Dialect{v, entry, vendor.App{ClientID: v.ClientID, ClientSecret: clientSecret, RedirectURI: r.Callback(v)}, r.Client, r.Metadata}
	if entry.Token.Auth == vendor.AuthPrivateKeyJWT {
		own, err := r.Keys.Signing(ctx, KeyOwner(v.ID), jwt.ES256)
		if err != nil {
			return Dialect{}, err
		}
		d.App.Key = own[len(own)-1]
	}
	return d, nil
}

// PublicKeys returns the key set (RFC 7517) with which a third party checks
// what the provider with that id signs. A provider that signs nothing has none,
// which is the fault of [NotFound].
func (r *Registry) PublicKeys(ctx context.Context, providerID string) ([]byte, error) {
	v, err := r.Store.ProviderByID(ctx, providerID)
	if err != nil {
		return nil, err
	}
	if v.Options.AuthMethod != vendor.AuthPrivateKeyJWT {
		return nil, NotFound("", providerID, nil)
	}
	own, err := r.Keys.Signing(ctx, KeyOwner(v.ID), jwt.ES256)
	return jwt.NewSet(own...).JWKS(), err
}

// Ask is what an authorization request says.
type Ask struct {
	Scopes        name.Scopes
	State         string
	CodeChallenge string
	Force         bool              // ask the user even if the third party remembers his consent
	Params        map[string]string // further parameters; none that the request has already
}

// AuthorizeURL returns where the browser is sent to for consent. Agents ask for
// what they use; the scope for a refresh token, if the provider has it, is
// Deputy's own to ask for, or every access token's expiry would ask the user.
func (d Dialect) AuthorizeURL(a Ask) (string, error) {
	scopes, err := d.withRefresh(a.Scopes)
	if err != nil {
		return "", err
	}
	return d.Entry.AuthorizeURL(d.App, vendor.Ask{Scopes: scopes, State: a.State, CodeChallenge: a.CodeChallenge, Force: a.Force, Params: a.Params})
}

// withRefresh adds the scope for a refresh token to what an agent asks for.
func (d Dialect) withRefresh(scopes name.Scopes) (name.Scopes, error) {
	refresh, err := name.ParseScopes(d.Entry.RefreshScope)
	return scopes.Union(d.Provider.Scopes.Intersect(refresh)), err
}

// BeginDevice asks for a device authorization (RFC 8628, section 3.1), for the
// scopes that [Dialect.AuthorizeURL] would ask for.
func (d Dialect) BeginDevice(ctx context.Context, scopes name.Scopes) (vendor.Device, error) {
	scopes, err := d.withRefresh(scopes)
	if err != nil {
		return vendor.Device{}, err
	}
	return d.client.BeginDevice(ctx, d.Entry, d.App, scopes)
}

// PollDevice asks once whether the user has agreed; see [vendor.Client.PollDevice].
func (d Dialect) PollDevice(ctx context.Context, code secret.Text) (t vendor.Tokens, slower time.Duration, err error) {
	return d.client.PollDevice(ctx, d.Entry, d.App, code)
}

// target is what tokens without a user's consent are for.
func (d Dialect) target(scopes name.Scopes) vendor.Target {
	return vendor.Target{Scopes: scopes, Audience: d.Provider.Options.Audience, Resource: d.Provider.Options.Resource}
}

// Machine gets a token for the client itself (RFC 6749, section 4.4).
func (d Dialect) Machine(ctx context.Context, scopes name.Scopes) (vendor.Tokens, error) {
	return d.client.Machine(ctx, d.Entry, d.App, d.target(scopes))
}

// AssertionAudience is to whom assertions about users are addressed: the token
// endpoint (RFC 7523, section 3).
func (d Dialect) AssertionAudience() string { return d.Entry.Endpoints.Token }

// OnBehalfOf redeems an assertion about a user.
func (d Dialect) OnBehalfOf(ctx context.Context, assertion secret.Text, scopes name.Scopes) (vendor.Tokens, error) {
	if d.Provider.Options.Assertion == JWTBearer {
		return d.client.Assert(ctx, d.Entry, d.App, assertion, d.target(scopes))
	}
	return d.client.ExchangeToken(ctx, d.Entry, d.App, assertion, d.target(scopes))
}

// Exchange redeems an authorization code.
func (d Dialect) Exchange(ctx context.Context, code, codeVerifier secret.Text) (vendor.Tokens, error) {
	return d.client.Exchange(ctx, d.Entry, d.App, code, codeVerifier)
}

// Probe finds out, without a person, whether the third party is there and
// knows the client; see [vendor.Client.Probe]. Where people agree by a code, it
// has one made, which ends by itself.
func (d Dialect) Probe(ctx context.Context) error {
	if !d.Provider.Options.Device {
		return d.client.Probe(ctx, d.Entry, d.App)
	}
	begun, err := d.BeginDevice(ctx, d.Provider.Scopes)
	begun.Code.Clear()
	return err
}

// Refresh redeems a refresh token, which most vendors let be used only once.
func (d Dialect) Refresh(ctx context.Context, refresh secret.Text) (vendor.Tokens, error) {
	return d.client.Refresh(ctx, d.Entry, d.App, refresh, name.Scopes{})
}

// Account asks the third party whose account an access token opens.
func (d Dialect) Account(ctx context.Context, access secret.Text) (vendor.Account, error) {
	return d.client.Identity(ctx, d.Entry, access)
}

// Revoke tells the third party that tokens are not to be used any more. It
// returns the fault vendor_endpoint_missing if the third party cannot be told.
func (d Dialect) Revoke(ctx context.Context, access, refresh secret.Text) error {
	return d.client.Revoke(ctx, d.Entry, d.App, access, refresh)
}

// Try makes the vendor's test request. It returns the fault
// vendor_endpoint_missing if there is none.
func (d Dialect) Try(ctx context.Context, access secret.Text) error {
	return d.client.Test(ctx, d.Entry, d.App, access)
}
