package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/callback"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/workload"
	"github.com/deputy-id/deputy/internal/workload/workloadtest"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

const (
	password  = "correct horse 电池 staple"
	appID     = "cli_a1b2c3d4e5f6"
	appSecret = "the-app-secret-of-the-sandbox"
	readDoc   = "docx:document:readonly"
	writeDoc  = "docx:document"
	clientURL = "http://127.0.0.1:9/callback"
)

// clock is the time of Deputy and of the third party.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

// replica is one running Deputy.
type replica struct {
	url          string // public
	direct       string // of this replica
	ingress, dir string
	stop         func() // waits for the end; also called by the test's end
}

// start runs a Deputy on ports that are free.
func start(t testing.TB, c server.Config) *replica {
	t.Helper()
	r := servertest.Start(t, c)
	return &replica{url: r.URL, direct: r.Direct, ingress: r.Ingress, dir: r.Dir, stop: r.Stop}
}

// world is a Deputy with a pool of people, zhangsan and lisi, with the agents a
// and b, and with a Feishu, where both people have accounts of the same names.
type world struct {
	*replica
	t        testing.TB
	clock    *clock
	log      *journal
	feishu   *feishu.Sandbox
	party    *httptest.Server // where the sandbox is
	database secret.Text      // empty: SQLite
	rootKey  secret.Text      // empty: in its file
	operator string
	client   string // OAuth client id
	secret   string // its secret
	subject  map[string]string
	keys     map[string][]jwt.Key // signing keys, by owner
	minter   *workload.Tokens
	probes   int64
}

// newWorld starts a world; change, if not nil, edits the configuration.
func newWorld(t testing.TB, change func(*server.Config)) *world {
	t.Helper()
	return newReplicated(t, change, nil)
}

// newReplicated starts a world whose public address is that of a front; behind
// is told the address of the replica that it leads to.
func newReplicated(t testing.TB, change func(*server.Config), behind *atomic.Pointer[url.URL]) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, log: &journal{}, subject: map[string]string{}, keys: map[string][]jwt.Key{}}
	var handler atomic.Pointer[http.Handler]
	w.party = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(rw, r) }))
	t.Cleanup(w.party.Close)
	c := server.Config{
		Data: servertest.DataDir(t), Version: "test", AllowOutbound: []string{w.party.Listener.Addr().String()}, Now: w.clock.now,
		Logger: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&c)
	}
	w.database, w.rootKey = c.Database, c.RootKey
	w.replica = start(t, c)
	if behind != nil {
		direct, err := url.Parse(w.direct)
		must(t, err)
		behind.Store(direct)
	}
	var err error
	w.feishu, err = feishu.New(feishu.Config{
		Apps:  []feishu.App{{ID: appID, Secret: appSecret, RedirectURIs: []string{w.url + callback.Path, w.url + callback.Path + "/default/feishu_own"}, Scopes: []string{readDoc, writeDoc, "offline_access"}}},
		Users: feishu.DefaultUsers(), Documents: feishu.DefaultDocuments(), Now: w.clock.now,
	})
	must(t, err)
	third := w.feishu.Handler()
	handler.Store(&third)
	w.setUp()
	return w
}

// setUp makes what is in a world, through the API.
func (w *world) setUp() {
	w.t.Helper()
	token, err := os.ReadFile(filepath.Join(w.dir, "operator.token"))
	must(w.t, err)
	w.operator = strings.TrimSpace(string(token))
	w.make("/user-pools", `{"name":"people"}`, nil)
	for _, who := range []string{"zhangsan", "lisi"} {
		var made struct{ ID string }
		w.make("/user-pools/people/users", fmt.Sprintf(`{"userName":%q,"password":%q}`, who, password), &made)
		w.subject[who] = made.ID
	}
	var client struct{ ID, Secret string }
	w.make("/user-pools/people/clients", fmt.Sprintf(`{"name":"chat","redirectUris":[%q]}`, clientURL), &client)
	w.client, w.secret = client.ID, client.Secret
	for _, agent := range []string{"a", "b"} {
		w.make("/workload-pools/default/workloads", fmt.Sprintf(`{"name":%q}`, agent), nil)
	}
	w.make("/workload-pools/default/providers", w.provider("feishu_oauth", readDoc, "offline_access"), nil)
	w.probes = w.feishu.Calls()[feishu.OpExchange]
}

// exchanges counts the exchanges that reached Feishu since the provider was
// saved and probed.
func (w *world) exchanges() int64 { return w.feishu.Calls()[feishu.OpExchange] - w.probes }

// provider is the body that makes a credential provider at the sandbox.
func (w *world) provider(providerName string, scopes ...string) string {
	b, err := json.Marshal(map[string]any{
		"name": providerName, "vendor": "feishu", "clientId": appID, "clientSecret": appSecret, "scopes": scopes,
		"endpoints": map[string]string{"authorization": w.party.URL + feishu.AuthorizePath, "token": w.party.URL + feishu.TokenPathV3, "userInfo": w.party.URL + feishu.UserInfoPath},
	})
	must(w.t, err)
	return string(b)
}

// make creates something as the operator.
func (w *world) make(path, body string, into any) {
	w.t.Helper()
	a := w.api("POST", path, w.operator, body)
	if a.status != http.StatusCreated {
		w.t.Fatalf("POST %s: %d %s", path, a.status, a.body)
	}
	if into != nil {
		must(w.t, json.Unmarshal([]byte(a.body), into))
	}
}

func (w *world) issuer() string { return w.url + "/userpool/people" }

func (w *world) user(who string) name.User {
	return name.User{Issuer: w.issuer(), Subject: w.subject[who]}
}

