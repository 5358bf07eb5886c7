package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
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

// log is an audit store that fails on demand.
type log struct {
	store.Audit
	broken atomic.Bool
}

var errFull = errors.New("the disk is full: secret-of-the-inside")

func (l *log) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	if l.broken.Load() {
		return errFull
	}
	return l.Audit.AppendAudit(ctx, entries)
}

// world is a broker on a real store where zhang gave agent a the scopes read
// and write, at a third party that told no expiry.
type world struct {
	t      *testing.T
	log    *log
	vault  *vault.Vault
	broker *broker.Broker
	grant  vault.Grant

	providers store.Providers
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := storetest.SQLite(t)
	w := &world{t: t, log: &log{Audit: store.Audit{DB: db}}, providers: store.Providers{DB: db}}
	auditLog := audit.NewLog(w.log)
	t.Cleanup(auditLog.Close)
	g := &guard.Guard{Log: auditLog}
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	must(t, err)
	ring, err := keys.NewRing(t.Context(), root, store.Keys{DB: db}, g, nil)
	must(t, err)
	w.vault = &vault.Vault{Store: store.Vault{DB: db}, Held: store.Vault{DB: db}, Sealer: ring, Guard: g, Owner: "r", Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	flow := &consent.Flow{Store: store.Authorizations{DB: db}, Grants: store.Vault{DB: db}, Bell: store.Bell{DB: db}, Guard: g, Vault: w.vault, Sealer: ring,
		PublicURL: "https://id.example", Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	w.broker = &broker.Broker{Store: store.Vault{DB: db}, Guard: g, Vault: w.vault, Flow: flow}

	ctx := t.Context()
	must(t, store.Workloads{DB: db}.CreatePool(ctx, storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
	for _, a := range []name.Workload{agentA, agentB} {
		must(t, store.Workloads{DB: db}.CreateWorkload(ctx, storetest.Permit(t, workload.ActionCreate, workload.Resource(a)), workload.Workload{Identity: a}))
	}
	must(t, store.Providers{DB: db}.CreateProvider(ctx, storetest.Permit(t, provider.ActionCreate, provider.Resource("default", "feishu")),
		provider.Provider{ID: "prv_1", Pool: "default", Name: "feishu", Type: provider.TypeOAuth2, Flow: provider.UserFederation, Scopes: scopes(t, "read"), SealedSecret: []byte{1}, Version: 1}))
	w.grant, err = w.vault.NewGrant(ctx, "default", "feishu", zhang, vault.Grant{}, vendor.Account{}, vendor.Tokens{Access: secret.FromString("at_zhang"), TokenType: "Bearer"}, scopes(t, "read", "write", "admin"))
	must(t, err)
	a := consent.Authorization{ID: "auth_1", Pool: "default", Provider: "feishu", Workload: agentA, User: zhang, State: consent.Pending, LinkHash: "h", Sealed: []byte{1}, Version: 1}
	must(t, flow.Store.BeginAuthorization(ctx, storetest.Permit(t, consent.ActionBegin, a.Resource()), a))
	a.State, a.Version, a.ProviderVersion = consent.Completed, 2, 1
	must(t, flow.Store.Complete(ctx, storetest.Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, a, w.grant,
		vault.Delegation{ID: "dlg_1", GrantID: w.grant.ID, Workload: agentA, Scopes: scopes(t, "read", "write")}))
	return w
}

func (w *world) ask(a name.Workload, u name.User, r broker.Request) (broker.Answer, error) {
	return w.broker.Credential(w.t.Context(), name.Caller{Kind: name.Agent, Workload: a, User: u}, r)
}

// TestWhoIsAsked covers the decisions: nobody, the user, or the third party.
func TestWhoIsAsked(t *testing.T) {
	w := newWorld(t)
	for what, c := range map[string]struct {
		agent  name.Workload
		user   name.User
		scopes []string
		force  bool
		kind   consent.Kind // "" is a credential
	}{
		"the default":                   {agentA, zhang, nil, false, ""},
		"less than was given":           {agentA, zhang, []string{"write"}, false, ""},
		"all that was given":            {agentA, zhang, []string{"write", "read"}, false, ""},
		"a refresh token's scope":       {agentA, zhang, []string{"read", "offline_access"}, false, ""},
		"what only the grant has":       {agentA, zhang, []string{"admin"}, false, consent.KindDelegation},
		"what the third party did not":  {agentA, zhang, []string{"read", "delete"}, false, consent.KindGrant},
		"another agent":                 {agentB, zhang, nil, false, consent.KindDelegation},
		"another agent, more":           {agentB, zhang, []string{"delete"}, false, consent.KindGrant},
		"another user":                  {agentA, li, nil, false, consent.KindGrant},
		"the same subject elsewhere":    {agentA, name.User{Issuer: "https://evil.example", Subject: zhang.Subject}, nil, false, consent.KindGrant},
		"again, although it is there":   {agentA, zhang, nil, true, consent.KindGrant},
		"again, by another agent":       {agentB, zhang, nil, true, consent.KindGrant},
		"a scope that differs in a dot": {agentA, zhang, []string{"read."}, false, consent.KindGrant},
	} {
		got, err := w.ask(c.agent, c.user, broker.Request{Provider: "feishu", Scopes: scopes(t, c.scopes...), Force: c.force})
		must(t, err)
		switch {
		case c.kind == "" && (got.Credential == nil || got.Link != nil || got.Credential.Token.Access.RevealString() != "at_zhang"):
			t.Errorf("%s: no credential", what)
		case c.kind != "" && (got.Credential != nil || got.Link == nil || got.Link.Authorization.Kind != c.kind):
			t.Errorf("%s: %+v, want a link of kind %s", what, got, c.kind)
		}
	}
}

// TestWhatIsRefused, and recorded.
func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t)
	for code, c := range map[string]struct {
		caller   name.Caller
		provider string
	}{
		"user_required":      {name.Caller{Kind: name.Agent, Workload: agentA}, "feishu"},
		"provider_not_found": {name.Caller{Kind: name.Agent, Workload: agentA, User: zhang}, "feishu2"},
		"workload_not_found": {name.Caller{Kind: name.Agent, Workload: name.Workload{Pool: "default", Name: "gone"}, User: zhang}, "feishu"},
		"not_allowed":        {name.Caller{Kind: name.Operator, Operator: "root"}, "feishu"},
	} {
		got, err := w.broker.Credential(t.Context(), c.caller, broker.Request{Provider: c.provider})
		if !fault.HasCode(err, code) || got.Credential != nil || got.Link != nil {
			t.Errorf("%s: got %v", code, err)
		}
		e := w.last()
		if e.Action != "credential.release" || e.Outcome == audit.Allowed || (code != "not_allowed" && e.Reason != code) || e.Caller.Kind != c.caller.Kind {
			t.Errorf("%s: recorded %+v", code, e)
		}
	}
	before := w.last()
	if _, err := w.ask(agentA, zhang, broker.Request{Provider: strings.Repeat("x", 1000)}); !fault.HasCode(err, "name_invalid") || w.last().ID != before.ID {
		t.Errorf("a name that none can have: %v", err)
	}
}

// TestNoRecordNoCredential has the log fail (DESIGN.md rule 1).
func TestNoRecordNoCredential(t *testing.T) {
	w := newWorld(t)
	w.log.broken.Store(true)
	for what, c := range map[string]struct {
		agent    name.Workload
		user     name.User
		provider string
	}{"ready": {agentA, zhang, "feishu"}, "not found": {agentA, zhang, "feishu2"}, "for nobody": {agentA, name.User{}, "feishu"}} {
		got, err := w.ask(c.agent, c.user, broker.Request{Provider: c.provider})
		if !fault.HasCode(err, "audit_unavailable") || !errors.Is(err, errFull) || got.Credential != nil || got.Link != nil {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if strings.Contains(fault.As(err).Error(), "inside") {
			t.Errorf("%s: the error shows our inside: %v", what, err)
		}
	}
	w.log.broken.Store(false)
	got, err := w.ask(agentA, zhang, broker.Request{Provider: "feishu"})
	must(t, err)
	if got.Credential.Token.Access.RevealString() != "at_zhang" {
		t.Error("after the failure the credential is another")
	}
	e := w.last()
	if e.Outcome != audit.Allowed || e.Provider != "feishu" || strings.Join(e.Scopes, " ") != "read" || e.Detail["grant"] != w.grant.ID || e.Caller.User != zhang {
		t.Errorf("recorded %+v", e)
	}
	if text, err := e.Encode(); err != nil || strings.Contains(string(text), "at_zhang") {
		t.Errorf("the entry shows the token: %v", err)
	}
}

// given is an obtainer that has one key, and remembers what it gave.
type given struct{ last provider.Credential }

func (g *given) Obtain(_ context.Context, p guard.Permit, providerName string, scopes name.Scopes, _ bool) (provider.Credential, error) {
	if scopes.Len() > 0 || p.Caller().Workload != agentA || providerName != "weather" {
		return provider.Credential{}, fault.New(fault.Upstream, "vendor_config", "the third party refused")
	}
	g.last = provider.Credential{Type: provider.TypeAPIKey, Key: provider.Key{Value: secret.FromString("the-weather-key"), Header: "X-Api-Key"}}
	return g.last, nil
}

// TestWhatNeedsNobody is released to agents with and without a user, to those
// that may use the provider, and only on record.
func TestWhatNeedsNobody(t *testing.T) {
	w, g := newWorld(t), &given{}
	w.broker.Other = g
	must(t, w.providers.CreateProvider(t.Context(), storetest.Permit(t, provider.ActionCreate, provider.Resource("default", "weather")),
		provider.Provider{ID: "prv_2", Pool: "default", Name: "weather", Type: provider.TypeAPIKey, SealedSecret: []byte{1}, Version: 1, Options: provider.Options{Workloads: []string{"a"}}}))
	for _, u := range []name.User{{}, zhang} {
		got, err := w.ask(agentA, u, broker.Request{Provider: "weather"})
		must(t, err)
		if got.Credential == nil || got.Credential.Key.Value.RevealString() != "the-weather-key" {
			t.Fatalf("got %+v", got)
		}
		if e := w.last(); e.Outcome != audit.Allowed || e.Provider != "weather" || e.Detail["type"] != "api_key" || e.Caller.User != u {
			t.Errorf("recorded %+v", e)
		}
	}
	for code, c := range map[string]struct {
		agent  name.Workload
		scopes []string
	}{"workload_not_allowed": {agentB, nil}, "vendor_config": {agentA, []string{"read"}}} {
		got, err := w.ask(c.agent, zhang, broker.Request{Provider: "weather", Scopes: scopes(t, c.scopes...)})
		if e := w.last(); !fault.HasCode(err, code) || got.Credential != nil || e.Outcome != audit.Failed || e.Reason != code {
			t.Errorf("%s: %v, recorded %+v", code, err, e)
		}
	}
	w.log.broken.Store(true)
	if got, err := w.ask(agentA, zhang, broker.Request{Provider: "weather"}); !fault.HasCode(err, "audit_unavailable") || got.Credential != nil {
		t.Errorf("without a record: %+v, %v", got, err)
	}
	if strings.Contains(g.last.Key.Value.RevealString(), "weather") {
		t.Error("what was not released is not wiped")
	}
}

func (w *world) last() audit.Entry {
	w.t.Helper()
	records, err := w.log.AuditRecords(w.t.Context(), audit.Filter{Newest: true, Limit: 1})
	must(w.t, err)
	var e audit.Entry
	must(w.t, json.Unmarshal(records[0].Leaf, &e))
	return e
}

func scopes(t testing.TB, s ...string) name.Scopes {
	t.Helper()
	set, err := name.NewScopes(s...)
	must(t, err)
	return set
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
