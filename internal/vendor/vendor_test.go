package vendor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// The secrets of every test; none may be in any error or log.
const (
	clientSecret = "app-SECRET-1f7b"
	code         = "auth-CODE-9d2c"
	verifier     = "pkce-VERIFIER-77aa-77aa-77aa-77aa-77aa-77aa"
	refreshToken = "old-REFRESH-4e1d"
	accessToken  = "eyJ-ACCESS-8b3f"
	newRefresh   = "new-REFRESH-c0de"
)

// third is a third party that gives one answer and remembers the request.
type third struct {
	status int
	body   string
	asked  *http.Request
	sent   []byte
}

func (s *third) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.status == 0 {
		// The answer is lost. The client may ask again by itself, and nothing orders the two handlers:
		// so neither remembers its request.
		panic(http.ErrAbortHandler)
	}
	s.asked = r
	s.sent, _ = io.ReadAll(r.Body)
	if s.status >= 300 && s.status < 400 {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.body)
}

type fixture struct {
	*third
	client *vendor.Client
	entry  vendor.Entry
	app    vendor.App
	log    *strings.Builder
}

// builtin is the built-in catalogue, read once.
var builtin = sync.OnceValues(vendor.Builtin)

func lookup(t testing.TB, id string) vendor.Entry {
	t.Helper()
	c, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Lookup(id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func setUp(t *testing.T, id string) *fixture {
	t.Helper()
	f := &fixture{third: &third{}, log: &strings.Builder{}}
	server := httptest.NewUnstartedServer(f.third)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	out, err := outbound.New(outbound.Config{
		Allow: []string{"127.0.0.1"}, Timeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	f.client = &vendor.Client{Outbound: out, Now: func() time.Time { return epoch }}
	f.entry, err = lookup(t, id).With(vendor.Endpoints{Authorization: server.URL + "/authorize", Token: server.URL + "/token", UserInfo: server.URL + "/user_info", Revocation: server.URL + "/revoke"})
	if err != nil {
		t.Fatal(err)
	}
	f.app = vendor.App{ClientID: "cli_1", ClientSecret: secret.FromString(clientSecret), RedirectURI: "https://deputy.example/api/v1/oauth2callback"}
	return f
}

func (f *fixture) exchange() (vendor.Tokens, error) {
	return f.client.Exchange(context.Background(), f.entry, f.app, secret.FromString(code), secret.FromString(verifier))
}

func (f *fixture) refresh() (vendor.Tokens, error) {
	return f.client.Refresh(context.Background(), f.entry, f.app, secret.FromString(refreshToken), name.Scopes{})
}

// feishuTokens is Feishu's answer as its documentation shows it.
const feishuTokens = `{"code":0,"access_token":"` + accessToken + `","expires_in":7200,"refresh_token":"` + newRefresh + `",
	"refresh_token_expires_in":604800,"scope":"docx:document:readonly auth:user.id:read offline_access","token_type":"Bearer"}`

func TestFeishuExchange(t *testing.T) {
	f := setUp(t, "feishu")
	f.status, f.body = 200, feishuTokens
	got, err := f.exchange()
	if err != nil {
		t.Fatal(err)
	}
	if got.Access.RevealString() != accessToken || got.Refresh.RevealString() != newRefresh || got.TokenType != "Bearer" ||
		!got.ScopesKnown || got.Scopes.String() != "auth:user.id:read docx:document:readonly offline_access" ||
		!got.ExpiresAt.Equal(epoch.Add(2*time.Hour)) || !got.RefreshExpiresAt.Equal(epoch.Add(7*24*time.Hour)) {
		t.Errorf("got %+v", got)
	}
	var sent map[string]string
	if err := json.Unmarshal(f.sent, &sent); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"grant_type": "authorization_code", "client_id": "cli_1", "client_secret": clientSecret, "code": code,
		"redirect_uri": f.app.RedirectURI, "code_verifier": verifier}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
	if h := f.asked.Header; f.asked.Method != "POST" || h.Get("Content-Type") != "application/json; charset=utf-8" || h.Get("Authorization") != "" || f.asked.URL.RawQuery != "" {
		t.Errorf("%s %s %v", f.asked.Method, f.asked.URL, h)
	}
	// v3 refuses a verifier when no challenge was sent, so an empty one is not sent.
	if _, err := f.client.Exchange(t.Context(), f.entry, f.app, secret.FromString(code), secret.Text{}); err != nil || strings.Contains(string(f.sent), "code_verifier") {
		t.Errorf("sent %s, %v", f.sent, err)
	}
}

func TestFeishuRefresh(t *testing.T) {
	f := setUp(t, "feishu-v2")
	f.status, f.body = 200, feishuTokens
	if _, err := f.refresh(); err != nil {
		t.Fatal(err)
	}
	var sent map[string]string
	if err := json.Unmarshal(f.sent, &sent); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"grant_type": "refresh_token", "client_id": "cli_1", "client_secret": clientSecret, "refresh_token": refreshToken}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
}

func TestCustomSpeaksPlainOAuth(t *testing.T) {
	f := setUp(t, "custom")
	f.app.ClientID, f.status = "id with:colon", 200
	f.body = `{"access_token":"` + accessToken + `","token_type":"bearer","expires_in":"3600"}`
	got, err := f.exchange()
	if err != nil {
		t.Fatal(err)
	}
	if !got.ExpiresAt.Equal(epoch.Add(time.Hour)) || got.ScopesKnown || !got.Refresh.Empty() || got.TokenType != "Bearer" {
		t.Errorf("got %+v", got)
	}
	form, err := url.ParseQuery(string(f.sent))
	want := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.app.RedirectURI}, "code_verifier": {verifier}}
	if err != nil || !cmp.Equal(form, want) {
		t.Errorf("sent %v", form)
	}
	if id, pass, ok := f.asked.BasicAuth(); !ok || id != "id+with%3Acolon" || pass != clientSecret || f.asked.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("headers %v", f.asked.Header)
	}
	post := setUp(t, "custom-post")
	post.status, post.body = 201, f.body
	if _, err := post.refresh(); err != nil {
		t.Fatal(err)
	}
	form, _ = url.ParseQuery(string(post.sent))
	if form.Get("client_secret") != clientSecret || post.asked.Header.Get("Authorization") != "" {
		t.Errorf("sent %v, %v", form, post.asked.Header)
	}
}

