package workload_test

import (
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/workload"
)

// TestSettingsThatCannotBeMeant changes a workload to each.
func TestSettingsThatCannotBeMeant(t *testing.T) {
	db := storetest.SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	r := &workload.Registry{Store: store.Workloads{DB: db}, Guard: &guard.Guard{Log: log}, Now: time.Now}
	root := name.Caller{Kind: name.Operator, Operator: "root"}
	if _, err := r.CreatePool(t.Context(), root, agent.Pool, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CreateWorkload(t.Context(), root, agent, workload.Settings{}); err != nil {
		t.Fatal(err)
	}
	const discovery = "https://login.example/.well-known/openid-configuration"
	trust := func(t workload.Trust) workload.Settings { return workload.Settings{Trust: t} }
	tokens := func(u workload.UserTokens) workload.Settings { return trust(workload.Trust{UserTokens: u}) }
	for what, c := range map[string]struct {
		settings workload.Settings
		source   string // "": they are good
	}{
		"all that can be said": {workload.Settings{Disabled: true, Trust: workload.Trust{AssertsFor: []string{"https://id.example/userpool/people", "http://localhost:8080/userpool/p"},
			Callers: []string{"front"}, UserTokens: workload.UserTokens{DiscoveryURL: discovery, AllowedAudiences: []string{"api"}, AllowedClients: []string{"web"}}}}, ""},
		"nothing":             {workload.Settings{}, ""},
		"an issuer in clear":  {trust(workload.Trust{AssertsFor: []string{"http://id.example"}}), "assertsFor"},
		"everybody":           {trust(workload.Trust{AssertsFor: []string{"*"}}), "assertsFor"},
		"an issuer's query":   {trust(workload.Trust{AssertsFor: []string{"https://id.example?x"}}), "assertsFor"},
		"too many":            {trust(workload.Trust{Callers: strings.Fields(strings.Repeat("front ", 21))}), "callers"},
		"itself":              {trust(workload.Trust{Callers: []string{agent.Name}}), "callers"},
		"of another pool":     {trust(workload.Trust{Callers: []string{"other/front"}}), "callers"},
		"no audience":         {tokens(workload.UserTokens{DiscoveryURL: discovery}), "userTokens.allowedAudiences"},
		"an empty audience":   {tokens(workload.UserTokens{DiscoveryURL: discovery, AllowedAudiences: []string{""}}), "userTokens.allowedAudiences"},
		"an empty client":     {tokens(workload.UserTokens{DiscoveryURL: discovery, AllowedAudiences: []string{"api"}, AllowedClients: []string{" "}}), "userTokens.allowedClients"},
		"clients of no issue": {tokens(workload.UserTokens{AllowedClients: []string{"web"}}), "userTokens.discoveryUrl"},
		"a document in clear": {tokens(workload.UserTokens{DiscoveryURL: "http://login.example", AllowedAudiences: []string{"api"}}), "userTokens.discoveryUrl"},
	} {
		made, err := r.UpdateWorkload(t.Context(), root, agent, c.settings)
		if c.source != "" {
			if !fault.Is(err, fault.Invalid) || fault.As(err).Source != c.source {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		kept, err := r.Store.Workload(t.Context(), agent)
		if err != nil || kept.Version != made.Version || kept.Disabled != made.Disabled || len(kept.Callers) != len(made.Callers) || kept.UserTokens.DiscoveryURL != made.UserTokens.DiscoveryURL {
			t.Errorf("%s: kept %+v, %v", what, kept, err)
		}
	}
}

func TestOnlyUsersOfNamedIssuersAreAsserted(t *testing.T) {
	w := workload.Workload{Identity: agent, Settings: workload.Settings{Trust: workload.Trust{AssertsFor: []string{zhang.Issuer}}}}
	for u, allowed := range map[name.User]bool{zhang: true, {Issuer: zhang.Issuer + "/", Subject: "usr_zhang"}: false, {Issuer: "https://evil.example", Subject: "usr_zhang"}: false} {
		if err := w.MayAssert(u); (err == nil) != allowed || err != nil && !fault.Is(err, fault.Forbidden) {
			t.Errorf("%v: %v", u, err)
		}
	}
}
