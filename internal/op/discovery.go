package op

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/userpool"
)

// metadata is what a pool says about itself: the discovery document (OpenID
// Connect Discovery 1.0, section 3) and the authorization server metadata (RFC
// 8414, section 2) in one, since both ignore what they do not know.
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"` // RFC 8628, section 4
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RevocationMethods     []string `json:"revocation_endpoint_auth_methods_supported"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	ACRValues             []string `json:"acr_values_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	IDTokenAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	PushedEndpoint        string   `json:"pushed_authorization_request_endpoint"`
	RequirePushed         bool     `json:"require_pushed_authorization_requests"` // of all clients
	RegistrationEndpoint  string   `json:"registration_endpoint,omitempty"`
	MetadataDocuments     bool     `json:"client_id_metadata_document_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	Claims                []string `json:"claims_supported"`
	Prompts               []string `json:"prompt_values_supported"`
	ResponseIssuer        bool     `json:"authorization_response_iss_parameter_supported"`
	BackchannelLogout     bool     `json:"backchannel_logout_supported"`
	BackchannelSession    bool     `json:"backchannel_logout_session_supported"`
	ClaimsParameter       bool     `json:"claims_parameter_supported"`
	RequestParameter      bool     `json:"request_parameter_supported"`
	RequestURIParameter   bool     `json:"request_uri_parameter_supported"` // true unless said otherwise
}

// discovery serves the metadata of a pool. It is made of the configured public
// URL alone, never of the Host header.
type discovery struct {
	base
	grants []string // sorted
}

func (e discovery) serve(w http.ResponseWriter, _ *http.Request, pool userpool.Pool) error {
	doc, err := json.Marshal(e.metadata(pool))
	if err != nil {
		return err
	}
	publicJSON(w, "application/json", doc)
	return nil
}

func (e discovery) metadata(pool userpool.Pool) metadata {
	issuer := e.Issuer(pool)
	confidential := []string{oauth.ClientSecretBasic, oauth.ClientSecretPost, oauth.PrivateKeyJWT}
	all := append(slices.Clone(confidential), oauth.ClientAuthNone)
	m := metadata{
		Issuer:                issuer,
		AuthorizationEndpoint: issuer + "/authorize",
		TokenEndpoint:         issuer + "/oauth/token",
		UserinfoEndpoint:      issuer + "/userinfo",
		EndSessionEndpoint:    issuer + "/logout",
		JWKSURI:               issuer + "/keys",
		IntrospectionEndpoint: issuer + "/oauth/introspect",
		IntrospectionMethods:  confidential,
		DeviceEndpoint:        issuer + "/oauth/device_authorization",
		RevocationEndpoint:    issuer + "/oauth/revoke",
		RevocationMethods:     all,
		Scopes:                userpool.KnownScopes(),
		ResponseTypes:         []string{oauth.ResponseTypeCode},
		ResponseModes:         []string{oauth.ResponseModeQuery},
		GrantTypes:            e.grants,
		ACRValues:             []string{userpool.ACRSingle, userpool.ACRMulti},
		SubjectTypes:          []string{"public"},
		IDTokenAlgorithms:     userpool.Algorithms(),
		TokenAuthMethods:      all,
		AuthAlgorithms:        registration.AssertionAlgorithms(),
		PushedEndpoint:        issuer + "/par",
		MetadataDocuments:     pool.Settings.MetadataDocuments,
		ChallengeMethods:      []string{oauth.ChallengeS256},
		Claims: []string{"iss", "sub", "aud", "iat", "exp", "auth_time", "nonce", "at_hash", "acr", "amr", "sid", "name", "preferred_username", "email",
			"email_verified", "phone_number", "groups", "attributes"},
		Prompts:        []string{oauth.PromptNone, oauth.PromptLogin, oauth.PromptConsent, promptSelectAccount},
		ResponseIssuer: true, BackchannelLogout: true, BackchannelSession: true,
	}
	if pool.Settings.DynamicRegistration {
		m.RegistrationEndpoint = issuer + "/register"
	}
	return m
}

// wellKnown are the addresses of the metadata. Those without the pool's path in
// front are where RFC 8414, section 3.1, puts it: between host and path.
func wellKnown() []string {
	return []string{
		"GET /userpool/{pool}/.well-known/openid-configuration",
		"GET /userpool/{pool}/.well-known/oauth-authorization-server",
		"GET /.well-known/oauth-authorization-server/userpool/{pool}",
		"GET /.well-known/openid-configuration/userpool/{pool}",
	}
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
