package backchannel_test

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

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/backchannel"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

const publicURL = "https://id.example"

// key is the one key of every pool.
type key struct{ jwt.Key }

func (k key) Signing(context.Context, string, string) ([]jwt.Key, error) {
	return []jwt.Key{k.Key}, nil
}

// receiver is a client's logout endpoint. It answers with the statuses given, in
// turn, and with 200 after the last.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	tokens   []string
	heard    chan struct{} // receives with every request
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	r := &receiver{statuses: statuses, heard: make(chan struct{}, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		body, err := io.ReadAll(q.Body)
		token, ok := strings.CutPrefix(string(body), "logout_token=")
		if err != nil || !ok || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s %q, %v", q.Method, body, err)
		}
		r.tokens = append(r.tokens, token)
		if len(r.statuses) > 0 {
			w.WriteHeader(r.statuses[0])
			r.statuses = r.statuses[1:]
		}
		r.heard <- struct{}{}
	}))
	t.Cleanup(r.Close)
	return r
}

// told returns the logout tokens that came.
func (r *receiver) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokens
}

// world is a pool "staff" with a user, seen by two replicas under one clock.
type world struct {
	t        *testing.T
	stores   store.UserPools
	guard    *guard.Guard
	key      key
	replicas [2]*backchannel.Notifier
	mu       sync.Mutex
	time     time.Time
}

func newWorld(t *testing.T, open storetest.Open, allow ...string) *world {
	t.Helper()
	first, second := open(t)
	w := &world{t: t, stores: store.UserPools{DB: first}, time: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	made, err := jwt.Generate(jwt.ES256)
	w.must(err)
	w.key = key{made}
	out, err := outbound.New(outbound.Config{Allow: allow})
	w.must(err)
	t.Cleanup(out.Close)
	for i, db := range []*store.DB{first, second} {
		log := audit.NewLog(store.Audit{DB: db})
		t.Cleanup(log.Close)
		pools := store.UserPools{DB: db}
		g := &guard.Guard{Log: log, Now: w.now}
		w.guard = g
		w.replicas[i] = &backchannel.Notifier{PublicURL: publicURL, Notices: pools, Pools: pools, Clients: pools, Keys: w.key, Sender: out, Bell: store.Bell{DB: db},
			Guard: g, Log: slog.New(slog.DiscardHandler), Now: w.now}
	}
	pool := userpool.Pool{Name: "staff", Settings: userpool.DefaultSettings(), CreatedAt: w.now()}
	w.must(w.stores.CreatePool(t.Context(), w.permit(userpool.ActionCreatePool, pool.Resource()), pool))
	u := userpool.User{ID: "usr_zhang", Pool: "staff", UserName: "zhang", CreatedAt: w.now()}
	w.must(w.stores.CreateUser(t.Context(), w.permit(userpool.ActionCreateUser, u.Resource()), u))
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
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

// logOut ends a session in which a client with that logout URI got tokens.
func (w *world) logOut(clientName, uri string) userpool.Session {
	w.t.Helper()
	ctx := w.t.Context()
	c := userpool.NewClient("staff", clientName, userpool.Public, w.now())
	c.ID, c.BackchannelLogoutURI = "cli_"+clientName, uri
	w.must(w.stores.CreateClient(ctx, w.permit(userpool.ActionCreateClient, c.Resource()), c))
	session, _ := userpool.NewSession("staff", "usr_zhang", []string{"pwd"}, w.now())
	w.must(w.stores.CreateSession(ctx, w.permit(userpool.ActionCreateSession, session.Resource()), session))
	code := userpool.Code{Hash: userpool.HashCode(userpool.NewCode()), ID: name.NewID("code"), Pool: "staff", ClientID: c.ID, UserID: "usr_zhang", ExpiresAt: w.now().Add(time.Minute)}
	w.must(w.stores.CreateCode(ctx, w.permit(userpool.ActionCreateCode, code.Resource()), code))
	begun := userpool.Beginning{Family: userpool.Family{ID: name.NewID("fam"), Pool: "staff", ClientID: c.ID, UserID: "usr_zhang", SessionID: session.ID,
		CreatedAt: w.now(), ExpiresAt: w.now().Add(time.Hour)}}
	w.must(w.stores.RedeemCode(ctx, w.permit(userpool.ActionRedeemCode, code.Resource()), "staff", code.ID, w.now(), begun))
	w.must(w.stores.EndSession(ctx, w.permit(userpool.ActionEndSession, session.Resource()), "staff", session.ID))
	return session
}

// tell has all replicas tell at once.
func (w *world) tell() {
	w.t.Helper()
	var group sync.WaitGroup
	for _, n := range w.replicas {
		group.Go(func() {
			if err := n.Tell(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		})
	}
	group.Wait()
}

// results returns outcome and reason of what was recorded about telling.
func (w *world) results() []string {
	w.t.Helper()
	all, err := storetest.Entries(w.t.Context(), w.stores.DB)
	w.must(err)
	var list []string
	for _, e := range all {
		if e.Action == string(userpool.ActionNotifyLogout) {
			list = append(list, strings.TrimSpace(string(e.Outcome)+" "+e.Reason))
		}
	}
	return list
}

func TestAClientIsToldOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		r := newReceiver(t)
		w := newWorld(t, open, strings.TrimPrefix(r.URL, "http://"))
		session := w.logOut("chat", r.URL+"/logout")
		w.tell()
		w.pass(24 * time.Hour)
		w.tell()
		told := r.told()
		if len(told) != 1 {
			t.Fatalf("told %d times", len(told))
		}
		got, err := jwt.NewSet(w.key.Key).Verify(told[0], jwt.Expect{Issuer: publicURL + "/userpool/staff", Audience: "cli_chat", Types: []string{"logout+jwt"},
			Algorithms: []string{jwt.ES256}, Now: func() time.Time { return session.AuthTime }})
		w.must(err)
		var claims map[string]any
		w.must(json.Unmarshal(got.Raw, &claims))
		events, _ := json.Marshal(claims["events"])
		if got.Subject != "usr_zhang" || claims["sid"] != session.ID || string(events) != `{"http://schemas.openid.net/event/backchannel-logout":{}}` || claims["nonce"] != nil ||
			claims["jti"] == "" || got.ExpiresAt.Sub(got.IssuedAt) != 2*time.Minute {
			t.Errorf("got %v", claims)
		}
		if results := w.results(); len(results) != 1 || !strings.HasPrefix(results[0], "allowed") {
			t.Errorf("recorded: %q", results)
		}
	})
}

