package consent_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

var (
	agentA = name.Workload{Pool: "default", Name: "a"}
	agentB = name.Workload{Pool: "default", Name: "b"}
	zhang  = name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_zhang"}
	li     = name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_li"}
)

// answered is what the third party says when all is well.
const answered = `{"access_token":"at_1","refresh_token":"rt_1","expires_in":7200,"scope":"read write","token_type":"Bearer"}`

func asks(w name.Workload, u name.User) name.Caller {
	return name.Caller{Kind: name.Agent, Workload: w, User: u}
}
func person(u name.User) name.Caller { return name.Caller{Kind: name.Person, User: u} }

// world is a flow on a real store, before a third party on a real socket.
type world struct {
	t      *testing.T
	db     *store.DB
	flow   *consent.Flow
	ahead  atomic.Int64
	party  *httptest.Server
	calls  atomic.Int64
	mu     sync.Mutex
	answer func(http.ResponseWriter) // of the token endpoint

	account   atomic.Value // id of the account that the third party tells of; "" has it tell nothing
	workloads *workload.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: storetest.SQLite(t)}
	w.says(answered)
	w.account.Store("acc_1")
	w.party = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/device" {
			_, _ = io.WriteString(rw, `{"device_code":"dc_secret_1","user_code":"WDJB-MJHT","verification_uri":"https://party.example/device","expires_in":1800,"interval":5}`)
			return
		}
		if r.URL.Path != "/token" {
			_ = json.NewEncoder(rw).Encode(map[string]any{"sub": w.account.Load(), "name": "Zhang"})
			return
		}
		w.calls.Add(1)
		w.mu.Lock()
		answer := w.answer
		w.mu.Unlock()
		answer(rw)
	}))
	t.Cleanup(w.party.Close)
	log := audit.NewLog(store.Audit{DB: w.db})
	t.Cleanup(log.Close)
	g := &guard.Guard{Log: log, Now: w.now}
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	must(t, err)
	ring, err := keys.NewRing(t.Context(), root, store.Keys{DB: w.db}, g, w.now)
	must(t, err)
	out, err := outbound.New(outbound.Config{Allow: []string{w.party.Listener.Addr().String()}})
	must(t, err)
	t.Cleanup(out.Close)
	catalogue, err := vendor.Builtin()
	must(t, err)
	providers := &provider.Registry{Store: store.Providers{DB: w.db}, Guard: g, Sealer: ring, Catalogue: catalogue,
		Client: &vendor.Client{Outbound: out, Now: w.now}, CallbackURL: "https://id.example/api/v1/oauth2callback", Now: w.now}
	w.flow = &consent.Flow{
		Store: store.Authorizations{DB: w.db}, Devices: store.Authorizations{DB: w.db}, Grants: store.Vault{DB: w.db}, Workloads: store.Workloads{DB: w.db}, Bell: store.Bell{DB: w.db}, Guard: g, Providers: providers,
		Vault:  &vault.Vault{Store: store.Vault{DB: w.db}, Held: store.Vault{DB: w.db}, Sealer: ring, Guard: g, Logger: slog.New(slog.DiscardHandler), Now: w.now},
		Sealer: ring, PublicURL: "https://id.example", Logger: slog.New(slog.DiscardHandler), Now: w.now,
	}
	workloads := store.Workloads{DB: w.db}
	w.workloads = &workload.Registry{Store: workloads, Guard: g, Now: w.now}
	must(t, workloads.CreatePool(t.Context(), storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
	for _, a := range []name.Workload{agentA, agentB} {
		must(t, workloads.CreateWorkload(t.Context(), storetest.Permit(t, workload.ActionCreate, workload.Resource(a)), workload.Workload{Identity: a}))
	}
	_, err = providers.Create(t.Context(), name.Caller{Kind: name.Operator, Operator: "root"}, "default", "party", provider.Settings{
		Vendor: "custom", ClientID: "cli_1", ClientSecret: secret.FromString("cs_1"),
		Endpoints: vendor.Endpoints{Authorization: w.party.URL + "/authorize", Token: w.party.URL + "/token", UserInfo: w.party.URL + "/me"},
	})
	must(t, err)
	return w
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

// says sets what the third party answers to a code.
func (w *world) says(body string) {
	w.does(func(rw http.ResponseWriter) { _, _ = rw.Write([]byte(body)) })
}

func (w *world) does(answer func(http.ResponseWriter)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func scopes(t testing.TB, s ...string) name.Scopes {
	t.Helper()
	set, err := name.NewScopes(s...)
	must(t, err)
	return set
}

// begun is an authorization with the secrets that its user's browser has.
type begun struct {
	id      string
	link    secret.Text
	state   secret.Text
	browser secret.Text
}

func (w *world) begin(a name.Workload, u name.User, kind consent.Kind, wanted ...string) begun {
	w.t.Helper()
	return w.ask(a, u, consent.Ask{Kind: kind, Provider: "party", Scopes: scopes(w.t, wanted...)})
}

func (w *world) ask(a name.Workload, u name.User, ask consent.Ask) begun {
	w.t.Helper()
	l, err := w.flow.Begin(w.t.Context(), asks(a, u), ask)
	must(w.t, err)
	_, link, ok := strings.Cut(l.URL.RevealString(), consent.RequestURIPrefix)
	if !ok {
		w.t.Fatal("the link has no request_uri")
	}
	return begun{id: l.Authorization.ID, link: secret.FromString(link)}
}

// open follows the link as u.
func (w *world) open(b begun, u name.User) (begun, error) {
	_, redirect, browser, err := w.flow.Open(w.t.Context(), person(u), b.link)
	if err != nil || redirect == "" {
		return b, err
	}
	to, err := url.Parse(redirect)
	must(w.t, err)
	b.state, b.browser = secret.FromString(to.Query().Get("state")), browser
	return b, nil
}

func (w *world) opened(a name.Workload, u name.User, wanted ...string) begun {
	w.t.Helper()
	b, err := w.open(w.begin(a, u, consent.KindGrant, wanted...), u)
	must(w.t, err)
	return b
}

func (w *world) finish(ctx context.Context, b begun, u name.User) (consent.Authorization, error) {
	return w.flow.Finish(ctx, person(u), consent.Callback{State: b.state, Browser: b.browser, Code: secret.FromString("code_1")})
}

// given goes the whole way.
func (w *world) given(a name.Workload, u name.User, wanted ...string) begun {
	w.t.Helper()
	b := w.opened(a, u, wanted...)
	got, err := w.finish(w.t.Context(), b, u)
	must(w.t, err)
	if got.State != consent.Completed {
		w.t.Fatalf("the authorization is %s: %s", got.State, got.Message)
	}
	return b
}

func (w *world) read(b begun) consent.Authorization {
	w.t.Helper()
	a, err := w.flow.Store.Authorization(w.t.Context(), b.id)
	must(w.t, err)
	return a
}

func (w *world) found(a name.Workload, u name.User) (vault.Grant, vault.Delegation) {
	w.t.Helper()
	g, d, err := w.flow.Grants.FindGrant(w.t.Context(), a, "party", u)
	must(w.t, err)
	return g, d
}

// entries returns what is recorded about an authorization, as "action outcome reason".
func (w *world) entries(b begun) []string {
	w.t.Helper()
	records, err := store.Audit{DB: w.db}.AuditRecords(w.t.Context(), audit.Filter{Limit: 1000})
	must(w.t, err)
	var list []string
	for _, r := range records {
		var e audit.Entry
		must(w.t, json.Unmarshal(r.Leaf, &e))
		if e.Resource.ID == b.id {
			list = append(list, strings.TrimPrefix(e.Action, "authorization.")+" "+string(e.Outcome))
		}
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if code == "" && err == nil || code != "" && fault.HasCode(err, code) {
		return
	}
	t.Errorf("got %v, want code %q", err, code)
}
