// Package userpool has user pools (OpenID providers), their users, clients, login sessions, authorization codes and remembered consents.
//
// Everything belongs to exactly one pool and is found only under that pool's
// name: a session, a code or a client of one pool is nothing in another. The
// package owns the types, their rules and the stores' contracts; the suite that
// holds an implementation to them is in package userpooltest.
package userpool

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions on what a pool has, as the guard knows them. Each store write
// demands a permit for one of them on the Resource of what it changes.
const (
	ActionCreatePool      guard.Action = "userpool.create"
	ActionUpdatePool      guard.Action = "userpool.update"
	ActionDeletePool      guard.Action = "userpool.delete"
	ActionCreateUser      guard.Action = "user.create"
	ActionUpdateUser      guard.Action = "user.update"
	ActionUpgradePassword guard.Action = "user.upgrade-password"
	ActionSetPassword     guard.Action = "user.set-password"
	ActionDeleteUser      guard.Action = "user.delete"
	ActionCreateClient    guard.Action = "client.create"
	ActionUpdateClient    guard.Action = "client.update"
	ActionDeleteClient    guard.Action = "client.delete"
	ActionCreateSession   guard.Action = "session.create"
	ActionExtendSession   guard.Action = "session.extend"
	ActionEndSession      guard.Action = "session.end"
	ActionSweep           guard.Action = "session.sweep"
	ActionCreateCode      guard.Action = "code.create"
	ActionRedeemCode      guard.Action = "code.redeem"
	ActionSetConsent      guard.Action = "consent.set"
	ActionDeleteConsent   guard.Action = "consent.delete"
)

// Pool is a namespace of users and clients with its own issuer.
type Pool struct {
	Name        string // see [name.Check]; part of the issuer, so it never changes
	DisplayName string // what people see; may be empty, then Name is shown
	Settings    Settings
	CreatedAt   time.Time
	Version     int64 // 1 when created, one more with every change
}

// Resource returns what guard permits about the pool name.
func Resource(pool string) guard.Resource {
	return guard.Resource{Kind: "userpool", Pool: pool, ID: pool}
}

// Resource returns what guard permits about p.
func (p Pool) Resource() guard.Resource { return Resource(p.Name) }

// Title returns what people see as the pool's name.
func (p Pool) Title() string {
	if p.DisplayName != "" {
		return p.DisplayName
	}
	return p.Name
}

// Check returns a fault of kind Invalid unless p may be stored.
func (p Pool) Check() error {
	if err := name.Check("user pool", p.Name); err != nil {
		return err
	}
	if err := checkText("display name", p.DisplayName); err != nil {
		return err
	}
	return p.Settings.Check()
}

// Issuer returns the issuer URL of a pool: an identifier, compared byte by
// byte (OpenID Connect Discovery 1.0, section 4.3). publicURL is the identity
// service's, without a slash at the end.
func Issuer(publicURL, pool string) string { return publicURL + "/userpool/" + pool }

// KeyOwner returns as whom a pool owns its signing keys.
func KeyOwner(pool string) string { return "userpool/" + pool }

// PoolOfIssuer is the inverse of [Issuer]; it reports whether issuer is the
// issuer of a pool of this identity service.
func PoolOfIssuer(publicURL, issuer string) (pool string, ok bool) {
	pool, ok = strings.CutPrefix(issuer, publicURL+"/userpool/")
	return pool, ok && name.Check("user pool", pool) == nil
}

// User is a person of a pool.
type User struct {
	ID                 string // "usr_…": the subject in tokens; never reused
	Pool               string
	UserName           string // unique in the pool without regard to case; see [LoginName]
	DisplayName        string
	Email              string
	EmailVerified      bool
	Phone              string
	PasswordHash       secret.Text   // PHC string, see [Hasher]; empty: no login by password
	FormerPasswords    []secret.Text // hashes, the newest first; at most as many as the pool's policy looks at
	PasswordChangedAt  time.Time     // sessions that began before are void
	MustChangePassword bool          // the password is temporary: a login with it ends in choosing another
	Attributes         map[string]string
	Groups             []string // names of the groups that the user is in, in order; see [Groups]
	ExternalID         string   // what a provisioning system (SCIM) calls the user; may be empty
	Disabled           bool
	CreatedAt          time.Time
	Version            int64 // 1 when created, one more with every change
}

