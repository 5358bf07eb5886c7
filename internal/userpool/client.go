package userpool

import (
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// ClientType says what kind of application a client is.
type ClientType string

// The types of clients (RFC 6749, section 2.1).
const (
	Web    ClientType = "web"    // runs on a server and keeps a secret
	Public ClientType = "public" // runs at the user's: no secret, PKCE required
)

// Client is an application that logs users of a pool in, or that gets tokens of
// the pool for itself.
type Client struct {
	ID                     string // "cli_…": client_id, and aud of its tokens
	Pool                   string
	Name                   string // unique in the pool
	DisplayName            string // what people see; may be empty, then Name is shown
	Type                   ClientType
	Origin                 ClientOrigin
	AuthMethod             string   // how it authenticates: one of [AuthMethods]
	SecretHash             string   // [HashSecret] of the secret; empty for a client without one
	Keys                   string   // its public keys (RFC 7517 key set); empty: none, or KeysURI
	KeysURI                string   // where its public keys are; empty: none, or Keys
	Algorithm              string   // that the pool signs its tokens with; empty: the pool's
	Grants                 []string // the grant types that it may use (RFC 6749, section 4; RFC 8628; RFC 8693)
	RedirectURIs           []string // compared byte by byte
	PostLogoutRedirectURIs []string // compared byte by byte
	BackchannelLogoutURI   string   // is told when a session ends (OpenID Connect Back-Channel Logout 1.0); may be empty
	Scopes                 name.Scopes
	Audiences              []string // resources (RFC 8707) that it may ask tokens for, besides itself
	RequirePushed          bool     // its authorization requests are pushed (RFC 9126)
	AccessTokenLifetime    time.Duration
	RefreshLifetime        time.Duration // of a family of refresh tokens, from the login
	RefreshIdle            time.Duration // without a refresh
	RegistrationHash       string        // of the registration access token (RFC 7592); empty: none
	CreatedAt              time.Time
	Version                int64 // 1 when created, one more with every change
}

// ClientOrigin says who made a client.
type ClientOrigin string

// The origins of clients.
const (
	ByOperator     ClientOrigin = "operator"
	ByRegistration ClientOrigin = "registered" // itself (RFC 7591)
	ByDocument     ClientOrigin = "document"   // its Client ID Metadata Document says all about it
)

// ClientSecret is the AuthMethod of a client that may send its secret in either
// way. The other methods have the names of the registry (RFC 7591, section 2).
const ClientSecret = "client_secret"

// AuthMethods are the ways in which clients authenticate.
func AuthMethods() []string {
	return []string{ClientSecret, oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.PrivateKeyJWT, oauth.ClientAuthNone}
}

// Title returns what people see as the client's name.
func (c Client) Title() string {
	if c.DisplayName != "" {
		return c.DisplayName
	}
	return c.Name
}

// Caller returns c as a caller with its own credentials.
func (c Client) Caller() name.Caller { return name.Caller{Kind: name.Client, Client: c.ID} }

// HasGrant reports whether the client may use a grant type.
func (c Client) HasGrant(grant string) bool { return slices.Contains(c.Grants, grant) }

// ClientResource returns what guard permits about a client.
func ClientResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "client", Pool: pool, ID: id}
}

// Resource returns what guard permits about c.
func (c Client) Resource() guard.Resource { return ClientResource(c.Pool, c.ID) }

// DefaultAccessTokenLifetime is used for clients that name none. It is what the
// tutorial's users expect; a shorter one is safer, because a token that is a
// JWT cannot be called back.
const DefaultAccessTokenLifetime = 10 * time.Hour

// The bounds of a client's AccessTokenLifetime.
const (
	MinAccessTokenLifetime = time.Minute
	MaxAccessTokenLifetime = 24 * time.Hour
)

// The lifetimes of refresh tokens of clients that name none.
const (
	DefaultRefreshLifetime = 30 * 24 * time.Hour
	DefaultRefreshIdle     = 7 * 24 * time.Hour
	MaxRefreshLifetime     = 365 * 24 * time.Hour
)

// The bounds of a client's lists and of its inline keys.
const (
	maxURIs      = 20 // of each kind
	maxAudiences = 50
	maxKeys      = 16 << 10 // bytes
)

// Grants are the grant types that a client may be registered for.
func Grants() []string {
	return []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantClientCredentials, oauth.GrantDeviceCode, oauth.GrantTokenExchange}
}

// KnownScopes are the scopes that a pool itself understands (OpenID Connect Core
// 1.0, sections 5.4 and 11). A client may have others: those of the resources that
// it gets tokens for.
func KnownScopes() []string {
	return []string{"openid", "profile", "email", "phone", "groups", "offline_access"}
}

