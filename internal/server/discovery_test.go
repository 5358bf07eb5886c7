package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// TestDiscovery has a third party say what its endpoints are, and then say
// something else: what was saved goes on as it was saved.
func TestDiscovery(t *testing.T) {
	type speech = func(self string) map[string]any
	var said atomic.Value // a speech
	metadata := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(said.Load().(speech)("http://" + r.Host))
	}))
	t.Cleanup(metadata.Close)
	w := newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, metadata.Listener.Addr().String()) })
	honest := func(self string) map[string]any {
		return map[string]any{"issuer": self, "authorization_endpoint": w.party.URL + feishu.AuthorizePath, "token_endpoint": w.party.URL + feishu.TokenPathV3,
			"userinfo_endpoint": w.party.URL + feishu.UserInfoPath, "authorization_response_iss_parameter_supported": true}
	}
	said.Store(honest)
	discoveryURL := metadata.URL + "/.well-known/openid-configuration"
	settings := fmt.Sprintf(`{"name":"found","vendor":"feishu","clientId":%q,"clientSecret":%q,"scopes":[%q,"offline_access"],"discoveryUrl":%q}`, appID, appSecret, readDoc, discoveryURL)
	var made struct {
		DiscoveryURL, Issuer string
		Endpoints            map[string]string
		Discovered           map[string]string
	}
	w.make("/workload-pools/default/providers", settings, &made)
	if made.DiscoveryURL != discoveryURL || made.Issuer != metadata.URL || len(made.Endpoints) != 0 || made.Discovered["token"] != w.party.URL+feishu.TokenPathV3 {
		t.Errorf("made %+v", made)
	}

	// From now on it says that secrets should go elsewhere.
	said.Store(func(self string) map[string]any {
		elsewhere := honest(self)
		elsewhere["token_endpoint"] = self + "/thief"
		return elsewhere
	})
	zhangsan := w.person("zhangsan").logIn()
	ask := func() string { return w.ask(w.wat("a", "zhangsan"), "found").Authorization.URL }
	back := zhangsan.decide(zhangsan.begin(ask()), "allow")
	// It said that it names itself (RFC 9207): an answer that does not, or that names another, is not its.
	for what, iss := range map[string]string{"nobody": "", "another": "https://other.example"} {
		if got := zhangsan.get(replaced(t, back, "iss", iss)); got.status != http.StatusForbidden || !strings.Contains(got.body, "issuer_mismatch") {
			t.Errorf("an answer of %s: status %d", what, got.status)
		}
	}
	if done := zhangsan.finish(replaced(t, back, "iss", metadata.URL)); done.status != http.StatusOK || !strings.Contains(done.body, "Authorized") {
		t.Errorf("status %d:\n%s", done.status, done.body)
	}
	if got := w.ask(w.wat("a", "zhangsan"), "found"); w.owner(got.Credential.AccessToken) != "zhangsan" {
		t.Error("no credential")
	}

	for what, bad := range map[string]struct {
		said speech
		url  string
		code string
	}{
		"another issuer's metadata": {func(string) map[string]any { return honest("https://other.example") }, discoveryURL, "discovery_invalid"},
		"no token endpoint":         {func(self string) map[string]any { return map[string]any{"issuer": self} }, discoveryURL, "discovery_invalid"},
		"an endpoint that is none": {func(self string) map[string]any {
			m := honest(self)
			m["token_endpoint"] = "ftp://x"
			return m
		}, discoveryURL, "vendor_endpoint_invalid"},
		"not there":    {honest, metadata.URL + "/elsewhere/.well-known/openid-configuration", "discovery_missing"},
		"not allowed":  {honest, "http://127.0.0.1:1/.well-known/openid-configuration", "outbound_address_refused"},
		"no address":   {honest, "login.example", "discovery_url_invalid"},
		"with a query": {honest, discoveryURL + "?" + url.Values{"a": {"b"}}.Encode(), "discovery_url_invalid"},
	} {
		said.Store(bad.said)
		got := w.api("POST", "/workload-pools/default/providers", w.operator, strings.NewReplacer(`"found"`, `"bad"`, discoveryURL, bad.url).Replace(settings))
		if got.status/100 == 2 || !strings.Contains(got.body, `"code":"`+bad.code+`"`) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	got := w.api("POST", "/workload-pools/default/providers", w.operator, fmt.Sprintf(`{"name":"key","type":"api_key","apiKey":{"key":"k"},"discoveryUrl":%q}`, discoveryURL))
	if !strings.Contains(got.body, "field_not_for_type") {
		t.Errorf("for another type: %d %s", got.status, got.body)
	}
}
