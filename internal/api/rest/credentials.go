package rest

import (
	"net/http"
	"time"

	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
)

type credentialRequest struct {
	Provider string      `json:"provider" example:"feishu_oauth"`
	Scopes   name.Scopes `json:"scopes,omitempty" example:"[\"docx:document:readonly\"]" doc:"The provider's default if left out"`
	Force    bool        `json:"force,omitempty" doc:"Ask the user again, whatever is in the vault"`
	Refused  secret.Text `json:"refused,omitempty" doc:"An access token that the third party refused (401): it is refreshed, even if it should not have expired. The same one comes back if there is no better one"`

	Parameters map[string]string `json:"parameters,omitempty" doc:"Further parameters of the authorization request, such as login_hint; they replace none"`
	ReturnURL  string            `json:"returnUrl,omitempty" doc:"Where the browser goes after the authorization: one of the workload's return URLs"`
	State      secret.Text       `json:"state,omitempty" doc:"Comes back at returnUrl, next to authorization, status and error"`
}

type credentialAnswer struct {
	Status        string             `json:"status" enum:"ready,authorization_required"`
	Credential    *credentialJSON    `json:"credential,omitempty"`
	Authorization *authorizationJSON `json:"authorization,omitempty"`
}

// credentialJSON is a credential; which of the fields it has, its type says.
type credentialJSON struct {
	Type      provider.Type `json:"type" enum:"oauth2,api_key,basic,sts"`
	ExpiresAt *time.Time    `json:"expiresAt,omitempty" doc:"Missing if it does not expire, or the third party does not say"`

	AccessToken string       `json:"accessToken,omitempty" doc:"oauth2"`
	TokenType   string       `json:"tokenType,omitempty" doc:"oauth2"`
	Scopes      *name.Scopes `json:"scopes,omitempty" doc:"oauth2: what it may be used for"`

	APIKey string `json:"apiKey,omitempty" doc:"api_key"`
	Header string `json:"header,omitempty" doc:"api_key: the header that carries it"`
	Prefix string `json:"prefix,omitempty" doc:"api_key: what stands before it there, with its space"`

	Username string `json:"username,omitempty" doc:"basic"`
	Password string `json:"password,omitempty" doc:"basic"`

	Cloud           provider.Cloud `json:"cloud,omitempty" enum:"volcengine,aws" doc:"sts"`
	Region          string         `json:"region,omitempty" doc:"sts"`
	AccessKeyID     string         `json:"accessKeyId,omitempty" doc:"sts"`
	SecretAccessKey string         `json:"secretAccessKey,omitempty" doc:"sts"`
	SessionToken    string         `json:"sessionToken,omitempty" doc:"sts"`
}

func credential(c provider.Credential) *credentialJSON {
	shown := &credentialJSON{Type: c.Type, ExpiresAt: optional(c.Expires)}
	switch c.Type {
	case provider.TypeOAuth2:
		shown.AccessToken, shown.TokenType, shown.Scopes = c.Token.Access.RevealString(), c.Token.Type, &c.Scopes
	case provider.TypeAPIKey:
		shown.APIKey, shown.Header, shown.Prefix = c.Key.Value.RevealString(), c.Key.Header, c.Key.Prefix
	case provider.TypeBasic:
		shown.Username, shown.Password = c.Login.User, c.Login.Password.RevealString()
	case provider.TypeSTS:
		shown.Cloud, shown.Region, shown.AccessKeyID = c.Keys.Cloud, c.Keys.Region, c.Keys.AccessKeyID
		shown.SecretAccessKey, shown.SessionToken = c.Keys.Secret.RevealString(), c.Keys.Session.RevealString()
	}
	return shown
}

type authorizationJSON struct {
	ID        string        `json:"id"`
	State     consent.State `json:"state" enum:"pending,redirected,exchanging,completed,failed,expired"`
	Reason    string        `json:"reason,omitempty"`
	Message   string        `json:"message,omitempty"`
	URL       string        `json:"url,omitempty" doc:"For the user, and only for him"`
	Provider  string        `json:"provider"`
	Scopes    name.Scopes   `json:"scopes"`
	ExpiresAt time.Time     `json:"expiresAt"`
}

func authorization(v consent.Authorization) authorizationJSON {
	return authorizationJSON{ID: v.ID, State: v.State, Reason: v.Reason, Message: v.Message, Provider: v.Provider, Scopes: v.Scopes, ExpiresAt: v.Expires}
}

func (a *API) credential(c *call) (any, error) {
	var in credentialRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Provider == "" {
		return nil, fault.New(fault.Invalid, "provider_missing", "the request names no credential provider").WithSource("provider")
	}
	answer, err := a.Broker.Credential(c.ctx, c.caller, broker.Request{
		Provider: in.Provider, Scopes: in.Scopes, Force: in.Force, Refused: in.Refused, Params: in.Parameters, ReturnURL: in.ReturnURL, State: in.State,
	})
	if err != nil {
		return nil, err
	}
	if answer.Link != nil {
		shown := authorization(answer.Link.Authorization)
		shown.URL = answer.Link.URL.RevealString()
		return credentialAnswer{Status: "authorization_required", Authorization: &shown}, nil
	}
	return credentialAnswer{Status: "ready", Credential: credential(*answer.Credential)}, nil
}

func (a *API) clearCredential(c *call) (any, error) {
	_, err := a.Vault.Clear(c.ctx, c.caller, c.path("provider"))
	return nil, err
}

func (a *API) getAuthorization(c *call) (any, error) {
	wait, err := c.wait()
	if err != nil {
		return nil, err
	}
	v, err := a.Flow.Await(c.ctx, c.caller, c.path("authorization"), wait)
	if err != nil {
		return nil, err
	}
	return authorization(v), nil
}

// followAuthorization sends the state that the authorization has, and each that
// follows, until there is none to follow.
func (a *API) followAuthorization(c *call) (any, error) {
	id := c.path("authorization")
	if _, err := a.Flow.Read(c.ctx, c.caller, id); err != nil {
		return nil, err // while there still is a status to answer with
	}
	s := newStream(c)
	defer s.close()
	if c.r.Method == http.MethodHead { // there is no body to follow
		return streamed, nil
	}
	// An error ends the stream without a terminal state; the client follows anew, or asks.
	_ = a.Flow.Watch(c.ctx, c.caller, id, func(v consent.Authorization) error { return s.event("state", "", authorization(v)) })
	return streamed, nil
}