// TestTokenAnswersThatAreNotAsDocumented: what is missing or odd is unknown;
// what cannot be used is refused, and nothing empty ever counts as a token.
func TestTokenAnswersThatAreNotAsDocumented(t *testing.T) {
	f := setUp(t, "feishu")
	f.status = 200
	for _, c := range []struct {
		name, body string
		ok         bool
		expires    time.Duration // 0 = unknown
	}{
		{"no expiry", `{"access_token":"a"}`, true, 0},
		{"expiry as a string", `{"access_token":"a","expires_in":"7200"}`, true, 2 * time.Hour},
		{"expiry with a fraction", `{"access_token":"a","expires_in":60.9}`, true, time.Minute},
		{"expiry zero", `{"access_token":"a","expires_in":0}`, true, 0},
		{"expiry negative", `{"access_token":"a","expires_in":-5}`, true, 0},
		{"expiry in words", `{"access_token":"a","expires_in":"soon"}`, true, 0},
		{"expiry absurd", `{"access_token":"a","expires_in":1e300}`, true, 0},
		{"expiry null", `{"access_token":"a","expires_in":null}`, true, 0},
		{"code as a string", `{"code":"0","access_token":"a"}`, true, 0},
		{"refresh token null", `{"access_token":"a","refresh_token":null}`, true, 0},
		{"scopes in a list", `{"access_token":"a","scope":["x","y"]}`, true, 0},
		{"scope nonsense", `{"access_token":"a","scope":{"x":1}}`, true, 0},
		{"empty token", `{"code":0,"access_token":""}`, false, 0},
		{"no token", `{"code":0}`, false, 0},
		{"token null", `{"access_token":null}`, false, 0},
		{"token a number", `{"access_token":5}`, false, 0},
		{"token with a line break", `{"access_token":"a\r\nX-Evil: 1"}`, false, 0},
		{"token not ASCII", `{"access_token":"ä"}`, false, 0},
		{"token giant", `{"access_token":"` + strings.Repeat("a", 17<<10) + `"}`, false, 0},
		{"refresh token an object", `{"access_token":"a","refresh_token":{}}`, false, 0},
		{"type unknown", `{"access_token":"a","token_type":"mac"}`, false, 0},
		{"token twice", `{"access_token":"a","access_token":"b"}`, false, 0},
		{"HTML", `<html>maintenance</html>`, false, 0},
		{"empty", ``, false, 0},
		{"a list", `[{"access_token":"a"}]`, false, 0},
		{"a string", `"access_token"`, false, 0},
		{"giant", `{"access_token":"a","x":"` + strings.Repeat("x", 300<<10) + `"}`, false, 0},
		{"code with a token", `{"code":20050,"access_token":"a"}`, false, 0},
		{"error with a token", `{"code":0,"error":"server_error","access_token":"a"}`, false, 0},
		{"error as an object", `{"code":0,"error":{"message":"x"},"access_token":"a"}`, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.body = c.body
			got, err := f.refresh()
			if !c.ok {
				var failure *vendor.Failure
				if !errors.As(err, &failure) || failure.Class != vendor.ClassRetry || !fault.Is(err, fault.Unavailable) || !got.Access.Empty() {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := time.Time{}
			if c.expires > 0 {
				want = epoch.Add(c.expires)
			}
			if !got.ExpiresAt.Equal(want) || got.Access.Empty() {
				t.Errorf("got %+v, want expiry %v", got, want)
			}
		})
	}
}

func TestFailureClasses(t *testing.T) {
	for _, c := range []struct {
		name    string
		vendor  string
		refresh bool
		status  int
		body    string
		class   vendor.Class
		code    string
	}{
		{"used refresh token", "feishu", true, 400, `{"code":20073,"error":"invalid_grant"}`, vendor.ClassRace, "20073"},
		{"expired refresh token", "feishu", true, 400, `{"code":20037,"error":"invalid_grant","error_description":"expired"}`, vendor.ClassReauthorize, "20037"},
		{"revoked, with status 200", "feishu", true, 200, `{"code":20064}`, vendor.ClassReauthorize, "20064"},
		{"invalid refresh token", "lark", true, 400, `{"code":20026}`, vendor.ClassReauthorize, "20026"},
		{"code 0 with an error", "feishu", true, 200, `{"code":0,"error":"invalid_grant"}`, vendor.ClassReauthorize, "invalid_grant"},
		{"error only", "custom", true, 400, `{"error":"invalid_grant"}`, vendor.ClassReauthorize, "invalid_grant"},
		{"an unknown code beside invalid_grant", "feishu", true, 400, `{"code":29999,"error":"invalid_grant"}`, vendor.ClassRetry, "29999"},
		{"an unknown code beside invalid_client", "feishu", true, 400, `{"code":29999,"error":"invalid_client"}`, vendor.ClassConfig, "29999"},
		{"an unknown code", "feishu", true, 400, `{"code":29999}`, vendor.ClassRetry, "29999"},
		{"an unknown error", "custom", true, 400, `{"error":"teapot"}`, vendor.ClassRetry, "teapot"},
		{"final code under a server error", "feishu", true, 500, `{"code":20037}`, vendor.ClassRetry, "20037"},
		{"final code under a rate limit", "feishu", true, 429, `{"code":20037}`, vendor.ClassRetry, "20037"},
		{"invalid_grant under a server error", "custom", true, 503, `{"error":"invalid_grant"}`, vendor.ClassRetry, "invalid_grant"},
		{"server error", "feishu", true, 500, `{"code":20050}`, vendor.ClassRetry, "20050"},
		{"unavailable", "feishu", true, 503, `{"code":20072}`, vendor.ClassRetry, "20072"},
		{"gateway", "feishu", true, 502, `<html>`, vendor.ClassRetry, ""},
		{"redirect", "feishu", true, 302, ``, vendor.ClassRetry, ""},
		{"not found", "feishu", true, 404, `404 page not found`, vendor.ClassRetry, ""},
		{"unauthorized without words", "feishu", true, 401, ``, vendor.ClassRetry, ""},
		{"tokens under an error status", "feishu", true, 400, feishuTokens, vendor.ClassRetry, ""},
		{"lost answer", "feishu", true, 0, ``, vendor.ClassRetry, ""},
		{"bad secret", "feishu", true, 400, `{"code":20002,"error":"invalid_client"}`, vendor.ClassConfig, "20002"},
		{"no such app", "feishu", false, 400, `{"code":20048}`, vendor.ClassConfig, "20048"},
		{"app disabled", "feishu", false, 400, `{"code":20069}`, vendor.ClassApp, "20069"},
		{"scope not a subset", "feishu", true, 400, `{"code":20068,"error":"invalid_scope"}`, vendor.ClassScope, "20068"},
		{"bad code", "feishu", false, 400, `{"code":20003}`, vendor.ClassUser, "20003"},
		{"used code", "feishu", false, 400, `{"code":20065,"error":"invalid_grant"}`, vendor.ClassUser, "20065"},
		{"PKCE", "feishu", false, 400, `{"code":20049}`, vendor.ClassUser, "20049"},
		{"redirect mismatch", "feishu", false, 400, `{"code":20071}`, vendor.ClassConfig, "20071"},
		{"the code of a refresh, at exchange", "feishu", false, 400, `{"code":20037}`, vendor.ClassRetry, "20037"},
		{"code by words only", "custom", false, 400, `{"error":"invalid_grant"}`, vendor.ClassUser, "invalid_grant"},
		{"a sentence as a code", "custom", true, 400, `{"error":"please click http://evil.example"}`, vendor.ClassRetry, "unreadable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := setUp(t, c.vendor)
			f.status, f.body = c.status, c.body
			call := f.exchange
			if c.refresh {
				call = f.refresh
			}
			_, err := call()
			var failure *vendor.Failure
			if !errors.As(err, &failure) {
				t.Fatalf("no Failure in %v", err)
			}
			if failure.Class != c.class || failure.VendorCode != c.code || failure.Status != c.status {
				t.Errorf("got %+v", failure)
			}
			if failure.Explanation == "" || failure.ExplanationZH == "" || failure.Fix == "" || failure.FixZH == "" {
				t.Errorf("something is left unsaid: %+v", failure)
			}
			if s := failure.Explanation + failure.ExplanationZH + failure.Fix + failure.FixZH; strings.ContainsAny(s, "{}") {
				t.Errorf("a placeholder is left: %s", s)
			}
			kind := fault.Upstream
			if c.class == vendor.ClassRetry {
				kind = fault.Unavailable
			}
			if !fault.Is(err, kind) || !fault.HasCode(err, "vendor_"+string(c.class)) {
				t.Errorf("got %v", fault.As(err))
			}
		})
	}
}

