// Package idp has the external identity providers of user pools, the links between their accounts and the pools' users, and logins that are under way at them.
//
// Everything belongs to exactly one pool. A link belongs to the provider by its
// id, which is never reused: a provider that is made anew under an old name
// inherits nobody.
package idp

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// The actions that permits are given for, on the Resource of what they change.
const (
	ActionCreate     guard.Action = "idp.create"
	ActionUpdate     guard.Action = "idp.update"
	ActionDelete     guard.Action = "idp.delete"
	ActionBegin      guard.Action = "idp.begin"
	ActionFinish     guard.Action = "idp.finish"
	ActionSweep      guard.Action = "idp.sweep"
	ActionCreateLink guard.Action = "idp.link"
	ActionDeleteLink guard.Action = "idp.unlink"
)

// Type is how a provider is spoken to.
type Type string

// The types.
const (
	OIDC   Type = "oidc"   // any OpenID provider, by its issuer
	Google Type = "google" // OIDC with the issuer filled in
	Feishu Type = "feishu"
	Lark   Type = "lark"
	GitHub Type = "github"
	OAuth2 Type = "oauth2" // any OAuth 2.0 server with an address that tells who somebody is
)

// Types are all types.
func Types() []Type { return []Type{Feishu, Lark, OIDC, Google, GitHub, OAuth2} }

// Discovers reports whether a provider of this type is found by its issuer.
func (t Type) Discovers() bool { return t == OIDC || t == Google }

// Mapping says where the provider's account has what a user has: paths such as
// "data.name" into the ID token's claims or the answer of the user info
// address. Empty paths are the type's defaults (see [Provider.Paths]).
type Mapping struct {
	Subject       string            `json:"subject,omitempty"` // of OAuth 2.0 providers only
	UserName      string            `json:"userName,omitempty"`
	Name          string            `json:"name,omitempty"`
	Email         string            `json:"email,omitempty"`
	EmailVerified string            `json:"emailVerified,omitempty"` // a boolean; nothing there: not verified
	Phone         string            `json:"phone,omitempty"`
	Organisation  string            `json:"organisation,omitempty"`
	Department    string            `json:"department,omitempty"`
	Attributes    map[string]string `json:"attributes,omitempty"` // attribute of the user to path
}

// Provider is one external identity provider of a user pool.
type Provider struct {
	ID           string // "idp_…"; never reused
	Pool         string
	Name         string // see [name.Check]; part of the callback, so it never changes
	Title        string // what people see on the button; may be empty
	Type         Type   // never changes
	ClientID     string
	SealedSecret []byte           // for [Provider.SecretPlace]
	Issuer       string           // of types that discover
	Endpoints    vendor.Endpoints // of the others; replace the type's where set
	Scopes       name.Scopes      // empty: the type's
	Mapping      Mapping
	// LinkByVerifiedEmail trusts the provider about addresses: an account with an
	// address that it calls verified becomes the user who has verified the same one
	// here, and the address of its users counts as verified here. Off, whoever runs
	// the provider can speak for its own accounts only.
	LinkByVerifiedEmail bool
	CreateUsers         bool // accounts that nobody has become new users
	UpstreamLogout      bool // who logs out here after a login there is sent there to log out, too; of types that discover
	Enabled             bool
	CreatedAt           time.Time
	UpdatedAt           time.Time
	Version             int64 // 1 when created, one more with every change
}

// Resource returns what guard permits about the provider of that name.
func Resource(pool, provider string) guard.Resource {
	return guard.Resource{Kind: "idp", Pool: pool, ID: provider}
}

// Resource returns what guard permits about p.
func (p Provider) Resource() guard.Resource { return Resource(p.Pool, p.Name) }

// Label returns what people see as the provider's name.
func (p Provider) Label() string {
	if p.Title != "" {
		return p.Title
	}
	return p.Name
}

// SecretPlace is where the client secret is sealed for: this provider at this version.
func (p Provider) SecretPlace() keys.Place {
	return keys.Place{Kind: "idp.secret", Pool: "userpool/" + p.Pool, Record: p.ID, Version: p.Version}
}

// CallbackPath is the local path to which the provider sends people back. Each
// provider has its own: an answer that comes to another one's is not looked at
// as if it were from it (RFC 9700, section 4.4).
func (p Provider) CallbackPath() string {
	return "/userpool/" + p.Pool + "/login/" + p.Name + "/callback"
}

// SignupCallbackPath is the other local path at which answers are taken.
func (p Provider) SignupCallbackPath() string {
	return "/userpool/" + p.Pool + "/signup/" + p.Name + "/callback"
}

