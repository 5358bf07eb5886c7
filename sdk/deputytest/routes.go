package deputytest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

const heartbeat = 15 * time.Second

func (s *Server) routes() {
	s.mux.HandleFunc("GET /.well-known/jwks.json", s.keys)
	s.mux.HandleFunc("POST /api/v1/workload-tokens", s.workloadToken)
	s.mux.HandleFunc("POST /api/v1/call-tokens", s.callToken)
	s.mux.HandleFunc("POST /agents/default/{agent}/invoke", s.callAgent)
	s.mux.HandleFunc("POST /api/v1/credentials", s.credential)
	s.mux.HandleFunc("DELETE /api/v1/credentials/{provider}", s.clear)
	s.mux.HandleFunc("GET /api/v1/authorizations/{id}", s.poll)
	s.mux.HandleFunc("GET /api/v1/authorizations/{id}/events", s.events)
	for path, method := range map[string]string{
		"/api/v1/workload-tokens": "POST", "/api/v1/call-tokens": "POST", "/api/v1/credentials": "POST", "/api/v1/credentials/{provider}": "DELETE",
		"/api/v1/authorizations/{id}": "GET", "/api/v1/authorizations/{id}/events": "GET",
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", method)
			refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "the endpoint has no such method", "")
		})
	}
	s.mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "endpoint_not_found", "there is no such endpoint", "")
	})
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		panic(err) // the key is ours and good
	}
	b64 := base64.RawURLEncoding
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{{ // the client went away
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": s.kid,
		"x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:]),
	}}})
}

func (s *Server) workloadToken(w http.ResponseWriter, r *http.Request) {
	var in struct {
		UserToken string       `json:"userToken"`
		User      *deputy.User `json:"user"`
		Binding   string       `json:"binding"`
	}
	switch token, ok := bearer(w, r); {
	case !ok:
		return
	case token != LaunchToken:
		refuseToken(w, "proof_unknown", "the launch token is not valid", "launch the agent again")
		return
	}
	if !read(w, r, &in) {
		return
	}
	var u deputy.User
	switch {
	case in.User != nil && (in.User.Issuer == "" || in.User.Subject == ""):
		refuse(w, http.StatusBadRequest, "user_invalid", "the user has no issuer or no subject", "")
		return
	case in.User != nil:
		u = *in.User
	case in.UserToken != "":
		var ok bool
		if u, ok = s.proven(w, in.UserToken); !ok {
			return
		}
	}
	made := map[string]any{
		"token": s.Mint(u).Reveal(), "expiresAt": s.now().Add(15 * time.Minute).UTC().Truncate(time.Second), "workload": Workload,
	}
	if u != (deputy.User{}) {
		made["user"] = map[string]string{"issuer": u.Issuer, "subject": u.Subject}
	}
	answer(w, http.StatusOK, made)
}

// proven returns whom one of [Server.UserToken] proves; of any other it has
// answered that it proves nothing.
func (s *Server) proven(w http.ResponseWriter, token string) (deputy.User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.users[token]
	code := "token_signature"
	switch {
	case ok && s.now().Before(user.expires):
		return user.user, true
	case ok:
		code = "token_expired"
	case strings.Count(token, ".") != 2:
		code = "token_malformed"
	}
	challenge(w, code)
	problem(w, http.StatusUnauthorized, map[string]any{"code": code, "detail": "the user's token is not valid", "source": "userToken"})
	return deputy.User{}, false
}

var agentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// callToken lets the agent under test call the others that there are.
func (s *Server) callToken(w http.ResponseWriter, r *http.Request) {
	u, ok := s.caller(w, r)
	if !ok {
		return
	}
	var in struct {
		Agent string `json:"agent"`
	}
	if !read(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !agentName.MatchString(in.Agent):
		refuse(w, http.StatusBadRequest, "name_invalid", "that is no agent's name", "")
		return
	case u == (deputy.User{}):
		refuse(w, http.StatusForbidden, "user_required", "there is no user to call for", "")
		return
	case strings.HasSuffix(Workload, "/"+in.Agent):
		refuse(w, http.StatusForbidden, "caller_not_allowed", "an agent does not call itself", "")
		return
	case s.others[in.Agent] == nil:
		refuse(w, http.StatusNotFound, "workload_not_found", fmt.Sprintf("there is no agent %q", in.Agent), "add it by Server.Agent")
		return
	}
	token := "call-" + rand.Text()
	s.calls[token] = call{in.Agent, u}
	answer(w, http.StatusOK, map[string]any{
		"token": token, "expiresAt": s.now().Add(2 * time.Minute).UTC().Truncate(time.Second), "url": s.URL + "/agents/default/" + in.Agent,
	})
}

