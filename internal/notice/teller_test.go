package notice_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/notice"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/workload"
)

var root = name.Caller{Kind: name.Operator, Operator: "root"}

// told is one delivery as a receiver saw it.
type told struct {
	header http.Header
	body   []byte
}

// receiver is somebody's webhook.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []told
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// take returns what was received since.
func (r *receiver) take() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// world is a pool with a receiver, and two replicas that tell.
type world struct {
	t        *testing.T
	log      store.Audit
	registry *notice.Registry
	tellers  []*notice.Teller
	receiver *receiver
	ahead    atomic.Int64
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

func newWorld(t *testing.T, open storetest.Open) *world {
	first, second := open(t)
	w := &world{t: t, log: store.Audit{DB: first}, receiver: &receiver{status: http.StatusNoContent}}
	w.receiver.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		w.receiver.mu.Lock()
		defer w.receiver.mu.Unlock()
		w.receiver.got = append(w.receiver.got, told{r.Header.Clone(), body})
		rw.WriteHeader(w.receiver.status)
	}))
	t.Cleanup(w.receiver.Close)
	log := audit.NewLog(w.log)
	t.Cleanup(log.Close)
	g := &guard.Guard{Log: log, Now: w.now}
	key, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	w.must(err)
	ring, err := keys.NewRing(t.Context(), key, store.Keys{DB: first}, g, w.now)
	w.must(err)
	out, err := outbound.New(outbound.Config{Allow: []string{w.receiver.Listener.Addr().String()}})
	w.must(err)
	t.Cleanup(out.Close)
	for _, pool := range []string{"default", "other"} {
		w.must(store.Workloads{DB: first}.CreatePool(t.Context(), storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource(pool)), workload.Pool{Name: pool}))
	}
	w.registry = &notice.Registry{Store: store.Webhooks{DB: first}, Sealer: ring, Sender: out, Guard: g, Now: w.now}
	for _, db := range []*store.DB{first, second} {
		s := store.Webhooks{DB: db}
		w.tellers = append(w.tellers, &notice.Teller{Webhooks: s, Outbox: s, Audit: store.Audit{DB: db}, Sealer: ring, Sender: out, Bell: store.Bell{DB: db}, Guard: g,
			Logger: slog.New(slog.DiscardHandler), Now: w.now})
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// happens records that a grant of a pool is gone.
func (w *world) happens(pool, grant string) {
	w.t.Helper()
	w.must(w.log.AppendAudit(w.t.Context(), []audit.Entry{
		{ID: name.NewID("aud"), Time: w.now().UTC(), Action: "credential.release", Outcome: audit.Allowed, Resource: audit.Resource{Kind: "provider", Pool: pool, ID: "feishu"}},
		{ID: name.NewID("aud"), Time: w.now().UTC(), Action: string(vault.ActionRevoked), Outcome: audit.Allowed, Resource: vault.GrantResource(pool, grant), Provider: "feishu",
			Scopes: []string{"read"}, Detail: map[string]string{"cause": "user.delete", "issuer": "https://id.example", "subject": "usr_zhang"}},
	}))
}

// tell lets all replicas do what is due, at once.
func (w *world) tell() []told {
	w.t.Helper()
	var group sync.WaitGroup
	for _, teller := range w.tellers {
		group.Go(func() {
			if err := teller.Spread(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		})
	}
	group.Wait()
	for _, teller := range w.tellers {
		group.Go(func() {
			if err := teller.Worker().Once(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		})
	}
	group.Wait()
	return w.receiver.take()
}

func (w *world) register(events ...notice.Type) (notice.Webhook, string) {
	w.t.Helper()
	made, shown, err := w.registry.Create(w.t.Context(), root, "default", w.receiver.URL+"/hook?key=q", events)
	w.must(err)
	if got := w.receiver.take(); len(got) != 1 || !strings.Contains(string(got[0].body), `"type":"webhook.ping"`) {
		w.t.Fatalf("the ping: %v", got)
	}
	return made, shown.RevealString()
}

// TestWebhooksAreToldOnce has the signatures checked by the specification's own
// library.
func TestWebhooksAreToldOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		w.happens("default", "grt_before")
		_, key := w.register()
		w.register(notice.AuthorizationCompleted) // hears nothing of grants
		w.happens("default", "grt_1")
		w.happens("other", "grt_2")
		got := w.tell()
		if len(got) != 1 {
			t.Fatalf("%d deliveries", len(got))
		}
		verifier, err := standardwebhooks.NewWebhook(key)
		w.must(err)
		w.must(verifier.Verify(got[0].body, got[0].header))
		if err := verifier.Verify([]byte(strings.Replace(string(got[0].body), "grt_1", "grt_9", 1)), got[0].header); err == nil {
			t.Error("a changed body is verified")
		}
		var e notice.Event
		w.must(json.Unmarshal(got[0].body, &e))
		if e.Type != notice.GrantRevoked || e.Data.Grant != "grt_1" || e.Data.Pool != "default" || e.Data.Provider != "feishu" || e.Data.User.Subject != "usr_zhang" || e.Data.Reason != "user.delete" {
			t.Errorf("told: %+v", e)
		}
		if again := w.tell(); len(again) != 0 {
			t.Errorf("told again: %v", again)
		}
	})
}

