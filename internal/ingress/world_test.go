package ingress_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/usertoken"
)

const (
	publicURL = "http://ingress.test"
	wat       = "wat-of-the-agent"
	invoke    = "/agents/default/doc/invoke"
)

var doc = name.Workload{Pool: "default", Name: "doc"}

// world is an ingress with an issuer before it and an agent behind it, all on
// real sockets.
type world struct {
	t        testing.TB
	issuer   *httptest.Server
	key      jwt.Key
	agent    *httptest.Server
	fleet    *agents
	recorder *journal
	minter   *minter
	keys     *keyring
	calls    calls
	log      *safeBuffer
	config   ingress.Config
	ingress  *httptest.Server
}

func newWorld(t testing.TB, agentHandler http.HandlerFunc, change func(*ingress.Config)) *world {
	t.Helper()
	key, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, recorder: &journal{}, minter: &minter{}, keys: &keyring{}, calls: calls{goodCall: {Kind: name.Agent, Workload: front, User: zoe, Chain: []name.Workload{outer}}}, log: &safeBuffer{}}
	w.issuer = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			json.NewEncoder(rw).Encode(map[string]string{"issuer": w.issuer.URL, "jwks_uri": w.issuer.URL + "/keys"})
		case "/keys":
			rw.Write(jwt.NewSet(key).JWKS())
		}
	}))
	t.Cleanup(w.issuer.Close)
	w.agent = httptest.NewServer(agentHandler)
	t.Cleanup(w.agent.Close)
	w.fleet = &agents{status: fleet.Status{State: fleet.Ready, URL: w.agent.URL}, inbound: agent.Inbound{
		DiscoveryURL: w.issuer.URL + "/.well-known/openid-configuration", AllowedClients: []string{"cli_web"},
	}}
	c := ingress.Config{
		Fleet: w.fleet, Verifier: &usertoken.Issuers{Fetch: fetch}, Keys: w.keys, Calls: w.calls, Minter: w.minter, Recorder: w.recorder,
		Log: slog.New(slog.NewJSONHandler(w.log, nil)), URL: publicURL,
	}
	if change != nil {
		change(&c)
	}
	w.config = c
	w.ingress = httptest.NewServer(ingress.New(c))
	t.Cleanup(w.ingress.Close)
	return w
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// token signs a good token with some claims changed (nil: left out).
func (w *world) token(typ string, change map[string]any) string {
	w.t.Helper()
	now := time.Now()
	c := map[string]any{"iss": w.issuer.URL, "aud": "cli_web", "client_id": "cli_web", "sub": "usr_li", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	token, err := jwt.Sign(w.key, typ, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func (w *world) good() string { return w.token("at+jwt", nil) }

// post invokes the agent with headers in the form "Name: value".
func (w *world) post(body string, headers ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.ingress.URL+invoke, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header[k] = append(req.Header[k], v)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { res.Body.Close() })
	return res
}

// raw sends bytes as they are and reads one answer.
func (w *world) raw(request string) *http.Response {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.ingress.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("%.60q: %v", request, err)
	}
	return res
}

type failure struct {
	Error struct{ Message, Type, Code string }
}

func read(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func readFailure(t testing.TB, res *http.Response) failure {
	t.Helper()
	var f failure
	if body := read(t, res); json.Unmarshal([]byte(body), &f) != nil || f.Error.Code == "" {
		t.Errorf("status %d with body %.200q", res.StatusCode, body)
	}
	return f
}

// echo is an agent that answers with what it got.
func echo(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	json.NewEncoder(rw).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header, "trailer": r.Trailer, "body": string(body)})
}

type echoed struct {
	Method, URI, Host, Body string
	Header, Trailer         http.Header
}

func readEcho(t testing.TB, res *http.Response) echoed {
	t.Helper()
	var e echoed
	if body := read(t, res); res.StatusCode != 200 || json.Unmarshal([]byte(body), &e) != nil {
		t.Fatalf("status %d with body %.300q", res.StatusCode, body)
	}
	return e
}

type agents struct {
	mu      sync.Mutex
	status  fleet.Status
	inbound agent.Inbound
	paths   agent.Paths
}

func (a *agents) set(change func(*agents)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *agents) Lookup(w name.Workload) (agent.Agent, fleet.Status, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w != doc {
		return agent.Agent{}, fleet.Status{}, agent.NotFound(w.Pool, w.Name)
	}
	return agent.Agent{Pool: w.Pool, Name: w.Name, Definition: agent.Definition{Inbound: a.inbound, Paths: a.paths}}, a.status, nil
}

func (a *agents) Enter(_ context.Context, w name.Workload) (fleet.Status, func(), error) {
	_, status, err := a.Lookup(w)
	return status, func() {}, err
}

type journal struct {
	mu        sync.Mutex
	decisions []ingress.Decision
	ids       []string
	broken    bool
}

func (j *journal) Record(ctx context.Context, d ingress.Decision) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken {
		return errors.New("disk full")
	}
	j.decisions, j.ids = append(j.decisions, d), append(j.ids, audit.RequestID(ctx))
	return nil
}

func (j *journal) last(t testing.TB) (ingress.Decision, string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.decisions) == 0 {
		t.Fatal("nothing is recorded")
	}
	return j.decisions[len(j.decisions)-1], j.ids[len(j.ids)-1]
}

// keyring knows the keys of agents by what they look like.
type keyring struct {
	mu     sync.Mutex
	keys   map[string]agent.Key
	broken error
}

func (k *keyring) add(key string, what agent.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]agent.Key{}
	}
	k.keys[key] = what
}

func (k *keyring) Verify(_ context.Context, w name.Workload, key secret.Text) (agent.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.keys[key.RevealString()]
	switch {
	case k.broken != nil:
		return agent.Key{}, k.broken
	case !ok || found.Pool != w.Pool || found.Agent != w.Name:
		return agent.Key{}, fault.New(fault.Unauthenticated, "key_unknown", "the agent key is not valid")
	default:
		return found, nil
	}
}

type minter struct {
	mu     sync.Mutex
	broken error
}

func (m *minter) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

func (m *minter) Mint(_ context.Context, w name.Workload, u name.User, chain []name.Workload) (secret.Text, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	token := fmt.Sprintf("%s/%s/%s", wat, w, u.Subject)
	for _, link := range chain {
		token += "<" + link.String()
	}
	return secret.FromString(token), m.broken
}

// calls knows who calls with which call token.
type calls map[string]name.Caller

func (c calls) Called(_ context.Context, _ name.Workload, token secret.Text) (name.Caller, error) {
	by, ok := c[token.RevealString()]
	if !ok {
		return name.Caller{Workload: front}, fault.New(fault.Unauthenticated, "token_signature", "the token's signature is wrong")
	}
	return by, nil
}

type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
