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
	ActionCreateUser      guard.Action = "user.create"
	ActionUpdateUser      guard.Action = "user.update"
	ActionUpgradePassword guard.Action = "user.upgrade-password"
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
)

// Pool is a namespace of users and clients with its own issuer.
type Pool struct {
	Name        string // see [name.Check]; part of the issuer, so it never changes
	DisplayName string // what people see; may be empty, then Name is shown
	CreatedAt   time.Time
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
	return checkText("display name", p.DisplayName)
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
	ID                string // "usr_…": the subject in tokens; never reused
	Pool              string
	UserName          string // unique in the pool without regard to case; see [LoginName]
	DisplayName       string
	Email             string
	EmailVerified     bool
	Phone             string
	PasswordHash      secret.Text // PHC string, see [Hasher]; empty: no login by password
	PasswordChangedAt time.Time   // sessions that began before are void
	Disabled          bool
	CreatedAt         time.Time
	Version           int64 // 1 when created, one more with every change
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

// Client is an application that logs users of a pool in.
type Client struct {
	ID                     string // "cli_…": client_id, and aud of its tokens
	Pool                   string
	Name                   string // unique in the pool; people see it on the consent page
	Type                   ClientType
	SecretHash             string   // [HashSecret] of the secret; empty for a public client
	RedirectURIs           []string // compared byte by byte
	PostLogoutRedirectURIs []string // compared byte by byte
	Scopes                 name.Scopes
	AccessTokenLifetime    time.Duration
	CreatedAt              time.Time
	Version                int64 // 1 when created, one more with every change
}

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

// maxURIs bounds each list of URIs of a client.
const maxURIs = 20

// KnownScopes are the scopes that a pool understands (OpenID Connect Core 1.0,
// section 5.4).
func KnownScopes() []string { return []string{"openid", "profile", "email", "phone"} }

// Check returns a fault of kind Invalid unless c may be stored.
func (c Client) Check() error {
	if err := name.Check("client", c.Name); err != nil {
		return err
	}
	if c.Type != Web && c.Type != Public {
		return fault.New(fault.Invalid, "client_type_invalid", "client type %q is not known", name.Clip(string(c.Type), 40)).
			WithFix("use %q for an application with a server, %q for one without", Web, Public)
	}
	if (c.Type == Web) == (c.SecretHash == "") {
		return fault.New(fault.Invalid, "client_secret_invalid", "a client of type %q has a secret, one of type %q has none", Web, Public)
	}
	if len(c.RedirectURIs) == 0 || len(c.RedirectURIs) > maxURIs || len(c.PostLogoutRedirectURIs) > maxURIs {
		return fault.New(fault.Invalid, "redirect_uri_invalid", "client %q has %d redirect URIs and %d for logout", c.Name,
			len(c.RedirectURIs), len(c.PostLogoutRedirectURIs)).WithFix("register 1 to %d redirect URIs and at most %d for logout", maxURIs, maxURIs)
	}
	for _, uri := range slices.Concat(c.RedirectURIs, c.PostLogoutRedirectURIs) {
		if err := oauth.CheckRegistered(uri); err != nil {
			return err
		}
	}
	known, err := name.NewScopes(KnownScopes()...)
	if err != nil {
		return err
	}
	if unknown := known.Missing(c.Scopes); unknown.Len() > 0 || c.Scopes.Len() == 0 {
		return fault.New(fault.Invalid, "scope_unknown", "a client of a user pool cannot have the scopes %q", unknown).
			WithFix("choose from %s", known)
	}
	if c.AccessTokenLifetime < MinAccessTokenLifetime || c.AccessTokenLifetime > MaxAccessTokenLifetime {
		return fault.New(fault.Invalid, "lifetime_invalid", "an access token cannot live for %s", c.AccessTokenLifetime).
			WithFix("choose from %s to %s", MinAccessTokenLifetime, MaxAccessTokenLifetime)
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
