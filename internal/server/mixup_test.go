package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/callback"
)

// TestMixUp has an authorization server lead a person on to another one, whose
// answer then comes with the first one's state: its code must not be redeemed at
// the first (RFC 9700, section 4.4). What tells them apart is a redirect URI of
// the provider's own.
func TestMixUp(t *testing.T) {
	w := newWorld(t, nil)
	var own map[string]any
	must(t, json.Unmarshal([]byte(w.provider("feishu_own", readDoc, "offline_access")), &own))
	own["ownCallback"] = true
	body, err := json.Marshal(own)
	must(t, err)
	var made struct{ CallbackURL string }
	w.make("/workload-pools/default/providers", string(body), &made)
	ownCallback := w.url + callback.Path + "/default/feishu_own"
	if made.CallbackURL != ownCallback {
		t.Fatalf("to be registered: %q", made.CallbackURL)
	}
	zhangsan := w.person("zhangsan").logIn()
	link := func(providerName string) string {
		t.Helper()
		got := w.ask(w.wat("a", "zhangsan"), providerName)
		if got.Status != "authorization_required" {
			t.Fatalf("%s: %s", providerName, got.Status)
		}
		return got.Authorization.URL
	}
	exchanges := w.exchanges()

	// The attacker is at the end of the link, and sends the browser on with his state and the honest party's redirect URI.
	attacked := zhangsan.begin(link("feishu_own"))
	if got := parameter(t, attacked, "redirect_uri"); got != ownCallback {
		t.Errorf("the third party is told %q", got)
	}
	led := replaced(t, attacked, "redirect_uri", w.url+callback.Path)
	refused := zhangsan.get(zhangsan.decide(led, "allow"))
	if refused.status != http.StatusForbidden || !strings.Contains(refused.body, "callback_mismatch") {
		t.Errorf("status %d:\n%s", refused.status, refused.body)
	}
	// The other way round: what comes to its own address is for no other provider.
	honest := zhangsan.begin(link("feishu_oauth"))
	back := zhangsan.decide(honest, "allow")
	for _, elsewhere := range []string{"/default/feishu_own", "/default/feishu_oauth", "/other/feishu_own"} {
		if got := zhangsan.get(strings.Replace(back, callback.Path, callback.Path+elsewhere, 1)); got.status != http.StatusForbidden || !strings.Contains(got.body, "callback_mismatch") {
			t.Errorf("at %s: status %d", elsewhere, got.status)
		}
	}
	if n := w.exchanges() - exchanges; n != 0 {
		t.Errorf("%d codes were redeemed", n)
	}
	// Nothing was stored, and nothing is spoilt.
	if done := zhangsan.finish(back); done.status != http.StatusOK || !strings.Contains(done.body, "Authorized") {
		t.Errorf("the honest answer: %d\n%s", done.status, done.body)
	}
	if done := zhangsan.authorize(link("feishu_own")); done.status != http.StatusOK || !strings.Contains(done.body, "Authorized") {
		t.Errorf("with a redirect URI of its own: %d\n%s", done.status, done.body)
	}
	if got := w.ask(w.wat("a", "zhangsan"), "feishu_own"); w.owner(got.Credential.AccessToken) != "zhangsan" {
		t.Error("no credential")
	}
}

func parameter(t testing.TB, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return u.Query().Get(name)
}

func replaced(t *testing.T, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}