// TestNoSecretAnywhere lets the vendor repeat every secret in its answer.
func TestNoSecretAnywhere(t *testing.T) {
	secrets := []string{clientSecret, code, verifier, refreshToken, accessToken, newRefresh, "Y2xpXzE6"}
	echo := "got " + strings.Join(secrets, " ") + " and Basic Y2xpXzE6YXBwLVNFQ1JFVC0xZjdi"
	quoted, _ := json.Marshal(echo)
	for _, id := range []string{"feishu", "custom", "custom-post", "coze", "dingtalk", "slack"} {
		for _, status := range []int{0, 200, 302, 400, 401, 429, 500} {
			for _, body := range []string{
				"", echo, string(quoted),
				fmt.Sprintf(`{"code":20037,"error":%s,"error_description":%s,"msg":%s}`, quoted, quoted, quoted),
				fmt.Sprintf(`{"code":%s}`, quoted),
				fmt.Sprintf(`{"error":"invalid_grant","error_description":%s}`, quoted),
				fmt.Sprintf(`{"access_token":[%s]}`, quoted),
				strings.Repeat(echo, 3000),
			} {
				f := setUp(t, id)
				f.status, f.body = status, body
				_, e1 := f.exchange()
				_, e2 := f.refresh()
				_, e3 := f.client.Identity(t.Context(), f.entry, secret.FromString(accessToken))
				logger := slog.New(slog.NewJSONHandler(f.log, nil))
				e4 := f.client.Revoke(t.Context(), f.entry, f.app, secret.FromString(accessToken), secret.FromString(refreshToken))
				if e4 == nil { // an answer without words is a confirmation (RFC 7009, section 2.2)
					e4 = errors.New("revoked")
				}
				for _, err := range []error{e1, e2, e3, e4} {
					if err == nil {
						t.Errorf("%s, status %d: %.80s was accepted", id, status, body)
					}
					logger.Error("seen", "err", err)
					fmt.Fprintf(f.log, "%+v", err)
					for ; err != nil; err = errors.Unwrap(err) {
						f.log.WriteString(err.Error())
					}
				}
				for _, s := range secrets {
					if strings.Contains(f.log.String(), s) {
						t.Fatalf("%s, status %d, answer %.80q: %s is in\n%.2000s", id, status, body, s, f.log)
					}
				}
			}
		}
	}
}

