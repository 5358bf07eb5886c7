package exchange_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/exchange"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/workload"
)

const (
	publicURL = "https://id.example"
	login     = "https://login.example"
	discovery = login + "/.well-known/openid-configuration"
)

var (
	front = name.Workload{Pool: "default", Name: "front"} // may call doc
	doc   = name.Workload{Pool: "default", Name: "doc"}
	mail  = name.Workload{Pool: "default", Name: "mail"} // may call doc, and is called by nobody
	far   = name.Workload{Pool: "other", Name: "front"}
	zhang = name.User{Issuer: publicURL + "/userpool/people", Subject: "usr_zhang"}
	wang  = name.User{Issuer: login, Subject: "wang"}
	root  = name.Caller{Kind: name.Operator, Operator: "root"}
)

// world is an exchange on a real store, with an issuer of users.
type world struct {
	*exchange.Exchange
	t        *testing.T
	registry *workload.Registry
	users    store.UserPools
	running  *workload.Launches
	key      jwt.Key // of the issuer
	db       *store.DB
}

func newWorld(t *testing.T) *world {
	db := storetest.SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	g := &guard.Guard{Log: log}
	keys := make([]jwt.Key, 2)
	for i := range keys {
		var err error
		keys[i], err = jwt.Generate(jwt.ES256)
		must(t, err)
	}
	w := &world{t: t, db: db, key: keys[1], users: store.UserPools{DB: db, PublicURL: publicURL},
		registry: &workload.Registry{Store: store.Workloads{DB: db}, Guard: g, Now: time.Now},
		running:  &workload.Launches{Store: store.Launches{DB: db}, Guard: g, Owner: "one", Now: time.Now}}
	w.Exchange = &exchange.Exchange{
		Workloads: store.Workloads{DB: db}, Agents: store.Agents{DB: db}, Verifier: &usertoken.Issuers{Fetch: w.fetch}, Binder: w.running, IngressURL: "https://run.example", Guard: g,
		Tokens: (&workload.Tokens{Issuer: publicURL, TrustDomain: "deputy.local", Keys: keys[:1], Standings: store.Standings{DB: db, PublicURL: publicURL}, Now: time.Now}).Ready(),
	}
	for _, pool := range []string{"default", "other"} {
		_, err := w.registry.CreatePool(t.Context(), root, pool, "")
		must(t, err)
	}
	for _, agent := range []name.Workload{front, doc, mail, far} {
		_, err := w.registry.CreateWorkload(t.Context(), root, agent, workload.Settings{})
		must(t, err)
	}
	w.set(doc, workload.Settings{Trust: workload.Trust{
		AssertsFor: []string{zhang.Issuer}, Callers: []string{"front", "mail"}, UserTokens: workload.UserTokens{DiscoveryURL: discovery, AllowedAudiences: []string{"doc-api"}},
	}})
	must(t, w.users.CreatePool(t.Context(), storetest.Permit(t, userpool.ActionCreatePool, userpool.Resource("people")), userpool.Pool{Name: "people", Version: 1}))
	u := userpool.User{ID: zhang.Subject, Pool: "people", UserName: "zhang", Version: 1, CreatedAt: time.Now()}
	must(t, w.users.CreateUser(t.Context(), storetest.Permit(t, userpool.ActionCreateUser, u.Resource()), u))
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) set(agent name.Workload, s workload.Settings) {
	w.t.Helper()
	_, err := w.registry.UpdateWorkload(w.t.Context(), root, agent, s)
	must(w.t, err)
}

func (w *world) fetch(_ context.Context, url string) ([]byte, error) {
	if url == discovery {
		return json.Marshal(map[string]string{"issuer": login, "jwks_uri": login + "/keys"})
	}
	return jwt.NewSet(w.key).JWKS(), nil
}

// token is that of wang, from the issuer.
func (w *world) token(change map[string]any) secret.Text {
	w.t.Helper()
	claims := map[string]any{"iss": login, "sub": wang.Subject, "aud": "doc-api", "client_id": "web", "exp": time.Now().Add(time.Minute).Unix()}
	for claim, v := range change {
		claims[claim] = v
	}
	token, err := jwt.Sign(w.key, "at+jwt", claims)
	must(w.t, err)
	return secret.FromString(token)
}

// proof is one that needs no launch.
func proof(w name.Workload) attest.Proof {
	return attest.Proof{Workload: w, Method: "kubernetes", ID: "cluster"}
}