// Paths returns the mapping with the type's defaults where it says nothing.
func (p Provider) Paths() Mapping {
	m := Mapping{Subject: "sub", UserName: "preferred_username", Name: "name", Email: "email", EmailVerified: "email_verified", Phone: "phone_number"}
	switch p.Type {
	case Feishu, Lark:
		m = Mapping{Subject: "data.open_id", Name: "data.name", Email: "data.email", Organisation: "data.tenant_key",
			Attributes: map[string]string{"open_id": "data.open_id", "union_id": "data.union_id"}}
	case GitHub:
		m = Mapping{Subject: "id", UserName: "login", Name: "name", Organisation: "company"}
	}
	own := p.Mapping
	for _, f := range []struct{ to, from *string }{
		{&m.UserName, &own.UserName}, {&m.Name, &own.Name}, {&m.Email, &own.Email}, {&m.EmailVerified, &own.EmailVerified},
		{&m.Phone, &own.Phone}, {&m.Organisation, &own.Organisation}, {&m.Department, &own.Department},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	if p.Type == OAuth2 && own.Subject != "" {
		m.Subject = own.Subject
	}
	if len(own.Attributes) > 0 {
		all := map[string]string{}
		maps.Copy(all, m.Attributes)
		maps.Copy(all, own.Attributes)
		m.Attributes = all
	}
	return m
}

// DefaultScopes returns what a provider of this type is asked for if it does not
// say itself.
func (t Type) DefaultScopes() []string {
	switch t {
	case OIDC, Google:
		return []string{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail}
	case Feishu, Lark:
		return []string{"contact:user.base:readonly", "contact:contact.base:readonly"}
	case GitHub:
		return []string{"read:user", "user:email"}
	default:
		return nil
	}
}

// googleIssuer is Google's (OpenID Connect Discovery 1.0, section 3).
const googleIssuer = "https://accounts.google.com"

// Complete fills in what the type knows. It returns the provider as it is stored.
func (p Provider) Complete() (Provider, error) {
	if p.Type == Google && p.Issuer == "" {
		p.Issuer = googleIssuer
	}
	p.Issuer = strings.TrimSuffix(p.Issuer, "/.well-known/openid-configuration")
	if p.Scopes.Len() == 0 {
		scopes, err := name.NewScopes(p.Type.DefaultScopes()...)
		if err != nil {
			return Provider{}, err
		}
		p.Scopes = scopes
	}
	return p, p.Check()
}

// Check returns a fault of kind Invalid unless p may be stored.
func (p Provider) Check() error {
	if err := name.Check("identity provider", p.Name); err != nil {
		return err
	}
	switch {
	case !slices.Contains(Types(), p.Type):
		return invalid("type", "there is no type %q of identity providers", name.Clip(string(p.Type), 40)).
			WithFix("%s", name.DidYouMean(string(p.Type), typeNames(), "use oidc or oauth2"))
	case !plain(p.Title, 80):
		return invalid("title", "the title is not valid").WithFix("use at most 80 bytes of printable text")
	case p.ClientID == "" || !plain(p.ClientID, 255):
		return invalid("clientId", "the provider has no client id that can be one").WithFix("copy it from the provider's console")
	case p.Type.Discovers() && !address(p.Issuer):
		return invalid("issuer", "the provider has no issuer that can be one").WithFix("give the issuer's address, such as https://login.example.com")
	case p.Type.Discovers() && !p.Scopes.Has(oauth.ScopeOpenID):
		return invalid("scopes", "the scope openid is missing: the provider would not say who logs in").WithFix("add openid to the scopes")
	case p.UpstreamLogout && !p.Type.Discovers():
		return invalid("upstreamLogout", "providers of type %s have no logout that Deputy knows", p.Type).WithFix("leave it out")
	case p.Type == OAuth2 && (p.Endpoints.Authorization == "" || p.Endpoints.Token == "" || p.Endpoints.UserInfo == ""):
		return invalid("endpoints", "an oauth2 provider needs the addresses authorization, token and userInfo").
			WithFix("take them from the provider's documentation")
	}
	return p.Mapping.check()
}

func typeNames() []string {
	var names []string
	for _, t := range Types() {
		names = append(names, string(t))
	}
	return names
}

// maxPath bounds a path of a mapping in bytes.
const maxPath = 200

func (m Mapping) check() error {
	if len(m.Attributes) > 16 {
		return invalid("mapping", "the mapping has %d attributes", len(m.Attributes)).WithFix("map at most 16")
	}
	paths := []string{m.Subject, m.UserName, m.Name, m.Email, m.EmailVerified, m.Phone, m.Organisation, m.Department}
	for _, path := range append(paths, slices.Collect(maps.Values(m.Attributes))...) {
		if !plain(path, maxPath) {
			return invalid("mapping", "%q is not a path", name.Clip(path, 80)).WithFix("give member names with dots between them, such as data.name")
		}
	}
	return nil
}

func plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func address(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= 500 && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func invalid(source, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "idp_invalid", format, args...).WithSource(source)
}

// Link says that an account at a provider is a user of the pool.
type Link struct {
	Pool       string
	ProviderID string
	Issuer     string // of the account; with Subject it names the account
	Subject    string
	UserID     string
	Name       string // of the account, for people, as it was when it was linked; may be empty
	CreatedAt  time.Time
}

// LoginLifetime is how long a login may take at the provider.
const LoginLifetime = 10 * time.Minute

// Login is a login that is under way at a provider, in one browser. It is used
// once, whatever comes of it.
type Login struct {
	ID             string // "fed_…", for audit; of no use as a credential
	Pool           string
	ProviderID     string
	Hash           secret.Hash // of the state parameter; see [HashState]
	Browser        secret.Hash // of what the browser's cookie has; see [HashBrowser]
	Nonce          string
	SealedVerifier []byte // for [Login.VerifierPlace]
	ReturnTo       string // local path to go on to; may be empty
	// UserID and SessionID say who, logged in where, links an account; both are
	// empty for a login.
	UserID    string
	SessionID string
	ExpiresAt time.Time
}

// HashState returns what a login is stored under.
func HashState(state secret.Text) secret.Hash { return state.Digest("idp state") }

// HashBrowser returns what a login keeps of the browser's cookie.
func HashBrowser(token secret.Text) secret.Hash { return token.Digest("idp browser") }

// LoginResource returns what guard permits about the login with that id.
func LoginResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "idplogin", Pool: pool, ID: id}
}

// Resource returns what guard permits about l.
func (l Login) Resource() guard.Resource { return LoginResource(l.Pool, l.ID) }

// VerifierPlace is where the PKCE verifier is sealed for.
func (l Login) VerifierPlace() keys.Place {
	return keys.Place{Kind: "idp.verifier", Pool: "userpool/" + l.Pool, Record: l.ID}
}

// SweepResource is what guard permits about sweeping.
func SweepResource() guard.Resource { return guard.Resource{Kind: "idplogin"} }
