package provider

import (
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Credential is what a provider gives. Of Token, Key, Login and Keys only the
// one that Type means is set.
type Credential struct {
	Type    Type
	Scopes  name.Scopes // what the caller may use it for; of TypeOAuth2 only
	Expires time.Time   // zero: never, or the third party does not say
	Token   Token       // of TypeOAuth2
	Key     Key         // of TypeAPIKey
	Login   Login       // of TypeBasic
	Keys    Keys        // of TypeSTS
}

// Token is an OAuth 2.0 access token.
type Token struct {
	Access secret.Text
	Type   string // "Bearer" (RFC 6749, section 7.1)
}

// Key is an API key, and where requests carry it.
type Key struct {
	Value  secret.Text
	Header string // name of the header: "Authorization", "X-API-Key"
	Prefix string // stands before the value, with its space: "Bearer "; may be empty
}

// Login is a user name and password for HTTP's Basic scheme (RFC 7617).
type Login struct {
	User     string
	Password secret.Text
}

// Keys are temporary keys of a cloud.
type Keys struct {
	Cloud       Cloud
	Region      string
	AccessKeyID string // no secret: the cloud's own log names it
	Secret      secret.Text
	Session     secret.Text // the session token
	Role        string      // who one is with them, as the cloud says it
}

// Clear wipes the secrets of c, in every copy.
func (c Credential) Clear() {
	for _, s := range []secret.Text{c.Token.Access, c.Key.Value, c.Login.Password, c.Keys.Secret, c.Keys.Session} {
		s.Clear()
	}
}

// Detail tells the audit log which credential this is, without what is secret.
func (c Credential) Detail() map[string]string {
	d := map[string]string{"type": string(c.Type)}
	if c.Type == TypeSTS {
		d["accessKeyId"], d["role"] = c.Keys.AccessKeyID, c.Keys.Role
	}
	if !c.Expires.IsZero() {
		d["expires"] = c.Expires.UTC().Format(time.RFC3339)
	}
	return d
}
