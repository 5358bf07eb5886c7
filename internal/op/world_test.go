package op_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/op"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

const (
	password    = "correct horse 电池 staple"
	callbackURL = "http://127.0.0.1:8082/callback"
	afterLogout = "http://127.0.0.1:8082/"
)

// world is a provider on loopback with two pools, staff and guests, that have a
// user "zhang" and the clients "chat" (web) and "app" (public) each, besides the
// pool staff's client "mail" (web).
type world struct {
	t         testing.TB
	keys      *keyring
	url       string
	stores    storetest.Pools
	guard     *guard.Guard
	logins    *login.Logins
	site      *browser.Site
	away      *httptest.Server // another machine: documents and keys of clients
	elsewhere *http.ServeMux   // what is there
	outbound  *outbound.Client
	secrets   map[string]secret.Text // by client id
	mu        sync.Mutex
	ahead     time.Duration // of the provider's clock
}

// keyring is a source of signing keys: one per owner and algorithm.
type keyring struct {
	mu   sync.Mutex
	keys map[string][]jwt.Key
}

func (k *keyring) Signing(_ context.Context, owner, algorithm string) ([]jwt.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.keys[owner]
	i := slices.IndexFunc(list, func(key jwt.Key) bool { return key.Algorithm == algorithm })
	if i < 0 {
		key, err := jwt.Generate(algorithm)
		if err != nil {
			return nil, err
		}
		list, i = append(list, key), len(list)
		k.keys[owner] = list
	}
	return append(slices.Delete(slices.Clone(list), i, i+1), list[i]), nil // the one that signs is the last
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, storetest.NewPools(t))
}

// onEach runs a test on every database.
func onEach(t *testing.T, test func(w *world)) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		log := audit.NewLog(store.Audit{DB: db})
		t.Cleanup(log.Close)
		test(newWorldOn(t, storetest.Pools{UserPools: store.UserPools{DB: db}, Log: log}))
	})
}

func newWorldOn(t testing.TB, stores storetest.Pools) *world {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(audit.WithRequestID(r.Context(), "req_test")))
	}))
	t.Cleanup(server.Close)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w := &world{t: t, keys: &keyring{keys: map[string][]jwt.Key{}}, url: server.URL, stores: stores, secrets: map[string]secret.Text{}}
	w.elsewhere = http.NewServeMux()
	w.away = httptest.NewTLSServer(w.elsewhere)
	t.Cleanup(w.away.Close)
	w.guard = &guard.Guard{Log: w.stores.Log, Now: w.now}
	var err error
	w.site, err = browser.NewSite(w.url, "id")
	w.must(err)
	pages, err := browser.NewPages(w.site, log)
	w.must(err)
	pages.Mount(mux)
	w.logins = &login.Logins{PublicURL: w.url, Site: w.site, Users: w.stores, Sessions: w.stores, Guard: w.guard, Log: log, Now: w.now}
	roots := x509.NewCertPool()
	roots.AddCert(w.away.Certificate())
	w.outbound, err = outbound.New(outbound.Config{Allow: []string{w.away.Listener.Addr().String()}, Roots: roots, Timeout: 2 * time.Second})
	w.must(err)
	t.Cleanup(w.outbound.Close)
	signIn := stores.SignIn(t, w.url, w.guard, w.now)
	base := poolpage.Base{PublicURL: w.url, Site: w.site, Pages: pages, Pools: w.stores, Log: log, Now: w.now, Address: poolpage.RemoteAddress}
	(&login.Handler{Base: base, Logins: w.logins, SignIn: signIn, Recovery: recovery.New(recovery.Config{Now: w.now})}).Mount(mux)
	(&op.Provider{Base: base, Users: w.stores, Clients: w.stores, Codes: w.stores, Devices: w.stores, Families: w.stores, Consents: w.stores, Logins: w.logins,
		Pushed: w.stores, Assertions: w.stores, Registrations: w.stores, Outbound: w.outbound, ClientThrottle: signIn.Throttle,
		Keys: w.keys, Throttle: signIn.Throttle, Guard: w.guard}).Mount(mux)
	hash, err := signIn.Passwords.Hasher.Hash(t.Context(), secret.FromString(password))
	w.must(err)
	w.addPool("staff", "研发团队 Staff", hash)
	w.addPool("guests", "", hash)
	w.addClient("staff", "mail", userpool.Web)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

// pass moves the provider's clock.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) permit(a guard.Action, r guard.Resource) guard.Permit {
	w.t.Helper()
	p, err := w.guard.Allow(w.t.Context(), name.Caller{Kind: name.System}, a, r)
	w.must(err)
	return p
}