// TestAClientThatDoesNotAnswer is told again, later and later, and then no more.
func TestAClientThatDoesNotAnswer(t *testing.T) {
	for what, c := range map[string]struct {
		statuses []int
		attempts int
		result   string
	}{
		"down for a while": {[]int{500, 503, 302}, 4, "allowed"},
		"down for good":    {[]int{500, 500, 500, 500, 500, 500, 500}, 5, "failed the client answered with status 500"},
		"refuses":          {[]int{400}, 1, "failed the client answered with status 400"},
		"no content":       {[]int{204}, 1, "allowed"},
	} {
		t.Run(what, func(t *testing.T) {
			db := storetest.SQLite(t)
			r := newReceiver(t, c.statuses...)
			w := newWorld(t, func(testing.TB) (first, second *store.DB) { return db, db }, strings.TrimPrefix(r.URL, "http://"))
			w.logOut("chat", r.URL)
			for range 10 {
				before := len(r.told())
				w.tell()
				if n := len(r.told()); n > before+1 {
					t.Fatalf("%d attempts without a pause", n-before)
				}
				w.pass(2 * time.Hour)
			}
			if n := len(r.told()); n != c.attempts {
				t.Errorf("%d attempts, want %d", n, c.attempts)
			}
			if results := w.results(); len(results) != 1 || !strings.HasPrefix(results[0], c.result) {
				t.Errorf("recorded: %q", results)
			}
		})
	}
}

// TestAddressesOfClientsAreForeign has clients register what Deputy must not reach.
func TestAddressesOfClientsAreForeign(t *testing.T) {
	db := storetest.SQLite(t)
	w := newWorld(t, func(testing.TB) (first, second *store.DB) { return db, db })
	r := newReceiver(t)
	for i, uri := range []string{r.URL, "http://169.254.169.254/latest", "https://10.0.0.1/", "file:///etc/passwd", "https://user:pw@[::1]/"} {
		w.logOut("client-"+string(rune('a'+i)), uri)
	}
	w.tell()
	if n := len(r.told()); n != 0 {
		t.Errorf("a loopback address was reached %d times", n)
	}
	results := w.results()
	for _, got := range results {
		if !strings.HasPrefix(got, "failed outbound_") || strings.Contains(got, "pw") {
			t.Errorf("recorded: %q", got)
		}
	}
	if len(results) != 5 {
		t.Errorf("%d results", len(results))
	}
}

// TestTheBellIsHeard ends a session while a notifier of another replica runs.
func TestTheBellIsHeard(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		r := newReceiver(t)
		w := newWorld(t, open, strings.TrimPrefix(r.URL, "http://"))
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { w.replicas[1].Run(ctx) })
		w.logOut("chat", r.URL)
		select {
		case <-r.heard:
		case <-time.After(30 * time.Second):
			t.Error("nothing was told")
		}
		cancel()
		group.Wait()
	})
}
