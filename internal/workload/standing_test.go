package workload_test

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

// standings is a workload.Standings: since when tokens hold that name a workload
// or a user, and who is gone.
type standings struct {
	workloads map[name.Workload]time.Time
	users     map[name.User]time.Time
	gone      map[any]bool
}

func (s standings) Standing(_ context.Context, w name.Workload, u name.User) (time.Time, error) {
	switch {
	case s.gone[w]:
		return time.Time{}, workload.Gone(w)
	case s.gone[u]:
		return time.Time{}, workload.UserGone()
	case s.users[u].After(s.workloads[w]):
		return s.users[u], nil
	}
	return s.workloads[w], nil
}

var (
	front = name.Workload{Pool: "default", Name: "front"}
	outer = name.Workload{Pool: "default", Name: "outer"}
	li    = name.User{Issuer: issuer + "/userpool/people", Subject: "usr_li"}
)

// TestWhatIsRevokedStopsAtOnce ends the tokens of each party in turn, between two
// uses of one: the verdict on it is remembered, and is of no help.
func TestWhatIsRevokedStopsAtOnce(t *testing.T) {
	everybody := name.Caller{Workload: agent, User: zhang, Chain: []name.Workload{front, outer}}
	for what, c := range map[string]struct {
		end  func(s standings, at time.Time)
		code string
	}{
		"nothing":            {func(standings, time.Time) {}, ""},
		"the agent's":        {func(s standings, at time.Time) { s.workloads[agent] = at }, "token_revoked"},
		"the user's":         {func(s standings, at time.Time) { s.users[zhang] = at }, "token_revoked"},
		"a caller's":         {func(s standings, at time.Time) { s.workloads[front] = at }, "token_revoked"},
		"the first caller's": {func(s standings, at time.Time) { s.workloads[outer] = at }, "token_revoked"},
		"another user's":     {func(s standings, at time.Time) { s.users[li] = at }, ""},
		"the agent is gone":  {func(s standings, _ time.Time) { s.gone[agent] = true }, "workload_gone"},
		"a caller is gone":   {func(s standings, _ time.Time) { s.gone[outer] = true }, "workload_gone"},
		"the user is gone":   {func(s standings, _ time.Time) { s.gone[zhang] = true }, "user_gone"},
	} {
		t.Run(what, func(t *testing.T) {
			clock := now.Add(123 * time.Millisecond)
			tok, _ := tokens(t, &clock)
			s := standings{map[name.Workload]time.Time{}, map[name.User]time.Time{}, map[any]bool{}}
			tok.Standings = s
			wat, _, err := tok.Mint(t.Context(), everybody.Workload, everybody.User, everybody.Chain)
			if err != nil {
				t.Fatal(err)
			}
			want := func(what string, token secret.Text, code string) {
				t.Helper()
				_, err := tok.Verify(t.Context(), token)
				if (code == "") != (err == nil) || code != "" && (!fault.HasCode(err, code) || !fault.Is(err, fault.Unauthenticated)) {
					t.Errorf("%s: %v, want %q", what, err, code)
				}
			}
			want("before", wat, "")
			c.end(s, clock.Add(time.Millisecond))
			want("after", wat, c.code)

			// What comes after the revocation holds, in the same moment by whatever clock.
			again, _, err := tok.Mint(t.Context(), everybody.Workload, everybody.User, everybody.Chain)
			if c.code != "" && c.code != "token_revoked" {
				if !fault.HasCode(err, c.code) {
					t.Errorf("minted again: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want("minted again", again, "")
		})
	}
}

// TestATokenThatSaysNoTimeIsOld has one without its time of issue, of a workload
// that was made at some time.
func TestATokenThatSaysNoTimeIsOld(t *testing.T) {
	clock := now
	tok, key := tokens(t, &clock)
	tok.Standings = standings{workloads: map[name.Workload]time.Time{agent: now.Add(-time.Hour)}}
	wat := sign(t, key, workload.TokenType, map[string]any{"iss": issuer, "aud": issuer, "exp": now.Add(time.Minute).Unix(), "sub": agent.SPIFFEID("deputy.local")})
	if _, err := tok.Verify(t.Context(), wat); !fault.HasCode(err, "token_revoked") {
		t.Error(err)
	}
}