// last is the newest entry of the audit log.
func (w *world) last() audit.Entry {
	w.t.Helper()
	all, err := storetest.Entries(w.t.Context(), w.db)
	must(w.t, err)
	return all[len(all)-1]
}

// call is a token with which an agent calls another one for a user.
func (w *world) call(by name.Caller, to name.Workload) secret.Text {
	w.t.Helper()
	token, _, err := w.Tokens.MintCall(w.t.Context(), by, to)
	must(w.t, err)
	return token
}

func TestTheWaysToAToken(t *testing.T) {
	w := newWorld(t)
	by := name.Caller{Kind: name.Agent, Workload: front, User: zhang}
	for what, c := range map[string]struct {
		request exchange.Request
		want    name.Caller
		way     string
	}{
		"for itself":          {exchange.Request{}, name.Caller{Kind: name.Agent, Workload: doc}, "itself"},
		"for a user's token":  {exchange.Request{UserToken: w.token(nil)}, name.Caller{Kind: name.Agent, Workload: doc, User: wang}, "user-token"},
		"for a user's id":     {exchange.Request{User: zhang}, name.Caller{Kind: name.Agent, Workload: doc, User: zhang}, "user-id"},
		"for an agent's call": {exchange.Request{UserToken: w.call(by, doc)}, name.Caller{Kind: name.Agent, Workload: doc, User: zhang, Chain: []name.Workload{front}}, "call"},
	} {
		t.Run(what, func(t *testing.T) {
			made, err := w.Token(t.Context(), proof(doc), c.request)
			must(t, err)
			if diff := cmp.Diff(c.want, made.For); diff != "" {
				t.Error(diff)
			}
			got, err := w.Tokens.Verify(t.Context(), made.Token)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			e := w.last()
			if diff := cmp.Diff(c.want, e.Caller); diff != "" || e.Outcome != audit.Allowed || e.Detail["for"] != c.way || e.Detail["proof"] != "kubernetes" {
				t.Errorf("recorded %+v\n%s", e, diff)
			}
		})
	}
}

