package peers_test

import (
	"context"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/visitor"
)

const (
	pool        = "people"
	password    = "correct horse 电池 staple"
	redirectURI = "http://127.0.0.1:9/callback" // where nobody listens: a person stops before it
	afterLogout = "http://127.0.0.1:9/bye"
	resource    = "https://documents.example/api"
)

// world is a Deputy with a pool, and somebody in it.
type world struct {
	*servertest.Replica
	t     testing.TB
	pools store.UserPools
	guard *guard.Guard
	user  userpool.User
	ahead atomic.Int64 // of the world's clocks, in nanoseconds: Deputy's own, and no other's
}

// newWorld starts a Deputy whose pool signs with an algorithm.
func newWorld(t testing.TB, algorithm string) *world {
	t.Helper()
	w := &world{t: t}
	w.Replica = servertest.Start(t, server.Config{Data: servertest.DataDir(t), Version: "test", AllowOutbound: []string{"127.0.0.1"}, Logger: slog.New(slog.DiscardHandler), Now: w.now})
	// Beside the server, as another replica would.
	db, err := store.OpenSQLite(t.Context(), w.Dir)
	w.must(err)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(func() {
		log.Close()
		w.must(db.Close())
	})
	w.pools, w.guard = store.UserPools{DB: db}, &guard.Guard{Log: log, Now: time.Now}

	p := userpool.Pool{Name: pool, Settings: userpool.DefaultSettings(), CreatedAt: w.now()}
	p.Settings.Algorithm = algorithm
	w.must(p.Check())
	w.must(w.pools.CreatePool(t.Context(), w.permit(userpool.ActionCreatePool, p.Resource()), p))
	hash, err := userpool.NewHasher(1).Hash(t.Context(), secret.FromString(password))
	w.must(err)
	w.user = userpool.User{ID: name.NewID("usr"), Pool: pool, UserName: "zhangsan", DisplayName: "张三", Email: "zhangsan@example.com", EmailVerified: true,
		PasswordHash: hash, CreatedAt: w.now()}
	w.must(w.user.Check())
	w.must(w.pools.CreateUser(t.Context(), w.permit(userpool.ActionCreateUser, w.user.Resource()), w.user))
	return w
}

func (w *world) now() time.Time {
	return time.Now().UTC().Add(time.Duration(w.ahead.Load())).Truncate(time.Millisecond)
}

// pass lets time go by for Deputy.
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) permit(a guard.Action, r guard.Resource) guard.Permit {
	w.t.Helper()
	p, err := w.guard.Allow(context.Background(), name.Caller{Kind: name.System}, a, r)
	w.must(err)
	return p
}

func (w *world) issuer() string { return userpool.Issuer(w.URL, pool) }

// client adds a client that a test may still change.
func (w *world) client(kind userpool.ClientType, change func(*userpool.Client)) (userpool.Client, secret.Text) {
	w.t.Helper()
	scopes, err := name.NewScopes("openid", "profile", "email", "offline_access")
	w.must(err)
	id := name.NewID("cli")
	c := userpool.NewClient(pool, id[len(id)-10:], kind, w.now())
	c.RedirectURIs, c.PostLogoutRedirectURIs, c.Scopes = []string{redirectURI}, []string{afterLogout}, scopes
	var s secret.Text
	if kind == userpool.Web {
		s = userpool.NewSecret()
		c.SecretHash = userpool.HashSecret(s)
	}
	if change != nil {
		change(&c)
	}
	w.must(c.Check())
	w.must(w.pools.CreateClient(w.t.Context(), w.permit(userpool.ActionCreateClient, c.Resource()), c))
	return c, s
}

// person is the world's user in a browser of his own.
type person struct {
	*visitor.Visitor
	w *world
}

func (w *world) person() *person {
	w.t.Helper()
	v, err := visitor.New()
	w.must(err)
	return &person{v, w}
}

// visit opens an address, answers every page of the pool as a willing person
// does, and returns where the browser ends: at a client, or on a page without a
// question.
func (p *person) visit(address string) string {
	p.w.t.Helper()
	var end string
	atClient := func(next *url.URL) bool {
		if strings.HasPrefix(next.String(), w9) {
			end = next.String()
			return false
		}
		return true
	}
	at, err := p.Get(p.w.t.Context(), address, atClient)
	for range 5 {
		p.w.must(err)
		if end != "" {
			return end
		}
		var asked bool
		if at, asked, err = p.answer(at, atClient); !asked {
			return at.URL.String()
		}
	}
	p.w.t.Fatalf("the questions do not end: %s\n%s", at.URL, at.Body)
	return ""
}

// w9 begins the addresses of clients.
const w9 = "http://127.0.0.1:9/"

// answer answers the page's question, if it has one.
func (p *person) answer(at visitor.Page, on func(*url.URL) bool) (visitor.Page, bool, error) {
	if login, err := at.Find("username", "password"); err == nil {
		at, err = p.Submit(p.w.t.Context(), at, login, url.Values{"username": {p.w.user.UserName}, "password": {password}}, "", "", on)
		return at, true, err
	}
	if decision, err := at.Find("decision"); err == nil {
		at, err = p.Submit(p.w.t.Context(), at, decision, nil, "decision", "allow", on)
		return at, true, err
	}
	if code, err := at.Find("user_code"); err == nil { // of a device, as the address filled it in
		at, err = p.Submit(p.w.t.Context(), at, code, nil, "", "", on)
		return at, true, err
	}
	return at, false, nil
}

// testdata is the directory of a peer.
func testdata(t testing.TB, dir string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", dir))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// refusals returns why the audit log says that something was refused.
func (w *world) refusals() []string {
	w.t.Helper()
	var reasons []string
	records, err := store.Audit{DB: w.pools.DB}.AuditRecords(w.t.Context(), audit.Filter{Outcome: audit.Refused, Limit: 100})
	w.must(err)
	for _, r := range records {
		e, err := r.Entry()
		w.must(err)
		reasons = append(reasons, e.Reason)
	}
	return reasons
}
