package feishu

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"net/http"
	"time"
)

func (s *Sandbox) tokenV2(w http.ResponseWriter, r *http.Request) { s.token(w, r, OpTokenV2) }

func (s *Sandbox) tokenV3(w http.ResponseWriter, r *http.Request) { s.token(w, r, OpTokenV3) }

// token is both versions of the token endpoint. They differ in PKCE only: v3
// refuses a code_verifier for a code that was issued without a challenge, v2
// ignores it.
func (s *Sandbox) token(w http.ResponseWriter, r *http.Request, version Operation) {
	params, err := readParams(r)
	ops := []Operation{version}
	switch params["grant_type"] {
	case "authorization_code":
		ops = append(ops, OpExchange)
	case "refresh_token":
		ops = append(ops, OpRefresh)
	}
	refusal, ok := s.begin(r, ops...)
	if !ok {
		return
	}
	if refusal != nil {
		s.refuseOAuth(w, r, ops[len(ops)-1], *refusal)
		return
	}
	if err != nil {
		s.refuseOAuth(w, r, version, Refusal{Code: 20063})
		return
	}
	req, code := newTokenRequest(r, params, version)
	var issued pair
	if code == 0 {
		switch params["grant_type"] {
		case "authorization_code":
			issued, code = s.exchange(req)
		case "refresh_token":
			issued, code = s.rotate(req)
		default:
			code = 20036
		}
	}
	if code != 0 {
		s.refuseOAuth(w, r, ops[len(ops)-1], Refusal{Code: code})
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "tokens issued", slog.String("operation", string(ops[1])),
		slog.String("app", req.clientID), slog.String("scope", issued.scopes.String()))
	if s.knobs.dropDue(ops...) {
		s.log.LogAttrs(r.Context(), slog.LevelInfo, "answer dropped on request", slog.String("operation", string(ops[1])))
		panic(http.ErrAbortHandler)
	}
	s.writeTokens(w, issued)
}

func (s *Sandbox) writeTokens(w http.ResponseWriter, p pair) {
	answer := struct {
		Code             int    `json:"code"`
		AccessToken      string `json:"access_token"`
		ExpiresIn        int64  `json:"expires_in"`
		RefreshToken     string `json:"refresh_token,omitempty"`
		RefreshExpiresIn int64  `json:"refresh_token_expires_in,omitempty"`
		Scope            string `json:"scope"`
		TokenType        string `json:"token_type"`
	}{
		AccessToken: p.access, ExpiresIn: int64(p.life / time.Second),
		Scope: p.scopes.String(), TokenType: "Bearer",
	}
	if p.refresh != "" {
		answer.RefreshToken = p.refresh
		answer.RefreshExpiresIn = int64(RefreshLifetime / time.Second)
	}
	s.writeJSON(w, http.StatusOK, answer)
}

// tokenRequest is a token request whose parameters are all there.
type tokenRequest struct {
	version      Operation
	clientID     string
	clientSecret string
	credential   string // the code or the refresh token
	redirectURI  string
	verifier     string
	narrowed     scopeSet // nil when scope was not sent
	duplicates   bool     // in scope
}

// newTokenRequest returns the request, or the code of what is missing.
func newTokenRequest(r *http.Request, params map[string]string, version Operation) (tokenRequest, int) {
	req := tokenRequest{
		version:  version,
		clientID: params["client_id"], clientSecret: params["client_secret"],
		redirectURI: params["redirect_uri"], verifier: params["code_verifier"],
	}
	if id, secret, ok := r.BasicAuth(); ok {
		if req.clientSecret != "" {
			return req, 20070
		}
		req.clientID, req.clientSecret = id, secret
	}
	switch params["grant_type"] {
	case "authorization_code":
		req.credential = params["code"]
	case "refresh_token":
		req.credential = params["refresh_token"]
	case "":
		return req, 20001
	default:
		return req, 20036
	}
	if req.clientID == "" || req.clientSecret == "" || req.credential == "" {
		return req, 20001
	}
	if params["scope"] != "" {
		req.narrowed, req.duplicates = parseScopes(params["scope"])
	}
	return req, 0
}

// authenticate checks the app's secret and that the credential is the app's own.
func (s *Sandbox) authenticate(req tokenRequest, issuedTo string) int {
	app, ok := s.apps[req.clientID]
	switch {
	case !ok:
		return 20048
	case !equalSecrets(app.Secret, req.clientSecret):
		return 20002
	case issuedTo != req.clientID:
		return 20024
	}
	return 0
}

// checkScope says what is wrong with narrowing to req.narrowed.
func checkScope(req tokenRequest, agreed scopeSet) int {
	switch {
	case req.duplicates:
		return 20067
	case !req.narrowed.within(agreed):
		return 20068
	}
	return 0
}

// exchange redeems a code. A request that is refused leaves the code as it was:
// it is spent by success only.
func (s *Sandbox) exchange(req tokenRequest) (pair, int) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c, ok := s.state.codes.items[req.credential]
	if !ok {
		return pair{}, 20003
	}
	if code := s.authenticate(req, c.app); code != 0 {
		return pair{}, code
	}
	switch {
	case c.used:
		return pair{}, 20065
	case !s.now().Before(c.expires):
		return pair{}, 20004
	// Feishu lets clients leave redirect_uri out of the token request.
	case req.redirectURI != "" && req.redirectURI != c.redirectURI:
		return pair{}, 20071
	case !s.verifyPKCE(req, c.challenge):
		return pair{}, 20049
	}
	if code := checkScope(req, c.scopes); code != 0 {
		return pair{}, code
	}
	c.used = true
	return s.state.issue(c.app, c.user, c.scopes, req.narrowed, s.now(), s.knobs.life()), 0
}

// verifyPKCE implements RFC 7636 section 4.6 for S256, the only method here.
func (s *Sandbox) verifyPKCE(req tokenRequest, challenge string) bool {
	if challenge == "" {
		return req.verifier == "" || req.version == OpTokenV2
	}
	if s.refusePKCEAtV3 && req.version == OpTokenV3 {
		return false
	}
	if len(req.verifier) < 43 || len(req.verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(req.verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// rotate spends a refresh token. The access token that came with it lives on
// until it expires, unless a test asked for KillOnRotate.
func (s *Sandbox) rotate(req tokenRequest) (pair, int) {
	kill := s.knobs.kills()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	old, ok := s.state.refreshs.items[req.credential]
	if !ok {
		return pair{}, 20026
	}
	if code := s.authenticate(req, old.app); code != 0 {
		return pair{}, code
	}
	switch {
	case old.revoked:
		return pair{}, 20064
	case old.used:
		return pair{}, 20073
	case !s.now().Before(old.expires):
		return pair{}, 20037
	}
	if code := checkScope(req, old.scopes); code != 0 {
		return pair{}, code
	}
	old.used = true
	if kill {
		old.access.dead = true
	}
	return s.state.issue(old.app, old.user, old.scopes, req.narrowed, s.now(), s.knobs.life()), 0
}

// equalSecrets compares in time that depends on neither value.
func equalSecrets(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
