package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/server"
)

// trusting is a third party that gives tokens to clients and, to those that
// assert a user of an issuer that it trusts, tokens for that user. It checks
// with published keys, as strangers do.
type trusting struct {
	*httptest.Server
	w       *world
	keysURL string // of the client's keys
	mu      sync.Mutex
	calls   int
	last    map[string]string // parameters of the last request
}

func newTrusting(t *testing.T) *trusting {
	t.Helper()
	p := &trusting{}
	p.Server = httptest.NewServer(http.HandlerFunc(p.token))
	t.Cleanup(p.Close)
	return p
}

func (p *trusting) token(rw http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	_ = r.ParseForm()
	p.last = map[string]string{}
	for k := range r.PostForm {
		p.last[k] = r.PostForm.Get(k)
	}
	client, why := p.client(r)
	subject := client
	switch r.PostForm.Get("grant_type") {
	case "client_credentials":
	case "urn:ietf:params:oauth:grant-type:token-exchange":
		subject, why = p.user(r.PostForm.Get("subject_token"), why)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		subject, why = p.user(r.PostForm.Get("assertion"), why)
	default:
		why = "unsupported_grant_type"
	}
	rw.Header().Set("Content-Type", "application/json")
	if why != "" {
		rw.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(rw).Encode(map[string]string{"error": why})
		return
	}
	_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": fmt.Sprintf("token-%d-of-%s", p.calls, subject), "token_type": "Bearer", "expires_in": 3600})
}

// client returns who the client proves to be, or the error.
func (p *trusting) client(r *http.Request) (id, why string) {
	if assertion := r.PostForm.Get("client_assertion"); assertion != "" {
		claims, err := p.verify(p.keysURL, assertion, "machine")
		if err != nil || claims.Subject != "machine" {
			return "", "invalid_client"
		}
		return claims.Subject, ""
	}
	if id, password, ok := r.BasicAuth(); ok && id == "machine" && password == "machine-secret" {
		return id, ""
	}
	return "", "invalid_client"
}

// user returns whom an assertion is about.
func (p *trusting) user(assertion, why string) (subject, _ string) {
	claims, err := p.verify(p.w.issuer()+"/keys", assertion, p.w.issuer())
	if err != nil || why != "" {
		return "", "invalid_grant"
	}
	var own struct {
		ClientID string `json:"client_id"`
		Actor    struct {
			Subject string `json:"sub"`
		} `json:"act"`
	}
	if json.Unmarshal(claims.Raw, &own) != nil || own.ClientID != "machine" || !strings.HasPrefix(own.Actor.Subject, "spiffe://deputy.local/default/") {
		return "", "invalid_grant"
	}
	return claims.Subject, ""
}

func (p *trusting) verify(keysURL, token, issuer string) (jwt.Claims, error) {
	if keysURL == "" {
		return jwt.Claims{}, fault.New(fault.Unauthenticated, "stranger", "nobody registered this client") // when the provider is probed
	}
	answer := send(p.w.t, noRedirects, "GET", keysURL, nil, nil)
	set, err := jwt.ParseSet([]byte(answer.body))
	if err != nil {
		return jwt.Claims{}, err
	}
	return set.Verify(token, jwt.Expect{Issuer: issuer, Audience: p.URL + "/token", Types: []string{"JWT"}, Algorithms: []string{jwt.ES256}, Now: p.w.clock.now})
}

// provider makes a credential provider at p.
func (p *trusting) provider(providerName, more string) string {
	p.w.t.Helper()
	var made struct{ KeysURL string }
	p.w.make("/workload-pools/default/providers", fmt.Sprintf(`{"name":%q,"vendor":"custom","clientId":"machine","endpoints":{"token":%q},%s}`, providerName, p.URL+"/token", more), &made)
	return made.KeysURL
}

func newTrustingWorld(t *testing.T) (*world, *trusting) {
	t.Helper()
	p := newTrusting(t)
	w := newWorld(t, func(c *server.Config) { c.AllowOutbound = append(c.AllowOutbound, p.Listener.Addr().String()) })
	p.w = w
	return w, p
}

// TestMachines gives agents what their client may do for itself: without a user,
// once for all of them, and again when it is about to end.
func TestMachines(t *testing.T) {
	w, p := newTrustingWorld(t)
	p.provider("api", `"clientSecret":"machine-secret","flow":"M2M","scopes":["a","b"],"audience":"the-api","resource":"https://api.example/"`)
	self, _, err := w.tokens(w.clock.now).Mint(t.Context(), name.Workload{Pool: "default", Name: "a"}, name.User{}, nil)
	must(t, err)
	p.calls = 0
	first := w.ask(self.RevealString(), "api")
	if first.Status != "ready" || first.Credential.AccessToken != "token-1-of-machine" || p.last["scope"] != "a b" || p.last["audience"] != "the-api" || p.last["resource"] != "https://api.example/" {
		t.Errorf("got %+v after %v", first, p.last)
	}
	for _, token := range []string{self.RevealString(), w.wat("b", "zhangsan"), w.wat("a", "lisi")} {
		if got := w.ask(token, "api"); got.Credential.AccessToken != first.Credential.AccessToken {
			t.Errorf("asked again for %s", got.Credential.AccessToken)
		}
	}
	if got := w.ask(self.RevealString(), "api", "a"); got.Credential.AccessToken != "token-2-of-machine" || p.last["scope"] != "a" {
		t.Errorf("with other scopes: %+v after %v", got, p.last)
	}
	released := w.entries(map[string][]string{"action": {"credential.release"}, "provider": {"api"}, "outcome": {"allowed"}})
	if len(released) != 5 {
		t.Errorf("%d releases are recorded", len(released))
	}
}

