package provider

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
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
	CallbackURL string // Deputy's own, the redirect URI of every provider
	Now         func() time.Time
}

// Settings is what an operator says about a provider.
type Settings struct {
	Type         Type // "" means TypeOAuth2; on update, what it is
	Vendor       string
	Flow         Flow // "" means UserFederation, if there is one at all; on update, what it is
	ClientID     string
	ClientSecret secret.Text // on update, empty keeps the old one
	Scopes       name.Scopes
	Endpoints    vendor.Endpoints
	CallbackURL  string // may be left out; anything but Deputy's own callback is refused
	Options      Options
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
	return made, r.Store.CreateProvider(ctx, p.With(providerName, made.Scopes, made.detail()), made)
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
	if s.ClientSecret.Empty() {
		// The secret is sealed for the version it was written with, so that the
		// kept one has to be sealed again for the next version.
		if s.ClientSecret, err = r.Sealer.Open(ctx, v.place(), v.SealedSecret); err != nil {
			return Provider{}, err
		}
		defer s.ClientSecret.Clear()
	}
	s.Type, s.Flow = cmp.Or(s.Type, v.Type), cmp.Or(s.Flow, v.Flow)
	v.Version++
	v.Updated = r.Now().UTC()
	if err := r.apply(ctx, &v, s); err != nil {
		return Provider{}, err
	}
	return v, r.Store.UpdateProvider(ctx, p.With(providerName, v.Scopes, v.detail()), v)
}

// apply validates s and writes it into v, whose identity and version are set.
func (r *Registry) apply(ctx context.Context, v *Provider, s Settings) error {
	s = s.withDefaults()
	if err := r.check(s); err != nil {
		return err
	}
	if v.Type != "" && (v.Type != s.Type || v.Flow != s.Flow) {
		return fault.New(fault.Invalid, "provider_type_fixed", "credential provider %q is of type %s and stays so", v.Name, strings.TrimSpace(string(v.Type)+" "+string(v.Flow))).
			WithSource("type").WithFix("create another one for the other kind of credential")
	}
	v.Type, v.Vendor, v.Flow, v.ClientID, v.Scopes, v.Endpoints, v.Options = s.Type, s.Vendor, s.Flow, s.ClientID, s.Scopes, s.Endpoints, s.Options
	var err error
	v.SealedSecret, err = r.Sealer.Seal(ctx, v.place(), s.ClientSecret)
	return err
}

// Delete deletes a provider with all grants that people gave to it.
func (r *Registry) Delete(ctx context.Context, c name.Caller, pool, providerName string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(pool, providerName))
	if err != nil {
		return err
	}
	return r.Store.DeleteProvider(ctx, p.With(providerName, name.Scopes{}, nil), pool, providerName)
}

// detail is what the audit log tells of a change.
func (v Provider) detail() map[string]string {
	d := map[string]string{"type": string(v.Type)}
	if v.Vendor != "" {
		d["vendor"] = v.Vendor
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
}

// Secret opens the secret of v, which the caller clears when it is done. The
// permit is the one for the step that needs it.
func (r *Registry) Secret(ctx context.Context, p guard.Permit, v Provider) (secret.Text, error) {
	if p.Caller().Kind == name.Nobody {
		return secret.Text{}, fault.New(fault.Internal, "permit_missing", "a provider's secret was asked for without a permit")
	}
	return r.Sealer.Open(ctx, v.place(), v.SealedSecret)
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

func (r *Registry) dialect(ctx context.Context, p guard.Permit, v Provider) (Dialect, error) {
	if v.Type != TypeOAuth2 {
		return Dialect{}, fault.New(fault.Invalid, "provider_type_wrong", "credential provider %q is of type %s, and this is for %s", v.Name, v.Type, TypeOAuth2)
	}
	entry, err := r.Catalogue.Lookup(v.Vendor)
	if err != nil {
		return Dialect{}, err
	}
	if entry, err = entry.With(v.Endpoints); err != nil {
		return Dialect{}, err
	}
	entry.Authorize.Params = v.Options.params(entry.Authorize.Params)
	clientSecret, err := r.Secret(ctx, p, v)
	if err != nil {
		return Dialect{}, err
	}
	return Dialect{v, entry, vendor.App{ClientID: v.ClientID, ClientSecret: clientSecret, RedirectURI: r.CallbackURL}, r.Client}, nil
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
	refresh, err := name.ParseScopes(d.Entry.RefreshScope)
	if err != nil {
		return "", err
	}
	return d.Entry.AuthorizeURL(d.App, vendor.Ask{
		Scopes: a.Scopes.Union(d.Provider.Scopes.Intersect(refresh)), State: a.State, CodeChallenge: a.CodeChallenge, Force: a.Force, Params: a.Params,
	})
}

// Exchange redeems an authorization code.
func (d Dialect) Exchange(ctx context.Context, code, codeVerifier secret.Text) (vendor.Tokens, error) {
	return d.client.Exchange(ctx, d.Entry, d.App, code, codeVerifier)
}

// Probe finds out, without a person, whether the third party is there and
// knows the client; see [vendor.Client.Probe].
func (d Dialect) Probe(ctx context.Context) error { return d.client.Probe(ctx, d.Entry, d.App) }

// Refresh redeems a refresh token, which most vendors let be used only once.
func (d Dialect) Refresh(ctx context.Context, refresh secret.Text) (vendor.Tokens, error) {
	return d.client.Refresh(ctx, d.Entry, d.App, refresh, name.Scopes{})
}

// Account asks the third party whose account an access token opens.
func (d Dialect) Account(ctx context.Context, access secret.Text) (vendor.Account, error) {
	return d.client.Identity(ctx, d.Entry, access)
}

// Revoke tells the third party that tokens are not to be used any more. It
// returns the fault vendor_endpoint_missing if the third party cannot be told: no
// entry of the catalogue says how, yet.
func (d Dialect) Revoke(context.Context, secret.Text, secret.Text) error {
	return fault.New(fault.Invalid, "vendor_endpoint_missing", "vendor %q has no revocation endpoint", d.Entry.ID).WithSource("endpoints")
}
