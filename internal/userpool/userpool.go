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
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
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
