package op

import (
	"encoding/json"
	"net/http"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// metadata is the discovery document (OpenID Connect Discovery 1.0, section 3).
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	IDTokenAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	Claims                []string `json:"claims_supported"`
	Prompts               []string `json:"prompt_values_supported"`
	ResponseIssuer        bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter       bool     `json:"claims_parameter_supported"`
	RequestParameter      bool     `json:"request_parameter_supported"`
	RequestURIParameter   bool     `json:"request_uri_parameter_supported"` // true unless said otherwise
}

// discovery serves the discovery document of a pool. It is made of the
// configured public URL alone, never of the Host header.
type discovery struct{ base }

func (e discovery) serve(w http.ResponseWriter, _ *http.Request, pool userpool.Pool) error {
	issuer := e.Issuer(pool)
	doc, err := json.Marshal(metadata{
		Issuer:                issuer,
		AuthorizationEndpoint: issuer + "/authorize",
		TokenEndpoint:         issuer + "/oauth/token",
		UserinfoEndpoint:      issuer + "/userinfo",
		EndSessionEndpoint:    issuer + "/logout",
		JWKSURI:               issuer + "/keys",
		Scopes:                userpool.KnownScopes(),
		ResponseTypes:         []string{oauth.ResponseTypeCode},
		ResponseModes:         []string{oauth.ResponseModeQuery},
		GrantTypes:            []string{oauth.GrantAuthorizationCode},
		SubjectTypes:          []string{"public"},
		IDTokenAlgorithms:     []string{jwt.ES256},
		TokenAuthMethods:      []string{oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.ClientAuthNone},
		ChallengeMethods:      []string{oauth.ChallengeS256},
		Claims: []string{"iss", "sub", "aud", "iat", "exp", "auth_time", "nonce", "at_hash", "name", "preferred_username", "email",
			"email_verified", "phone_number"},
		Prompts:        []string{oauth.PromptNone, oauth.PromptLogin, oauth.PromptConsent, promptSelectAccount},
		ResponseIssuer: true,
	})
	if err != nil {
		return err
	}
	publicJSON(w, "application/json", doc)
	return nil
}

// publicJSON answers with a document that anybody may read, from any origin,
// and keep for a while.
func publicJSON(w http.ResponseWriter, mediaType string, doc []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(doc) // a client that went away is not our error
}