// TestAWebhookThatFailsIsToldAgainUntilItIsDisabled, and told why.
func TestAWebhookThatFailsIsToldAgainUntilItIsDisabled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		hook, _ := w.register()
		w.receiver.answer(http.StatusInternalServerError)
		w.happens("default", "grt_1")
		first := w.tell()
		if len(first) != 1 || len(w.tell()) != 0 {
			t.Fatalf("%d at once", len(first))
		}
		w.pass(7 * time.Second)
		if second := w.tell(); len(second) != 1 || second[0].header.Get("Webhook-Id") != first[0].header.Get("Webhook-Id") {
			t.Fatalf("the second attempt: %v", second)
		}
		list, err := w.registry.Store.Deliveries(t.Context(), "default", hook.ID, 10)
		if w.must(err); len(list) != 1 || list[0].State != notice.Pending || list[0].Attempts != 2 || list[0].Status != 500 || list[0].LastError == "" {
			t.Errorf("deliveries: %+v", list)
		}
		for range 90 {
			w.pass(time.Hour)
			w.tell()
		}
		if now, err := w.registry.Store.Webhook(t.Context(), "default", hook.ID); err != nil || now.Disabled == "" {
			t.Errorf("after days: %+v, %v", now, err)
		}
		if list, err = w.registry.Store.Deliveries(t.Context(), "default", hook.ID, 10); err != nil || len(list) != 1 || list[0].State != notice.GivenUp {
			t.Errorf("deliveries: %+v, %v", list, err)
		}
		records, err := w.log.AuditRecords(t.Context(), audit.Filter{Action: string(notice.ActionDisable), Limit: 10})
		if w.must(err); len(records) != 1 {
			t.Errorf("%d records of the end", len(records))
		}
		// Nothing is told while it is disabled, and then what happens from now on.
		w.receiver.answer(http.StatusOK)
		w.happens("default", "grt_2")
		if got := w.tell(); len(got) != 0 {
			t.Errorf("told while disabled: %v", got)
		}
		w.must(w.registry.Enable(t.Context(), root, "default", hook.ID))
		w.happens("default", "grt_3")
		if got := w.tell(); len(got) != 1 || !strings.Contains(string(got[0].body), "grt_3") {
			t.Errorf("told after it was enabled: %v", got)
		}
	})
}

func TestAWebhookThatIsGoneIsDisabledAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		hook, _ := w.register()
		w.receiver.answer(http.StatusGone)
		w.happens("default", "grt_1")
		w.tell()
		if now, err := w.registry.Store.Webhook(t.Context(), "default", hook.ID); err != nil || now.Disabled == "" {
			t.Errorf("%+v, %v", now, err)
		}
		w.pass(4 * 7 * 24 * time.Hour)
		w.must(w.tellers[0].Sweep(t.Context()))
		if list, err := w.registry.Store.Deliveries(t.Context(), "default", hook.ID, 10); err != nil || len(list) != 0 {
			t.Errorf("old deliveries: %+v, %v", list, err)
		}
	})
}

// TestManyEventsOfManyKinds has more records than are read at once, most of
// which a webhook does not want.
func TestManyEventsOfManyKinds(t *testing.T) {
	w := newWorld(t, func(t testing.TB) (first, second *store.DB) {
		db := storetest.SQLite(t)
		return db, db
	})
	w.register(notice.AuthorizationFailed)
	var many []audit.Entry
	for i := range 450 {
		e := audit.Entry{ID: name.NewID("aud"), Time: w.now().UTC(), Action: string(vault.ActionRevoked), Outcome: audit.Allowed, Resource: vault.GrantResource("default", "grt_1")}
		if i%150 == 149 {
			e.Action, e.Outcome, e.Reason = string(consent.ActionFinish), audit.Failed, "access_denied"
			e.Resource = audit.Resource{Kind: "authorization", Pool: "default", ID: "auth_1"}
		}
		many = append(many, e)
	}
	w.must(w.log.AppendAudit(t.Context(), many))
	if got := w.tell(); len(got) != 3 {
		t.Errorf("%d deliveries", len(got))
	}
}

