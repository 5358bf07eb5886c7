package ingress_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"testing"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

var (
	front = name.Workload{Pool: "default", Name: "front"}
	outer = name.Workload{Pool: "default", Name: "outer"}
	// What agents call with; the fake knows the first one.
	goodCall = looksLikeCall + ".good"
	badCall  = looksLikeCall + ".bad"

	looksLikeCall = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"call+jwt"}`)) + ".e30"
)

// TestAnAgentIsLetInForItsUser has another agent call, whatever lets others in.
func TestAnAgentIsLetInForItsUser(t *testing.T) {
	for what, in := range map[string]agent.Inbound{
		"nobody else":      {},
		"tokens":           {DiscoveryURL: "set", AllowedClients: []string{"cli_web"}},
		"keys":             {APIKeys: true},
		"open":             {Open: true},
		"open, and tokens": {Open: true, DiscoveryURL: "set", APIKeys: true},
	} {
		t.Run(what, func(t *testing.T) {
			w := letting(t, in)
			e := readEcho(t, w.post(`{}`, "Authorization: Bearer "+goodCall, "User_id: usr_forged", "Workloadaccesstoken: forged"))
			if got := e.Header["Workloadaccesstoken"]; len(got) != 1 || got[0] != wat+"/default/doc/usr_zoe<default/front<default/outer" {
				t.Errorf("the agent acts with %v", got)
			}
			if got := e.Header["User_id"]; len(got) != 1 || got[0] != "usr_zoe" {
				t.Errorf("the agent acts for %v", got)
			}
			d, _ := w.recorder.last(t)
			if !d.Allowed || d.Agent != front || !slices.Equal(d.Chain, []name.Workload{outer}) || d.User != zoe {
				t.Errorf("recorded %+v", d)
			}
			if f := readFailure(t, w.post(`{}`, "Authorization: Bearer "+badCall)); f.Error.Code != "token_signature" {
				t.Errorf("a bad call: %+v", f)
			}
			if d, _ := w.recorder.last(t); d.Allowed || d.Code != "token_signature" || d.Agent != front {
				t.Errorf("recorded %+v", d)
			}
		})
	}
}

// TestWhoIsGoneIsNotLetIn has the token of a user be good, and nobody mint for him
// any more.
func TestWhoIsGoneIsNotLetIn(t *testing.T) {
	for _, c := range []struct {
		err      error
		status   int
		recorded bool
	}{
		{fault.New(fault.Unauthenticated, "user_gone", "the user is disabled"), 401, true},
		{fault.New(fault.Forbidden, "chain_loop", "it is in the chain already"), 403, true},
		{errors.New("no key"), 500, false},
	} {
		w := newWorld(t, echo, nil)
		w.minter.fail(c.err)
		if res := w.post(`{}`, "Authorization: Bearer "+w.good()); res.StatusCode != c.status {
			t.Errorf("%v: %d", c.err, res.StatusCode)
		}
		w.recorder.mu.Lock()
		if got := w.recorder.decisions; (len(got) == 1) != c.recorded || c.recorded && (got[0].Allowed || got[0].User.Subject != "usr_li" || got[0].Code != fault.As(c.err).Code) {
			t.Errorf("%v: recorded %+v", c.err, got)
		}
		w.recorder.mu.Unlock()
	}
}