// TestPrivateKeys has the third party check the client by the keys at the
// address that the provider tells.
func TestPrivateKeys(t *testing.T) {
	w, p := newTrustingWorld(t)
	p.keysURL = p.provider("keyed", `"flow":"M2M","authMethod":"private_key_jwt"`)
	if got := w.ask(w.wat("a", "zhangsan"), "keyed"); got.Status != "ready" || !strings.HasSuffix(got.Credential.AccessToken, "-of-machine") {
		t.Errorf("got %+v after %v", got, p.last)
	}
	if _, sent := p.last["client_secret"]; sent || p.last["client_assertion"] == "" {
		t.Errorf("sent %v", p.last)
	}
	for _, path := range []string{"/provider-keys/prv_nobody", strings.TrimPrefix(p.keysURL, w.url) + "x"} {
		if got := send(t, noRedirects, "GET", w.url+path, nil, nil); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

// TestOnBehalfOf has the third party trust the pool's issuer: its users get
// tokens without being asked, and each gets his own.
func TestOnBehalfOf(t *testing.T) {
	w, p := newTrustingWorld(t)
	for _, kind := range []string{"token-exchange", "jwt-bearer"} {
		p.provider(kind, `"clientSecret":"machine-secret","flow":"ON_BEHALF_OF","assertion":"`+kind+`","scopes":["a"]`)
		p.mu.Lock()
		p.calls = 0
		p.mu.Unlock()
		for i, who := range []string{"zhangsan", "lisi", "zhangsan"} {
			got := w.ask(w.wat("a", who), kind)
			if want := fmt.Sprintf("token-%d-of-%s", i%2+1, w.subject[who]); got.Credential.AccessToken != want {
				t.Errorf("%s for %s: %q, want %q", kind, who, got.Credential.AccessToken, want)
			}
		}
		if got := w.ask(w.wat("b", "zhangsan"), kind); got.Credential.AccessToken != "token-3-of-"+w.subject["zhangsan"] {
			t.Errorf("the other agent got %q", got.Credential.AccessToken)
		}
	}
	// Nobody is asserted whom the agent does not act for, or who is gone.
	self, _, err := w.tokens(w.clock.now).Mint(t.Context(), name.Workload{Pool: "default", Name: "a"}, name.User{}, nil)
	must(t, err)
	stranger, _, err := w.tokens(w.clock.now).Mint(t.Context(), name.Workload{Pool: "default", Name: "a"}, name.User{Issuer: "https://login.other.example", Subject: w.subject["lisi"]}, nil)
	must(t, err)
	lisi := w.wat("b", "lisi")
	if got := w.api("PATCH", "/user-pools/people/users/"+w.subject["lisi"], w.operator, `{"disabled":true}`); got.status != http.StatusOK {
		t.Fatalf("disable: %d %s", got.status, got.body)
	}
	for token, want := range map[string]struct {
		status int
		code   string
	}{self.RevealString(): {403, "user_required"}, stranger.RevealString(): {403, "user_not_asserted"}, lisi: {401, "user_gone"}} {
		if got := w.api("POST", "/credentials", token, `{"provider":"jwt-bearer"}`); got.status != want.status || !strings.Contains(got.body, want.code) {
			t.Errorf("got %d %s, want %v", got.status, got.body, want)
		}
	}
	// A third party that does not trust the issuer: what is wrong is said, and nothing is kept.
	p.provider("elsewhere", `"clientSecret":"wrong","flow":"ON_BEHALF_OF"`)
	if got := w.api("POST", "/credentials", w.wat("a", "zhangsan"), `{"provider":"elsewhere"}`); got.status < 400 || !strings.Contains(got.body, "trust the issuer") {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// TestFlowSettings refuses what a flow cannot use.
func TestFlowSettings(t *testing.T) {
	w := newWorld(t, nil)
	for body, code := range map[string]string{
		`"flow":"M2M"`:                                                    "client_secret_missing",
		`"flow":"M2M","authMethod":"none"`:                                "auth_method_unknown",
		`"flow":"M2M","authMethod":"guess","clientSecret":"s"`:            "auth_method_unknown",
		`"flow":"M2M","clientSecret":"s","resource":"api"`:                "resource_invalid",
		`"flow":"M2M","clientSecret":"s","audience":"two words"`:          "audience_invalid",
		`"flow":"M2M","clientSecret":"s","assertion":"jwt-bearer"`:        "field_not_for_type",
		`"flow":"ON_BEHALF_OF","clientSecret":"s","assertion":"saml"`:     "assertion_unknown",
		`"flow":"ON_BEHALF_OF","clientSecret":"s","parameters":{"a":"b"}`: "field_not_for_type",
		`"flow":"USER_FEDERATION","clientSecret":"s","audience":"x"`:      "field_not_for_type",
		`"flow":"USER_FEDERATION","clientSecret":"s"`:                     "vendor_endpoint_missing",
		`"flow":"CLIENT_CREDENTIALS","clientSecret":"s"`:                  "flow_unknown",
	} {
		got := w.api("POST", "/workload-pools/default/providers", w.operator, `{"name":"x","vendor":"custom","clientId":"c","endpoints":{"token":"http://127.0.0.1:1/token"},`+body+`}`)
		if got.status != http.StatusBadRequest || !strings.Contains(got.body, code) {
			t.Errorf("%s: %d %s, want %s", body, got.status, got.body, code)
		}
	}
}