func (w *world) addPool(poolName, display string, hash secret.Text) {
	w.t.Helper()
	ctx := w.t.Context()
	p := userpool.Pool{Name: poolName, DisplayName: display, Settings: userpool.DefaultSettings(), CreatedAt: w.now()}
	w.must(w.stores.CreatePool(ctx, w.permit(userpool.ActionCreatePool, p.Resource()), p))
	u := userpool.User{ID: "usr_zhang_" + poolName, Pool: poolName, UserName: "zhang", DisplayName: "张三", Email: "zhang@example.com",
		EmailVerified: true, PasswordHash: hash, CreatedAt: w.now()}
	w.must(u.Check())
	w.must(w.stores.CreateUser(ctx, w.permit(userpool.ActionCreateUser, u.Resource()), u))
	w.addClient(poolName, "chat", userpool.Web)
	w.addClient(poolName, "app", userpool.Public)
}

func (w *world) addClient(pool, clientName string, kind userpool.ClientType) {
	w.t.Helper()
	scopes, err := name.ParseScopes("openid profile email")
	w.must(err)
	c := userpool.NewClient(pool, clientName, kind, w.now())
	c.ID, c.RedirectURIs, c.PostLogoutRedirectURIs, c.Scopes = "cli_"+clientName+"_"+pool, []string{callbackURL}, []string{afterLogout}, scopes
	if kind == userpool.Web {
		w.secrets[c.ID] = userpool.NewSecret()
		c.SecretHash = userpool.HashSecret(w.secrets[c.ID])
	}
	w.must(c.Check())
	w.must(w.stores.CreateClient(w.t.Context(), w.permit(userpool.ActionCreateClient, c.Resource()), c))
}

