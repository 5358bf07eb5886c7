package op

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// actionRegister is what is refused without an initial or registration access token.
const actionRegister guard.Action = "client.register"

// register lets clients register themselves (RFC 7591) and look after their
// registration (RFC 7592), in pools that allow it.
type register struct {
	base
	clients       userpool.Clients // those that are stored
	registrations userpool.Registrations
	guard         *guard.Guard
	throttle      *signin.Throttle
}

// registered is what a client is told (RFC 7591, section 3.2.1; RFC 7592,
// section 3). Secret and tokens are shown when they are made, and not again.
type registered struct {
	ClientID      string `json:"client_id"`
	IssuedAt      int64  `json:"client_id_issued_at"`
	Secret        string `json:"client_secret,omitempty"`
	SecretExpires *int64 `json:"client_secret_expires_at,omitempty"` // 0: never; there if Secret is
	URI           string `json:"registration_client_uri"`
	Token         string `json:"registration_access_token"`
	registration.Metadata
}

func (e register) answer(pool userpool.Pool, c userpool.Client, made, token secret.Text) registered {
	a := registered{
		ClientID: c.ID, IssuedAt: c.CreatedAt.Unix(), Secret: made.RevealString(), URI: e.Issuer(pool) + "/register/" + c.ID, Token: token.RevealString(),
		Metadata: registration.Of(c),
	}
	if !made.Empty() {
		a.SecretExpires = new(int64)
	}
	return a
}

// create is the client registration endpoint.
func (e register) create(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	ctx := r.Context()
	bearer, err := e.begin(r, pool)
	if err != nil {
		return err
	}
	t, err := e.registrations.InitialToken(ctx, pool.Name, userpool.HashInitialToken(bearer))
	if fault.Is(err, fault.NotFound) || (err == nil && (t.Uses < 1 || !e.Now().Before(t.ExpiresAt))) {
		return e.refused(r, pool, pool.Resource(), "the initial access token is unknown, used up or expired")
	}
	if err != nil {
		return err
	}
	m, err := readMetadata(r, nil)
	if err != nil {
		return err
	}
	c, err := m.Client(pool, e.Now().UTC().Truncate(time.Millisecond))
	if err != nil {
		return err
	}
	token := userpool.NewRegistrationToken()
	c.Name, c.Origin, c.RegistrationHash = "app-"+strings.TrimPrefix(c.ID, "cli_"), userpool.ByRegistration, userpool.HashRegistrationToken(token)
	made := c.FitSecret()
	if err := registration.Check(c); err != nil {
		return err
	}
	p, err := e.guard.Allow(ctx, c.Caller(), userpool.ActionCreateClient, c.Resource())
	if err != nil {
		return err
	}
	err = e.registrations.RegisterClient(ctx, p.Detail(map[string]string{"initialToken": t.ID}), c, t.ID)
	if fault.HasCode(err, "initial_token_spent") { // by a registration that ran beside this one
		return e.refused(r, pool, pool.Resource(), fault.As(err).Message)
	}
	if err != nil {
		return err
	}
	wire.Write(w, http.StatusCreated, e.answer(pool, c, made, token))
	return nil
}

// begin returns the bearer token of a request to a pool that has this at all.
func (e register) begin(r *http.Request, pool userpool.Pool) (secret.Text, error) {
	if !pool.Settings.DynamicRegistration {
		return secret.Text{}, refuse(http.StatusNotFound, oauth.CodeInvalidRequest, "clients do not register themselves in this pool")
	}
	bearer, err := bearerToken(r)
	return secret.FromString(bearer), err
}

// refused records that a token did not hold, at a bounded pace, and answers (RFC
// 6750, section 3.1).
func (e register) refused(r *http.Request, pool userpool.Pool, what guard.Resource, why string) error {
	if _, err := e.throttle.Guess(pool.Name+"/"+string(actionRegister), e.Address(r)); err != nil {
		return tooOften(err)
	}
	if err := e.guard.Refuse(r.Context(), name.Caller{}, actionRegister, what, why, nil); err != nil {
		return err
	}
	return invalidToken(why)
}

