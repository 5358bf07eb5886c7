package op

import (
	"context"
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// introspect tells clients with credentials whether a token holds (RFC 7662).
// It tells of the tokens that are the client's own, or that name it as their
// audience; all others are not active, as if they were not there (section 4).
type introspect struct {
	clientAuth
	access   accessTokens
	families userpool.Families
	base
}

// verdict is the answer (section 2.2). Of a token that does not hold it says no
// more than that.
type verdict struct {
	Active    bool     `json:"active"`
	Issuer    string   `json:"iss,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	UserName  string   `json:"username,omitempty"`
	Audience  audience `json:"aud,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Scope     string   `json:"scope,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	ID        string   `json:"jti,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	ExpiresAt int64    `json:"exp,omitempty"`
	Actor     *actor   `json:"act,omitempty"` // RFC 8693, section 4.1
	loginClaims
}

func (e introspect) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	client, err := e.authenticate(r, pool, form)
	if err != nil {
		return err
	}
	if client.Type == userpool.Public { // section 2.1: else tokens could be tried out by anybody
		return invalidClient(false, "a client without credentials cannot introspect tokens")
	}
	if !form.Has("token") {
		return refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "token is missing")
	}
	v, err := e.judge(r.Context(), pool, client, form.Get("token"))
	if err != nil {
		return err
	}
	wire.Write(w, http.StatusOK, v)
	return nil
}

// judge takes a token for what it looks like: token_type_hint would not make it
// faster (section 2.1).
func (e introspect) judge(ctx context.Context, pool userpool.Pool, client userpool.Client, token string) (verdict, error) {
	if !looksSigned(token) {
		return e.judgeRefresh(ctx, pool, client, token)
	}
	a, err := e.access.check(ctx, pool, token)
	if fault.Is(err, fault.Unauthenticated) {
		return verdict{}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	if a.ClientID != client.ID && !slices.Contains(a.Audience, client.ID) {
		return verdict{}, nil
	}
	return verdict{
		Active: true, Issuer: a.Issuer, Subject: a.Subject, UserName: a.user.UserName, Audience: a.Audience, ClientID: a.ClientID, Scope: a.scopes.String(),
		TokenType: oauth.TokenTypeBearer, ID: a.ID, IssuedAt: a.IssuedAt.Unix(), ExpiresAt: a.ExpiresAt.Unix(), Actor: a.actor, loginClaims: loginOf(a.family),
	}, nil
}

func (e introspect) judgeRefresh(ctx context.Context, pool userpool.Pool, client userpool.Client, token string) (verdict, error) {
	f, generation, err := e.families.FamilyOf(ctx, pool.Name, userpool.HashRefresh(secret.FromString(token)))
	if fault.Is(err, fault.NotFound) {
		return verdict{}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	u, err := e.access.users.User(ctx, pool.Name, f.UserID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return verdict{}, err
	}
	now := e.Now()
	if f.ClientID != client.ID || !f.Alive(u, now) || f.Idle(now) || f.Use(generation, now, pool.Settings.RefreshGrace) == userpool.RefreshReused {
		return verdict{}, nil
	}
	return verdict{
		Active: true, Issuer: e.Issuer(pool), Subject: u.ID, UserName: u.UserName, ClientID: f.ClientID, Scope: f.Scopes.String(),
		ExpiresAt: f.ExpiresAt.Unix(), loginClaims: loginOf(f),
	}, nil
}