// callAgent is the ingress before another agent.
func (s *Server) callAgent(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	by, ok := s.calls[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	other := s.others[by.agent]
	s.mu.Unlock()
	if !ok || by.agent != r.PathValue("agent") {
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]string{"message": "the call token is not valid", "code": "token_signature"}})
		return
	}
	r.Header.Del("Authorization")
	r.Header.Set("user_id", by.user.Subject)
	other.ServeHTTP(w, r)
}

func (s *Server) credential(w http.ResponseWriter, r *http.Request) {
	u, ok := s.caller(w, r)
	if !ok {
		return
	}
	var in struct {
		Provider string   `json:"provider"`
		Scopes   []string `json:"scopes"`
		Force    bool     `json:"force"`
		Refused  string   `json:"refused"`
	}
	if !read(w, r, &in) {
		return
	}
	switch {
	case in.Provider == "":
		refuse(w, http.StatusBadRequest, "provider_missing", "no credential provider is named", "")
		return
	case strings.HasPrefix(in.Provider, "no-such"):
		refuse(w, http.StatusNotFound, "provider_not_found", fmt.Sprintf("there is no credential provider %q", in.Provider), "create it, or correct the name")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[in.Provider]; ok {
		if len(in.Scopes) > 0 && kept["type"] != "oauth2" {
			refuse(w, http.StatusBadRequest, "scopes_not_for_type", "credentials of this type have no scopes", "")
			return
		}
		answer(w, http.StatusOK, map[string]any{"status": "ready", "credential": kept})
		return
	}
	if u == (deputy.User{}) {
		refuse(w, http.StatusForbidden, "user_required", "there is no user whose credential it could be", "")
		return
	}
	h := holding{u, in.Provider}
	if s.renewing[h] && in.Refused == s.held[h] {
		delete(s.renewing, h)
		s.grant(h)
	}
	if token, ok := s.held[h]; ok && !in.Force {
		answer(w, http.StatusOK, map[string]any{"status": "ready", "credential": map[string]any{
			"type": "oauth2", "accessToken": token, "tokenType": "Bearer", "scopes": in.Scopes,
			"expiresAt": s.now().Add(2 * time.Hour).UTC().Truncate(time.Second),
		}})
		return
	}
	s.seq++
	a := &ask{holding: h, id: fmt.Sprintf("auth_%06d", s.seq), scopes: in.Scopes, expires: s.now().Add(10 * time.Minute)}
	a.reach("pending", "", "")
	s.asks[a.id] = a
	if s.asked != nil {
		go s.asked(deputy.Authorization{ID: a.id, State: deputy.Pending, Provider: a.provider, Scopes: a.scopes, Expires: a.expires})
	}
	answer(w, http.StatusOK, map[string]any{"status": "authorization_required", "authorization": map[string]any{
		"id": a.id, "state": a.state, "expiresAt": a.expires.UTC(), "provider": a.provider, "scopes": a.scopes,
		"url": s.URL + "/authorize?request_uri=urn:deputy:authorization:" + a.id,
	}})
}

func (s *Server) clear(w http.ResponseWriter, r *http.Request) {
	u, ok := s.caller(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, holding{u, r.PathValue("provider")})
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) poll(w http.ResponseWriter, r *http.Request) {
	a, ok := s.find(w, r)
	if !ok {
		return
	}
	query := r.URL.Query()
	wait, err := time.ParseDuration(query.Get("wait"))
	switch has := query.Has("wait"); {
	case has && len(query) > 1, !has && len(query) > 0:
		refuse(w, http.StatusBadRequest, "parameter_unknown", "there is a query parameter that is not known here", "")
		return
	case has && (err != nil || wait < 0 || wait > time.Minute):
		refuse(w, http.StatusBadRequest, "parameter_invalid", "wait is not a duration of at most 60s", "")
		return
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		state, final, news := s.snapshot(a)
		if final || wait == 0 {
			answer(w, http.StatusOK, state)
			return
		}
		select {
		case <-news:
		case <-over.C:
			wait = 0
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	a, ok := s.find(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for told := 0; ; {
		states, news := s.reached(a, told)
		for _, state := range states {
			b, _ := json.Marshal(state)
			fmt.Fprintf(w, "event: state\ndata: %s\n\n", b)
		}
		told += len(states)
		if control.Flush() != nil || len(states) > 0 && final(states[len(states)-1]) {
			return
		}
		select {
		case <-news:
		case <-beat.C:
			fmt.Fprint(w, ": heartbeat\n\n")
		case <-r.Context().Done():
			return
		}
	}
}

// snapshot returns a as it travels, whether that is final, and the channel that
// is closed at the next change.
func (s *Server) snapshot(a *ask) (map[string]any, bool, <-chan struct{}) {
	states, news := s.reached(a, 0)
	last := states[len(states)-1]
	return last, final(last), news
}

// reached returns what a has been, as it travels, behind the first so many states,
// and the channel that is closed at the next change. Whoever follows misses none.
func (s *Server) reached(a *ask, behind int) ([]map[string]any, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(a.states[behind:]), s.news
}

func final(state map[string]any) bool {
	return state["state"] == "completed" || state["state"] == "failed" || state["state"] == "expired"
}

// find returns the authorization of the path, if it is the caller's.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (*ask, bool) {
	u, ok := s.caller(w, r)
	if !ok {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asks[r.PathValue("id")]
	if a == nil || a.user != u {
		refuse(w, http.StatusNotFound, "authorization_not_found", "there is no such authorization", "")
		return nil, false
	}
	return a, true
}

func (s *Server) caller(w http.ResponseWriter, r *http.Request) (deputy.User, bool) {
	token, ok := bearer(w, r)
	if !ok {
		return deputy.User{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch wat, ok := s.wats[token]; {
	case ok && s.now().Before(wat.expires):
		return wat.user, true
	case ok:
		refuseToken(w, "token_expired", "the token expired at "+wat.expires.UTC().Format(time.RFC3339), "get a fresh one")
	case strings.HasPrefix(token, LaunchToken):
		refuseToken(w, "token_type", "this is a launch token, and not a workload access token", "")
	case strings.Count(token, ".") != 2:
		refuseToken(w, "token_malformed", "the token is not a JWT", "")
	default:
		refuseToken(w, "token_signature", "the token is not valid", "")
	}
	return deputy.User{}, false
}

// bearer returns the request's bearer token; without one it has answered.
func bearer(w http.ResponseWriter, r *http.Request) (string, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="deputy"`)
		refuse(w, http.StatusUnauthorized, "token_missing", "the request has no bearer token", "")
	}
	return token, ok
}

func refuseToken(w http.ResponseWriter, code, detail, fix string) {
	challenge(w, code)
	refuse(w, http.StatusUnauthorized, code, detail, fix)
}

func challenge(w http.ResponseWriter, code string) {
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="deputy", error="invalid_token", error_description=%q`, code))
}

// read decodes a body as strictly as Deputy does.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "content_type_unsupported", "the body is not application/json", "")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("there is something after the body")
		}
	}
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "json_too_large", "the body is too large", "")
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		refuse(w, http.StatusBadRequest, "json_unknown_field", err.Error(), "")
	default:
		refuse(w, http.StatusBadRequest, "json_invalid", "the body is not the JSON that was expected", "")
	}
	return false
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}

func refuse(w http.ResponseWriter, status int, code, detail, fix string) {
	problem(w, status, map[string]any{"code": code, "detail": detail, "fix": fix})
}

// problem answers with p, and with what every problem has.
func problem(w http.ResponseWriter, status int, p map[string]any) {
	p["type"], p["title"], p["status"], p["requestId"] = fmt.Sprintf("urn:deputy:error:%v", p["code"]), http.StatusText(status), status, "req_test"
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) // the client went away
}
