package feishu_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

const readAndOffline = "docx:document:readonly offline_access"

// refusal is one request and the exact answer that it must get.
type refusal struct {
	name   string
	params func() map[string]string
	code   int
	err    string
	text   string
}

func (r *rig) checkRefusals(tests []refusal) {
	for _, test := range tests {
		r.t.Run(test.name, func(t *testing.T) {
			got, err := r.token(feishu.TokenPathV3, test.params())
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"code":%d,"error":%q,"error_description":%q}`, test.code, test.err, test.text)
			if got.Status != http.StatusBadRequest || got.Body != want {
				t.Errorf("status %d, body %s\nwant 400, %s", got.Status, got.Body, want)
			}
		})
	}
}

func TestTokenErrors(t *testing.T) {
	r := newRig(t)
	exchange := func(scope string, more ...string) func() map[string]string {
		return func() map[string]string { return exchangeParams(r.code(scope), more...) }
	}
	refresh := func(more ...string) func() map[string]string {
		return func() map[string]string {
			return refreshParams(r.mustToken(exchangeParams(r.code(readAndOffline))).RefreshToken, more...)
		}
	}
	pkce := func(more ...string) func() map[string]string {
		return func() map[string]string {
			return exchangeParams(r.code(readAndOffline, "code_challenge", challenge(), "code_challenge_method", "S256"), more...)
		}
	}
	r.checkRefusals([]refusal{
		{"no grant type", exchange("", "grant_type", ""), 20001, "invalid_request", "The request is missing a required parameter."},
		{"no code", exchange("", "code", ""), 20001, "invalid_request", "The request is missing a required parameter."},
		{"no client", exchange("", "client_id", ""), 20001, "invalid_request", "The request is missing a required parameter."},
		{"no secret", exchange("", "client_secret", ""), 20001, "invalid_request", "The request is missing a required parameter."},
		{"no refresh token", refresh("refresh_token", ""), 20001, "invalid_request", "The request is missing a required parameter."},
		{"wrong grant type", exchange("", "grant_type", "password"), 20036, "unsupported_grant_type", "The specified grant_type is not supported."},
		{"wrong secret", exchange("", "client_secret", "x"), 20002, "invalid_client", "The client secret is invalid."},
		{"wrong secret on refresh", refresh("client_secret", "x"), 20002, "invalid_client", "The client secret is invalid."},
		{"no such app", exchange("", "client_id", "cli_none"), 20048, "invalid_client", "The specified app does not exist."},
		{"another app's code", exchange("", "client_id", "cli_other", "client_secret", "other-secret"), 20024, "invalid_grant",
			"The provided authorization code or refresh token does not match the provided client ID."},
		{"another app's refresh token", refresh("client_id", "cli_other", "client_secret", "other-secret"), 20024, "invalid_grant",
			"The provided authorization code or refresh token does not match the provided client ID."},
		{"unknown code, even with unknown client", exchange("", "code", "x", "client_id", "cli_none"), 20003, "invalid_grant",
			"The authorization code is not found. Please note that an authorization code can only be used once."},
		{"other redirect URI", exchange("", "redirect_uri", redirectURI+"/"), 20071, "invalid_grant",
			"The provided redirect URI does not match the one used during authorization."},
		{"PKCE verifier missing", pkce(), 20049, "invalid_grant", "PKCE code challenge failed."},
		{"PKCE verifier wrong", pkce("code_verifier", strings.Repeat("x", 43)), 20049, "invalid_grant", "PKCE code challenge failed."},
		{"PKCE verifier without challenge, at v3", exchange("", "code_verifier", verifier), 20049, "invalid_grant", "PKCE code challenge failed."},
		{"scope twice", exchange(readAndOffline, "scope", "offline_access offline_access"), 20067, "invalid_scope",
			"The provided scope list contains duplicate scopes. Please ensure all scopes are unique."},
		{"scope not agreed to", exchange("docx:document:readonly", "scope", "drive:drive"), 20068, "invalid_scope",
			"The provided scope list contains scopes that are not permitted. Please ensure all scopes are allowed."},
		{"scope not agreed to, on refresh", refresh("scope", "drive:drive"), 20068, "invalid_scope",
			"The provided scope list contains scopes that are not permitted. Please ensure all scopes are allowed."},
		{"unknown refresh token", refresh("refresh_token", "ur-x"), 20026, "invalid_grant", "The refresh token passed is invalid. Please check the value."},
	})
}

// What becomes of codes and refresh tokens when they are used, old or revoked.
func TestSpentCredentials(t *testing.T) {
	r := newRig(t)
	exchange := func() map[string]string { return exchangeParams(r.code("")) }
	refresh := func() map[string]string {
		return refreshParams(r.mustToken(exchangeParams(r.code(readAndOffline))).RefreshToken)
	}
	after := func(params func() map[string]string, event func(map[string]string)) func() map[string]string {
		return func() map[string]string {
			p := params()
			event(p)
			return p
		}
	}
	use := func(p map[string]string) { r.mustToken(p) }
	r.checkRefusals([]refusal{
		{"code used", after(exchange, use), 20065, "invalid_grant",
			"The authorization code has been used. Please note that an authorization code can only be used once."},
		{"code expired", after(exchange, func(map[string]string) { r.clock.Advance(feishu.CodeLifetime) }), 20004, "invalid_grant",
			"The authorization code has expired."},
		{"refresh token used", after(refresh, use), 20073, "invalid_grant",
			"The refresh token has been used. Please note that a refresh token can only be used once."},
		{"refresh token expired", after(refresh, func(map[string]string) { r.clock.Advance(feishu.RefreshLifetime) }), 20037, "invalid_grant",
			"The refresh token passed has expired. Please generate a new one."},
		{"refresh token expired by knob", after(refresh, func(map[string]string) { r.ExpireRefreshTokens() }), 20037, "invalid_grant",
			"The refresh token passed has expired. Please generate a new one."},
		{"grant revoked", after(refresh, func(map[string]string) { r.Revoke("zhangsan") }), 20064, "invalid_grant",
			"The refresh token has been revoked. Please note that a refresh token can only be used once."},
	})
}

func TestTokenBodies(t *testing.T) {
	r := newRig(t)
	const malformed = `{"code":20063,"error":"invalid_request","error_description":"The request is malformed. Please check your request."}`
	tests := []struct{ name, contentType, body, want string }{
		{"no content type", "", `{}`, malformed},
		{"plain text", "text/plain", `{}`, malformed},
		{"not JSON", "application/json", `grant_type=x`, malformed},
		{"JSON array", "application/json", `[]`, malformed},
		{"unfinished JSON", "application/json", `{"a":"b"`, malformed},
		{"trailing data", "application/json", `{"a":"b"}{}`, malformed},
		{"same member twice", "application/json", `{"code":"a","code":"b"}`, malformed},
		{"number", "application/json", `{"code":1}`, malformed},
		{"object", "application/json", `{"code":{"a":"b"}}`, malformed},
		{"parameter twice", "application/x-www-form-urlencoded", `code=a&code=b`, malformed},
		{"bad escape", "application/x-www-form-urlencoded", `code=%zz`, malformed},
		{"too large", "application/json", `{"code":"` + strings.Repeat("a", 1<<17) + `"}`, malformed},
	}
	for _, path := range []string{feishu.TokenPathV2, feishu.TokenPathV3} {
		for _, test := range tests {
			t.Run(path+" "+test.name, func(t *testing.T) {
				b := r.browser()
				req, err := http.NewRequest("POST", r.url+path, strings.NewReader(test.body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", test.contentType)
				p := b.do(req)
				if p.status != http.StatusBadRequest || strings.TrimSpace(p.body) != test.want {
					t.Errorf("status %d, body %s", p.status, p.body)
				}
			})
		}
	}
}

func TestTokenFormAndBasic(t *testing.T) {
	r := newRig(t)
	post := func(t *testing.T, path string, form url.Values, basic bool) page {
		t.Helper()
		req, err := http.NewRequest("POST", r.url+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			req.SetBasicAuth(appID, appSecret)
		}
		return r.browser().do(req)
	}
	for _, path := range []string{feishu.TokenPathV2, feishu.TokenPathV3} {
		form := url.Values{}
		for name, value := range exchangeParams(r.code("")) {
			form.Set(name, value)
		}
		if p := post(t, path, form, true); p.status != 400 || !strings.HasPrefix(p.body, `{"code":20070,`) {
			t.Errorf("%s: Basic and client_secret: status %d, body %s", path, p.status, p.body)
		}
		form.Del("client_secret")
		if p := post(t, path, form, true); p.status != 200 {
			t.Errorf("%s: Basic: status %d, body %s", path, p.status, p.body)
		}
	}
}

func TestExchangeAnswer(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{feishu.TokenPathV2, feishu.TokenPathV3} {
		code := r.code(readAndOffline, "code_challenge", challenge(), "code_challenge_method", "S256")
		got, err := r.token(path, exchangeParams(code, "code_verifier", verifier))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.AccessToken) < 1024 || !strings.HasPrefix(got.AccessToken, "eyJ") || strings.Count(got.AccessToken, ".") != 2 {
			t.Errorf("%s: the access token does not look like Feishu's", path)
		}
		want := tokens{Status: 200, Body: got.Body, AccessToken: got.AccessToken, RefreshToken: got.RefreshToken,
			ExpiresIn: 7200, RefreshExpiresIn: 604800, Scope: readAndOffline, TokenType: "Bearer"}
		if diff := cmp.Diff(want, got); diff != "" || got.RefreshToken == "" {
			t.Errorf("%s: (-want +got)\n%s", path, diff)
		}
	}
}

// Feishu lets the redirect URI be left out, and v2 does not mind a verifier that
// belongs to nothing.
func TestExchangeLenience(t *testing.T) {
	r := newRig(t)
	r.mustToken(exchangeParams(r.code(""), "redirect_uri", ""))
	got, err := r.token(feishu.TokenPathV2, exchangeParams(r.code(""), "code_verifier", verifier))
	if err != nil || got.Status != 200 {
		t.Errorf("v2 with a stray verifier: %v, %s", err, got.Body)
	}
}

func TestRefusePKCEAtV3(t *testing.T) {
	r := newRig(t, func(c *feishu.Config) { c.RefusePKCEAtV3 = true })
	code := r.code("", "code_challenge", challenge(), "code_challenge_method", "S256")
	for _, step := range []struct {
		path string
		want int
	}{{feishu.TokenPathV3, 20049}, {feishu.TokenPathV2, 0}} {
		got, err := r.token(step.path, exchangeParams(code, "code_verifier", verifier))
		if err != nil || got.Code != step.want {
			t.Errorf("%s: %v, %s", step.path, err, got.Body)
		}
	}
}

// A refused request must not spend the code: only success does.
func TestRefusedExchangeKeepsCode(t *testing.T) {
	r := newRig(t)
	code := r.code("")
	if got, err := r.token(feishu.TokenPathV3, exchangeParams(code, "redirect_uri", "http://elsewhere")); err != nil || got.Code != 20071 {
		t.Fatalf("%v, %s", err, got.Body)
	}
	r.mustToken(exchangeParams(code))
}

func TestScopes(t *testing.T) {
	r := newRig(t)
	first := r.mustToken(exchangeParams(r.code("docx:document:readonly")))
	if first.RefreshToken != "" || strings.Contains(first.Body, "refresh_token") {
		t.Error("a refresh token without offline_access")
	}
	second := r.mustToken(exchangeParams(r.code("drive:drive offline_access")))
	if want := "docx:document:readonly drive:drive offline_access"; second.Scope != want {
		t.Errorf("grants are not cumulative: %q, want %q", second.Scope, want)
	}
	third := r.mustToken(exchangeParams(r.code("drive:drive")))
	if want := "docx:document:readonly drive:drive"; third.Scope != want || third.RefreshToken != "" {
		t.Errorf("offline_access was inherited: %q", third.Scope)
	}
	narrowed := r.mustToken(refreshParams(second.RefreshToken, "scope", "offline_access"))
	if narrowed.Scope != "offline_access" || narrowed.RefreshToken == "" {
		t.Errorf("narrowed refresh: %q", narrowed.Scope)
	}
	wide := r.mustToken(refreshParams(narrowed.RefreshToken))
	if want := "docx:document:readonly drive:drive offline_access"; wide.Scope != want {
		t.Errorf("narrowing lasted: %q, want %q", wide.Scope, want)
	}
	last := r.mustToken(refreshParams(wide.RefreshToken, "scope", "drive:drive"))
	if last.Scope != "drive:drive" || last.RefreshToken != "" {
		t.Errorf("narrowed without offline_access: %q, refresh token %t", last.Scope, last.RefreshToken != "")
	}
}

func TestRotationKeepsOldAccessToken(t *testing.T) {
	r := newRig(t)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	second := r.mustToken(refreshParams(first.RefreshToken))
	for _, token := range []string{first.AccessToken, second.AccessToken} {
		if status, body := r.api(feishu.UserInfoPath, "Bearer "+token); status != 200 {
			t.Errorf("status %d, body %s", status, body)
		}
	}
	r.clock.Advance(feishu.AccessLifetime - time.Second)
	if status, _ := r.api(feishu.UserInfoPath, "Bearer "+second.AccessToken); status != 200 {
		t.Error("expired a second early")
	}
	r.clock.Advance(time.Second)
	if status, body := r.api(feishu.UserInfoPath, "Bearer "+second.AccessToken); status != 400 || !strings.Contains(body, "99991677") {
		t.Errorf("status %d, body %s", status, body)
	}
}
