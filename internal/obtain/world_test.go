package obtain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/obtain"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/workload"
)

const (
	keyID     = "AKLTexample1234"
	keySecret = "the-secret-access-key"
)

var (
	root  = name.Caller{Kind: name.Operator, Operator: "root"}
	zhang = name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_zhang"}
	roles = map[provider.Cloud]string{provider.Volcengine: "trn:iam::2100000001:role/agent", provider.AWS: "arn:aws:iam::123456789012:role/agent"}
)

// cloud is a token service that speaks both dialects and verifies what it is
// sent. What it gives are keys "AK-1", "AK-2", ….
type cloud struct {
	*httptest.Server
	t     testing.TB
	now   func() time.Time
	calls atomic.Int64

	mu     sync.Mutex
	seen   url.Values                                                       // of the last call
	answer func(w http.ResponseWriter, dialect reqsign.Scheme) (ended bool) // instead of keys, if not nil
}

func newCloud(t testing.TB, now func() time.Time) *cloud {
	c := &cloud{t: t, now: now}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.calls.Add(1)
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		c.t.Error(err)
	}
	sig, err := reqsign.Parse(r)
	if err == nil {
		err = sig.Verify(r, body, reqsign.Key{ID: keyID, Secret: secret.FromString(keySecret)}, c.now())
	}
	if err != nil || sig.Scope.Service != "sts" {
		c.refuse(w, sig.Scheme, http.StatusForbidden, "SignatureDoesNotMatch", fmt.Sprint(err))
		return
	}
	q := r.URL.Query()
	if sig.Scheme == reqsign.AWS {
		if q, err = url.ParseQuery(string(body)); err != nil {
			c.t.Error(err)
		}
	}
	c.mu.Lock()
	c.seen = q
	answer := c.answer
	c.mu.Unlock()
	if answer != nil && answer(w, sig.Scheme) {
		return
	}
	seconds, err := strconv.Atoi(q.Get("DurationSeconds"))
	if err != nil {
		c.t.Error(err)
	}
	c.give(w, sig.Scheme, n, c.now().Add(time.Duration(seconds)*time.Second), q.Get("RoleSessionName"))
}

func (c *cloud) give(w http.ResponseWriter, s reqsign.Scheme, n int64, expires time.Time, session string) {
	if s == reqsign.AWS {
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:%[4]s</AssumedRoleId>
<Arn>arn:aws:sts::123456789012:assumed-role/agent/%[4]s</Arn></AssumedRoleUser><Credentials><AccessKeyId>AK-%[1]d</AccessKeyId><SecretAccessKey>SK-%[1]d</SecretAccessKey>
<SessionToken>ST-%[1]d</SessionToken><Expiration>%[2]s</Expiration></Credentials></AssumeRoleResult><ResponseMetadata><RequestId>%[3]s</RequestId></ResponseMetadata></AssumeRoleResponse>`,
			n, expires.UTC().Format(time.RFC3339), "r-1", session)
		return
	}
	fmt.Fprintf(w, `{"ResponseMetadata":{"RequestId":"r-1","Action":"AssumeRole","Version":"2018-01-01","Service":"sts","Region":"cn-north-1"},"Result":{"Credentials":{
"CurrentTime":%[3]q,"ExpiredTime":%[2]q,"AccessKeyId":"AK-%[1]d","SecretAccessKey":"SK-%[1]d","SessionToken":"ST-%[1]d"},"AssumedRoleUser":{"Trn":"trn:sts::2100000001:assumed-role/agent/%[4]s","AssumedRoleId":"1:%[4]s"}}}`,
		n, expires.In(time.FixedZone("", 8*3600)).Format(time.RFC3339), c.now().Format(time.RFC3339), session)
}

// refuse answers an error, as each cloud writes it.
func (c *cloud) refuse(w http.ResponseWriter, s reqsign.Scheme, status int, code, message string) {
	w.WriteHeader(status)
	if s == reqsign.AWS {
		fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r</RequestId></ErrorResponse>`, code, message)
		return
	}
	b, err := json.Marshal(map[string]any{"ResponseMetadata": map[string]any{"RequestId": "r", "Error": map[string]any{"CodeN": 100004, "Code": code, "Message": message}}})
	if err != nil {
		c.t.Error(err)
	}
	_, _ = w.Write(b)
}

func (c *cloud) instead(answer func(w http.ResponseWriter, s reqsign.Scheme) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *cloud) last() url.Values {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// world is what obtains, on a real store, with a clock that stands.
type world struct {
	t         testing.TB
	kinds     *obtain.Kinds
	providers *provider.Registry
	guard     *guard.Guard
	cloud     *cloud
	clock     atomic.Int64 // Unix seconds
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db, w := storetest.SQLite(t), &world{t: t}
	w.clock.Store(time.Date(2026, 11, 22, 21, 5, 47, 0, time.UTC).Unix())
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	w.guard = &guard.Guard{Log: log}
	rootKey, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	must(t, err)
	ring, err := keys.NewRing(t.Context(), rootKey, store.Keys{DB: db}, w.guard, nil)
	must(t, err)
	out, err := outbound.New(outbound.Config{Allow: []string{"127.0.0.1"}})
	must(t, err)
	t.Cleanup(out.Close)
	w.cloud = newCloud(t, w.now)
	w.providers = &provider.Registry{Store: store.Providers{DB: db}, Guard: w.guard, Sealer: ring, Now: w.now}
	w.kinds = &obtain.Kinds{Providers: w.providers, Outbound: out, Now: w.now}
	must(t, store.Workloads{DB: db}.CreatePool(t.Context(), storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
	return w
}

func (w *world) now() time.Time { return time.Unix(w.clock.Load(), 0).UTC() }

func (w *world) later(d time.Duration) { w.clock.Add(int64(d / time.Second)) }

// sts makes a provider of temporary keys.
func (w *world) sts(c provider.Cloud, change func(s *provider.STS)) string {
	w.t.Helper()
	o := &provider.STS{Cloud: c, Endpoint: w.cloud.URL, Role: roles[c]}
	if change != nil {
		change(o)
	}
	providerName := "sts-" + name.NewID("p")[2:10]
	_, err := w.providers.Create(w.t.Context(), root, "default", providerName, provider.Settings{
		Type: provider.TypeSTS, ClientID: keyID, ClientSecret: secret.FromString(keySecret), Options: provider.Options{STS: o}})
	must(w.t, err)
	return providerName
}

// ask obtains for a workload, and a user if there is one.
func (w *world) ask(ctx context.Context, workload string, u name.User, providerName string, force bool) (provider.Credential, error) {
	w.t.Helper()
	c := name.Caller{Kind: name.Agent, Workload: name.Workload{Pool: "default", Name: workload}, User: u}
	p, err := w.guard.Allow(ctx, c, "credential.release", provider.Resource("default", providerName))
	if err != nil {
		return provider.Credential{}, err
	}
	return w.kinds.Obtain(ctx, p, providerName, name.Scopes{}, force)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
