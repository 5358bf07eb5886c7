package consent_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// sent follows b's link as u and returns what the third party is asked.
func (w *world) sent(b begun, u name.User) url.Values {
	w.t.Helper()
	_, redirect, _, err := w.flow.Open(w.t.Context(), person(u), b.link)
	must(w.t, err)
	to, err := url.Parse(redirect)
	must(w.t, err)
	return to.Query()
}

// TestMoreThanTheGrantHas asks the third party for the union, so that what
// other agents use is not lost.
func TestMoreThanTheGrantHas(t *testing.T) {
	w := newWorld(t)
	w.says(`{"access_token":"at_1","scope":"read"}`)
	w.given(agentA, zhang, "read")
	if got := w.sent(w.begin(agentB, zhang, consent.KindGrant, "write"), zhang).Get("scope"); got != "read write" {
		t.Errorf("the third party is asked for %q", got)
	}
	if got := w.sent(w.begin(agentB, li, consent.KindGrant, "write"), li).Get("scope"); got != "write" {
		t.Errorf("for another user the third party is asked for %q", got)
	}
	// A third party that does not say what it granted has granted what it was asked for.
	w.says(`{"access_token":"at_2"}`)
	w.given(agentB, zhang, "write")
	g, b := w.found(agentB, zhang)
	_, a := w.found(agentA, zhang)
	if g.Scopes.String() != "read write" || a.Scopes.String() != "read" || b.Scopes.String() != "write" || g.Version != 2 {
		t.Errorf("granted %q, delegated %q and %q, version %d", g.Scopes, a.Scopes, b.Scopes, g.Version)
	}
}

// TestMoreThanTheGrantHasWhereGrantsAddUp asks for what is new only, and for what
// makes there be a refresh token: the third party's answer has the rest.
func TestMoreThanTheGrantHasWhereGrantsAddUp(t *testing.T) {
	w := newWorld(t)
	var err error
	w.flow.Providers.Catalogue, err = w.flow.Providers.Catalogue.With([]byte("vendors:\n  heap: {extends: custom, cumulative: true, refreshScope: later}\n"))
	must(t, err)
	_, err = w.flow.Providers.Update(t.Context(), operator, "default", "party", provider.Settings{Vendor: "heap", ClientID: "cli_1", Endpoints: vendor.Endpoints{
		Authorization: w.party.URL + "/authorize", Token: w.party.URL + "/token", UserInfo: w.party.URL + "/me",
	}})
	must(t, err)
	w.says(`{"access_token":"at_1","refresh_token":"rt_1","scope":"later read"}`)
	w.given(agentA, zhang, "read", "later")
	if got := w.sent(w.begin(agentB, zhang, consent.KindGrant, "write"), zhang).Get("scope"); got != "later write" {
		t.Errorf("the third party is asked for %q", got)
	}
	w.says(`{"access_token":"at_2","refresh_token":"rt_2","scope":"admin later read write"}`)
	w.given(agentB, zhang, "write")
	g, b := w.found(agentB, zhang)
	_, a := w.found(agentA, zhang)
	if g.Scopes.String() != "admin later read write" || a.Scopes.String() != "later read" || b.Scopes.String() != "write" {
		t.Errorf("granted %q, delegated %q and %q", g.Scopes, a.Scopes, b.Scopes)
	}
}

// TestScopesUnticked has the user give less than he was asked for: what he gave
// is kept, and the agent is told.
func TestScopesUnticked(t *testing.T) {
	w := newWorld(t)
	w.says(`{"access_token":"at_1","scope":"read"}`)
	got, err := w.finish(t.Context(), w.opened(agentA, zhang, "read", "write"), zhang)
	must(t, err)
	if got.State != consent.Failed || got.Reason != "scopes_not_granted" || !strings.Contains(got.Message, "write") || strings.Contains(got.Message, "read") {
		t.Errorf("it is %s %s: %s", got.State, got.Reason, got.Message)
	}
	g, d := w.found(agentA, zhang)
	if g.Scopes.String() != "read" || d.Scopes.String() != "read" || g.Account.ID != "acc_1" {
		t.Errorf("granted %q, delegated %q, account %q", g.Scopes, d.Scopes, g.Account.ID)
	}
	w.says(`{"access_token":"at_2","scope":"read write"}`)
	w.given(agentB, zhang, "write")
	if next, _ := w.found(agentA, zhang); next.ID != g.ID || next.Version != 2 {
		t.Errorf("the second authorization made the grant %s, version %d", next.ID, next.Version)
	}
	if other, _ := w.found(agentA, li); other.ID != "" {
		t.Error("li has a grant")
	}
}