// NewClient returns a client with a fresh id and the defaults of its type. It
// still lacks redirect URIs and, if it is of type [Web], the hash of a secret.
func NewClient(pool, clientName string, kind ClientType, now time.Time) Client {
	c := Client{
		ID: name.NewID("cli"), Pool: pool, Name: clientName, Type: kind, Origin: ByOperator, AuthMethod: ClientSecret,
		Grants:              []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
		AccessTokenLifetime: DefaultAccessTokenLifetime, RefreshLifetime: DefaultRefreshLifetime, RefreshIdle: DefaultRefreshIdle, CreatedAt: now,
	}
	if kind == Public {
		c.AuthMethod = oauth.ClientAuthNone
	}
	return c
}

// Check returns a fault of kind Invalid unless c may be stored.
func (c Client) Check() error {
	if err := name.Check("client", c.Name); err != nil {
		return err
	}
	if c.Type != Web && c.Type != Public {
		return fault.New(fault.Invalid, "client_type_invalid", "client type %q is not known", name.Clip(string(c.Type), 40)).
			WithFix("use %q for an application with a server, %q for one without", Web, Public)
	}
	if err := checkText("display name", c.DisplayName); err != nil {
		return err
	}
	for _, check := range []func() error{c.checkAuth, c.checkKeys, c.checkGrants, c.checkURIs, c.checkScopes, c.checkLifetimes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Client) checkAuth() error {
	if !slices.Contains(AuthMethods(), c.AuthMethod) || (c.Type == Public) != (c.AuthMethod == oauth.ClientAuthNone) {
		return fault.New(fault.Invalid, "auth_method_invalid", "a client of type %q cannot authenticate by %q", c.Type, name.Clip(c.AuthMethod, 40)).
			WithFix("use %q for a client of type %q, and one of %v for one of type %q", oauth.ClientAuthNone, Public, AuthMethods(), Web)
	}
	withSecret := c.Type == Web && c.AuthMethod != oauth.PrivateKeyJWT
	if withSecret != (c.SecretHash != "") {
		return fault.New(fault.Invalid, "client_secret_invalid", "a client that authenticates by %q has a secret, or none where it needs one", c.AuthMethod)
	}
	if c.Algorithm != "" && !slices.Contains(Algorithms(), c.Algorithm) {
		return fault.New(fault.Invalid, "algorithm_invalid", "tokens cannot be signed with %q", name.Clip(c.Algorithm, 40)).WithFix("choose from %v", Algorithms())
	}
	return nil
}

// checkKeys holds the client to one source of keys, and to keys that can verify:
// a private or symmetric one among them is somebody's mistake.
func (c Client) checkKeys() error {
	has := c.Keys != "" || c.KeysURI != ""
	if (c.Keys != "" && c.KeysURI != "") || (!has && c.AuthMethod == oauth.PrivateKeyJWT) {
		return fault.New(fault.Invalid, "client_keys_invalid", "client %q has no public keys, or has them in two places", c.Name).
			WithFix("give a key set or the address of one: a client that authenticates by %q needs it", oauth.PrivateKeyJWT)
	}
	if c.KeysURI != "" {
		return checkAddress("address of its keys", c.KeysURI)
	}
	if c.Keys == "" {
		return nil
	}
	set, err := jwt.ParseSet([]byte(c.Keys))
	if err != nil || len(c.Keys) > maxKeys || set.Len() == 0 || set.Len() != jwt.CountKeys([]byte(c.Keys)) {
		return fault.New(fault.Invalid, "client_keys_invalid", "the keys of client %q are not a set of public keys", c.Name).
			WithFix("give a JWK set of at most %d bytes with public keys only: P-256, Ed25519, or RSA of 2048 bits and more", maxKeys)
	}
	return nil
}

// checkAddress returns a fault of kind Invalid unless Deputy may call uri.
func checkAddress(what, uri string) error {
	if oauth.CheckRegistered(uri) != nil {
		return fault.New(fault.Invalid, "client_uri_invalid", "%q cannot be the %s of a client", name.Clip(uri, 200), what).
			WithFix("use an absolute https:// address without fragment")
	}
	return nil
}

func (c Client) checkGrants() error {
	for i, g := range c.Grants {
		if !slices.Contains(Grants(), g) || slices.Contains(c.Grants[:i], g) {
			return fault.New(fault.Invalid, "grant_invalid", "grant type %q is not known, or is named twice", name.Clip(g, 80)).WithFix("choose from %v", Grants())
		}
	}
	if len(c.Grants) == 0 {
		return fault.New(fault.Invalid, "grant_invalid", "client %q has no grant type", c.Name).WithFix("choose from %v", Grants())
	}
	if c.Type == Public && (c.HasGrant(oauth.GrantClientCredentials) || c.HasGrant(oauth.GrantTokenExchange)) { // RFC 6749, section 4.4
		return fault.New(fault.Invalid, "grant_invalid", "a public client cannot get tokens for itself or exchange others'").WithFix("give it a secret or keys")
	}
	if c.HasGrant(oauth.GrantRefreshToken) && !c.HasGrant(oauth.GrantAuthorizationCode) && !c.HasGrant(oauth.GrantDeviceCode) {
		return fault.New(fault.Invalid, "grant_invalid", "client %q can refresh tokens and has no grant that begins with one", c.Name).
			WithFix("add %s or %s", oauth.GrantAuthorizationCode, oauth.GrantDeviceCode)
	}
	return nil
}

func (c Client) checkURIs() error {
	least := 0
	if c.HasGrant(oauth.GrantAuthorizationCode) {
		least = 1
	}
	if len(c.RedirectURIs) < least || len(c.RedirectURIs) > maxURIs || len(c.PostLogoutRedirectURIs) > maxURIs {
		return fault.New(fault.Invalid, "redirect_uri_invalid", "client %q has %d redirect URIs and %d for logout", c.Name,
			len(c.RedirectURIs), len(c.PostLogoutRedirectURIs)).WithFix("register 1 to %d redirect URIs and at most %d for logout", maxURIs, maxURIs)
	}
	for _, uri := range slices.Concat(c.RedirectURIs, c.PostLogoutRedirectURIs) {
		if err := oauth.CheckRegistered(uri); err != nil {
			return err
		}
	}
	if c.BackchannelLogoutURI != "" {
		return checkAddress("address for back-channel logout", c.BackchannelLogoutURI)
	}
	return nil
}

func (c Client) checkScopes() error {
	if c.Scopes.Len() == 0 && c.HasGrant(oauth.GrantAuthorizationCode) {
		return fault.New(fault.Invalid, "scope_missing", "client %q may ask for nothing", c.Name).WithFix("give it scopes, such as %v", KnownScopes())
	}
	return checkAudiences(c.Audiences)
}

// checkAudiences bounds what tokens may be made for. RFC 8707 has URIs; the
// audience of RFC 8693 is any name.
func checkAudiences(list []string) error {
	for i, a := range list {
		ok := a != "" && len(a) <= 500 && !slices.Contains(list[:i], a)
		for j := range len(a) {
			ok = ok && a[j] > ' ' && a[j] <= '~'
		}
		if !ok {
			return fault.New(fault.Invalid, "audience_invalid", "%q cannot be an audience of tokens, or is named twice", name.Clip(a, 200)).
				WithFix("use the resource's URI, or a name of printable ASCII")
		}
	}
	if len(list) > maxAudiences {
		return fault.New(fault.Invalid, "audience_invalid", "%d audiences are too many", len(list)).WithFix("name at most %d", maxAudiences)
	}
	return nil
}

func (c Client) checkLifetimes() error {
	if c.AccessTokenLifetime < MinAccessTokenLifetime || c.AccessTokenLifetime > MaxAccessTokenLifetime {
		return fault.New(fault.Invalid, "lifetime_invalid", "an access token cannot live for %s", c.AccessTokenLifetime).
			WithFix("choose from %s to %s", MinAccessTokenLifetime, MaxAccessTokenLifetime)
	}
	if c.RefreshIdle < MinAccessTokenLifetime || c.RefreshIdle > c.RefreshLifetime || c.RefreshLifetime > MaxRefreshLifetime {
		return fault.New(fault.Invalid, "lifetime_invalid", "refresh tokens cannot live for %s, and %s unused", c.RefreshLifetime, c.RefreshIdle).
			WithFix("choose at least %s unused, and at most %s", MinAccessTokenLifetime, MaxRefreshLifetime)
	}
	return nil
}

// FitSecret gives a client that authenticates with a secret one if it has none,
// and returns it: it is to be shown this once. From a client that needs none it
// takes what there is.
func (c *Client) FitSecret() secret.Text {
	if c.AuthMethod == oauth.PrivateKeyJWT || c.AuthMethod == oauth.ClientAuthNone {
		c.SecretHash = ""
		return secret.Text{}
	}
	if c.SecretHash != "" {
		return secret.Text{}
	}
	made := NewSecret()
	c.SecretHash = HashSecret(made)
	return made
}

// NewSecret returns a fresh client secret.
func NewSecret() secret.Text { return secret.FromString(name.NewToken("cs")) }

// HashSecret returns what is stored in place of a client secret. A plain hash is
// enough: the secret has 256 random bits.
func HashSecret(s secret.Text) string { return s.Digest("client secret").String() }

// SecretIs reports whether s is the client's secret, in constant time. A client
// without a secret has none that is right.
func (c Client) SecretIs(s secret.Text) bool {
	return c.SecretHash != "" && !s.Empty() &&
		secret.Equal(secret.FromString(HashSecret(s)), secret.FromString(c.SecretHash))
}
