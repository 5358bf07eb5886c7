package op

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The typ headers of a pool's tokens.
const (
	accessTokenType = "at+jwt" // RFC 9068, section 2.1
	idTokenType     = "JWT"
)

// idTokenLifetime is how long a client may take to look at an ID token.
const idTokenLifetime = time.Hour

// profile are the claims about a user that his scopes release (OpenID Connect
// Core 1.0, section 5.4).
type profile struct {
	Name              string   `json:"name,omitempty"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	Email             string   `json:"email,omitempty"`
	EmailVerified     *bool    `json:"email_verified,omitempty"`
	PhoneNumber       string   `json:"phone_number,omitempty"`
	Groups            []string `json:"groups,omitempty"`
	// Attributes are what the operator knows of the user besides. They are one claim, so that none of them
	// is taken for a claim of another meaning; and they are not in access tokens, which travel in headers.
	Attributes map[string]string `json:"attributes,omitempty"`
}

func profileOf(u userpool.User, scopes name.Scopes) profile {
	var p profile
	if scopes.Has(oauth.ScopeProfile) {
		p.Name, p.PreferredUsername, p.Attributes = u.Title(), u.UserName, u.Attributes
	}
	if scopes.Has(oauth.ScopeEmail) && u.Email != "" {
		p.Email, p.EmailVerified = u.Email, &u.EmailVerified
	}
	if scopes.Has("phone") {
		p.PhoneNumber = u.Phone
	}
	if scopes.Has("groups") {
		p.Groups = u.Groups
	}
	return p
}

// loginClaims are those about how and when a person proved who he is (OpenID
// Connect Core 1.0, section 2; sid: Back-Channel Logout 1.0, section 2.1).
type loginClaims struct {
	AuthTime int64    `json:"auth_time,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	Session  string   `json:"sid,omitempty"`
}

func loginOf(f userpool.Family) loginClaims {
	if f.ID == "" {
		return loginClaims{}
	}
	return loginClaims{AuthTime: f.AuthTime.Unix(), ACR: userpool.ACR(f.Methods), AMR: f.Methods, Session: f.SessionID}
}

// accessClaims are those of an access token (RFC 9068, section 2.2).
type accessClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ClientID  string   `json:"client_id"`
	Scope     string   `json:"scope,omitempty"`
	IssuedAt  int64    `json:"iat"`
	ExpiresAt int64    `json:"exp"`
	ID        string   `json:"jti"`
	Actor     *actor   `json:"act,omitempty"`
	loginClaims
	profile
}

// audience is a list that is written as a string while it has one item: not
// every reader knows that aud may be an array (RFC 7519, section 4.1.3).
type audience []string

// MarshalJSON implements [json.Marshaler].
func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// idClaims are those of an ID token (OpenID Connect Core 1.0, section 2).
type idClaims struct {
	Issuer          string `json:"iss"`
	Subject         string `json:"sub"`
	Audience        string `json:"aud"`
	IssuedAt        int64  `json:"iat"`
	ExpiresAt       int64  `json:"exp"`
	Nonce           string `json:"nonce,omitempty"`
	AccessTokenHash string `json:"at_hash"`
	loginClaims
	profile
}

// tokens is a token response (RFC 6749, section 5.1; OpenID Connect Core 1.0,
// section 3.1.3.3; RFC 8693, section 2.2.1).
type tokens struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int64  `json:"expires_in"` // seconds
	Scope           string `json:"scope,omitempty"`
	RefreshToken    string `json:"refresh_token,omitempty"`
	IDToken         string `json:"id_token,omitempty"`

	id string // the access token's, for the audit log
}

// minter makes the tokens of a pool.
type minter struct {
	base
	keys *poolKeys
}

// order is what a token response is to say.
type order struct {
	pool     userpool.Pool
	client   userpool.Client // who gets the tokens
	user     userpool.User   // whom they are about; zero: the client itself
	family   userpool.Family // that they belong to; zero: none
	scopes   name.Scopes
	audience []string  // empty: the client
	notAfter time.Time // no token lives longer; zero: no such limit
	actor    *actor
	nonce    string
}

// access makes an access token.
func (m minter) access(ctx context.Context, o order) (tokens, error) {
	key, err := m.keys.signer(ctx, o.pool, o.client)
	if err != nil {
		return tokens{}, err
	}
	now := m.Now()
	ends := now.Add(o.client.AccessTokenLifetime)
	for _, limit := range []time.Time{o.family.ExpiresAt, o.notAfter} {
		if !limit.IsZero() && limit.Before(ends) {
			ends = limit
		}
	}
	claims := accessClaims{
		Issuer: m.Issuer(o.pool), Subject: o.user.ID, Audience: o.audience, ClientID: o.client.ID, Scope: o.scopes.String(),
		IssuedAt: now.Unix(), ExpiresAt: ends.Unix(), ID: accessTokenID(o.family), Actor: o.actor, loginClaims: loginOf(o.family), profile: profileOf(o.user, o.scopes),
	}
	claims.Attributes = nil
	if o.user.ID == "" {
		claims.Subject = o.client.ID // RFC 9068, section 2.2
	}
	if len(o.audience) == 0 {
		claims.Audience = audience{o.client.ID}
	}
	signed, err := jwt.Sign(key, accessTokenType, claims)
	return tokens{
		AccessToken: signed, TokenType: oauth.TokenTypeBearer, ExpiresIn: claims.ExpiresAt - claims.IssuedAt, Scope: claims.Scope, id: claims.ID,
	}, err
}

// mint makes an access token, and with it an ID token if the scopes have openid.
func (m minter) mint(ctx context.Context, o order) (tokens, error) {
	t, err := m.access(ctx, o)
	if err != nil || !o.scopes.Has(oauth.ScopeOpenID) {
		return t, err
	}
	key, err := m.keys.signer(ctx, o.pool, o.client)
	if err != nil {
		return tokens{}, err
	}
	now := m.Now()
	t.IDToken, err = jwt.Sign(key, idTokenType, idClaims{
		Issuer: m.Issuer(o.pool), Subject: o.user.ID, Audience: o.client.ID, IssuedAt: now.Unix(), ExpiresAt: now.Add(idTokenLifetime).Unix(),
		Nonce: o.nonce, AccessTokenHash: accessHash(key.Algorithm, t.AccessToken), loginClaims: loginOf(o.family), profile: profileOf(o.user, o.scopes),
	})
	return t, err
}

// accessHash is half of the hash that belongs to the algorithm of the ID token
// (OpenID Connect Core 1.0, section 3.1.3.6); that of Ed25519 is SHA-512.
func accessHash(algorithm, access string) string {
	if algorithm == jwt.EdDSA {
		sum := sha512.Sum512([]byte(access))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// accessTokenID returns a fresh id for an access token. It begins with the
// family's, so that who is shown the token finds the family without a claim of
// its own.
func accessTokenID(f userpool.Family) string {
	if f.ID == "" {
		return name.NewID("at")
	}
	return name.NewID(f.ID + ".at")
}

// familyID is the inverse: the id of the family that an access token belongs to,
// or "" if it belongs to none.
func familyID(tokenID string) string {
	id, _, belongs := strings.Cut(tokenID, ".")
	if !belongs {
		return ""
	}
	return id
}