// TestAnotherAccount has the user authorize with another account of his: what
// he let other agents do with the former one does not move with him.
func TestAnotherAccount(t *testing.T) {
	w := newWorld(t)
	w.given(agentA, zhang, "read")
	w.given(agentB, zhang, "read")
	w.account.Store("acc_2")
	w.given(agentB, zhang, "write")
	g, b := w.found(agentB, zhang)
	_, a := w.found(agentA, zhang)
	if g.Account.ID != "acc_2" || a.ID != "" || b.Scopes.String() != "write" {
		t.Errorf("account %q, delegated %q and %q", g.Account.ID, a.Scopes, b.Scopes)
	}
	w.account.Store("") // not told: nothing is concluded
	w.given(agentA, zhang, "read")
	if _, b := w.found(agentB, zhang); b.ID == "" {
		t.Error("an account that is not known took a delegation away")
	}
}

func TestParameters(t *testing.T) {
	w := newWorld(t)
	ask := func(params map[string]string) consent.Ask {
		return consent.Ask{Kind: consent.KindGrant, Provider: "party", Scopes: scopes(t, "read"), Params: params}
	}
	got := w.sent(w.ask(agentA, zhang, ask(map[string]string{"login_hint": "zhang@example.com", "x-y.z": "1"})), zhang)
	if got.Get("login_hint") != "zhang@example.com" || got.Get("x-y.z") != "1" || got.Get("scope") != "read" {
		t.Errorf("the third party is asked %v", got)
	}
	for _, p := range []string{"client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method", "request", "request_uri", "response_mode", "resource", "nonce"} {
		b := w.ask(agentA, zhang, ask(map[string]string{p: "evil"}))
		_, err := w.open(b, zhang)
		wantCode(t, err, "parameter_reserved")
		if got := w.read(b); got.State != consent.Pending {
			t.Errorf("with %s it is %s", p, got.State)
		}
	}
	many := map[string]string{}
	for range 11 {
		many["p"+name.NewID("x")] = "v"
	}
	for _, params := range []map[string]string{{"a b": "v"}, {"": "v"}, {"a": ""}, {"a": strings.Repeat("v", 2049)}, {strings.Repeat("a", 65): "v"}, {"a\n": "v"}, many} {
		_, err := w.flow.Begin(t.Context(), asks(agentA, zhang), ask(params))
		wantCode(t, err, "parameter_invalid")
	}
}

// TestForced has the third party ask again, in its own words.
func TestForced(t *testing.T) {
	w := newWorld(t)
	forced := w.ask(agentA, zhang, consent.Ask{Kind: consent.KindGrant, Provider: "party", Scopes: scopes(t, "read"), Force: true})
	if got := w.sent(forced, zhang).Get("prompt"); got != "consent" {
		t.Errorf("forced, the third party is asked with prompt %q", got)
	}
	if got := w.sent(w.begin(agentA, zhang, consent.KindGrant, "read"), zhang); got.Has("prompt") {
		t.Errorf("not forced, the third party is asked %v", got)
	}
}

