package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// TestFollowedLogs follows what an agent writes, over a new version and to its end.
func TestFollowedLogs(t *testing.T) {
	w := newWorld(t, nil)
	w.launchFor("none")
	api, err := apiclient.New(apiclient.Config{URL: w.url, Token: secret.FromString(w.operator)})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lines, ended := make(chan string), make(chan error, 1)
	go func() {
		ended <- api.FollowAgentLogs(ctx, "default", "a", 100, func(line string) error {
			_, text, _ := strings.Cut(line, " ")
			select {
			case lines <- text:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	say := func(text string) {
		t.Helper()
		if a := w.invoke("a", "{}", http.Header{"X-Say": {text}}); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		select {
		case got := <-lines:
			if got != text {
				t.Errorf("followed %q instead of %q", got, text)
			}
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		}
	}
	say("one")
	say("two")
	w.launchFor("none") // the next version
	say("three")
	if got := w.api("GET", "/workload-pools/default/agents/a/logs?lines=2", w.operator, ""); !strings.Contains(got.body, "two") || !strings.Contains(got.body, "three") || strings.Contains(got.body, "one") {
		t.Errorf("the last lines are %s", got.body)
	}
	if a := w.api("GET", "/workload-pools/default/agents/a/logs/stream?after=x", w.operator, ""); !strings.Contains(a.body, "log_place") {
		t.Errorf("from nowhere: %d %s", a.status, a.body)
	}
	for what, a := range map[string]answer{
		"a stranger":       w.api("GET", "/workload-pools/default/agents/a/logs/stream", "", ""),
		"the agent itself": w.api("GET", "/workload-pools/default/agents/a/logs/stream", w.wat("a", "zhangsan"), ""),
	} {
		if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a := w.api("DELETE", "/workload-pools/default/agents/a", w.operator, ""); a.status/100 != 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	select {
	case err := <-ended:
		if !fault.HasCode(err, "agent_not_found") {
			t.Errorf("it ended with %v", err)
		}
	case <-ctx.Done():
		t.Error("it does not end with the agent")
	}
}