// TestTokensThatAreNotGiven has what a workload may not get; each refusal is in
// the audit log, with the user as far as he is known.
func TestTokensThatAreNotGiven(t *testing.T) {
	w := newWorld(t)
	w.set(mail, workload.Settings{Disabled: true})
	byFront := name.Caller{Kind: name.Agent, Workload: front, User: zhang}
	from := func(by name.Workload) secret.Text {
		return w.call(name.Caller{Kind: name.Agent, Workload: by, User: zhang}, doc)
	}
	for what, c := range map[string]struct {
		who     name.Workload
		request exchange.Request
		code    string
		user    name.User
	}{
		"somebody else's user":            {doc, exchange.Request{User: wang}, "user_not_assertable", wang},
		"a user who is not there":         {doc, exchange.Request{User: name.User{Issuer: zhang.Issuer, Subject: "usr_li"}}, "user_gone", name.User{Issuer: zhang.Issuer, Subject: "usr_li"}},
		"a user whom nobody allowed":      {front, exchange.Request{User: zhang}, "user_not_assertable", zhang},
		"both":                            {doc, exchange.Request{User: zhang, UserToken: w.token(nil)}, "user_ambiguous", name.User{}},
		"a token for another service":     {doc, exchange.Request{UserToken: w.token(map[string]any{"aud": "mail-api"})}, "token_audience", wang},
		"an ID token":                     {doc, exchange.Request{UserToken: w.token(map[string]any{"nonce": "n"})}, "token_type", name.User{}},
		"another issuer":                  {doc, exchange.Request{UserToken: w.token(map[string]any{"iss": "https://evil.example"})}, "token_issuer", name.User{}},
		"where nobody's tokens are taken": {front, exchange.Request{UserToken: w.token(nil)}, "user_tokens_not_taken", name.User{}},
		"a call for somebody else":        {front, exchange.Request{UserToken: w.call(byFront, doc)}, "token_audience", name.User{}},
		"a call from another pool":        {doc, exchange.Request{UserToken: from(far)}, "caller_not_allowed", zhang},
		"a disabled workload's user":      {mail, exchange.Request{UserToken: w.token(nil)}, "user_tokens_not_taken", name.User{}},
		"a disabled workload":             {mail, exchange.Request{}, "workload_gone", name.User{}},
	} {
		t.Run(what, func(t *testing.T) {
			made, err := w.Token(t.Context(), proof(c.who), c.request)
			if !fault.HasCode(err, c.code) || !made.Token.Empty() {
				t.Fatalf("%v, want %s", err, c.code)
			}
			if about := fault.As(err).Source; (about == "userToken") != (!c.request.UserToken.Empty() && c.request.User.IsZero()) {
				t.Errorf("it is said to be about %q", about)
			}
			e := w.last()
			if e.Outcome != audit.Refused || e.Reason != c.code || e.Caller.Workload != c.who || e.Caller.User != c.user {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

func TestAgentsAreJudgedByTheirDefinition(t *testing.T) {
	w := newWorld(t)
	a := agent.Agent{Pool: "default", Name: "doc", Version: 1, Desired: agent.Running, CreatedAt: time.UnixMilli(1),
		Definition: agent.Definition{Inbound: agent.Inbound{DiscoveryURL: discovery, AllowedClients: []string{"web"}}}}
	must(t, store.Agents{DB: w.db}.PutAgent(t.Context(), storetest.Permit(t, agent.ActionPut, agent.Resource("default", "doc")), a))
	for aud, code := range map[string]string{"web": "", "https://run.example/agents/default/doc": "", "doc-api": "token_audience"} {
		_, err := w.Token(t.Context(), proof(doc), exchange.Request{UserToken: w.token(map[string]any{"aud": aud})})
		if (code == "") != (err == nil) || code != "" && !fault.HasCode(err, code) {
			t.Errorf("%s: %v", aud, err)
		}
	}
}

// TestAgentsCallEachOther goes down a chain and around in a circle.
func TestAgentsCallEachOther(t *testing.T) {
	w := newWorld(t)
	w.set(mail, workload.Settings{Trust: workload.Trust{Callers: []string{"doc"}}})
	w.set(front, workload.Settings{Trust: workload.Trust{Callers: []string{"mail"}}})
	c := name.Caller{Kind: name.Agent, Workload: front, User: zhang}
	for _, to := range []name.Workload{doc, mail} {
		made, err := w.Call(t.Context(), c, to)
		must(t, err)
		if made.URL != "https://run.example/agents/default/"+to.Name {
			t.Errorf("%s is at %s", to, made.URL)
		}
		if e := w.last(); e.Action != "call-token.issue" || e.Resource.ID != to.Name || cmp.Diff(c, e.Caller) != "" {
			t.Errorf("recorded %+v", e)
		}
		got, err := w.Token(t.Context(), proof(to), exchange.Request{UserToken: made.Token})
		must(t, err)
		c = got.For
	}
	if diff := cmp.Diff(name.Caller{Kind: name.Agent, Workload: mail, User: zhang, Chain: []name.Workload{doc, front}}, c); diff != "" {
		t.Error(diff)
	}
	for to, code := range map[name.Workload]string{front: "chain_loop", doc: "chain_loop", far: "caller_not_allowed", {Pool: "default", Name: "nobody"}: "workload_not_found"} {
		if _, err := w.Call(t.Context(), c, to); !fault.HasCode(err, code) {
			t.Errorf("%s: %v", to, err)
		}
		if e := w.last(); e.Outcome != audit.Refused || e.Reason != code {
			t.Errorf("%s: recorded %+v", to, e)
		}
	}
	if _, err := w.Call(t.Context(), name.Caller{Kind: name.Agent, Workload: front}, doc); !fault.HasCode(err, "user_required") {
		t.Errorf("for nobody: %v", err)
	}
}

// TestWhatEndsACall ends it between its beginning and its arrival.
func TestWhatEndsACall(t *testing.T) {
	by := name.Caller{Kind: name.Agent, Workload: front, User: zhang}
	for what, c := range map[string]struct {
		end  func(w *world) error
		code string
	}{
		"who calls is disabled": {func(w *world) error {
			_, err := w.registry.UpdateWorkload(w.t.Context(), root, front, workload.Settings{Disabled: true})
			return err
		}, "workload_gone"},
		"his tokens are revoked":     {func(w *world) error { return w.registry.RevokeTokens(w.t.Context(), root, front) }, "token_revoked"},
		"the user's tokens are":      {func(w *world) error { return w.registry.RevokeUserTokens(w.t.Context(), root, zhang) }, "token_revoked"},
		"nobody may call any more":   {func(w *world) error { w.set(doc, workload.Settings{}); return nil }, "caller_not_allowed"},
		"who is called is not there": {func(w *world) error { return w.registry.DeleteWorkload(w.t.Context(), root, doc) }, "workload_not_found"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			call := w.call(by, doc)
			if _, err := w.Called(t.Context(), doc, call); err != nil {
				t.Fatal(err)
			}
			must(t, c.end(w))
			if _, err := w.Called(t.Context(), doc, call); !fault.HasCode(err, c.code) {
				t.Error(err)
			}
		})
	}
}

// TestALaunchIsItsProcesss has a process that says a binding, and others that
// read its launch file.
func TestALaunchIsItsProcesss(t *testing.T) {
	w := newWorld(t)
	l := attest.Launch{ID: "launch_1", Workload: doc}
	must(t, w.running.Begin(t.Context(), l, time.Now().Add(time.Minute)))
	launch := attest.Proof{Workload: doc, Method: attest.MethodLaunch, ID: l.ID}
	own, other := secret.FromString(name.NewToken("b")), secret.FromString(name.NewToken("b"))
	for _, step := range []struct {
		what    string
		binding secret.Text
		code    string
	}{
		{"before anybody has said one", secret.Text{}, ""},
		{"one that can be guessed", secret.FromString("123"), "launch_binding"},
		{"one that is endless", secret.FromString(strings.Repeat("x", 201)), "launch_binding"},
		{"the process", own, ""},
		{"the process again", own, ""},
		{"who read its file", secret.Text{}, "launch_bound"},
		{"who read it and makes one up", other, "launch_bound"},
		{"the process still", own, ""},
	} {
		_, err := w.Token(t.Context(), launch, exchange.Request{Binding: step.binding})
		if (step.code == "") != (err == nil) || step.code != "" && !fault.HasCode(err, step.code) {
			t.Errorf("%s: %v", step.what, err)
		}
		if e := w.last(); step.code != "" && (e.Outcome != audit.Refused || e.Reason != step.code || e.Detail["proofId"] != l.ID) {
			t.Errorf("%s: recorded %+v", step.what, e)
		}
	}
	must(t, w.running.End(t.Context(), l))
	if _, err := w.Token(t.Context(), launch, exchange.Request{Binding: own}); !fault.HasCode(err, "launch_not_found") {
		t.Errorf("after its end: %v", err)
	}
}

// TestNoRecordNoToken has an audit log that takes nothing.
func TestNoRecordNoToken(t *testing.T) {
	w := newWorld(t)
	w.Guard = &guard.Guard{Log: full{}}
	if made, err := w.Token(t.Context(), proof(doc), exchange.Request{}); err == nil || !made.Token.Empty() && made.Token.RevealString() != strings.Repeat("\x00", len(made.Token.Reveal())) {
		t.Errorf("given: %v", err)
	}
}

type full struct{}

func (full) Append(context.Context, audit.Entry) error {
	return fault.New(fault.Unavailable, "audit_unavailable", "the disk is full")
}

// TestLaunchesAttest has requests with all sorts of bearer values.
func TestLaunchesAttest(t *testing.T) {
	w := newWorld(t)
	launches, err := attest.NewLaunches(attest.LaunchesConfig{Issuer: publicURL, TrustDomain: "deputy.local", Keys: []jwt.Key{w.key},
		Live: func(_ context.Context, id string) (bool, error) { return id == "launch_1", nil }})
	must(t, err)
	token := func(id string) string {
		token, _, err := launches.Mint(attest.Launch{ID: id, Workload: doc}, time.Minute)
		must(t, err)
		return "Bearer " + token.RevealString()
	}
	for what, c := range map[string]struct {
		header string
		ok     bool
		code   string
	}{
		"a launch token":  {token("launch_1"), true, ""},
		"of an ended one": {token("launch_2"), true, "launch_ended"},
		"a user's token":  {"Bearer " + w.token(nil).RevealString(), false, ""},
		"nonsense":        {"Bearer x", false, ""},
		"nothing":         {"", false, ""},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Authorization", c.header)
		p, ok, err := launches.Attest(r, nil)
		if ok != c.ok || (c.code == "") != (err == nil) || c.code != "" && !fault.HasCode(err, c.code) || ok && err == nil && p != (attest.Proof{Workload: doc, Method: "launch", ID: "launch_1"}) {
			t.Errorf("%s: %+v, %v, %v", what, p, ok, err)
		}
	}
}