func TestVendorsWordsAreKeptForTheLog(t *testing.T) {
	f := setUp(t, "feishu")
	f.status, f.body = 400, `{"code":29999,"error_description":"the moon is\nin the wrong \"phase\""}`
	_, err := f.refresh()
	var failure *vendor.Failure
	if !errors.As(err, &failure) || failure.Detail != "the moon is?in the wrong ?phase?" || strings.Contains(err.Error(), "moon") || !strings.Contains(failure.Error(), "moon") {
		t.Errorf("got %v, %+v", err, failure)
	}
}

func TestUnreachable(t *testing.T) {
	f := setUp(t, "feishu")
	f.client.Outbound, _ = outbound.New(outbound.Config{})
	_, err := f.refresh()
	var failure *vendor.Failure
	if !errors.As(err, &failure) || failure.Class != vendor.ClassConfig || !fault.Is(err, fault.Invalid) || !fault.HasCode(err, "outbound_address_refused") {
		t.Errorf("got %v, %+v", err, failure)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = setUp(t, "feishu").client.Refresh(ctx, f.entry, f.app, secret.FromString(refreshToken), name.Scopes{})
	if !errors.As(err, &failure) || failure.Class != vendor.ClassRetry || !errors.Is(err, context.Canceled) || !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, %+v", err, failure)
	}
}

