package vendor_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// form returns what was sent last, one value a name.
func (f *fixture) form(t testing.TB) map[string]string {
	t.Helper()
	q, err := url.ParseQuery(string(f.sent))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for k, v := range q {
		got[k] = strings.Join(v, "|")
	}
	return got
}

func TestTokensWithoutAPerson(t *testing.T) {
	const assertion = "eyJ-USER-ASSERTION-55aa"
	f := setUp(t, "custom")
	f.status, f.body = 200, `{"access_token":"`+accessToken+`","token_type":"Bearer","expires_in":"3600"}`
	target := vendor.Target{Scopes: scopes(t, "b a"), Audience: "api", Resource: "https://api.example/"}
	for what, c := range map[string]struct {
		ask  func() (vendor.Tokens, error)
		want map[string]string
	}{
		"client credentials": {
			func() (vendor.Tokens, error) { return f.client.Machine(t.Context(), f.entry, f.app, target) },
			map[string]string{"grant_type": "client_credentials", "scope": "a b", "audience": "api", "resource": "https://api.example/"},
		},
		"client credentials, plain": {
			func() (vendor.Tokens, error) {
				return f.client.Machine(t.Context(), f.entry, f.app, vendor.Target{})
			},
			map[string]string{"grant_type": "client_credentials"},
		},
		"assertion": {
			func() (vendor.Tokens, error) {
				return f.client.Assert(t.Context(), f.entry, f.app, secret.FromString(assertion), vendor.Target{Scopes: scopes(t, "a")})
			},
			map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion, "scope": "a"},
		},
		"exchange": {
			func() (vendor.Tokens, error) {
				return f.client.ExchangeToken(t.Context(), f.entry, f.app, secret.FromString(assertion), vendor.Target{Audience: "api"})
			},
			map[string]string{
				"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": assertion, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
				"requested_token_type": "urn:ietf:params:oauth:token-type:access_token", "audience": "api",
			},
		},
	} {
		got, err := c.ask()
		if err != nil || got.Access.RevealString() != accessToken || !got.ExpiresAt.Equal(epoch.Add(time.Hour)) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if diff := cmp.Diff(c.want, f.form(t)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if id, password, ok := f.asked.BasicAuth(); !ok || id != "cli_1" || password != clientSecret {
			t.Errorf("%s: not authenticated", what)
		}
	}
	// What the third party refuses is about its settings, and never ends a grant.
	f.status, f.body = 400, `{"error":"invalid_grant","error_description":"who is `+assertion+`?"}`
	_, err := f.client.Assert(t.Context(), f.entry, f.app, secret.FromString(assertion), vendor.Target{})
	if !fault.HasCode(err, "vendor_config") || strings.Contains(failure(t, err).Error(), assertion) {
		t.Errorf("refused: %v", err)
	}
}

func failure(t testing.TB, err error) *vendor.Failure {
	t.Helper()
	var f *vendor.Failure
	if !errors.As(err, &f) {
		t.Fatalf("no failure of a vendor: %v", err)
	}
	return f
}

// TestPrivateKeyJWT proves the client with a key: whoever has its public half
// can check, and no secret is sent.
func TestPrivateKeyJWT(t *testing.T) {
	f := setUp(t, "custom")
	f.entry.Token.Auth = vendor.AuthPrivateKeyJWT
	f.status, f.body = 200, `{"access_token":"`+accessToken+`"}`
	if _, err := f.exchange(); !fault.Is(err, fault.Internal) || f.sent != nil {
		t.Errorf("without a key: %v", err)
	}
	var err error
	if f.app.Key, err = jwt.Generate(jwt.ES256); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		if _, err := f.exchange(); err != nil {
			t.Fatal(err)
		}
		sent := f.form(t)
		if sent["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || sent["client_id"] != "cli_1" || strings.Contains(string(f.sent), clientSecret) || f.asked.Header.Get("Authorization") != "" {
			t.Errorf("sent %v", sent)
		}
		claims, err := jwt.NewSet(f.app.Key).Verify(sent["client_assertion"], jwt.Expect{
			Issuer: "cli_1", Audience: f.entry.Endpoints.Token, Types: []string{"JWT"}, Algorithms: []string{jwt.ES256}, Now: func() time.Time { return epoch },
		})
		if err != nil || claims.Subject != "cli_1" || claims.ExpiresAt.Sub(epoch) > time.Minute || seen[sent["client_assertion"]] {
			t.Errorf("the assertion is %+v, %v", claims, err)
		}
		seen[sent["client_assertion"]] = true
	}
}

