package vendor_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/google/go-cmp/cmp"
)

func TestBuiltinCatalogue(t *testing.T) {
	c, err := vendor.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(`asana atlassian auth0 coze custom custom-post dex dingtalk dropbox entra feishu feishu-v2 figma gitea github github-app gitlab
		google hubspot lark linear linkedin notion okta reddit salesforce slack slack-user spotify twitch x zoom`) {
		if !slices.Contains(c.IDs(), id) {
			t.Errorf("%s is missing", id)
		}
	}
	for id, want := range map[string]vendor.Endpoints{
		"feishu":    {Authorization: "https://accounts.feishu.cn/open-apis/authen/v1/authorize", Token: "https://accounts.feishu.cn/oauth/v3/token", UserInfo: "https://open.feishu.cn/open-apis/authen/v1/user_info", API: "https://open.feishu.cn/open-apis"},
		"feishu-v2": {Authorization: "https://accounts.feishu.cn/open-apis/authen/v1/authorize", Token: "https://open.feishu.cn/open-apis/authen/v2/oauth/token", UserInfo: "https://open.feishu.cn/open-apis/authen/v1/user_info", API: "https://open.feishu.cn/open-apis"},
		"lark":      {Authorization: "https://accounts.larksuite.com/open-apis/authen/v1/authorize", Token: "https://accounts.larksuite.com/oauth/v3/token", UserInfo: "https://open.larksuite.com/open-apis/authen/v1/user_info", API: "https://open.larksuite.com/open-apis"},
		"custom":    {},
	} {
		if diff := cmp.Diff(want, lookup(t, id).Endpoints); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
	// What the documentation of Feishu names and what users run into is explained.
	feishu := lookup(t, "feishu")
	for _, code := range []string{"20027", "20029", "20043", "access_denied"} {
		if f := feishu.ExplainAuthorize("https://id.example/cb", code, ""); f.Class == vendor.ClassRetry || f.VendorCode != code {
			t.Errorf("%s: %+v", code, f)
		}
	}
	_, err = c.Lookup("fieshu")
	if !fault.HasCode(err, "vendor_unknown") || !strings.Contains(err.Error(), "did you mean feishu") {
		t.Errorf("got %v", err)
	}
	if _, err = c.Lookup("no such thing"); !strings.Contains(err.Error(), "custom") {
		t.Errorf("got %v", err)
	}
}

func app() vendor.App {
	return vendor.App{ClientID: "cli_1", ClientSecret: secret.FromString(clientSecret), RedirectURI: "https://deputy.example/api/v1/oauth2callback"}
}

func scopes(t *testing.T, s string) name.Scopes {
	t.Helper()
	set, err := name.ParseScopes(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestAuthorizeURL(t *testing.T) {
	got, err := lookup(t, "feishu").AuthorizeURL(app(), vendor.Ask{Scopes: scopes(t, "offline_access docx:document:readonly"), State: "st+ate", CodeChallenge: "challenge"})
	want := "https://accounts.feishu.cn/open-apis/authen/v1/authorize?client_id=cli_1&code_challenge=challenge&code_challenge_method=S256" +
		"&redirect_uri=https%3A%2F%2Fdeputy.example%2Fapi%2Fv1%2Foauth2callback&response_type=code&scope=docx%3Adocument%3Areadonly%20offline_access&state=st%2Bate"
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	e, err := lookup(t, "custom").With(vendor.Endpoints{Authorization: "https://x.example/authorize?tenant=a&state=evil", Token: "https://x.example/token"})
	if err != nil {
		t.Fatal(err)
	}
	got, err = e.AuthorizeURL(app(), vendor.Ask{State: "state", CodeChallenge: "challenge"})
	u, parseErr := url.Parse(got)
	if err != nil || parseErr != nil || u.Query().Get("tenant") != "a" || !slices.Equal(u.Query()["state"], []string{"state"}) || u.Query().Has("scope") {
		t.Errorf("got %s, %v", got, err)
	}
	if strings.Contains(got, clientSecret) {
		t.Error("the client secret is in the address")
	}
	if _, err := lookup(t, "custom").AuthorizeURL(app(), vendor.Ask{State: "state", CodeChallenge: "challenge"}); !fault.HasCode(err, "vendor_endpoint_missing") {
		t.Errorf("got %v", err)
	}
	for _, c := range [][2]string{{"", "challenge"}, {"state", ""}} {
		if _, err := e.AuthorizeURL(app(), vendor.Ask{State: c[0], CodeChallenge: c[1]}); !fault.Is(err, fault.Internal) {
			t.Errorf("state %q, challenge %q: %v", c[0], c[1], err)
		}
	}
}

func TestWithChecksEndpoints(t *testing.T) {
	feishu := lookup(t, "feishu")
	e, err := feishu.With(vendor.Endpoints{Token: "http://127.0.0.1:8083/oauth/v3/token"})
	if err != nil || e.Endpoints.Token != "http://127.0.0.1:8083/oauth/v3/token" || e.Endpoints.Authorization != feishu.Endpoints.Authorization {
		t.Errorf("got %+v, %v", e.Endpoints, err)
	}
	if feishu.Endpoints.Token != "https://accounts.feishu.cn/oauth/v3/token" {
		t.Error("With changed the entry it was called on")
	}
	for name, p := range map[string]vendor.Endpoints{
		"relative":         {Token: "/token"},
		"another scheme":   {Token: "ftp://x.example/token"},
		"no host":          {API: "https://"},
		"user information": {UserInfo: "https://u:p@x.example/"},
		"a fragment":       {Authorization: "https://x.example/#"},
		"plain http":       {Authorization: "http://x.example/authorize"},
		"malformed":        {Token: "https://x.example/%zz"},
		"too long":         {Token: "https://x.example/" + strings.Repeat("x", 2000)},
	} {
		if _, err := feishu.With(p); !fault.HasCode(err, "vendor_endpoint_invalid") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := lookup(t, "custom").With(vendor.Endpoints{Authorization: "https://x.example/authorize"}); !fault.HasCode(err, "vendor_endpoint_missing") {
		t.Errorf("got %v", err)
	}
}

func TestCheckScopes(t *testing.T) {
	feishu := lookup(t, "feishu")
	if err := feishu.CheckScopes(scopes(t, "docx:document:readonly offline_access new:scope")); err != nil {
		t.Error(err)
	}
	err := feishu.CheckScopes(scopes(t, "openid profile docx:document:readonly"))
	if !fault.HasCode(err, "scope_refused") || !strings.Contains(err.Error(), "openid, profile") || !strings.Contains(err.Error(), "20043") {
		t.Errorf("got %v", err)
	}
	if err := lookup(t, "custom").CheckScopes(scopes(t, "openid profile")); err != nil {
		t.Error(err)
	}
}

func TestExplainAuthorizeTrustsNobody(t *testing.T) {
	f := lookup(t, "feishu").ExplainAuthorize("https://id.example/cb", "<script>alert(1)</script>", "call 555-0100\r\nto \"win\"")
	if f.VendorCode != "unreadable" || f.Class != vendor.ClassRetry || strings.ContainsAny(f.Detail, "\r\n\"") || strings.Contains(f.Explanation, "555") {
		t.Errorf("got %+v", f)
	}
	if f := lookup(t, "feishu").ExplainAuthorize("https://id.example/cb", "", strings.Repeat("x", 1<<20)); f.Explanation == "" || len(f.Detail) > 400 {
		t.Errorf("got %d bytes of detail", len(f.Detail))
	}
}

func TestConsoleHelpNamesTheCallback(t *testing.T) {
	w := lookup(t, "lark").ConsoleHelp("https://deputy.example/cb")
	if !strings.Contains(w.EN, "https://deputy.example/cb") || !strings.Contains(w.ZH, "https://deputy.example/cb") {
		t.Errorf("got %+v", w)
	}
}

const minimal = `
vendors:
  x:
    name: {en: X, zh: X}
    token: {auth: post, body: form, accessToken: t.access, refreshToken: t.refresh, sendScopes: true, lifetime: 8h}
    rotation: none
    authorize: {pkce: none, scopeSeparator: ",", params: {owner: user}}
    console: {en: c, zh: c}
    errors: {ok: ok, error: [error]}
`

// TestTheDialectIsData: what no built-in entry needs yet works from an entry.
func TestTheDialectIsData(t *testing.T) {
	c, err := vendor.Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	f := setUp(t, "custom")
	e, err := c.Lookup("x")
	if err != nil {
		t.Fatal(err)
	}
	if f.entry, err = e.With(f.entry.Endpoints); err != nil {
		t.Fatal(err)
	}
	u, err := f.entry.AuthorizeURL(f.app, vendor.Ask{Scopes: scopes(t, "b a"), State: "s"})
	if err != nil || !strings.Contains(u, "owner=user") || !strings.Contains(u, "scope=a%2Cb") || strings.Contains(u, "code_challenge") {
		t.Errorf("got %s, %v", u, err)
	}
	f.status, f.body = 200, `{"ok":true,"t":{"access":"A","refresh":"R"}}`
	got, err := f.client.Refresh(t.Context(), f.entry, f.app, secret.FromString(refreshToken), scopes(t, "b a"))
	if err != nil || got.Access.RevealString() != "A" || got.Refresh.RevealString() != "R" || !got.ExpiresAt.Equal(epoch.Add(8*time.Hour)) {
		t.Errorf("got %+v, %v", got, err)
	}
	if !strings.Contains(string(f.sent), "scope=a%2Cb") {
		t.Errorf("sent %s", f.sent)
	}
	f.body = `{"ok":false,"error":"invalid_grant","t":{"access":"A"}}`
	if _, err := f.refresh(); !fault.HasCode(err, "vendor_retry") {
		t.Errorf("a catalogue without RFC words: %v", err)
	}
	f.body = `{"t":{"access":"A"}}`
	if _, err := f.refresh(); !fault.HasCode(err, "vendor_retry") {
		t.Errorf("ok is missing: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	if _, err := vendor.Parse([]byte(minimal)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][2]string{
		"unknown key":       {"rotation: none", "rotation: none\n    rotatoin: x"},
		"key twice":         {"rotation: none", "rotation: none\n    rotation: none"},
		"rotation":          {"rotation: none", "rotation: sometimes"},
		"auth":              {"auth: post", "auth: guess"},
		"body":              {"body: form", "body: xml"},
		"no access token":   {"accessToken: t.access", "accessToken: ''"},
		"path":              {"t.access", "t..access"},
		"negative lifetime": {"8h", "-8h"},
		"pkce":              {"pkce: none", "pkce: plain"},
		"name":              {"name: {en: X, zh: X}", "name: {en: X}"},
		"console":           {"console: {en: c, zh: c}", "console: {en: c}"},
		"id":                {"  x:", "  'a b':"},
		"type":              {"rotation: none", "rotation: [none]"},
		"second document":   {"rotation: none", "rotation: none\n---\na: b"},
		"endpoint":          {"rotation: none", "rotation: none\n    endpoints: {token: nowhere}"},
		"class":             {"rotation: none", "rotation: none\n    codes: [{codes: [a], class: maybe, what: {en: a, zh: a}, fix: {en: a, zh: a}}]"},
		"words":             {"rotation: none", "rotation: none\n    codes: [{codes: [a], class: retry, what: {en: a}, fix: {en: a, zh: a}}]"},
		"step":              {"rotation: none", "rotation: none\n    codes: [{codes: [a], at: [lunch], class: retry, what: {en: a, zh: a}, fix: {en: a, zh: a}}]"},
		"two meanings":      {"rotation: none", "rotation: none\n    codes: [{codes: [a, a], class: retry, what: {en: a, zh: a}, fix: {en: a, zh: a}}]"},
		"scope":             {"rotation: none", "rotation: none\n    scopes: [{scope: 'a b', what: {en: a, zh: a}}]"},
		"refused scope":     {"rotation: none", "rotation: none\n    refusedScopes: [{scope: a}]"},
	} {
		doc := strings.Replace(minimal, c[0], c[1], 1)
		if doc == minimal {
			t.Fatalf("%s: nothing was changed", what)
		}
		if _, err := vendor.Parse([]byte(doc)); err == nil || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := vendor.Parse(make([]byte, 2<<20)); !fault.HasCode(err, "vendor_catalogue_invalid") {
		t.Errorf("got %v", err)
	}
}