// readMetadata reads the body as metadata, and into also, which may be nil.
func readMetadata(r *http.Request, also any) (registration.Metadata, error) {
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return registration.Metadata{}, oauth.NewError(oauth.CodeInvalidClientMetadata, "the body is not application/json")
	}
	b, err := wire.ReadAll(r.Body, registration.MaxMetadata)
	if err != nil {
		return registration.Metadata{}, err
	}
	m, err := registration.Parse(b)
	if err != nil || also == nil {
		return m, err
	}
	if err := wire.DecodeForeign(b, also); err != nil {
		return m, oauth.NewError(oauth.CodeInvalidClientMetadata, fault.As(err).Message)
	}
	return m, nil
}

// own returns the client that the request is about, if its registration access
// token came along. One that is not there is answered like a wrong token (RFC
// 7592, section 2.1).
func (e register) own(r *http.Request, pool userpool.Pool) (userpool.Client, secret.Text, error) {
	bearer, err := e.begin(r, pool)
	if err != nil {
		return userpool.Client{}, bearer, err
	}
	c, err := e.clients.Client(r.Context(), pool.Name, r.PathValue("client"))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return c, bearer, err
	}
	if err != nil || !c.RegistrationTokenIs(bearer) {
		what := pool.Resource()
		if err == nil {
			what = c.Resource()
		}
		return userpool.Client{}, bearer, e.refused(r, pool, what, "there is no such client, or the registration access token is not its")
	}
	return c, bearer, nil
}

// read is the client read request.
func (e register) read(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	c, token, err := e.own(r, pool)
	if err != nil {
		return err
	}
	wire.Write(w, http.StatusOK, e.answer(pool, c, secret.Text{}, token))
	return nil
}

// update is the client update request (section 2.2): the metadata takes the
// place of what was registered. What an operator decided about the client stays.
func (e register) update(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	before, token, err := e.own(r, pool)
	if err != nil {
		return err
	}
	var own struct {
		ClientID string          `json:"client_id"`
		Secret   secret.Text     `json:"client_secret"`
		Token    json.RawMessage `json:"registration_access_token"`
		URI      json.RawMessage `json:"registration_client_uri"`
		Issued   json.RawMessage `json:"client_id_issued_at"`
		Expires  json.RawMessage `json:"client_secret_expires_at"`
	}
	m, err := readMetadata(r, &own)
	if err != nil {
		return err
	}
	switch {
	case own.ClientID != before.ID:
		return refuse(http.StatusBadRequest, oauth.CodeInvalidClientMetadata, "client_id is not the client's")
	case !own.Secret.Empty() && !before.SecretIs(own.Secret):
		return refuse(http.StatusBadRequest, oauth.CodeInvalidClientMetadata, "client_secret is not the client's: it cannot be chosen")
	case own.Token != nil || own.URI != nil || own.Issued != nil || own.Expires != nil:
		return refuse(http.StatusBadRequest, oauth.CodeInvalidClientMetadata, "what the server issued is not sent back (RFC 7592, section 2.2)")
	}
	c, err := m.Client(pool, before.CreatedAt)
	if err != nil {
		return err
	}
	c.ID, c.Name, c.Origin, c.RegistrationHash, c.Version = before.ID, before.Name, before.Origin, before.RegistrationHash, before.Version
	c.SecretHash, c.Audiences = before.SecretHash, before.Audiences
	c.AccessTokenLifetime, c.RefreshLifetime, c.RefreshIdle = before.AccessTokenLifetime, before.RefreshLifetime, before.RefreshIdle
	made := c.FitSecret()
	if err := registration.Check(c); err != nil {
		return err
	}
	p, err := e.guard.Allow(r.Context(), c.Caller(), userpool.ActionUpdateClient, c.Resource())
	if err != nil {
		return err
	}
	if err := e.clients.UpdateClient(r.Context(), p, c); err != nil {
		return err
	}
	wire.Write(w, http.StatusOK, e.answer(pool, c, made, token))
	return nil
}

// remove is the client delete request.
func (e register) remove(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	c, _, err := e.own(r, pool)
	if err != nil {
		return err
	}
	p, err := e.guard.Allow(r.Context(), c.Caller(), userpool.ActionDeleteClient, c.Resource())
	if err != nil {
		return err
	}
	if err := e.clients.DeleteClient(r.Context(), p, pool.Name, c.ID); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
