package account_test

import (
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/account"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor/factortest"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/descope/virtualwebauthn"
)

const password = "correct horse battery"

// world is the login and the account pages on localhost, with the pools staff
// and guests, which have a user zhang, a user li and a client chat each.
type world struct {
	t      *testing.T
	url    string
	stores storetest.Pools
	signIn *signin.SignIn
	guard  *guard.Guard
	mu     sync.Mutex
	ahead  time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w := &world{t: t, stores: storetest.NewPools(t), url: strings.Replace(server.URL, "127.0.0.1", "localhost", 1)}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w.guard = &guard.Guard{Log: w.stores.Log, Now: w.now}
	site, err := browser.NewSite(w.url, "id")
	w.must(err)
	pages, err := browser.NewPages(site, log)
	w.must(err)
	w.signIn = w.stores.SignIn(t, w.url, w.guard, w.now)
	base := poolpage.Base{PublicURL: w.url, Site: site, Pages: pages, Pools: w.stores, Log: log, Now: w.now, Address: poolpage.RemoteAddress}
	logins := &login.Logins{PublicURL: w.url, Site: site, Users: w.stores, Sessions: w.stores, Guard: w.guard, Log: log, Now: w.now}
	(&login.Handler{Base: base, Logins: logins, SignIn: w.signIn, Recovery: recovery.New(recovery.Config{Now: w.now})}).Mount(mux)
	(&account.Home{Base: account.Base{Base: base, Logins: logins}, Clients: w.stores, Sessions: w.stores, Consents: w.stores, Guard: w.guard,
		Federation: &federation.Federation{PublicURL: w.url, Store: store.Identities{DB: w.stores.UserPools.DB}, Users: w.stores, Guard: w.guard, Now: w.now}, Factors: w.signIn.Factors}).Mount(mux)
	(&account.Security{Base: account.Base{Base: base, Logins: logins}, SignIn: w.signIn}).Mount(mux)
	hash, err := w.signIn.Passwords.Hasher.Hash(t.Context(), secret.FromString(password))
	w.must(err)
	for _, poolName := range []string{"staff", "guests"} {
		p := userpool.Pool{Name: poolName, Settings: userpool.DefaultSettings(), CreatedAt: w.now()}
		w.must(w.stores.CreatePool(t.Context(), w.permit(userpool.ActionCreatePool, p.Resource()), p))
		for _, userName := range []string{"zhang", "li"} {
			u := userpool.User{ID: "usr_" + userName + "_" + poolName, Pool: poolName, UserName: userName, DisplayName: "用户 " + userName,
				Email: userName + "@example.com", PasswordHash: hash, CreatedAt: w.now(), PasswordChangedAt: w.now()}
			w.must(w.stores.CreateUser(t.Context(), w.permit(userpool.ActionCreateUser, u.Resource()), u))
		}
		c := userpool.NewClient(poolName, "chat", userpool.Public, w.now())
		c.ID, c.BackchannelLogoutURI = "cli_chat_"+poolName, "https://chat.example/logout"
		w.must(w.stores.CreateClient(t.Context(), w.permit(userpool.ActionCreateClient, c.Resource()), c))
	}
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

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

// settings changes the settings of a pool.
func (w *world) settings(poolName string, change func(*userpool.Settings)) {
	w.t.Helper()
	p, err := w.stores.Pool(w.t.Context(), poolName)
	w.must(err)
	change(&p.Settings)
	w.must(w.stores.UpdatePool(w.t.Context(), w.permit(userpool.ActionUpdatePool, p.Resource()), p))
}

// page is what a browser got.
type page struct {
	status int
	path   string // after redirects, with the query
	header http.Header
	body   string
}

// person is a browser that follows redirects and runs no script.
type person struct {
	w      *world
	client *http.Client
	key    *virtualwebauthn.Credential // its only passkey; nil: none
	handle string                      // whose it is
}

func (w *world) person() *person {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &person{w: w, client: &http.Client{Jar: jar}}
}

func (p *person) send(method, path string, form url.Values, header http.Header) page {
	p.w.t.Helper()
	r, err := http.NewRequestWithContext(p.w.t.Context(), method, p.w.url+path, strings.NewReader(form.Encode()))
	p.w.must(err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		r.Header[k] = v
	}
	answer, err := p.client.Do(r)
	p.w.must(err)
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	p.w.must(err)
	return page{answer.StatusCode, answer.Request.URL.RequestURI(), answer.Header, string(b)}
}

func (p *person) get(path string) page { return p.send("GET", path, nil, nil) }

var (
	forms  = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)".*?</form>`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
	others = regexp.MustCompile(`formaction="([^"]+)"`)
)

