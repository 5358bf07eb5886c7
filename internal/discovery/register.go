package discovery

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// Registration is what is said about a client when it is registered (RFC 7591,
// section 2).
type Registration struct {
	Name        string   // for people
	RedirectURI string   // Deputy's callback
	AuthMethod  string   // how it will prove itself, one that the server takes
	GrantTypes  []string // what it will use
	Scope       string   // space-separated; "" lets the server decide
	KeysURI     string   // for private_key_jwt
}

// Registered is a client as the server made it (RFC 7591, section 3.2.1).
type Registered struct {
	ClientID     string
	ClientSecret secret.Text // empty for methods that need none
	SecretEnds   time.Time   // zero: never
	AuthMethod   string
	URI          string      // where it is looked after (RFC 7592, section 3); empty: nowhere
	Token        secret.Text // for that
}

// Clear wipes the secrets of r, in every copy.
func (r Registered) Clear() {
	r.ClientSecret.Clear()
	r.Token.Clear()
}

// Register makes a client at a server that lets anybody do so (RFC 7591,
// section 3), or to whom initial, an initial access token, is known.
func (c *Client) Register(ctx context.Context, s Server, r Registration, initial secret.Text) (Registered, error) {
	if s.Registration == "" {
		return Registered{}, fault.New(fault.Invalid, "registration_missing", "%s does not register clients by itself", name.Clip(s.Issuer, 200)).
			WithFix("register a client in its console, and give its id and secret")
	}
	if err := s.checkRegistration(); err != nil {
		return Registered{}, err
	}
	said := map[string]any{
		"client_name": r.Name, "redirect_uris": []string{r.RedirectURI}, "token_endpoint_auth_method": r.AuthMethod,
		"grant_types": r.GrantTypes, "response_types": []string{oauth.ResponseTypeCode},
	}
	if r.Scope != "" {
		said["scope"] = r.Scope
	}
	if r.KeysURI != "" {
		said["jwks_uri"] = r.KeysURI
	}
	body, err := json.Marshal(said)
	if err != nil {
		return Registered{}, err
	}
	header := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}}
	if !initial.Empty() {
		header.Set("Authorization", "Bearer "+initial.RevealString())
	}
	resp, err := c.Outbound.Do(ctx, outbound.Request{Method: http.MethodPost, URL: s.Registration, Header: header, Body: body, MaxBody: maxDocument, Purpose: "client registration"})
	if err != nil {
		return Registered{}, unreachable(s.Registration, err)
	}
	defer clear(resp.Body)
	made, err := registered(s, resp, r)
	if err != nil && made.URI != "" {
		_ = c.Unregister(ctx, made.URI, made.Token) // it is of no use to anybody, and what is wrong with it is the error
	}
	return made, err
}

// checkRegistration refuses a registration endpoint on a host that is none of
// the server's other ones: what is sent there may open its door.
func (s Server) checkRegistration() error {
	for _, own := range []string{s.Issuer, s.Token, s.Authorization} {
		if sameHost(own, s.Registration) {
			return nil
		}
	}
	return fault.New(fault.Upstream, "discovery_invalid", "%s registers clients at %s, a host that is not its own", name.Clip(s.Issuer, 200), name.Clip(s.Registration, 200)).
		WithFix("register a client in its console, and give its id and secret")
}

// maxClientID and maxManagement bound what a server may make up.
const (
	maxClientID   = 512
	maxManagement = 2000
)

