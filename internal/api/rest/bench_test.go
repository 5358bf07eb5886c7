package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/api/rest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/measure"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// BenchmarkCredential measures a credential from the vault — WAT verified,
// policy decided, delegation and grant looked up, token opened, audit entry
// durable — against a bare net/http handler that decodes and encodes the same
// JSON, both with 64 concurrent callers, in turns in the same run. It reports
//
//	ratio    requests per second, Deputy's over the bare handler's (median of the turns)
//	p99x     99th percentile, Deputy's over the bare handler's (median of the turns)
//	cpu-us   processor time for one request to Deputy, client included
//	cpux     the same over the bare handler's: steadier than ratio on a machine that others use too
//
// Run it with -benchtime 10x: ten turns of each.
func BenchmarkCredential(b *testing.B) {
	deputy := credentialServer(b)
	bare := httptest.NewServer(http.HandlerFunc(bareHandler))
	b.Cleanup(bare.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	const requests = 4000
	deputy.measure(b, client, requests) // warm up
	var ratios, tails, rates, costs, cpus []float64
	b.ResetTimer()
	for b.Loop() {
		base := target{bare.URL, "none"}.measure(b, client, requests)
		load := deputy.measure(b, client, requests)
		ratios, tails, rates = append(ratios, load.Rate/base.Rate), append(tails, load.P99.Seconds()/base.P99.Seconds()), append(rates, load.Rate)
		costs, cpus = append(costs, load.CPU.Seconds()*1e6), append(cpus, load.CPU.Seconds()/base.CPU.Seconds())
	}
	b.ReportMetric(measure.Median(ratios), "ratio")
	b.ReportMetric(measure.Median(tails), "p99x")
	b.ReportMetric(measure.Median(rates), "req/s")
	b.ReportMetric(measure.Median(costs), "cpu-us")
	b.ReportMetric(measure.Median(cpus), "cpux")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

const callers = 64

type target struct{ url, token string }

const requestBody = `{"provider":"feishu","scopes":["docx:document:readonly"]}`

// measure makes n requests from 64 callers.
func (t target) measure(b *testing.B, client *http.Client, n int) measure.Load {
	load, err := measure.Run(callers, n, func(int) error { return t.once(client) })
	if err != nil {
		b.Fatal(err)
	}
	return load
}

func (t target) once(client *http.Client) error {
	req, err := http.NewRequest(http.MethodPost, t.url, bytes.NewReader([]byte(requestBody)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end below
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("accessToken"))) {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return err
}

func bareHandler(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Provider string   `json:"provider"`
		Scopes   []string `json:"scopes"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "ready", "credential": map[string]any{
		"type": "oauth2", "accessToken": "at_0123456789012345678901234567890123456789", "tokenType": "Bearer", "expiresAt": time.Now(), "scopes": in.Scopes}})
}

// credentialServer serves the API on SQLite with one grant, delegated.
func credentialServer(b *testing.B) target {
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, db := b.Context(), storetest.SQLite(b)
	w := name.Workload{Pool: "default", Name: "a"}
	u := name.User{Issuer: "https://id.example/userpool/people", Subject: "usr_1"}
	log := audit.NewLog(store.Audit{DB: db})
	b.Cleanup(log.Close)
	g := &guard.Guard{Log: log}
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	must(err)
	ring, err := keys.NewRing(ctx, root, store.Keys{DB: db}, g, nil)
	must(err)
	v := &vault.Vault{Store: store.Vault{DB: db}, Held: store.Vault{DB: db}, Revocations: store.Vault{DB: db}, Sealer: ring, Guard: g, Owner: "x", Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	must(store.Workloads{DB: db}.CreatePool(ctx, storetest.Permit(b, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
	must(store.Workloads{DB: db}.CreateWorkload(ctx, storetest.Permit(b, workload.ActionCreate, workload.Resource(w)), workload.Workload{Identity: w}))
	must(store.Providers{DB: db}.CreateProvider(ctx, storetest.Permit(b, provider.ActionCreate, provider.Resource("default", "feishu")),
		provider.Provider{ID: "prv_1", Pool: "default", Name: "feishu", Type: provider.TypeOAuth2, Flow: provider.UserFederation, SealedSecret: []byte{1}, Version: 1}))
	scopes, err := name.NewScopes("docx:document:readonly")
	must(err)
	tokens := vendor.Tokens{Access: secret.FromString(name.NewToken("at")), Refresh: secret.FromString(name.NewToken("rt")), TokenType: "Bearer", ExpiresAt: time.Now().Add(2 * time.Hour)}
	grant, err := v.NewGrant(ctx, "default", "feishu", u, vault.Grant{}, vendor.Account{}, tokens, scopes)
	must(err)
	a := consent.Authorization{ID: "auth_1", Pool: "default", Provider: "feishu", Workload: w, User: u, State: consent.Pending, LinkHash: "h", Sealed: []byte{1}, Version: 1}
	must(store.Authorizations{DB: db}.BeginAuthorization(ctx, storetest.Permit(b, consent.ActionBegin, a.Resource()), a))
	a.State, a.Version, a.ProviderVersion = consent.Completed, 2, 1
	must(store.Authorizations{DB: db}.Complete(ctx, storetest.Permit(b, consent.ActionFinish, a.Resource()), consent.ActionFinish, a, grant,
		vault.Delegation{ID: "dlg_1", GrantID: grant.ID, Workload: w, Scopes: scopes}))
	key, err := jwt.Generate(jwt.ES256)
	must(err)
	wat := (&workload.Tokens{Issuer: "https://id.example", TrustDomain: "deputy.local", Keys: []jwt.Key{key}, Standings: store.Standings{DB: db}, Now: time.Now}).Ready()
	token, _, err := wat.Mint(ctx, w, u, nil)
	must(err)
	builtin, err := vendor.Builtin()
	must(err)
	api := &rest.API{
		PublicURL: "https://id.example", TrustDomain: "deputy.local", Tokens: wat, Guard: g, Vault: v, Audit: store.Audit{DB: db}, Providers: &provider.Registry{Catalogue: builtin},
		Broker: &broker.Broker{Store: store.Vault{DB: db}, Guard: g, Vault: v}, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	mux := http.NewServeMux()
	api.Mount(mux)
	s := httptest.NewServer(mux)
	b.Cleanup(s.Close)
	return target{s.URL + "/api/v1/credentials", token.RevealString()}
}
