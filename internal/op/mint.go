package op

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
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
	Name              string `json:"name,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"`
	Email             string `json:"email,omitempty"`
	EmailVerified     *bool  `json:"email_verified,omitempty"`
	PhoneNumber       string `json:"phone_number,omitempty"`
}

func profileOf(u userpool.User, scopes name.Scopes) profile {
	var p profile
	if scopes.Has(oauth.ScopeProfile) {
		p.Name, p.PreferredUsername = u.Title(), u.UserName
	}
	if scopes.Has(oauth.ScopeEmail) && u.Email != "" {
		p.Email, p.EmailVerified = u.Email, &u.EmailVerified
	}
	if scopes.Has("phone") {
		p.PhoneNumber = u.Phone
	}
	return p
}

// accessClaims are those of an access token (RFC 9068, section 2.2).
type accessClaims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	ClientID  string `json:"client_id"`
	Scope     string `json:"scope"`
	IssuedAt  int64  `json:"iat"`
	ExpiresAt int64  `json:"exp"`
	AuthTime  int64  `json:"auth_time"`
	ID        string `json:"jti"`
	profile
}

// idClaims are those of an ID token (OpenID Connect Core 1.0, section 2).
type idClaims struct {
	Issuer          string `json:"iss"`
	Subject         string `json:"sub"`
	Audience        string `json:"aud"`
	IssuedAt        int64  `json:"iat"`
	ExpiresAt       int64  `json:"exp"`
	AuthTime        int64  `json:"auth_time"`
	Nonce           string `json:"nonce,omitempty"`
	AccessTokenHash string `json:"at_hash"`
	profile
}

// tokens is a token response (RFC 6749, section 5.1; OpenID Connect Core 1.0,
// section 3.1.3.3).
type tokens struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
	Scope       string `json:"scope"`
	IDToken     string `json:"id_token,omitempty"`
}

// minter makes the tokens of a pool.
type minter struct {
	base
	keys *poolKeys
}

// mint makes what the code c promises the client, and returns the access
// token's id, too.
func (m minter) mint(ctx context.Context, pool userpool.Pool, client userpool.Client, u userpool.User, c userpool.Code) (tokens, string, error) {
	keys, err := m.keys.of(ctx, pool)
	if err != nil {
		return tokens{}, "", err
	}
	now, issuer, claims := m.Now(), m.Issuer(pool), profileOf(u, c.Scopes)
	id := name.NewID("at")
	access, err := jwt.Sign(keys.signer, accessTokenType, accessClaims{
		Issuer: issuer, Subject: u.ID, Audience: client.ID, ClientID: client.ID, Scope: c.Scopes.String(), IssuedAt: now.Unix(),
		ExpiresAt: now.Add(client.AccessTokenLifetime).Unix(), AuthTime: c.AuthTime.Unix(), ID: id, profile: claims,
	})
	if err != nil {
		return tokens{}, "", err
	}
	t := tokens{
		AccessToken: access, TokenType: oauth.TokenTypeBearer, ExpiresIn: int64(client.AccessTokenLifetime / time.Second), Scope: c.Scopes.String(),
	}
	if c.Scopes.Has(oauth.ScopeOpenID) {
		half := sha256.Sum256([]byte(access))
		t.IDToken, err = jwt.Sign(keys.signer, idTokenType, idClaims{
			Issuer: issuer, Subject: u.ID, Audience: client.ID, IssuedAt: now.Unix(), ExpiresAt: now.Add(idTokenLifetime).Unix(),
			AuthTime: c.AuthTime.Unix(), Nonce: c.Nonce, AccessTokenHash: base64.RawURLEncoding.EncodeToString(half[:16]), profile: claims,
		})
	}
	return t, id, err
}

// keysLife is how long a process goes on with the keys that it has seen, and so
// how long a key must be published before it signs.
const keysLife = time.Minute

// poolKeys keeps the opened signing keys of the pools at hand. There are as
// many entries as pools: who asks has found the pool.
type poolKeys struct {
	keys   Keys
	now    func() time.Time
	mu     sync.Mutex
	byPool map[string]cachedKeys
}

type cachedKeys struct {
	signer jwt.Key
	set    jwt.Set
	until  time.Time
}

func (k *poolKeys) of(ctx context.Context, pool userpool.Pool) (cachedKeys, error) {
	now := k.now()
	k.mu.Lock()
	cached, ok := k.byPool[pool.Name]
	k.mu.Unlock()
	if ok && now.Before(cached.until) {
		return cached, nil
	}
	list, err := k.keys.Signing(ctx, "userpool/"+pool.Name, jwt.ES256)
	if err != nil {
		return cachedKeys{}, err
	}
	cached = cachedKeys{signer: list[len(list)-1], set: jwt.NewSet(list...), until: now.Add(keysLife)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byPool[pool.Name] = cached
	return cached, nil
}

// published is the key set of a pool (RFC 7517, section 5).
type published struct{ keys *poolKeys }

func (e published) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	keys, err := e.keys.of(r.Context(), pool)
	if err != nil {
		return err
	}
	publicJSON(w, "application/jwk-set+json", keys.set.JWKS())
	return nil
}