// fill returns the form of a page that goes to action, filled in.
func (p *person) fill(shown page, action string, values ...string) url.Values {
	p.w.t.Helper()
	for _, f := range forms.FindAllStringSubmatch(shown.body, -1) {
		if !strings.HasSuffix(html.UnescapeString(f[1]), action) {
			continue
		}
		form := url.Values{}
		for _, h := range hidden.FindAllStringSubmatch(f[0], -1) {
			form.Set(h[1], html.UnescapeString(h[2]))
		}
		for i := 0; i < len(values); i += 2 {
			form.Set(values[i], values[i+1])
		}
		return form
	}
	p.w.t.Fatalf("%d %s: no form to %s\n%s", shown.status, shown.path, action, shown.body)
	return nil
}

// submit sends the form of a page that goes to action, below the pool.
func (p *person) submit(shown page, action string, values ...string) page {
	p.w.t.Helper()
	return p.send("POST", p.inPool(shown, action), p.fill(shown, action, values...), nil)
}

// inPool returns the path of action in the pool that a page is of.
func (p *person) inPool(shown page, action string) string {
	return "/" + strings.Join(strings.SplitN(shown.path, "/", 4)[1:3], "/") + action
}

// logIn logs in with the password and returns the page after it.
func (p *person) logIn(pool, user, secret string) page {
	p.w.t.Helper()
	return p.submit(p.get("/userpool/"+pool+"/login?return=/userpool/"+pool+"/account/security"), "/login", "username", user, "password", secret)
}

// want fails the test unless the page is at path and has a text.
func (p *person) want(shown page, status int, path, text string) page {
	p.w.t.Helper()
	if shown.status != status || !strings.Contains(shown.path, path) || !strings.Contains(shown.body, text) {
		p.w.t.Fatalf("got %d at %s, want %d at %s with %q\n%s", shown.status, shown.path, status, path, text, shown.body)
	}
	return shown
}

// seed returns the seed that a page shows.
func (p *person) seed(shown page, action string) secret.Text {
	p.w.t.Helper()
	return secret.FromString(p.fill(shown, action).Get("seed"))
}

// code is what the authenticator app shows; each call is a step later.
func (w *world) code(seed secret.Text) string {
	w.pass(30 * time.Second)
	return storetest.TOTP(seed, w.now()).RevealString()
}

var dataOptions = regexp.MustCompile(`data-options="([^"]*)"`)

// options are what a page asks the browser's authenticator for.
func (p *person) options(shown page) string {
	p.w.t.Helper()
	m := dataOptions.FindStringSubmatch(shown.body)
	if m == nil {
		p.w.t.Fatalf("%d %s: the page asks for no passkey\n%s", shown.status, shown.path, shown.body)
	}
	return html.UnescapeString(m[1])
}

func (p *person) authenticator() (virtualwebauthn.RelyingParty, virtualwebauthn.Authenticator) {
	return virtualwebauthn.RelyingParty{Name: "staff", ID: "localhost", Origin: p.w.url},
		virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(p.handle)})
}

// create makes a passkey as a page asks for.
func (p *person) create(shown page) string {
	p.w.t.Helper()
	parsed, err := virtualwebauthn.ParseAttestationOptions(p.options(shown))
	p.w.must(err)
	key := factortest.NewPasskey(p.w.t)
	p.key, p.handle = &key, parsed.UserID
	rp, a := p.authenticator()
	return virtualwebauthn.CreateAttestationResponse(rp, a, key, *parsed)
}

// assert answers by the passkey as a page asks for.
func (p *person) assert(shown page) string {
	p.w.t.Helper()
	parsed, err := virtualwebauthn.ParseAssertionOptions(p.options(shown))
	p.w.must(err)
	rp, a := p.authenticator()
	return virtualwebauthn.CreateAssertionResponse(rp, a, *p.key, *parsed)
}
