package deputy

import (
	"context"
	"net/http"
	"time"
)

// AccessToken is what requests to a third party carry: one user's access token,
// or the API key or password that an operator gave Deputy.
type AccessToken struct {
	Type    string    // "Bearer", as the third party says it; "Basic" for a password; empty for an API key
	Value   Secret    // the token, key or password
	User    string    // the user name that belongs to a password
	Header  string    // that carries it: "Authorization", unless an API key's operator said otherwise
	Prefix  string    // stands before an API key in that header, with its space
	Expires time.Time // zero when it does not expire, or the third party did not say
	Scopes  []string
}

// put puts the token on a request.
func (t AccessToken) put(r *http.Request) {
	switch {
	case t.Type == "Basic":
		r.SetBasicAuth(t.User, t.Value.Reveal())
	case t.Type != "":
		r.Header.Set("Authorization", t.Type+" "+t.Value.Reveal())
	default:
		r.Header.Set(t.Header, t.Prefix+t.Value.Reveal())
	}
}

// Keys are temporary keys of a cloud, as its own SDK takes them.
type Keys struct {
	Cloud           string // "volcengine", "aws"
	Region          string // where the operator has what the keys are for; may be empty
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret
	Expires         time.Time
}

// credentialAnswer is Deputy's answer to a request for a credential.
type credentialAnswer struct {
	Status        string          `json:"status"`
	Credential    *credentialJSON `json:"credential"`
	Authorization *Authorization  `json:"authorization"`
}

type credentialJSON struct {
	Type    string    `json:"type"`
	Expires time.Time `json:"expiresAt"`

	Access Secret   `json:"accessToken"`
	Kind   string   `json:"tokenType"`
	Scopes []string `json:"scopes"`

	APIKey Secret `json:"apiKey"`
	Header string `json:"header"`
	Prefix string `json:"prefix"`

	Username string `json:"username"`
	Password Secret `json:"password"`

	Cloud           string `json:"cloud"`
	Region          string `json:"region"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey Secret `json:"secretAccessKey"`
	SessionToken    Secret `json:"sessionToken"`
}

// token returns what of a credential a request can carry.
func (j *credentialJSON) token() (AccessToken, error) {
	t := AccessToken{Header: "Authorization", Expires: j.Expires}
	switch j.Type {
	case "oauth2":
		if t.Type, t.Value, t.Scopes = j.Kind, j.Access, j.Scopes; t.Type == "" {
			t.Type = "Bearer"
		}
	case "api_key":
		t.Value, t.Header, t.Prefix = j.APIKey, j.Header, j.Prefix
	case "basic":
		t.Type, t.User, t.Value = "Basic", j.Username, j.Password
	case "sts":
		return t, &Error{Code: "credential_type", Message: "the provider gives keys to sign with, and no header carries them", Fix: "ask for them with Keys"}
	}
	if t.Value.Empty() || t.Header == "" {
		return t, refuse("answer_malformed", "Deputy answered with a credential of which nothing is known")
	}
	return t, nil
}

// ask asks for a credential: one, or a link, is in the answer.
func (c *Client) ask(ctx context.Context, wat Secret, cred Credential, force bool, refused Secret) (credentialAnswer, error) {
	request := struct {
		Provider string   `json:"provider"`
		Scopes   []string `json:"scopes,omitempty"`
		Force    bool     `json:"force,omitempty"`
		Refused  string   `json:"refused,omitempty"`
	}{cred.Provider, cred.Scopes, force, refused.Reveal()}
	var answer credentialAnswer
	err := c.call(ctx, http.MethodPost, "/credentials", wat, request, &answer)
	return answer, err
}

// Token returns the access token that the user and the workload of wat may use
// for a provider, or the API key or password that the provider gives to the
// workload. When the user has to be asked first, the error is a
// [*ConsentRequired] with the link; [Client.Wait] waits for the outcome. With
// force, a token that Deputy holds is ignored and the user is asked anew.
func (c *Client) Token(ctx context.Context, wat Secret, cred Credential, force bool) (AccessToken, error) {
	return c.token(ctx, wat, cred, force, Secret{})
}

// Replacement is Token for a caller who was refused a token by the third party:
// Deputy refreshes it, even if it should not have expired. The same token comes
// back when there is no better one.
func (c *Client) Replacement(ctx context.Context, wat Secret, cred Credential, refused AccessToken) (AccessToken, error) {
	return c.token(ctx, wat, cred, false, refused.Value)
}

func (c *Client) token(ctx context.Context, wat Secret, cred Credential, force bool, refused Secret) (AccessToken, error) {
	answer, err := c.ask(ctx, wat, cred, force, refused)
	if err != nil {
		return AccessToken{}, err
	}
	switch got, need := answer.Credential, answer.Authorization; {
	case answer.Status == "ready" && got != nil:
		return got.token()
	case answer.Status == "authorization_required" && need != nil && need.ID != "" && isWebURL(need.URL):
		if need.Provider == "" {
			need.Provider = cred.Provider
		}
		return AccessToken{}, &ConsentRequired{*need}
	}
	return AccessToken{}, refuse("answer_malformed", "Deputy answered neither with a credential nor with a link")
}

// Keys returns temporary keys from the provider of that name, of type sts, for
// the workload of wat. No user is asked. Deputy keeps them until shortly before
// they expire; a caller should ask again rather than keep them himself.
func (c *Client) Keys(ctx context.Context, wat Secret, provider string) (Keys, error) {
	answer, err := c.ask(ctx, wat, Credential{Provider: provider}, false, Secret{})
	if err != nil {
		return Keys{}, err
	}
	got := answer.Credential
	switch {
	case answer.Status != "ready" || got == nil || got.Type != "sts":
		return Keys{}, &Error{Code: "credential_type", Message: "the provider " + provider + " does not give keys to sign with", Fix: "ask for its credential with Token"}
	case got.AccessKeyID == "" || got.SecretAccessKey.Empty() || got.SessionToken.Empty():
		return Keys{}, refuse("answer_malformed", "Deputy answered with keys that are none")
	}
	return Keys{got.Cloud, got.Region, got.AccessKeyID, got.SecretAccessKey, got.SessionToken, got.Expires}, nil
}