// TestWhetherARefreshTokenMayBeSpent has every way in which an answer can leave
// that open, and those that do not.
func TestWhetherARefreshTokenMayBeSpent(t *testing.T) {
	for what, c := range map[string]struct {
		vendor string
		status int // 0 = the connection is cut
		body   string
		want   bool
	}{
		"no answer":                  {"custom", 0, "", true},
		"server error":               {"custom", 500, `{"error":"invalid_grant"}`, true},
		"gateway's page":             {"custom", 502, "<html>", true},
		"success that is no JSON":    {"custom", 200, "<html>", true},
		"success, cut":               {"custom", 200, `{"access_token":"a`, true},
		"success without a token":    {"custom", 200, `{"access_token":""}`, true},
		"refused":                    {"custom", 400, `{"error":"invalid_grant"}`, false},
		"refused, unknown":           {"custom", 400, `{"error":"odd"}`, false},
		"too many requests":          {"custom", 429, "", false},
		"success that is an error":   {"feishu", 200, `{"code":20050,"error":"server_error"}`, false},
		"no answer, used many times": {"google", 0, "", false},
	} {
		t.Run(what, func(t *testing.T) {
			f := setUp(t, c.vendor)
			f.status, f.body = c.status, c.body
			_, err := f.refresh()
			var failure *vendor.Failure
			if !errors.As(err, &failure) || failure.MaybeSpent != c.want {
				t.Errorf("got %+v, %v", failure, err)
			}
		})
	}
	f := setUp(t, "custom")
	closed := httptest.NewServer(nil)
	closed.Close()
	f.entry.Endpoints.Token = closed.URL
	_, err := f.refresh()
	var failure *vendor.Failure
	if !errors.As(err, &failure) || failure.MaybeSpent || failure.Class != vendor.ClassRetry {
		t.Errorf("nobody listens: got %+v, %v", failure, err)
	}
}

func TestIdentity(t *testing.T) {
	f := setUp(t, "feishu")
	f.status, f.body = 200, `{"code":0,"msg":"success","data":{"open_id":"ou_1","union_id":"on_1","user_id":"u1","name":"张三\u0000"}}`
	got, err := f.client.Identity(t.Context(), f.entry, secret.FromString(accessToken))
	if err != nil || got != (vendor.Account{ID: "ou_1", Name: "张三"}) || f.asked.Header.Get("Authorization") != "Bearer "+accessToken || f.asked.Method != "GET" {
		t.Errorf("got %+v, %v", got, err)
	}
	for body, class := range map[string]vendor.Class{
		`{"code":99991663,"msg":"Invalid access token"}`: vendor.ClassRetry,
		`{"code":99991672}`:                vendor.ClassScope,
		`{"code":99991679}`:                vendor.ClassScope,
		`{"code":99991662}`:                vendor.ClassApp,
		`{"code":99991543}`:                vendor.ClassConfig,
		`{"code":21000}`:                   vendor.ClassUser,
		`{"code":0,"data":{}}`:             vendor.ClassRetry,
		`{"code":0,"data":{"open_id":""}}`: vendor.ClassRetry,
		`{"code":0,"data":"x"}`:            vendor.ClassRetry,
		`<html>`:                           vendor.ClassRetry,
	} {
		f.body = body
		_, err := f.client.Identity(t.Context(), f.entry, secret.FromString(accessToken))
		var failure *vendor.Failure
		if !errors.As(err, &failure) || failure.Class != class || failure.Step != vendor.StepAPI {
			t.Errorf("%s: %v, %+v", body, err, failure)
		}
	}
	long := setUp(t, "custom")
	long.status, long.body = 200, `{"sub":9007199254740993123}`
	if got, err := long.client.Identity(t.Context(), long.entry, secret.FromString(accessToken)); err != nil || got.ID != "9007199254740993123" {
		t.Errorf("a long number became %+v, %v", got, err)
	}
	if _, err := f.client.Identity(t.Context(), lookup(t, "custom"), secret.FromString(accessToken)); !fault.HasCode(err, "vendor_endpoint_missing") {
		t.Errorf("got %v", err)
	}
}