// reasons returns the reasons of the refusals in the audit log.
func (w *world) reasons() []string {
	w.t.Helper()
	all, err := w.stores.Entries(w.t.Context())
	w.must(err)
	var reasons []string
	for _, e := range all {
		if e.Outcome == audit.Refused {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// page is what a browser got.
type page struct {
	status int
	url    *url.URL
	to     string // Location
	header http.Header
	body   string
}

// person is a browser that follows no redirect but those it is told to.
type person struct {
	w      *world
	client *http.Client
	header http.Header // sent with every request
}

func (w *world) person() *person {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &person{w: w, header: http.Header{}, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

func (p *person) send(method, target string, body io.Reader, header http.Header) page {
	p.w.t.Helper()
	if !strings.HasPrefix(target, "http") {
		target = p.w.url + target
	}
	r, err := http.NewRequestWithContext(p.w.t.Context(), method, target, body)
	p.w.must(err)
	for _, h := range []http.Header{p.header, header} {
		for k, v := range h {
			r.Header[k] = v
		}
	}
	answer, err := p.client.Do(r)
	p.w.must(err)
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	p.w.must(err)
	return page{answer.StatusCode, answer.Request.URL, answer.Header.Get("Location"), answer.Header, string(b)}
}

func (p *person) get(target string) page {
	p.w.t.Helper()
	return p.send("GET", target, nil, nil)
}

func (p *person) post(target string, form url.Values) page {
	p.w.t.Helper()
	return p.send("POST", target, strings.NewReader(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

var (
	formAction  = regexp.MustCompile(`<form method="post" action="([^"]+)">`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
)

// fill returns where a page's form goes, and what it sends with the given values filled in.
func (p *person) fill(shown page, values ...string) (string, url.Values) {
	p.w.t.Helper()
	action := formAction.FindStringSubmatch(shown.body)
	if action == nil {
		p.w.t.Fatalf("status %d, no form (Location %q):\n%s", shown.status, shown.to, shown.body)
	}
	form := url.Values{}
	for _, h := range hiddenInput.FindAllStringSubmatch(shown.body, -1) {
		form.Set(h[1], html.UnescapeString(h[2]))
	}
	for i := 0; i < len(values); i += 2 {
		form.Set(values[i], values[i+1])
	}
	return html.UnescapeString(action[1]), form
}

func (p *person) submit(shown page, values ...string) page {
	p.w.t.Helper()
	action, form := p.fill(shown, values...)
	return p.post(action, form)
}

func (p *person) logIn(pool string) {
	p.w.t.Helper()
	in := p.submit(p.get("/userpool/"+pool+"/login"), "username", "zhang", "password", password)
	if in.status != http.StatusOK || !strings.Contains(in.body, "logged in") {
		p.w.t.Fatalf("login: %d\n%s", in.status, in.body)
	}
}

// ask is an authorization request of the client chat of a pool, without PKCE.
func (w *world) ask(pool string, changes ...string) string {
	q := url.Values{
		"client_id": {"cli_chat_" + pool}, "redirect_uri": {callbackURL}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"s1"},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
	}
	return "/userpool/" + pool + "/authorize?" + q.Encode()
}

// code runs an authorization request to its end for somebody who is logged in.
func (p *person) code(target string) string {
	p.w.t.Helper()
	shown := p.get(target)
	if shown.status == http.StatusOK {
		shown = p.submit(shown, "decision", "allow")
	}
	u, err := url.Parse(shown.to)
	p.w.must(err)
	if u.Query().Get("code") == "" {
		p.w.t.Fatalf("no code: %d %s\n%s", shown.status, shown.to, shown.body)
	}
	return u.Query().Get("code")
}

// redeem sends a token request of a client, with its secret in the body.
func (w *world) redeem(pool, client, code string, changes ...string) page {
	w.t.Helper()
	id := "cli_" + client + "_" + pool
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callbackURL}, "client_id": {id}}
	if s := w.secrets[id]; !s.Empty() {
		form.Set("client_secret", s.RevealString())
	}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
	}
	return w.person().post("/userpool/"+pool+"/oauth/token", form)
}

// edit changes a client of a pool, which is found by its short name.
func (w *world) edit(pool, client string, change func(*userpool.Client)) {
	w.t.Helper()
	c, err := w.stores.Client(w.t.Context(), pool, "cli_"+client+"_"+pool)
	w.must(err)
	change(&c)
	w.must(c.Check())
	w.must(w.stores.UpdateClient(w.t.Context(), w.permit(userpool.ActionUpdateClient, c.Resource()), c))
}

// settings changes the settings of a pool.
func (w *world) settings(pool string, change func(*userpool.Settings)) {
	w.t.Helper()
	p, err := w.stores.Pool(w.t.Context(), pool)
	w.must(err)
	change(&p.Settings)
	w.must(p.Check())
	w.must(w.stores.UpdatePool(w.t.Context(), w.permit(userpool.ActionUpdatePool, p.Resource()), p))
}

func (w *world) scopes(param string) name.Scopes {
	w.t.Helper()
	s, err := name.ParseScopes(param)
	w.must(err)
	return s
}

// call sends a form to an endpoint of a pool as a client, with its secret in the body if it has one.
func (w *world) call(pool, client, endpoint string, form url.Values) page {
	w.t.Helper()
	id := "cli_" + client + "_" + pool
	form.Set("client_id", id)
	if s := w.secrets[id]; !s.Empty() {
		form.Set("client_secret", s.RevealString())
	}
	return w.person().post("/userpool/"+pool+endpoint, form)
}

// grant sends a token request.
func (w *world) grant(pool, client, grantType string, params ...string) page {
	w.t.Helper()
	form := url.Values{"grant_type": {grantType}}
	for i := 0; i < len(params); i += 2 {
		form.Add(params[i], params[i+1])
	}
	return w.call(pool, client, "/oauth/token", form)
}

// answer is a token response.
type answer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Type    string `json:"issued_token_type"`
	Scope   string `json:"scope"`
	Seconds int64  `json:"expires_in"`
}

// good reads a response that must be one with tokens.
func (w *world) good(p page) answer {
	w.t.Helper()
	var a answer
	if p.status != http.StatusOK || json.Unmarshal([]byte(p.body), &a) != nil || a.Access == "" {
		w.t.Fatalf("not a token response: %d %s", p.status, p.body)
	}
	return a
}

// bad fails the test unless p is an OAuth error with that code and tells nothing else.
func (w *world) bad(what string, p page, status int, code string) {
	w.t.Helper()
	if p.status != status || !strings.Contains(p.body, `"error":"`+code+`"`) || strings.Contains(p.body, "_token\":") {
		w.t.Errorf("%s: %d %s, want %d %s", what, p.status, strings.TrimSpace(p.body), status, code)
	}
}

// claims returns what a token says, without looking at its signature.
func (w *world) claims(token string) map[string]any {
	w.t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.t.Fatalf("not a JWT: %q", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	w.must(err)
	var claims map[string]any
	w.must(json.Unmarshal(b, &claims))
	return claims
}

// active reports whether a client is told that a token holds, and the rest of what it is told.
func (w *world) active(pool, client, token string) (bool, map[string]any) {
	w.t.Helper()
	p := w.call(pool, client, "/oauth/introspect", url.Values{"token": {token}})
	var v map[string]any
	if p.status != http.StatusOK || json.Unmarshal([]byte(p.body), &v) != nil || p.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("introspection: %d %s", p.status, p.body)
	}
	active, _ := v["active"].(bool)
	if !active && len(v) != 1 {
		w.t.Errorf("of a token that does not hold more is told: %s", p.body)
	}
	return active, v
}
