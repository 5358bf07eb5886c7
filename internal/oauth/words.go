// Package oauth has the wire words of OAuth 2.0 and OpenID Connect: parameter values, errors, PKCE, redirect addresses and form bodies.
package oauth

// Values of grant_type.
const (
	GrantAuthorizationCode = "authorization_code"                              // RFC 6749, section 4.1.3
	GrantRefreshToken      = "refresh_token"                                   // RFC 6749, section 6
	GrantClientCredentials = "client_credentials"                              // RFC 6749, section 4.4.2
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628, section 3.4
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693, section 2.1
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523, section 2.1
)

// Further parameter values.
const (
	ResponseTypeCode  = "code"   // RFC 6749, section 4.1.1
	ResponseModeQuery = "query"  // OAuth 2.0 Multiple Response Types, section 2.1
	TokenTypeBearer   = "Bearer" // RFC 6750

	TokenTypeAccessToken = "urn:ietf:params:oauth:token-type:access_token" // RFC 8693, section 3
	TokenTypeJWT         = "urn:ietf:params:oauth:token-type:jwt"          // as above

	PromptNone    = "none"    // OpenID Connect Core 1.0, section 3.1.2.1
	PromptLogin   = "login"   // as above
	PromptConsent = "consent" // as above

	ScopeOpenID        = "openid"         // OpenID Connect Core 1.0, section 3.1.2.1
	ScopeProfile       = "profile"        // OpenID Connect Core 1.0, section 5.4
	ScopeEmail         = "email"          // as above
	ScopeOfflineAccess = "offline_access" // OpenID Connect Core 1.0, section 11
)

// How a client proves who it is at the token endpoint (OpenID Connect Core 1.0,
// section 9; RFC 6749, section 2.3.1).
const (
	ClientSecretBasic = "client_secret_basic"
	PrivateKeyJWT     = "private_key_jwt"
	ClientSecretPost  = "client_secret_post"
	ClientAuthNone    = "none"
)

// AssertionJWT is the client_assertion_type of [PrivateKeyJWT] (RFC 7523, section 2.2).
const AssertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// PushedPrefix begins the request_uri of a pushed authorization request (RFC
// 9126, section 2.2).
const PushedPrefix = "urn:ietf:params:oauth:request_uri:"

// Values of error.
const (
	CodeInvalidRequest          = "invalid_request"               // RFC 6749, sections 4.1.2.1 and 5.2
	CodeUnauthorizedClient      = "unauthorized_client"           // as above
	CodeInvalidScope            = "invalid_scope"                 // as above
	CodeAccessDenied            = "access_denied"                 // RFC 6749, section 4.1.2.1
	CodeUnsupportedResponseType = "unsupported_response_type"     // as above
	CodeServerError             = "server_error"                  // as above
	CodeTemporarilyUnavailable  = "temporarily_unavailable"       // as above
	CodeInvalidClient           = "invalid_client"                // RFC 6749, section 5.2
	CodeInvalidGrant            = "invalid_grant"                 // as above
	CodeUnsupportedGrantType    = "unsupported_grant_type"        // as above
	CodeInvalidToken            = "invalid_token"                 // RFC 6750, section 3.1
	CodeInsufficientScope       = "insufficient_scope"            // as above
	CodeLoginRequired           = "login_required"                // OpenID Connect Core 1.0, section 3.1.2.6
	CodeInteractionRequired     = "interaction_required"          // as above
	CodeConsentRequired         = "consent_required"              // as above
	CodeRequestNotSupported     = "request_not_supported"         // as above
	CodeRequestURINotSupported  = "request_uri_not_supported"     // as above
	CodeUnsupportedTokenType    = "unsupported_token_type"        // RFC 7009, section 2.2.1
	CodeInvalidRequestURI       = "invalid_request_uri"           // OpenID Connect Core 1.0, section 3.1.2.6; RFC 9126, section 2
	CodeInvalidRedirectURI      = "invalid_redirect_uri"          // RFC 7591, section 3.2.2
	CodeInvalidClientMetadata   = "invalid_client_metadata"       // as above
	CodeUnapprovedSoftware      = "unapproved_software_statement" // as above
	CodeInvalidTarget           = "invalid_target"                // RFC 8707, section 2
	CodeAuthorizationPending    = "authorization_pending"         // RFC 8628, section 3.5
	CodeSlowDown                = "slow_down"                     // as above
	CodeExpiredToken            = "expired_token"                 // as above
)
