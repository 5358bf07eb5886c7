package workload_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

func sign(t *testing.T, key jwt.Key, typ string, claims map[string]any) secret.Text {
	t.Helper()
	token, err := jwt.Sign(key, typ, claims)
	if err != nil {
		t.Fatal(err)
	}
	return secret.FromString(token)
}

// TestACallIsForOneAgent follows a call: who is called learns who calls and for
// whom, and nobody can do anything else with what the call was made with.
func TestACallIsForOneAgent(t *testing.T) {
	clock := now
	tok, _ := tokens(t, &clock)
	caller := name.Caller{Kind: name.Agent, Workload: front, User: zhang, Chain: []name.Workload{outer}}
	call, expires, err := tok.MintCall(t.Context(), caller, agent)
	if err != nil || expires.Sub(now) != workload.CallLife {
		t.Fatal(expires, err)
	}
	if !workload.IsCall(call.RevealString()) {
		t.Error("a call token does not look like one")
	}
	got, err := tok.VerifyCall(t.Context(), call, agent)
	if diff := cmp.Diff(caller, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(name.Caller{Kind: name.Agent, Workload: agent, User: zhang, Chain: []name.Workload{front, outer}}, workload.Called(got, agent)); diff != "" {
		t.Error(diff)
	}
	if _, err := tok.VerifyCall(t.Context(), call, outer); !fault.HasCode(err, "token_audience") {
		t.Errorf("shown to another agent: %v", err)
	}
	if _, err := tok.Verify(t.Context(), call); !fault.HasCode(err, "token_type") {
		t.Errorf("used as a workload access token: %v", err)
	}
	wat, _, err := tok.Mint(t.Context(), front, zhang, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.VerifyCall(t.Context(), wat, agent); workload.IsCall(wat.RevealString()) || !fault.HasCode(err, "token_type") {
		t.Errorf("a workload access token is a call: %v", err)
	}
	clock = expires.Add(time.Second)
	if _, err := tok.VerifyCall(t.Context(), call, agent); !fault.HasCode(err, "token_expired") {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCallsEnd(t *testing.T) {
	clock := now
	tok, key := tokens(t, &clock)
	links := make([]name.Workload, 8)
	for i := range links {
		links[i] = name.Workload{Pool: "default", Name: "caller" + string(rune('a'+i))}
	}
	for what, c := range map[string]struct {
		by   name.Caller
		code string
	}{
		"a long chain":         {name.Caller{Workload: front, User: zhang, Chain: links[:7]}, ""},
		"one agent more":       {name.Caller{Workload: front, User: zhang, Chain: links}, "chain_too_long"},
		"he calls himself":     {name.Caller{Workload: agent, User: zhang}, "chain_loop"},
		"he called the caller": {name.Caller{Workload: front, User: zhang, Chain: []name.Workload{agent}}, "chain_loop"},
		"for nobody":           {name.Caller{Workload: front}, "user_required"},
	} {
		if _, _, err := tok.MintCall(t.Context(), c.by, agent); (c.code == "") != (err == nil) || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v", what, err)
		}
	}
	forNobody := sign(t, key, workload.CallType, map[string]any{"iss": issuer, "aud": agent.SPIFFEID("deputy.local"), "exp": now.Add(time.Minute).Unix(), "sub": front.SPIFFEID("deputy.local")})
	if _, err := tok.VerifyCall(t.Context(), forNobody, agent); !fault.HasCode(err, "token_malformed") {
		t.Errorf("a call for nobody: %v", err)
	}
}

func TestWhoMayCall(t *testing.T) {
	w := workload.Workload{Identity: agent, Settings: workload.Settings{Trust: workload.Trust{Callers: []string{"front"}}}}
	for caller, allowed := range map[name.Workload]bool{front: true, outer: false, {Pool: "other", Name: "front"}: false, {}: false} {
		if err := w.MayBeCalledBy(caller); (err == nil) != allowed || err != nil && !fault.HasCode(err, "caller_not_allowed") {
			t.Errorf("%v: %v", caller, err)
		}
	}
}
