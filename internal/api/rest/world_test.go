package rest_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/accesskey"
	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/api/rest"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/attestor"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/exchange"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/notice"
	"github.com/deputy-id/deputy/internal/obtain"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/trial"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

const (
	publicURL = "https://id.example"
	password  = "correct horse battery staple"
	readDoc   = "docx:document:readonly"
	appSecret = "the-app-secret"
	launchID  = "launch_1"
)

var (
	docAgent = name.Workload{Pool: "default", Name: "doc"}
	zhang    = name.User{Issuer: publicURL + "/userpool/people", Subject: "usr_zhang"}
)

// world is the API on a real store, answering real HTTP, with the pools
// "default" and "people", the workload default/doc and the provider "feishu".
type world struct {
	t        *testing.T
	api      *rest.API
	url      string
	db       *store.DB
	launches *attest.Launches
	running  *workload.Launches
	log      *journal
	document *described
	operator string // tokens
	agent    string // default/doc for zhang
	launch   string
}

func newWorld(t *testing.T) *world {
	ctx, db, log := t.Context(), storetest.SQLite(t), &journal{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	entries := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(entries.Close)
	g := &guard.Guard{Log: entries}
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	must(t, err)
	ring, err := keys.NewRing(ctx, root, store.Keys{DB: db}, g, nil)
	must(t, err)
	key, err := jwt.Generate(jwt.ES256)
	must(t, err)
	// Without a public URL, everybody is a user from elsewhere.
	tokens := (&workload.Tokens{Issuer: publicURL, TrustDomain: "deputy.local", Keys: []jwt.Key{key}, Standings: store.Standings{DB: db}, Now: time.Now}).Ready()
	launches, err := attest.NewLaunches(attest.LaunchesConfig{Issuer: publicURL, TrustDomain: "deputy.local", Keys: []jwt.Key{key}, Live: func(_ context.Context, id string) (bool, error) { return id == launchID, nil }})
	must(t, err)
	catalogue, err := vendor.Builtin()
	must(t, err)
	// Nobody is reached: what a probe of a provider would ask stays on this machine.
	out, err := outbound.New(outbound.Config{Proxy: "http://127.0.0.1:1"})
	must(t, err)
	t.Cleanup(out.Close)
	providers := &provider.Registry{Client: &vendor.Client{Outbound: out}, Store: store.Providers{DB: db}, Guard: g, Sealer: ring, Catalogue: catalogue, CallbackURL: publicURL + "/api/v1/oauth2callback", Now: time.Now}
	v := &vault.Vault{Store: store.Vault{DB: db}, Held: store.Vault{DB: db}, Revocations: store.Vault{DB: db}, Sealer: ring, Guard: g, Owner: "test", Logger: logger, Now: time.Now}
	flow := &consent.Flow{Store: store.Authorizations{DB: db}, Grants: store.Vault{DB: db}, Bell: store.Bell{DB: db}, Guard: g, Providers: providers, Vault: v, Sealer: ring, PublicURL: publicURL, Logger: logger, Now: time.Now}
	breached, err := userpool.NewBreached("")
	must(t, err)
	pools, agents := store.UserPools{DB: db}, &agent.Registry{Store: store.Agents{DB: db}, Guard: g, Now: time.Now}
	passwords := &userpool.Passwords{Hasher: userpool.NewHasher(1), Breached: breached}
	running := &workload.Launches{Store: store.Launches{DB: db}, Guard: g, Owner: "test", Now: time.Now}
	exchanger := &exchange.Exchange{
		Workloads: store.Workloads{DB: db}, Agents: agents.Store, Tokens: tokens, Verifier: &usertoken.Issuers{}, Binder: running, IngressURL: "https://run.example", Guard: g,
	}
	w := &world{t: t, db: db, launches: launches, running: running, log: log, api: &rest.API{
		PublicURL: publicURL, IngressURL: "https://run.example", Version: "test", TrustDomain: "deputy.local",
		Operators: &operator.Registry{Store: store.Operators{DB: db}, Guard: g, Now: time.Now}, Tokens: tokens, Attestors: []attest.Attestor{launches}, Exchange: exchanger,
		Pools: pools, Users: pools, Groups: pools, Sessions: pools, Consents: pools, Clients: pools, Registrations: pools, Passwords: passwords, Provisioning: pools,
		Roster:    &roster.Roster{Store: pools, Passwords: passwords, Guard: g, Now: time.Now},
		Factors:   &factor.Registry{Stores: store.Factors{DB: db}, Sealer: ring, Guard: g},
		Workloads: &workload.Registry{Store: store.Workloads{DB: db}, Guard: g, Now: time.Now},
		Providers: providers, Identities: store.Identities{DB: db}, Federation: &federation.Federation{PublicURL: publicURL}, Webhooks: &notice.Registry{Store: store.Webhooks{DB: db}, Guard: g, Now: time.Now}, Trials: &trial.Trials{Store: store.Trials{DB: db}, Bell: store.Bell{DB: db}, Guard: g, Providers: providers}, Vault: v, Flow: flow,
		Trusted:    &attestor.Registry{Store: store.Attestors{DB: db}, Sealer: ring, Trust: &attestor.Trust{Store: store.Attestors{DB: db}, Sealer: ring, Reach: func(string) (attestor.Sender, error) { return out, nil }, PublicURL: publicURL, Guard: g, Now: time.Now}, Guard: g, Now: time.Now},
		AccessKeys: &accesskey.Keys{Store: store.AccessKeys{DB: db}, Sealer: ring, Guard: g, Host: "id.example", Now: time.Now},
		Broker:     &broker.Broker{Store: store.Vault{DB: db}, Guard: g, Vault: v, Flow: flow, Other: &obtain.Kinds{Providers: providers, Now: time.Now}},
		Agents:     agents, AgentKeys: &agent.Keys{Store: store.Agents{DB: db}, Guard: g, Now: time.Now, Barred: func(_ context.Context, u name.User) (bool, error) { return u.Subject == "usr_gone", nil }}, Audit: store.Audit{DB: db}, Keys: ring, Guard: g, Ready: db.Ping, Logger: logger, Now: time.Now,
		Fleet: fleet.New(fleet.Config{Store: agents.Store, Driver: idle{}, Launches: launches, Register: running, URL: publicURL, TrustDomain: "deputy.local", Dir: t.TempDir(), Log: logger}),
	}}
	w.serve()
	w.document = w.describe()
	w.setUp()
	return w
}

// serve answers requests as the identity service does.
func (w *world) serve() {
	mux := http.NewServeMux()
	w.api.Mount(mux)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(rw, r.WithContext(audit.WithRequestID(r.Context(), "req_test")))
	}))
	w.t.Cleanup(server.Close)
	w.url = server.URL
}