func TestAWebhookIsTestedWhenItIsSaved(t *testing.T) {
	w := newWorld(t, func(t testing.TB) (first, second *store.DB) {
		db := storetest.SQLite(t)
		return db, db
	})
	w.receiver.answer(http.StatusNotFound)
	for address, code := range map[string]string{
		w.receiver.URL: "webhook_refuses", "https://169.254.169.254/latest": "webhook_refuses", "http://192.0.2.1:1/": "webhook_refuses", "ftp://x.example": "webhook_url_invalid",
		"/hook": "webhook_url_invalid", "https://user:pass@x.example/": "webhook_url_invalid", "": "webhook_url_invalid", "https://x.example/" + strings.Repeat("a", 2000): "webhook_url_invalid",
	} {
		if _, _, err := w.registry.Create(t.Context(), root, "default", address, nil); !fault.HasCode(err, code) {
			t.Errorf("%s: %v, want %s", name.Clip(address, 60), err, code)
		}
	}
	if _, _, err := w.registry.Create(t.Context(), root, "default", w.receiver.URL, []notice.Type{"x"}); !fault.HasCode(err, "event_unknown") {
		t.Errorf("an unknown event: %v", err)
	}
	if _, _, err := w.registry.Create(t.Context(), name.Caller{Kind: name.Person, User: name.User{Issuer: "i", Subject: "s"}}, "default", w.receiver.URL, nil); !fault.HasCode(err, "not_allowed") {
		t.Errorf("a person: %v", err)
	}
	if list, err := w.registry.Store.Webhooks(t.Context(), "default"); err != nil || len(list) != 0 {
		t.Errorf("saved all the same: %v, %v", list, err)
	}
	w.receiver.answer(http.StatusOK)
	w.receiver.take()
	hook, _ := w.register()
	for what, err := range map[string]error{
		"another pool's": w.registry.Delete(t.Context(), root, "other", hook.ID),
		"none":           w.registry.Ping(t.Context(), "default", "whk_x"),
	} {
		if !fault.HasCode(err, "webhook_not_found") {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.must(w.registry.Ping(t.Context(), "default", hook.ID))
	w.must(w.registry.Delete(t.Context(), root, "default", hook.ID))
}

// TestWhatIsTold goes through the records that there are.
func TestWhatIsTold(t *testing.T) {
	for _, c := range []struct {
		action  string
		outcome audit.Outcome
		want    notice.Type
	}{
		{"authorization.finish", audit.Allowed, notice.AuthorizationCompleted}, {"authorization.decide", audit.Allowed, notice.AuthorizationCompleted},
		{"authorization.finish", audit.Failed, notice.AuthorizationFailed}, {"authorization.decide", audit.Failed, notice.AuthorizationFailed},
		{"authorization.exchange", audit.Failed, notice.AuthorizationFailed}, {"authorization.exchange", audit.Allowed, ""},
		{"authorization.decide", audit.Refused, ""}, {"authorization.open", audit.Allowed, ""}, {"authorization.expire", audit.Failed, notice.AuthorizationExpired},
		{"grant.refresh", audit.Failed, notice.GrantReauthorize}, {"grant.refresh", audit.Allowed, ""}, {"grant.revoked", audit.Allowed, notice.GrantRevoked},
		{"grant.delete", audit.Allowed, ""}, {"credential.release", audit.Allowed, ""},
	} {
		e, ok := notice.Of(audit.Entry{Action: c.action, Outcome: c.outcome, Resource: audit.Resource{Kind: "authorization", Pool: "p", ID: "x"}, Detail: map[string]string{"workload": "p/a"}})
		if ok != (c.want != "") || e.Type != c.want {
			t.Errorf("%s %s: %q, %v", c.action, c.outcome, e.Type, ok)
		}
		if ok && (e.Data.Workload != "a" || !slices.Contains(notice.Types(), e.Type) || !slices.Contains(notice.Actions(), c.action)) {
			t.Errorf("%s: %+v", c.action, e)
		}
	}
}
