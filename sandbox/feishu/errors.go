package feishu

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// oauthCode is one row of the token endpoint's error table.
type oauthCode struct {
	status      int
	err         string // RFC 6749 section 5.2
	description string
}

// oauthCodes are the token endpoint's errors, by Feishu's number.
var oauthCodes = map[int]oauthCode{
	20001: {400, "invalid_request", "The request is missing a required parameter."},
	20002: {400, "invalid_client", "The client secret is invalid."},
	20003: {400, "invalid_grant", "The authorization code is not found. Please note that an authorization code can only be used once."},
	20004: {400, "invalid_grant", "The authorization code has expired."},
	20008: {400, "invalid_grant", "The user does not exist."},
	20009: {400, "invalid_client", "The specified app is not installed."},
	20010: {400, "invalid_grant", "The user does not have permission to use this app."},
	20024: {400, "invalid_grant", "The provided authorization code or refresh token does not match the provided client ID."},
	20026: {400, "invalid_grant", "The refresh token passed is invalid. Please check the value."},
	20036: {400, "unsupported_grant_type", "The specified grant_type is not supported."},
	20037: {400, "invalid_grant", "The refresh token passed has expired. Please generate a new one."},
	20048: {400, "invalid_client", "The specified app does not exist."},
	20049: {400, "invalid_grant", "PKCE code challenge failed."},
	20050: {500, "server_error", "An unexpected server error occurred. Please retry your request."},
	20063: {400, "invalid_request", "The request is malformed. Please check your request."},
	20064: {400, "invalid_grant", "The refresh token has been revoked. Please note that a refresh token can only be used once."},
	20065: {400, "invalid_grant", "The authorization code has been used. Please note that an authorization code can only be used once."},
	20066: {400, "invalid_grant", "The user status is invalid."},
	20067: {400, "invalid_scope", "The provided scope list contains duplicate scopes. Please ensure all scopes are unique."},
	20068: {400, "invalid_scope", "The provided scope list contains scopes that are not permitted. Please ensure all scopes are allowed."},
	20069: {400, "unauthorized_client", "The specified app is not enabled."},
	20070: {400, "invalid_request", "Multiple authentication methods were provided. Please only use one to proceed."},
	20071: {400, "invalid_grant", "The provided redirect URI does not match the one used during authorization."},
	20072: {503, "temporarily_unavailable", "The server is temporarily unavailable. Please retry your request."},
	20073: {400, "invalid_grant", "The refresh token has been used. Please note that a refresh token can only be used once."},
	20074: {400, "unauthorized_client", "The specified app is not allowed to refresh token."},
}

// apiCode is one row of the API's error table.
type apiCode struct {
	status int
	msg    string
}

// apiCodes are the errors of everything else, by Feishu's number.
var apiCodes = map[int]apiCode{
	10003:    {400, "invalid param"},
	10014:    {400, "app secret invalid"},
	1770002:  {404, "not found"},
	1770032:  {403, "forBidden"}, // spelled so by the live service
	99991400: {429, "request trigger frequency limit"},
	99991661: {400, "Missing access token for authorization. Please make a request with token attached."},
	99991663: {400, "Invalid access token for authorization. Please make a request with token attached."},
	99991668: {400, "Invalid access token for authorization. Please make a request with token attached."},
	99991672: {400, "Access denied."},
	99991677: {400, "Authentication token expired"},
	99991679: {400, "Unauthorized. You do not have permission to perform the requested operation on the resource. " +
		"Please request user re-authorization and try again. required one of these privileges under the user identity: "},
}

// refuseOAuth answers a token request with an error.
func (s *Sandbox) refuseOAuth(w http.ResponseWriter, r *http.Request, op Operation, refusal Refusal) {
	row, ok := oauthCodes[refusal.Code]
	if !ok {
		row = oauthCode{http.StatusBadRequest, "invalid_request", "Refused by the sandbox."}
	}
	if refusal.Status != 0 {
		row.status = refusal.Status
	}
	if refusal.Error != "" {
		row.err = refusal.Error
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "token request refused", slog.String("operation", string(op)), slog.Int("code", refusal.Code))
	s.writeJSON(w, row.status, struct {
		Code        int    `json:"code"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{refusal.Code, row.err, row.description})
}

// violation names a scope that would have helped.
type violation struct {
	Subject string `json:"subject"`
}

// apiDetail is the "error" object of an API error.
type apiDetail struct {
	LogID      string      `json:"log_id"`
	Violations []violation `json:"permission_violations,omitempty"`
}

// refuseAPI answers an API request with an error. wanted are the scopes any one
// of which would have been enough, for 99991679.
func (s *Sandbox) refuseAPI(w http.ResponseWriter, r *http.Request, op Operation, refusal Refusal, wanted ...string) {
	row, ok := apiCodes[refusal.Code]
	if !ok {
		row = apiCode{http.StatusBadRequest, "refused by the sandbox"}
	}
	if refusal.Status != 0 {
		row.status = refusal.Status
	}
	detail := apiDetail{LogID: logID(s.now())}
	if refusal.Code == 99991679 {
		row.msg += "[" + strings.Join(wanted, ", ") + "]"
		for _, scope := range wanted {
			detail.Violations = append(detail.Violations, violation{scope})
		}
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "api request refused", slog.String("operation", string(op)),
		slog.Int("code", refusal.Code), slog.String("log_id", detail.LogID))
	w.Header().Set("X-Tt-Logid", detail.LogID)
	s.writeJSON(w, row.status, struct {
		Code   int       `json:"code"`
		Msg    string    `json:"msg"`
		Detail apiDetail `json:"error"`
	}{refusal.Code, row.msg, detail})
}

func (s *Sandbox) writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("X-Tt-Logid") == "" {
		h.Set("X-Tt-Logid", logID(s.now()))
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // Feishu does not escape; documents contain & and <
	if err := enc.Encode(v); err != nil {
		s.log.Debug("client went away", "error", err)
	}
}

// logID looks like the one in Feishu's X-Tt-Logid header.
func logID(now time.Time) string {
	b := make([]byte, 9)
	rand.Read(b)
	return now.UTC().Format("20060102150405") + strings.ToUpper(hex.EncodeToString(b))
}
