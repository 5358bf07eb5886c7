package discovery

import (
	"context"
	"encoding/json"
	"net/http"
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
}

// Register makes a client at a server that lets anybody do so (RFC 7591,
// section 3), or to whom initial, an initial access token, is known.
func (c *Client) Register(ctx context.Context, s Server, r Registration, initial secret.Text) (Registered, error) {
	if s.Registration == "" {
		return Registered{}, fault.New(fault.Invalid, "registration_missing", "%s does not register clients by itself", name.Clip(s.Issuer, 200)).
			WithFix("register a client in its console, and give its id and secret")
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
	return registered(s, resp, r.AuthMethod)
}

func registered(s Server, resp outbound.Response, method string) (Registered, error) {
	var got struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		SecretEnds   int64  `json:"client_secret_expires_at"`
		AuthMethod   string `json:"token_endpoint_auth_method"`
		Error        string `json:"error"`
		Description  string `json:"error_description"`
	}
	err := wire.DecodeForeign(resp.Body, &got)
	switch {
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		return Registered{}, fault.New(fault.Upstream, "registration_refused", "%s registers no clients for strangers", name.Clip(s.Issuer, 200)).
			WithFix("give an initial access token of that server, or register a client in its console")
	case resp.Status != http.StatusCreated && resp.Status != http.StatusOK || err != nil || got.ClientID == "" || len(got.ClientID) > 512:
		return Registered{}, fault.New(fault.Upstream, "registration_refused", "%s did not register the client: %d %s %s", name.Clip(s.Issuer, 200), resp.Status,
			name.Clip(oauth.Clean(got.Error, 60), 60), name.Clip(oauth.Clean(got.Description, 200), 200)).WithFix("register a client in its console, and give its id and secret")
	}
	if got.AuthMethod != "" {
		method = got.AuthMethod // the server may decide otherwise (RFC 7591, section 3.2.1)
	}
	made := Registered{ClientID: got.ClientID, ClientSecret: secret.FromString(got.ClientSecret), AuthMethod: method}
	if got.SecretEnds > 0 {
		made.SecretEnds = time.Unix(got.SecretEnds, 0).UTC()
	}
	if made.ClientSecret.Empty() && (method == oauth.ClientSecretBasic || method == oauth.ClientSecretPost) {
		return Registered{}, fault.New(fault.Upstream, "registration_refused", "%s registered the client without the secret that it wants", name.Clip(s.Issuer, 200))
	}
	return made, nil
}
