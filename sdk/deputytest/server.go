// Package deputytest is a Deputy for the tests of agents: users, consent and failures at the call of a method.
//
// It answers what an agent asks of the real one, over HTTP, with the same
// words, and keeps everything in memory:
//
//	d := deputytest.Start(t)
//	agent := &deputy.Agent{Deputy: d.Client(), …}
//	…
//	req.Header.Set("WorkloadAccessToken", d.Mint(alice).Reveal())
//
// or, without HTTP in between,
//
//	answer, err := d.Invoke(agent, alice, "What is on today?")
//
// The user's part is played by [Server.Grant], [Server.WhenAsked], [Server.Agree],
// [Server.Decline] and [Server.Expire].
package deputytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

// Workload is the SPIFFE ID of the agent under test.
const Workload = "spiffe://deputy.test/default/agent"

// LaunchToken is the launch token that [Server] believes.
const LaunchToken = "launch-token-of-the-agent-under-test"

// Server is the fake. It is an [http.Handler]; [Start] serves it on loopback.
type Server struct {
	URL string           // where it is reachable; the issuer of its tokens
	Now func() time.Time // nil: time.Now

	mux      *http.ServeMux
	mu       sync.Mutex
	key      *ecdsa.PrivateKey
	kid      string
	wats     map[string]minted            // by token
	users    map[string]minted            // by token of their own
	held     map[holding]string           // access tokens
	kept     map[string]map[string]string // credentials that need no user, by provider
	renewing map[holding]bool             // whose tokens can be refreshed
	asks     map[string]*ask              // by authorization id
	news     chan struct{}                // closed and replaced at every change
	seq      int
	others   map[string]http.Handler // agents, by name
	calls    map[string]call         // by call token
	log      []string
	fail     func(*http.Request) int
	asked    func(deputy.Authorization)
}

// minted is what a token is for.
type minted struct {
	user    deputy.User
	expires time.Time
}

// call is what a call token is for.
type call struct {
	agent string
	user  deputy.User
}

// holding names a user's permission for the agent to use a provider.
type holding struct {
	user     deputy.User
	provider string
}

// ask is one authorization.
type ask struct {
	holding
	id, state string
	scopes    []string
	expires   time.Time
	states    []map[string]any // all that it has been, as they travel
}

// reach takes a to a state; reason and message are empty unless it failed.
func (a *ask) reach(state, reason, message string) {
	a.state = state
	m := map[string]any{"id": a.id, "state": state, "provider": a.provider, "scopes": a.scopes, "expiresAt": a.expires.UTC()}
	if reason != "" {
		m["reason"], m["message"] = reason, message
	}
	a.states = append(a.states, m)
}

// New returns a fake for whoever serves it at url.
func New(url string) *Server {
	s := &Server{
		URL: url, mux: http.NewServeMux(), wats: map[string]minted{}, users: map[string]minted{}, held: map[holding]string{},
		asks: map[string]*ask{}, kept: map[string]map[string]string{}, renewing: map[holding]bool{}, others: map[string]http.Handler{}, calls: map[string]call{}, news: make(chan struct{}),
	}
	s.RotateKey()
	s.routes()
	return s
}

// Start serves a fake on loopback until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s, stop := Serve()
	t.Cleanup(stop)
	return s
}

// Serve serves a fake on loopback until stop is called: for what is not a test,
// such as an example.
func Serve() (s *Server, stop func()) {
	s = New("")
	srv := httptest.NewServer(s)
	s.URL = srv.URL
	return s, srv.Close
}

