package agent_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/workload"
)

var (
	root = name.Caller{Kind: name.Operator, Operator: "root"}
	doc  = name.Workload{Pool: "default", Name: "doc"}
	zoe  = name.User{Issuer: "https://id.example/userpool/people", Subject: "usr_zoe"}
)

// keys returns a registry whose users are barred as barred says, and its clock.
func keys(t *testing.T, barred map[name.User]bool) (*agent.Keys, *time.Time) {
	t.Helper()
	db := storetest.SQLite(t)
	p := storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default"))
	if err := (store.Workloads{DB: db}).CreatePool(t.Context(), p, workload.Pool{Name: "default"}); err != nil {
		t.Fatal(err)
	}
	for _, agentName := range []string{"doc", "mail"} {
		a := agent.Agent{Pool: "default", Name: agentName, Version: 1, Desired: agent.Running, CreatedAt: time.UnixMilli(1)}
		if err := (store.Agents{DB: db}).PutAgent(t.Context(), agenttest.Permit(t, agent.ActionPut, "default", agentName), a); err != nil {
			t.Fatal(err)
		}
	}
	clock := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	return &agent.Keys{
		Store: store.Agents{DB: db}, Guard: agenttest.Guard(), Now: func() time.Time { return clock },
		Barred: func(_ context.Context, u name.User) (bool, error) { return barred[u], nil },
	}, &clock
}

func TestAKeyLivesAsLongAsItMay(t *testing.T) {
	barred := map[name.User]bool{}
	r, clock := keys(t, barred)
	k, key, err := r.Create(t.Context(), root, doc, "nightly", zoe, time.Hour)
	if err != nil || !agent.IsKey(key.RevealString()) || k.ExpiresAt.Sub(k.CreatedAt) != time.Hour {
		t.Fatalf("%+v %v", k, err)
	}
	verify := func(w name.Workload, key secret.Text, code string) {
		t.Helper()
		got, err := r.Verify(t.Context(), w, key)
		if code == "" && (err != nil || got.Name != "nightly" || got.User != zoe) || code != "" && !(fault.HasCode(err, code) && fault.Is(err, fault.Unauthenticated)) {
			t.Errorf("%+v %v, want %q", got, err, code)
		}
	}
	verify(doc, key, "")
	verify(name.Workload{Pool: "default", Name: "mail"}, key, "key_other_agent")
	verify(name.Workload{Pool: "other", Name: "doc"}, key, "key_other_agent")
	for _, bad := range []string{"", "dak_", key.RevealString() + "x", strings.ToUpper(key.RevealString()), name.NewToken(agent.KeyPrefix)} {
		verify(doc, secret.FromString(bad), "key_unknown")
	}
	barred[zoe] = true
	verify(doc, key, "key_user_gone")
	barred[zoe] = false
	*clock = k.ExpiresAt.Add(-time.Millisecond)
	verify(doc, key, "")
	*clock = k.ExpiresAt
	verify(doc, key, "key_expired")
	*clock = k.CreatedAt
	if err := r.Revoke(t.Context(), root, doc, k.ID); err != nil {
		t.Fatal(err)
	}
	verify(doc, key, "key_unknown")
}

func TestKeysThatAreNotIssued(t *testing.T) {
	gone := name.User{Issuer: zoe.Issuer, Subject: "usr_gone"}
	r, _ := keys(t, map[name.User]bool{gone: true})
	for what, c := range map[string]struct {
		by   name.Caller
		w    name.Workload
		name string
		user name.User
		life time.Duration
		code string
	}{
		"no name":              {root, doc, "", zoe, 0, "name_invalid"},
		"too long a life":      {root, doc, "k", zoe, agent.MaxKeyLife + 1, "agent-key_life"},
		"over already":         {root, doc, "k", zoe, -time.Hour, "agent-key_life"},
		"a user without name":  {root, doc, "k", name.User{Issuer: zoe.Issuer}, 0, "agent-key_user"},
		"a user of nobody":     {root, doc, "k", name.User{Subject: "s"}, 0, "agent-key_user"},
		"a user who breaks":    {root, doc, "k", name.User{Issuer: zoe.Issuer, Subject: "a\r\nuser_id: b"}, 0, "agent-key_user"},
		"a user who is gone":   {root, doc, "k", gone, 0, "agent-key_user"},
		"no agent":             {root, name.Workload{Pool: "default", Name: "nobody"}, "k", zoe, 0, "agent_not_found"},
		"not by the agent":     {name.Caller{Kind: name.Agent, Workload: doc}, doc, "k", zoe, 0, "not_allowed"},
		"not by the user":      {name.Caller{Kind: name.Person, User: zoe}, doc, "k", zoe, 0, "not_allowed"},
		"not by another's key": {name.Caller{Kind: name.Client, Client: "nightly"}, doc, "k", zoe, 0, "not_allowed"},
	} {
		if _, _, err := r.Create(t.Context(), c.by, c.w, c.name, c.user, c.life); !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if k, _, err := r.Create(t.Context(), root, doc, "k", name.User{}, 0); err != nil || k.ExpiresAt.Sub(k.CreatedAt) != agent.DefaultKeyLife {
		t.Errorf("as usual: %+v %v", k, err)
	}
	if err := r.Revoke(t.Context(), name.Caller{Kind: name.Agent, Workload: doc}, doc, "agk_1"); !fault.HasCode(err, "not_allowed") {
		t.Errorf("revoked by the agent: %v", err)
	}
}
