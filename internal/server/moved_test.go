package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

// TestMovedProvider has an operator who does not know the client's secret turn a
// provider towards a server of his own: neither the secret nor a token goes there.
func TestMovedProvider(t *testing.T) {
	w := newWorld(t, nil)
	const path = "/workload-pools/default/providers"
	settings := func(secret, origin string) string {
		return fmt.Sprintf(`"vendor":"feishu","clientId":%q%s,"scopes":[%q,"offline_access"],"endpoints":{"base":%q,"authorization":%q,"token":%q,"userInfo":%q,"api":%q}`,
			appID, secret, readDoc, origin, w.party.URL+feishu.AuthorizePath, origin+feishu.TokenPathV3, w.party.URL+feishu.UserInfoPath, w.party.URL)
	}
	const thief = "https://thief.example"
	given := fmt.Sprintf(`,"clientSecret":%q`, appSecret)
	w.make(path, `{"name":"moving",`+settings(given, w.party.URL)+`}`, nil)
	refused := func(secret, code string) {
		t.Helper()
		got := w.api("PUT", path+"/moving", w.operator, `{`+settings(secret, thief)+`}`)
		if got.status/100 != 4 || !strings.Contains(got.body, `"`+code+`"`) {
			t.Errorf("%d %s, want %s", got.status, got.body, code)
		}
	}
	refused("", "provider_secret_needed")
	link := w.ask(w.wat("a", "zhangsan"), "moving").Authorization.URL
	zhangsan := w.person("zhangsan").logIn()
	if done := zhangsan.finish(zhangsan.decide(zhangsan.begin(link), "allow")); done.status != http.StatusOK {
		t.Fatalf("status %d:\n%s", done.status, done.body)
	}
	refused(given, "provider_has_grants")
	if got := w.ask(w.wat("a", "zhangsan"), "moving"); w.owner(got.Credential.AccessToken) != "zhangsan" {
		t.Error("no credential")
	}
	// What nothing secret is sent to may move, and so may everything at the same origin.
	same := strings.Replace(settings("", w.party.URL), feishu.TokenPathV3, feishu.TokenPathV2, 1)
	if got := w.api("PUT", path+"/moving", w.operator, `{`+same+`}`); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}