func TestReturnURL(t *testing.T) {
	const home = "https://app.example/done?from=deputy"
	w := newWorld(t)
	_, err := w.workloads.UpdateWorkload(t.Context(), name.Caller{Kind: name.Operator, Operator: "root"}, agentA, workload.Settings{ReturnURLs: []string{home, "http://localhost:3000/cb"}})
	must(t, err)
	ask := func(to, state string) consent.Ask {
		return consent.Ask{Kind: consent.KindGrant, Provider: "party", Scopes: scopes(t, "read"), ReturnURL: to, State: secret.FromString(state)}
	}
	for to, code := range map[string]string{
		home: "", "http://localhost:3000/cb": "", home + "&x=1": "return_url_not_allowed", "https://app.example/done": "return_url_not_allowed", "https://APP.example/done?from=deputy": "return_url_not_allowed",
		"https://app.example/done?from=deputy#f": "return_url_not_allowed", "javascript:alert(1)": "return_url_not_allowed", "//evil.example": "return_url_not_allowed",
	} {
		_, err := w.flow.Begin(t.Context(), asks(agentA, zhang), ask(to, ""))
		wantCode(t, err, code)
	}
	_, err = w.flow.Begin(t.Context(), asks(agentB, zhang), ask(home, "")) // which is another agent's
	wantCode(t, err, "return_url_not_allowed")
	_, err = w.flow.Begin(t.Context(), asks(agentA, zhang), ask("", "s"))
	wantCode(t, err, "return_url_missing")
	_, err = w.flow.Begin(t.Context(), asks(agentA, zhang), ask(home, strings.Repeat("s", 4097)))
	wantCode(t, err, "state_invalid")

	b, err := w.open(w.ask(agentA, zhang, ask(home, "it's & mine=1")), zhang)
	must(t, err)
	done, err := w.finish(t.Context(), b, zhang)
	must(t, err)
	w.returns(done, map[string]string{"from": "deputy", "authorization": b.id, "status": "completed", "state": "it's & mine=1"})
	b, err = w.open(w.ask(agentA, zhang, ask("http://localhost:3000/cb", "")), zhang)
	must(t, err)
	refused, err := w.flow.Finish(t.Context(), person(zhang), consent.Callback{State: b.state, Browser: b.browser, Error: "access_denied"})
	must(t, err)
	w.returns(refused, map[string]string{"authorization": b.id, "status": "failed", "error": "access_denied"})
	if to, err := w.flow.ReturnURL(t.Context(), w.read(w.given(agentB, zhang, "read"))); err != nil || to != "" {
		t.Errorf("without a return URL the browser goes to %q, %v", to, err)
	}
}

// returns checks where the browser goes after a.
func (w *world) returns(a consent.Authorization, want map[string]string) {
	w.t.Helper()
	to, err := w.flow.ReturnURL(w.t.Context(), a)
	must(w.t, err)
	u, err := url.Parse(to)
	must(w.t, err)
	got := map[string]string{}
	for k := range u.Query() {
		got[k] = u.Query().Get(k)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
}

// TestAskingForSomethingElse shows the pending link only for the very same ask.
func TestAskingForSomethingElse(t *testing.T) {
	w := newWorld(t)
	plain := consent.Ask{Kind: consent.KindGrant, Provider: "party", Scopes: scopes(t, "read")}
	forced, hinted, other := plain, plain, plain
	forced.Force = true
	hinted.Params = map[string]string{"a": "1", "b": "2"}
	other.Params = map[string]string{"a": "2", "b": "2"}
	seen := map[string]bool{}
	for _, ask := range []consent.Ask{plain, forced, hinted, other} {
		first := w.ask(agentA, zhang, ask)
		ask.Params = maps.Clone(ask.Params)
		if again := w.ask(agentA, zhang, ask); again.id != first.id {
			t.Errorf("asked for the same again, %+v: another link", ask)
		}
		if seen[first.id] {
			t.Errorf("%+v got the link of another ask", ask)
		}
		seen[first.id] = true
	}
}

func TestWorkloadReturnURLs(t *testing.T) {
	w := newWorld(t)
	operator := name.Caller{Kind: name.Operator, Operator: "root"}
	for _, u := range []string{"http://app.example/cb", "https://", "app.example", "https://u:p@app.example/", "https://app.example/#f", "javascript:alert(1)", "/cb", "https://app.example/" + strings.Repeat("a", 2048)} {
		_, err := w.workloads.UpdateWorkload(t.Context(), operator, agentA, workload.Settings{ReturnURLs: []string{u}})
		wantCode(t, err, "return_url_invalid")
	}
	_, err := w.workloads.UpdateWorkload(t.Context(), operator, name.Workload{Pool: "default", Name: "nobody"}, workload.Settings{})
	wantCode(t, err, "workload_not_found")
	got, err := w.workloads.UpdateWorkload(t.Context(), operator, agentA, workload.Settings{Description: "reads", ReturnURLs: []string{"https://app.example/cb"}})
	must(t, err)
	read, err := w.workloads.Store.Workload(t.Context(), agentA)
	must(t, err)
	if diff := cmp.Diff(got.ReturnURLs, read.ReturnURLs); diff != "" || read.Version != got.Version || read.Description != "reads" {
		t.Errorf("read %+v after %+v", read, got)
	}
	stale := read // whose version is taken already
	if err := w.workloads.Store.UpdateWorkload(t.Context(), storetest.Permit(t, workload.ActionUpdate, workload.Resource(agentA)), stale); !fault.HasCode(err, "workload_changed") {
		t.Errorf("a stale change: %v", err)
	}
}
