package server_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/server"
)

// TestConsentByCode has a user pool of this Deputy be a third party at which
// people type codes (RFC 8628): the link shows the code to its user only, the page
// waits, and the agent goes on.
func TestConsentByCode(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, "127.0.0.1") })
	var client struct{ ID, Secret string }
	w.make("/user-pools/people/clients", `{"name":"tv","type":"public","grants":["urn:ietf:params:oauth:grant-type:device_code"],"scopes":["openid","profile"]}`, &client)
	w.make("/workload-pools/default/providers", fmt.Sprintf(`{"name":"coded","vendor":"custom","clientId":%q,"authMethod":"none","scopes":["profile"],"discoveryUrl":"%s/.well-known/openid-configuration","device":true}`,
		client.ID, w.issuer()), nil)
	zhangsan, lisi := w.person("zhangsan").logIn(), w.person("lisi").logIn()
	a := w.wat("a", "zhangsan")
	asks := w.ask(a, "coded").Authorization

	stranger := lisi.get(asks.URL)
	if stranger.status != http.StatusForbidden || !strings.Contains(stranger.body, "made for somebody else") {
		t.Fatalf("another person: %d\n%s", stranger.status, stranger.body)
	}
	page := zhangsan.location(zhangsan.get(asks.URL))
	shown := zhangsan.get(page)
	key := regexp.MustCompile(`<code id="key">([^<]+)</code>`).FindStringSubmatch(shown.body)
	link := regexp.MustCompile(`<a class="button main" href="([^"]+)"`).FindStringSubmatch(shown.body)
	if shown.status != http.StatusOK || key == nil || link == nil || shown.header.Get("Refresh") == "" {
		t.Fatalf("the page: %d %v\n%s", shown.status, shown.header, shown.body)
	}
	for who, p := range map[string]*person{"another person": lisi, "nobody": w.person("zhangsan")} {
		if got := p.get(page); got.status != http.StatusNotFound || strings.Contains(got.body, key[1]) {
			t.Errorf("%s: %d\n%s", who, got.status, got.body)
		}
	}
	if again := zhangsan.location(zhangsan.get(asks.URL)); again != page {
		t.Errorf("the link leads to %s the second time", again)
	}

	// The page's successor is held back until the person has agreed.
	held := make(chan answer, 1)
	go func() { held <- zhangsan.get(page + "&wait") }()
	typed, form := zhangsan.fill(zhangsan.get(html.UnescapeString(link[1])), "user_code", "user_code", key[1])
	action, form := zhangsan.fill(zhangsan.post(typed, form), "decision", "decision", "allow")
	if done := zhangsan.post(action, form); done.status/100 > 3 {
		t.Fatalf("agreeing: %d\n%s", done.status, done.body)
	}
	w.clock.pass(6 * time.Second)
	zhangsan.get(w.ask(w.wat("b", "zhangsan"), "coded").Authorization.URL) // wakes who asks
	result := zhangsan.get(zhangsan.location(<-held))
	if result.status != http.StatusOK || !strings.Contains(result.body, "Authorized") {
		t.Fatalf("result: %d\n%s", result.status, result.body)
	}
	if got := w.ask(a, "coded"); got.Status != "ready" || got.Credential.AccessToken == "" {
		t.Errorf("the agent: %s", got.Status)
	}
	if strings.Contains(w.log.String(), key[1]) {
		t.Error("the code is in the log")
	}
	for _, c := range []struct{ what, body, code string }{
		{"a vendor without", `{"name":"x","vendor":"feishu","clientId":"cli_1","clientSecret":"s","device":true}`, "device_unsupported"},
		{"another type", `{"name":"x","type":"api_key","apiKey":{"key":"k"},"device":true}`, "field_not_for_type"},
	} {
		if got := w.api("POST", "/workload-pools/default/providers", w.operator, c.body); code(got) != c.code {
			t.Errorf("%s: %d %s", c.what, got.status, got.body)
		}
	}
	trial := w.api("POST", "/workload-pools/default/providers/coded/tests", w.operator, "{}")
	if !strings.Contains(trial.body, "hands out a code") || strings.Contains(trial.body, `"url"`) {
		t.Errorf("the test of the provider: %d %s", trial.status, trial.body)
	}
}
