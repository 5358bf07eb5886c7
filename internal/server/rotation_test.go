package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// TestDataKeysRotateUnderEverything makes records of every kind that the API
// makes, rotates the data keys under them, and goes on with each.
func TestDataKeysRotateUnderEverything(t *testing.T) {
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(hook.Close)
	w := newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, hook.Listener.Addr().String()) })
	zhangsan := w.person("zhangsan").logIn()
	zhangsan.authorize(w.link(w.wat("a", "zhangsan")).URL) // a provider and a grant
	w.make("/workload-pools/default/webhooks", fmt.Sprintf(`{"url":%q}`, hook.URL), nil)
	pending := w.link(w.wat("a", "lisi")) // an authorization
	tried := w.try("feishu_oauth")        // a trial
	w.make("/user-pools/people/identity-providers", fmt.Sprintf(`{"name":"feishu","type":"feishu","clientId":%q,"clientSecret":%q,"endpoints":{"authorization":%q,"token":%q,"userInfo":%q}}`,
		appID, appSecret, w.party.URL+feishu.AuthorizePath, w.party.URL+feishu.TokenPathV3, w.party.URL+feishu.UserInfoPath), nil)
	away := w.person("lisi")
	if shown := away.get(w.url + "/userpool/people/login/feishu/begin"); shown.status != http.StatusSeeOther && shown.status != http.StatusFound {
		t.Fatalf("the login at Feishu began with %d", shown.status)
	}

	list := func(method string) map[string]int {
		t.Helper()
		got := w.api(method, "/data-keys", w.operator, "")
		var keys struct {
			Items []struct {
				Pool    string
				Newest  bool
				Records int
			}
		}
		if err := json.Unmarshal([]byte(got.body), &keys); err != nil || got.status != http.StatusOK {
			t.Fatalf("keys: %d %s", got.status, got.body)
		}
		former := map[string]int{}
		for _, k := range keys.Items {
			if !k.Newest {
				former[k.Pool] += k.Records
			}
		}
		return former
	}
	if former := list(http.MethodPost); former["default"] < 5 || former["userpool/people"] < 2 {
		t.Fatalf("the former keys seal %v", former)
	}
	for range 20 {
		got := w.api(http.MethodPost, "/data-keys/reseal", w.operator, "")
		if got.status != http.StatusOK {
			t.Fatalf("reseal: %d %s", got.status, got.body)
		}
		if strings.Contains(got.body, `"resealed":0`) {
			break
		}
	}
	for pool, records := range list(http.MethodGet) {
		if records > 0 {
			t.Errorf("the former key of %s still seals %d records", pool, records)
		}
	}
	if got := w.ask(w.wat("a", "zhangsan"), "feishu_oauth"); got.Status != "ready" || w.owner(got.Credential.AccessToken) != "zhangsan" {
		t.Errorf("the grant: %s", got.Status)
	}
	lisi := w.person("lisi").logIn()
	if shown := lisi.authorize(pending.URL); !strings.Contains(shown.body, "Authorized") {
		t.Errorf("the authorization: %d\n%s", shown.status, shown.body)
	}
	if shown := lisi.finish(lisi.decide(lisi.begin(tried.URL), "allow")); !strings.Contains(shown.body, "It works") {
		t.Errorf("the trial: %d\n%s", shown.status, shown.body)
	}
	if got := w.api(http.MethodPost, "/user-pools/people/identity-providers/feishu/test", w.operator, ""); got.status != http.StatusOK || strings.Contains(got.body, "seal_broken") {
		t.Errorf("the identity provider: %d %s", got.status, got.body)
	}
	if strings.Contains(w.log.String(), "seal_broken") {
		t.Error("something does not open")
	}
}
