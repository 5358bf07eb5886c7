package deputytest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	s.mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "route_not_found", "there is no such route", "")
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
	answer(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
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
	if bearer(r) != LaunchToken {
		refuse(w, http.StatusUnauthorized, "token_signature", "the launch token is not valid", "launch the agent again")
		return
	}
	if !read(w, r, &in) {
		return
	}
	var u deputy.User
	if in.UserToken != "" {
		u = deputy.User{Issuer: s.URL + "/userpool/test", Subject: in.UserToken} // the fake's user tokens are their subjects
	}
	if in.User != nil {
		u = *in.User
	}
	answer(w, http.StatusOK, map[string]any{
		"token": s.Mint(u).Reveal(), "expiresAt": s.now().Add(15 * time.Minute).UTC().Truncate(time.Second), "workload": Workload,
	})
}

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
	if s.others[in.Agent] == nil {
		refuse(w, http.StatusForbidden, "caller_not_allowed", fmt.Sprintf("default/agent may not call %q", in.Agent), "add it by Server.Agent")
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
	by, ok := s.calls[bearer(r)]
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
	if strings.HasPrefix(in.Provider, "no-such") {
		refuse(w, http.StatusNotFound, "provider_not_found", fmt.Sprintf("there is no credential provider %q", in.Provider), "create it, or correct the name")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[in.Provider]; ok {
		answer(w, http.StatusOK, map[string]any{"status": "ready", "credential": kept})
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
	a := &ask{holding: h, id: fmt.Sprintf("auth_%06d", s.seq), state: "pending", scopes: in.Scopes, expires: s.now().Add(10 * time.Minute)}
	s.asks[a.id] = a
	if s.asked != nil {
		go s.asked(deputy.Authorization{ID: a.id, State: deputy.Pending, Provider: a.provider, Scopes: a.scopes, Expires: a.expires})
	}
	answer(w, http.StatusOK, map[string]any{"status": "authorization_required", "authorization": map[string]any{
		"id": a.id, "state": a.state, "expiresAt": a.expires.UTC(),
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
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) poll(w http.ResponseWriter, r *http.Request) {
	a, ok := s.find(w, r)
	if !ok {
		return
	}
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if r.URL.Query().Has("wait") && (err != nil || wait < 0 || wait > time.Minute) {
		refuse(w, http.StatusBadRequest, "wait_invalid", "wait is not a duration of at most 60s", "")
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
	for last := any(nil); ; {
		state, final, news := s.snapshot(a)
		if state["state"] != last {
			b, _ := json.Marshal(state)
			fmt.Fprintf(w, "event: state\ndata: %s\n\n", b)
			last = state["state"]
		}
		if control.Flush() != nil || final {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]any{"id": a.id, "state": a.state, "provider": a.provider, "scopes": a.scopes, "expiresAt": a.expires.UTC()}
	if a.reason != "" {
		m["reason"], m["message"] = a.reason, a.message
	}
	return m, a.state == "completed" || a.state == "failed" || a.state == "expired", s.news
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
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.wats[bearer(r)]
	if !ok {
		refuse(w, http.StatusUnauthorized, "token_signature", "the token is not valid", "")
	}
	return u, ok
}

func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// read decodes a body as strictly as Deputy does.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "json_invalid", "the body is not the JSON that was expected", "")
		return false
	}
	if _, err := d.Token(); err != io.EOF {
		refuse(w, http.StatusBadRequest, "json_invalid", "there is something after the body", "")
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}

func refuse(w http.ResponseWriter, status int, code, detail, fix string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client went away
		"type": "urn:deputy:error:" + code, "title": http.StatusText(status), "status": status,
		"detail": detail, "code": code, "fix": fix, "requestId": "req_test",
	})
}
