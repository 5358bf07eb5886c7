package server_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// TestAnOutageIsNotNoticedWhileTheTokenIsValid takes the third party away inside
// the margin, when a fetch also begins a refresh: until the token expires, agents
// get it as ever.
func TestAnOutageIsNotNoticedWhileTheTokenIsValid(t *testing.T) {
	t.Run("sqlite, 503", func(t *testing.T) { outage(t, secret.Text{}, unavailable) })
	t.Run("sqlite, silence", func(t *testing.T) { outage(t, secret.Text{}, silent) })
	t.Run("postgres, 503", func(t *testing.T) { outage(t, secret.FromString(storetest.Postgres(t).URL(t)), unavailable) })
}

func unavailable(s *feishu.Sandbox) {
	for range 1000 {
		s.RefuseNext(feishu.OpRefresh, feishu.Refusal{Code: 20050, Status: http.StatusServiceUnavailable})
	}
}

func silent(s *feishu.Sandbox) { s.SetLatency(feishu.OpRefresh, time.Minute) }

func outage(t *testing.T, database secret.Text, begins func(*feishu.Sandbox)) {
	w := newWorld(t, func(c *server.Config) { c.Database = database })
	w.person("zhangsan").logIn().authorize(w.link(w.wat("a", "zhangsan")).URL)
	before := w.ask(w.wat("a", "zhangsan"), "feishu_oauth").Credential.AccessToken
	t.Cleanup(w.party.CloseClientConnections) // before the server's end, which waits for refreshes under way
	begins(w.feishu)
	w.clock.pass(feishu.AccessLifetime - 5*time.Minute)
	token := w.wat("a", "zhangsan")
	fetch := func() {
		got := w.api("POST", "/credentials", token, `{"provider":"feishu_oauth"}`)
		var a asked
		if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.status != http.StatusOK || a.Credential.AccessToken != before {
			t.Errorf("got %d %s", got.status, a.Status)
		}
	}
	together := func() {
		var group sync.WaitGroup
		for range 20 {
			group.Go(fetch)
		}
		group.Wait()
	}
	together()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for w.feishu.Calls()[feishu.OpRefresh] == 0 {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatal("nobody tried to refresh")
		}
	}
	together() // the refresh is under way, or has failed
	w.clock.pass(4 * time.Minute)
	together()
}