// registered reads the answer to a registration. With an error it returns a
// client only if there is one that should be deleted.
func registered(s Server, resp outbound.Response, asked Registration) (Registered, error) {
	var got struct {
		ClientID     string      `json:"client_id"`
		ClientSecret secret.Text `json:"client_secret"`
		SecretEnds   int64       `json:"client_secret_expires_at"`
		AuthMethod   string      `json:"token_endpoint_auth_method"`
		RedirectURIs []string    `json:"redirect_uris"`
		URI          string      `json:"registration_client_uri"`
		Token        secret.Text `json:"registration_access_token"`
		Error        string      `json:"error"`
		Description  string      `json:"error_description"`
	}
	err := wire.DecodeForeign(resp.Body, &got)
	switch {
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		return Registered{}, fault.New(fault.Upstream, "registration_refused", "%s registers no clients for strangers", name.Clip(s.Issuer, 200)).
			WithFix("give an initial access token of that server, or register a client in its console")
	case resp.Status != http.StatusCreated && resp.Status != http.StatusOK || err != nil || got.ClientID == "" || len(got.ClientID) > maxClientID:
		return Registered{}, fault.New(fault.Upstream, "registration_refused", "%s did not register the client: %d %s %s", name.Clip(s.Issuer, 200), resp.Status,
			name.Clip(oauth.Clean(got.Error, 60), 60), name.Clip(oauth.Clean(got.Description, 200), 200)).WithFix("register a client in its console, and give its id and secret")
	}
	made := Registered{ClientID: got.ClientID, ClientSecret: got.ClientSecret, AuthMethod: asked.AuthMethod}
	if got.AuthMethod != "" {
		made.AuthMethod = got.AuthMethod // the server may decide otherwise (RFC 7591, section 3.2.1)
	}
	if got.SecretEnds > 0 {
		made.SecretEnds = time.Unix(got.SecretEnds, 0).UTC()
	}
	if sameHost(got.URI, s.Registration) && len(got.URI) <= maxManagement && len(got.Token.Reveal()) <= maxManagement {
		made.URI, made.Token = got.URI, got.Token
	}
	switch needsSecret := made.AuthMethod == oauth.ClientSecretBasic || made.AuthMethod == oauth.ClientSecretPost; {
	case made.ClientSecret.Empty() && needsSecret:
		return made, fault.New(fault.Upstream, "registration_refused", "%s registered the client without the secret that it wants", name.Clip(s.Issuer, 200))
	case !needsSecret && made.AuthMethod != oauth.ClientAuthNone && made.AuthMethod != asked.AuthMethod:
		return made, fault.New(fault.Upstream, "registration_refused", "%s registered the client for %q, a way to prove itself that was not asked for", name.Clip(s.Issuer, 200), name.Clip(made.AuthMethod, 60))
	case len(got.RedirectURIs) > 0 && !slices.Equal(got.RedirectURIs, []string{asked.RedirectURI}):
		return made, fault.New(fault.Upstream, "registration_refused", "%s registered the client for another redirect URI than Deputy's callback", name.Clip(s.Issuer, 200)).
			WithFix("whoever answers there would get the codes of your users; register a client in its console, and give its id and secret")
	}
	return made, nil
}

func sameHost(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && u.Host == v.Host && u.Scheme == v.Scheme && u.User == nil
}

// Unregister deletes a client at the address that [Client.Register] returned (RFC
// 7592, section 2.3). It returns a fault of kind Upstream if the server does not
// delete it, for which asking again is of no use.
func (c *Client) Unregister(ctx context.Context, uri string, token secret.Text) error {
	resp, err := c.Outbound.Do(ctx, outbound.Request{
		Method: http.MethodDelete, URL: uri, Header: http.Header{"Authorization": {"Bearer " + token.RevealString()}}, MaxBody: maxDocument, Purpose: "client registration",
	})
	if err != nil {
		return unreachable(uri, err)
	}
	defer clear(resp.Body)
	switch {
	case resp.Status == http.StatusNoContent || resp.Status == http.StatusOK:
		return nil
	case resp.Status >= http.StatusInternalServerError || resp.Status == http.StatusTooManyRequests:
		return fault.New(fault.Unavailable, "registration_kept", "the server did not delete the client now: %d", resp.Status)
	}
	return fault.New(fault.Upstream, "registration_kept", "the server did not delete the client: %d", resp.Status).WithFix("delete it in its console, if it is still there")
}