// UserResource returns what guard permits about a user.
func UserResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "user", Pool: pool, ID: id}
}

// Resource returns what guard permits about u.
func (u User) Resource() guard.Resource { return UserResource(u.Pool, u.ID) }

// Person returns u as a caller, under the issuer of its pool.
func (u User) Person(issuer string) name.Caller {
	return name.Caller{Kind: name.Person, User: name.User{Issuer: issuer, Subject: u.ID}}
}

// Title returns what people see as the user's name.
func (u User) Title() string {
	if u.DisplayName != "" {
		return u.DisplayName
	}
	return u.UserName
}

// LoginName returns the form of a user name that is unique in a pool and that
// [Users.UserByName] looks for. User names are ASCII (see [name.Check]), so
// there are no letters that look alike or fold in two ways.
func LoginName(userName string) string { return strings.ToLower(userName) }

var phoneShape = regexp.MustCompile(`^\+?[0-9][0-9 ()-]{2,30}$`)

// Check returns a fault of kind Invalid unless u may be stored.
func (u User) Check() error {
	if err := name.Check("user", u.UserName); err != nil {
		return err
	}
	if err := checkText("display name", u.DisplayName); err != nil {
		return err
	}
	if u.Email != "" {
		a, err := mail.ParseAddress(u.Email)
		if err != nil || a.Address != u.Email || len(u.Email) > 254 {
			return fault.New(fault.Invalid, "email_invalid", "%q is not an e-mail address", name.Clip(u.Email, 80)).
				WithFix("give the bare address, such as li.si@example.com")
		}
	}
	if u.Phone != "" && !phoneShape.MatchString(u.Phone) {
		return fault.New(fault.Invalid, "phone_invalid", "%q is not a phone number", name.Clip(u.Phone, 80)).
			WithFix("give digits with the country code, such as +86 10 1234 5678")
	}
	if err := checkText("external id", u.ExternalID); err != nil {
		return err
	}
	return checkAttributes(u.Attributes)
}

// The bounds of a user's attributes: they travel in tokens.
const maxAttributes = 32

var attributeShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)

func checkAttributes(attributes map[string]string) error {
	if len(attributes) > maxAttributes {
		return fault.New(fault.Invalid, "attribute_invalid", "the user has %d attributes", len(attributes)).WithFix("give at most %d", maxAttributes)
	}
	for key, value := range attributes {
		if !attributeShape.MatchString(key) {
			return fault.New(fault.Invalid, "attribute_invalid", "%q is not the name of an attribute", name.Clip(key, 80)).
				WithFix("use letters, digits and _, beginning with a letter")
		}
		if err := checkText("attribute "+key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkText bounds a text that people see and keeps characters out that could
// disguise it (controls, bidirectional overrides).
func checkText(what, s string) error {
	ok := utf8.ValidString(s) && len(s) <= 200 && strings.TrimSpace(s) == s
	for _, r := range s {
		ok = ok && unicode.IsPrint(r)
	}
	if ok {
		return nil
	}
	return fault.New(fault.Invalid, "text_invalid", "the %s is not valid", what).
		WithFix("use at most 200 bytes of printable text without space around it")
}

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
	Name                   string // unique in the pool; people see it on the consent page
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

// maxURIs bounds each list of URIs of a client.
const maxURIs = 20

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
	for _, check := range []func() error{c.checkAuth, c.checkURIs, c.checkScopes, c.checkLifetimes} {
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
	return nil
}

func (c Client) checkScopes() error {
	if c.Scopes.Len() == 0 && c.HasGrant(oauth.GrantAuthorizationCode) {
		return fault.New(fault.Invalid, "scope_missing", "client %q may ask for nothing", c.Name).WithFix("give it scopes, such as %v", KnownScopes())
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