// Client returns a client of s that is the agent [Workload].
func (s *Server) Client() *deputy.Client {
	return &deputy.Client{URL: s.URL, Workload: Workload, Now: s.Now}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, r.Method+" "+r.URL.Path)
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		if status := fail(r); status != 0 {
			refuse(w, status, "injected", "the test wants it so", "")
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// Agent makes another agent, which the agent under test may call by name: h gets
// its requests as the ingress hands them on, with the user's subject in the header
// user_id.
func (s *Server) Agent(agent string, h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others[agent] = h
}

// Requests returns how many requests there were for a method and a path.
func (s *Server) Requests(methodAndPath string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range s.log {
		if line == methodAndPath {
			n++
		}
	}
	return n
}

// Fail lets f decide about each request: 0 means answer it, anything else is
// the status to refuse it with.
func (s *Server) Fail(f func(*http.Request) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// WhenAsked has f decide, in the users' place, about each question as soon as it is
// put: it calls [Server.Agree], say, with the question's id.
func (s *Server) WhenAsked(f func(deputy.Authorization)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = f
}

// RotateKey makes s sign with a new key and publish that one only.
func (s *Server) RotateKey() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // there is no randomness on this machine
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.key, s.kid = key, fmt.Sprintf("key-%d", s.seq)
}

// Mint returns a workload access token with which the agent acts for u; for the
// zero user, the agent's own. It is good for 15 minutes.
func (s *Server) Mint(u deputy.User) deputy.Secret {
	now := s.now()
	expires := now.Add(15 * time.Minute).Truncate(time.Second)
	claims := map[string]any{
		"iss": s.URL, "aud": s.URL, "sub": Workload, "iat": now.Unix(), "exp": expires.Unix(), "jti": rand.Text(),
	}
	if u != (deputy.User{}) {
		claims["sub"] = u.Subject
		claims["sub_id"] = map[string]string{"format": "iss_sub", "iss": u.Issuer, "sub": u.Subject}
		claims["act"] = map[string]string{"sub": Workload}
	}
	token := s.Sign("wat+jwt", claims)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wats[token.Reveal()] = minted{u, expires}
	return token
}

// UserToken returns a token of u's own, good for an hour: the bearer token with which
// he comes to an agent whose client is Direct, and which that exchanges.
func (s *Server) UserToken(u deputy.User) deputy.Secret {
	now := s.now()
	expires := now.Add(time.Hour).Truncate(time.Second)
	token := s.Sign("at+jwt", map[string]any{"iss": u.Issuer, "aud": Workload, "sub": u.Subject, "iat": now.Unix(), "exp": expires.Unix(), "jti": rand.Text()})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[token.Reveal()] = minted{u, expires}
	return token
}

// Sign signs any claims with the present key.
func (s *Server) Sign(typ string, claims any) deputy.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	header, _ := json.Marshal(map[string]string{"alg": "ES256", "typ": typ, "kid": s.kid})
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // the test's claims are not JSON
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		panic(err) // the key is ours and good
	}
	signature := append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	return deputy.NewSecret(signed + "." + b64.EncodeToString(signature))
}

// Grant lets the agent use a provider for u at once, and returns the new access
// token, which replaces any older one.
func (s *Server) Grant(u deputy.User, provider string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(holding{u, provider})
}

// Renew has the next report that the third party refused u's token lead to a new
// token, as if there were a refresh token.
func (s *Server) Renew(u deputy.User, provider string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewing[holding{u, provider}] = true
}

// Keep has a provider answer all with a credential that needs no user, such as
// {"type": "api_key", "apiKey": "k", "header": "X-API-Key"}.
func (s *Server) Keep(provider string, credential map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[provider] = credential
}

func (s *Server) grant(h holding) string {
	s.seq++
	s.held[h] = fmt.Sprintf("access-%d-of-%s", s.seq, h.user.Subject)
	return s.held[h]
}

// Pending returns the ids of the authorizations that wait for u, oldest first.
func (s *Server) Pending(u deputy.User) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, a := range s.asks {
		if a.user == u && a.state == "pending" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Provider returns which provider's credential an authorization is about; "" if
// there is no such authorization.
func (s *Server) Provider(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.asks[id]; a != nil {
		return a.provider
	}
	return ""
}

// Agree is the user's consent. It returns the new access token.
func (s *Server) Agree(id string) (token string) {
	s.end(id, "completed", "", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[s.asks[id].holding]
}

// Decline is the user's refusal.
func (s *Server) Decline(id string) {
	s.end(id, "failed", "access_denied", "access was declined at the third party")
}

// Fails ends an authorization with a reason.
func (s *Server) Fails(id, reason, message string) { s.end(id, "failed", reason, message) }

// Expire ends an authorization because nobody came.
func (s *Server) Expire(id string) { s.end(id, "expired", "expired", "the link was not used in time") }

// Step takes an authorization to a state that is not final.
func (s *Server) Step(id, state string) { s.end(id, state, "", "") }

func (s *Server) end(id, state, reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asks[id]
	if a == nil {
		panic("deputytest: there is no authorization " + id)
	}
	a.reach(state, reason, message)
	if state == "completed" {
		s.grant(a.holding) // before the news: whoever hears it asks at once
	}
	close(s.news)
	s.news = make(chan struct{})
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