// signing returns signing keys of the server, read from its store with its root
// key: what it signs with, a test can sign with as well.
func (w *world) signing(owner string) []jwt.Key {
	w.t.Helper()
	if k, ok := w.keys[owner]; ok {
		return k
	}
	db := w.open()
	defer func() { must(w.t, db.Close()) }()
	plain, err := keys.ReadRootFile(filepath.Join(w.dir, "root.key"))
	if !w.rootKey.Empty() {
		plain, err = keys.ParseRoot(w.rootKey, "the test")
	}
	must(w.t, err)
	root, err := keys.NewLocal(plain)
	must(w.t, err)
	log := audit.NewLog(store.Audit{DB: db})
	defer log.Close()
	ring, err := keys.NewRing(w.t.Context(), root, store.Keys{DB: db}, &guard.Guard{Log: log}, nil)
	must(w.t, err)
	w.keys[owner], err = ring.Signing(w.t.Context(), owner, jwt.ES256)
	must(w.t, err)
	return w.keys[owner]
}

// open opens the server's database beside the server.
func (w *world) open() *store.DB {
	w.t.Helper()
	var db *store.DB
	var err error
	if w.database.Empty() {
		db, err = store.OpenSQLite(w.t.Context(), w.dir)
	} else {
		db, err = store.OpenPostgres(w.t.Context(), w.database.RevealString())
	}
	must(w.t, err)
	return db
}

// wat returns a workload access token of an agent in pool default that acts
// for who ("" for the agent itself), as the ingress would mint it.
func (w *world) wat(agent, who string) string {
	w.t.Helper()
	if w.minter == nil {
		w.minter = w.tokens(w.clock.now)
	}
	return w.mint(w.minter, name.Workload{Pool: name.DefaultPool, Name: agent}, who)
}

// tokens mints as the server does.
func (w *world) tokens(now func() time.Time) *workload.Tokens {
	w.t.Helper()
	return (&workload.Tokens{Issuer: w.url, TrustDomain: "deputy.local", Keys: w.signing(keys.WorkloadTokens), Standings: workloadtest.NothingRevoked{}, Now: now}).Ready()
}

func (w *world) mint(tokens *workload.Tokens, agent name.Workload, who string) string {
	w.t.Helper()
	var u name.User
	if who != "" {
		u = w.user(who)
	}
	token, _, err := tokens.Mint(w.t.Context(), agent, u, nil)
	must(w.t, err)
	return token.RevealString()
}

// answer is what came back, and nothing is followed.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request as it is.
func send(t testing.TB, client *http.Client, method, target string, body io.Reader, header http.Header) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	must(t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	return receive(t, client, r)
}

func receive(t testing.TB, client *http.Client, r *http.Request) answer {
	t.Helper()
	res, err := client.Do(r)
	must(t, err)
	defer func() { _ = res.Body.Close() }() // read to its end
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{res.StatusCode, res.Header, string(b)}
}

// noRedirects is a client without cookies.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// api calls the native API.
func (w *world) api(method, path, token, body string) answer {
	w.t.Helper()
	return w.apiAt(w.url, method, path, token, body)
}

func (w *world) apiAt(base, method, path, token, body string) answer {
	w.t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		h.Set("Content-Type", "application/json")
	}
	return send(w.t, noRedirects, method, base+"/api/v1"+path, strings.NewReader(body), h)
}

// asked is the answer to a request for a credential.
type asked struct {
	Status     string
	Credential struct {
		AccessToken string
		Scopes      []string
	}
	Authorization authorization
}

type authorization struct{ ID, State, Reason, Message, URL string }

// ask requests a credential with good manners.
func (w *world) ask(token, providerName string, scopes ...string) asked {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"provider": providerName, "scopes": scopes})
	must(w.t, err)
	a := w.api("POST", "/credentials", token, string(body))
	var got asked
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("credential: %d %s", a.status, a.body)
	}
	return got
}

// link returns a link at which the user can authorize.
func (w *world) link(token string, scopes ...string) authorization {
	w.t.Helper()
	got := w.ask(token, "feishu_oauth", scopes...)
	if got.Status != "authorization_required" {
		w.t.Fatalf("no authorization is required: %s", got.Status)
	}
	return got.Authorization
}

// state reads an authorization.
func (w *world) state(token, id string) authorization {
	w.t.Helper()
	a := w.api("GET", "/authorizations/"+id, token, "")
	var got authorization
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("authorization: %d %s", a.status, a.body)
	}
	return got
}

// entries returns the audit log as far as it matches.
func (w *world) entries(filter url.Values) []audit.Entry {
	w.t.Helper()
	var all []audit.Entry
	filter.Set("limit", "1000")
	var got struct {
		Items []struct{ Entry audit.Entry }
	}
	must(w.t, json.Unmarshal([]byte(w.api("GET", "/audit?"+filter.Encode(), w.operator, "").body), &got))
	for _, item := range got.Items {
		all = append(all, item.Entry)
	}
	return all
}

// owner asks Feishu whose account a token opens.
func (w *world) owner(accessToken string) string {
	w.t.Helper()
	a := send(w.t, noRedirects, "GET", w.party.URL+feishu.UserInfoPath, nil, http.Header{"Authorization": {"Bearer " + accessToken}})
	var got struct {
		Data struct {
			OpenID string `json:"open_id"`
		}
	}
	must(w.t, json.Unmarshal([]byte(a.body), &got))
	for _, u := range feishu.DefaultUsers() {
		if feishu.OpenID(appID, u.Username) == got.Data.OpenID {
			return u.Username
		}
	}
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

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