func TestDevice(t *testing.T) {
	f := setUp(t, "custom")
	if _, err := f.client.BeginDevice(t.Context(), f.entry, f.app, scopes(t, "a")); !fault.HasCode(err, "vendor_endpoint_missing") {
		t.Errorf("without an endpoint: %v", err)
	}
	var err error
	if f.entry, err = f.entry.With(vendor.Endpoints{DeviceAuthorization: strings.Replace(f.entry.Endpoints.Token, "/token", "/device", 1)}); err != nil {
		t.Fatal(err)
	}
	const good = `{"device_code":"dev-SECRET-1","user_code":"WDJB-MJHT","verification_uri":"https://x.example/device","verification_uri_complete":"https://x.example/device?code=WDJB","expires_in":600}`
	f.status, f.body = 200, good
	got, err := f.client.BeginDevice(t.Context(), f.entry, f.app, scopes(t, "a b"))
	if err != nil || got.UserCode != "WDJB-MJHT" || got.Code.RevealString() != "dev-SECRET-1" || got.Interval != 5*time.Second || !got.Expires.Equal(epoch.Add(10*time.Minute)) || got.VerifyTyped == "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if sent := f.form(t); f.asked.URL.Path != "/device" || sent["scope"] != "a b" || sent["client_id"] != "cli_1" {
		t.Errorf("asked %s for %v", f.asked.URL, sent)
	}
	for what, body := range map[string]string{
		"no code": strings.Replace(good, "dev-SECRET-1", "", 1), "no user code": strings.Replace(good, "WDJB-MJHT", "", 1), "no life": strings.Replace(good, "600", "0", 1),
		"script": strings.Replace(good, "https://x.example/device\"", "javascript:alert(1)\"", 1), "plain http": strings.Replace(good, "https://x.example/device\"", "http://x.example/device\"", 1),
		"long user code": strings.Replace(good, "WDJB-MJHT", strings.Repeat("A", 65), 1), "nothing": `{}`, "no JSON": `<html>`,
	} {
		f.body = body
		if _, err := f.client.BeginDevice(t.Context(), f.entry, f.app, name.Scopes{}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	f.body = strings.Replace(good, "https://x.example/device?code=WDJB", "javascript:alert(1)", 1)
	if got, err := f.client.BeginDevice(t.Context(), f.entry, f.app, name.Scopes{}); err != nil || got.VerifyTyped != "" {
		t.Errorf("got %+v, %v", got, err)
	}

	poll := func(status int, body string) (vendor.Tokens, time.Duration, error) {
		f.status, f.body = status, body
		return f.client.PollDevice(t.Context(), f.entry, f.app, secret.FromString("dev-SECRET-1"))
	}
	if _, slower, err := poll(400, `{"error":"authorization_pending"}`); !errors.Is(err, vendor.ErrPending) || slower != 0 {
		t.Errorf("pending: %v, %v", slower, err)
	}
	if _, slower, err := poll(400, `{"error":"slow_down"}`); !errors.Is(err, vendor.ErrPending) || slower != 5*time.Second {
		t.Errorf("slow down: %v, %v", slower, err)
	}
	for word, class := range map[string]vendor.Class{"access_denied": vendor.ClassUser, "expired_token": vendor.ClassUser, "invalid_client": vendor.ClassConfig, "strange": vendor.ClassRetry} {
		if _, _, err := poll(400, `{"error":"`+word+`"}`); errors.Is(err, vendor.ErrPending) || failure(t, err).Class != class {
			t.Errorf("%s: %v", word, err)
		}
	}
	tokens, _, err := poll(200, `{"access_token":"`+accessToken+`","refresh_token":"`+newRefresh+`"}`)
	if sent := f.form(t); err != nil || tokens.Access.RevealString() != accessToken || sent["device_code"] != "dev-SECRET-1" || sent["grant_type"] != "urn:ietf:params:oauth:grant-type:device_code" {
		t.Errorf("got %+v, %v after %v", tokens, err, sent)
	}
}