func (w *world) setUp() {
	ctx := w.t.Context()
	token, _, err := w.api.Operators.First(ctx)
	must(w.t, err)
	w.operator = token.RevealString()
	_, err = w.api.Workloads.CreatePool(ctx, name.Caller{Kind: name.System}, "default", "")
	must(w.t, err)
	w.create("/user-pools", `{"name":"people"}`, nil)
	w.create("/workload-pools/default/workloads", `{"name":"doc"}`, nil)
	w.create("/workload-pools/default/providers", `{"name":"feishu","vendor":"feishu","clientId":"cli_1","clientSecret":"`+appSecret+`","scopes":["`+readDoc+`"]}`, nil)
	w.agent = w.tokenFor(docAgent, zhang)
	launch, _, err := w.launches.Mint(attest.Launch{ID: launchID, Workload: docAgent}, time.Minute)
	must(w.t, err)
	must(w.t, w.running.Begin(ctx, attest.Launch{ID: launchID, Workload: docAgent}, time.Now().Add(time.Minute)))
	w.launch = launch.RevealString()
}

func (w *world) tokenFor(agent name.Workload, u name.User) string {
	w.t.Helper()
	token, _, err := w.api.Tokens.Mint(w.t.Context(), agent, u, nil)
	must(w.t, err)
	return token.RevealString()
}

// answer is what came back, and nothing is followed.
type answer struct {
	status int
	header http.Header
	body   string
}

// patience ends a test whose answer never ends.
const patience = 30 * time.Second

// send sends a request as it is, to an address below the server's.
func (w *world) send(method, path, body string, header http.Header) answer {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	must(w.t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	must(w.t, err)
	defer func() { _ = res.Body.Close() }() // it is read to its end
	b, err := io.ReadAll(res.Body)
	must(w.t, err)
	return answer{res.StatusCode, res.Header, string(b)}
}

// call calls an endpoint with good manners, and compares what goes in and what
// comes out with the document.
func (w *world) call(method, path, token, body string) answer {
	w.t.Helper()
	h := http.Header{"Authorization": {"Bearer " + token}}
	if body != "" {
		h.Set("Content-Type", "application/json")
	}
	a := w.send(method, "/api/v1"+path, body, h)
	w.document.check(w.t, method, path, body, a)
	return a
}

// expect calls as the operator, wants a status and decodes the answer.
func (w *world) expect(status int, method, path, body string, into any) {
	w.t.Helper()
	w.expectFrom(w.operator, status, method, path, body, into)
}

func (w *world) expectFrom(token string, status int, method, path, body string, into any) {
	w.t.Helper()
	a := w.call(method, path, token, body)
	if a.status != status {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s %s may be cached: %q", method, path, a.header.Get("Cache-Control"))
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, path, err, a.body)
		}
	}
}

func (w *world) create(path, body string, into any) {
	w.t.Helper()
	w.expect(http.StatusCreated, http.MethodPost, path, body, into)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// idle is a fleet.Driver that is never asked to run anything.
type idle struct{}

func (idle) Build(context.Context, agent.Agent) error { return errIdle() }
func (idle) Start(context.Context, fleet.Run) (fleet.Instance, error) {
	return nil, errIdle()
}
func (idle) Logs(context.Context, name.Workload, int) ([]string, error) { return nil, errIdle() }
func (idle) Follow(context.Context, name.Workload, string, int) ([]string, string, error) {
	return nil, "", errIdle()
}
func (idle) Remove(context.Context, name.Workload) error { return nil }

func errIdle() error { return fault.New(fault.Unavailable, "idle", "nothing runs in this test") }

// journal is a log that can be searched.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}
