package vendor_test

import (
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func with(t *testing.T, file string) (vendor.Catalogue, error) {
	t.Helper()
	c, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	return c.With([]byte(file))
}

// TestAnEntryExtendsAnother: what an operator's file names is changed, all else
// stays, in the other entry too.
func TestAnEntryExtendsAnother(t *testing.T) {
	c, err := with(t, `
vendors:
  forge:
    extends: dingtalk
    name: {en: Forge, zh: 代码库}
    endpoints: {api: https://forge.example/api}
    authorize: {params: {team: a}}
    token: {names: {code: authCode}, lifetime: 1h}
    scopes: [{scope: one, what: {en: one, zh: 一}}]
    header: {X-Team: a}
  notion:
    extends: notion
    header: {Notion-Version: "2030-01-01"}
`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Lookup("forge")
	if err != nil {
		t.Fatal(err)
	}
	old := lookup(t, "dingtalk")
	if got.ID != "forge" || got.Name.EN != "Forge" || got.Endpoints.API != "https://forge.example/api" || got.Endpoints.Token != old.Endpoints.Token || len(got.Scopes) != 1 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(map[string]string{"prompt": "consent", "team": "a"}, got.Authorize.Params); diff != "" {
		t.Error(diff)
	}
	if got.Token.Names["code"] != "authCode" || got.Token.Names["client_id"] != "clientId" || got.Token.ContentType != "application/json" || got.Header["X-Team"] != "a" {
		t.Errorf("got %+v, %v", got.Token, got.Header)
	}
	again, err := c.Lookup("dingtalk")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(old, again, cmpopts.IgnoreUnexported(vendor.Entry{})); diff != "" {
		t.Errorf("the entry that was extended has changed:\n%s", diff)
	}
	if n, err := c.Lookup("notion"); err != nil || n.Header["Notion-Version"] != "2030-01-01" || n.Endpoints != lookup(t, "notion").Endpoints {
		t.Errorf("got %+v, %v", n, err)
	}
	// The words of the RFCs are those of the catalogue below.
	if f := got.ExplainAuthorize("", "access_denied", ""); f.Class != vendor.ClassUser {
		t.Errorf("got %+v", f)
	}
}

func TestWithNamesThePlace(t *testing.T) {
	for what, c := range map[string]struct{ file, place string }{
		"unknown key":         {"vendors:\n  a:\n    extends: slack\n    tokens: {}\n", "line 4"},
		"unknown base":        {"vendors:\n  a: {extends: slak}\n", "vendors.a.extends"},
		"a base of this file": {"vendors:\n  a: {extends: slack}\n  b: {extends: a}\n", "vendors.b.extends"},
		"wrong after all":     {"vendors:\n  a: {extends: slack, token: {auth: guess}}\n", "vendors.a.token.auth"},
		"endpoint":            {"vendors:\n  a: {extends: slack, endpoints: {token: nowhere}}\n", "vendors.a.endpoints.token"},
		"base in plain http":  {"vendors:\n  a: {extends: gitlab, endpoints: {base: 'http://x.example'}}\n", "vendors.a.endpoints.base"},
		"grants":              {"vendors:\n  a: {extends: slack, grants: three}\n", "vendors.a.grants"},
		"revocation by GET":   {"vendors:\n  a: {extends: slack, revocation: {method: GET}}\n", "vendors.a.revocation.method"},
		"revocation's auth":   {"vendors:\n  a: {extends: slack, revocation: {auth: maybe}}\n", "vendors.a.revocation.auth"},
		"which":               {"vendors:\n  a: {extends: slack, revocation: {which: none}}\n", "vendors.a.revocation.which"},
		"body":                {"vendors:\n  a: {extends: slack, introspection: {body: xml}}\n", "vendors.a.introspection.body"},
		"test":                {"vendors:\n  a: {extends: slack, test: {url: 'https://x.example'}}\n", "vendors.a.test.url"},
		"header's name":       {"vendors:\n  a: {extends: slack, header: {'a b': c}}\n", "vendors.a.header"},
		"header's value":      {"vendors:\n  a: {extends: slack, header: {a: \"b\\nc: d\"}}\n", "vendors.a.header"},
		"includes":            {"vendors:\n  a: {extends: slack, includes: {'a b': [c]}}\n", "vendors.a.includes"},
		"includes nothing":    {"vendors:\n  a: {extends: slack, includes: {a: []}}\n", "vendors.a.includes"},
		"cumulative, unsaid":  {"vendors:\n  a: {extends: notion, cumulative: true}\n", "vendors.a.cumulative"},
		"code parameter":      {"vendors:\n  a: {extends: slack, authorize: {codeParam: state}}\n", "vendors.a.authorize.codeParam"},
	} {
		if _, err := with(t, c.file); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error()+fault.As(err).Source, c.place) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBaseStandsBeforeTheOtherAddresses(t *testing.T) {
	okta := lookup(t, "okta")
	if _, err := okta.With(vendor.Endpoints{}); !fault.HasCode(err, "vendor_endpoint_missing") || fault.As(err).Source != "endpoints.base" {
		t.Errorf("got %v", err)
	}
	e, err := okta.With(vendor.Endpoints{Base: "https://x.example/oauth2/default/", Revocation: "https://y.example/revoke"})
	want := vendor.Endpoints{
		Base: "https://x.example/oauth2/default/", Authorization: "https://x.example/oauth2/default/v1/authorize", Token: "https://x.example/oauth2/default/v1/token",
		DeviceAuthorization: "https://x.example/oauth2/default/v1/device/authorize", UserInfo: "https://x.example/oauth2/default/v1/userinfo",
		Revocation: "https://y.example/revoke", Introspection: "https://x.example/oauth2/default/v1/introspect",
	}
	if diff := cmp.Diff(want, e.Endpoints); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, base := range []string{"http://x.example", "x.example", "https://x.example?a=b", "{base}"} {
		if _, err := okta.With(vendor.Endpoints{Base: base}); !fault.HasCode(err, "vendor_endpoint_invalid") {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// TestExpiryAsAMoment: some vendors tell when a token expires in place of in how
// many seconds.
func TestExpiryAsAMoment(t *testing.T) {
	f := setUp(t, "coze")
	f.status = 200
	for told, known := range map[string]bool{"1777640400": true, `"1777640400"`: true, "7200": false, "99999999999999": false, `"soon"`: false, "null": false} {
		f.body = `{"access_token":"a","expires_in":` + told + `}`
		got, err := f.refresh()
		if err != nil || got.ExpiresAt.IsZero() == known || (known && got.ExpiresAt.Unix() != 1777640400) {
			t.Errorf("%s: %v, %v", told, got.ExpiresAt, err)
		}
	}
}

// TestATokenSetWithinAnAnswer: Slack answers a code with the tokens of the bot and
// of the user; an entry wants one set, and never takes the other for it.
func TestATokenSetWithinAnAnswer(t *testing.T) {
	const both = `{"ok":true,"access_token":"xoxb-1","refresh_token":"xoxe-b","scope":"chat:write","token_type":"bot",
		"authed_user":{"id":"U1","access_token":"xoxp-1","refresh_token":"xoxe-p","scope":"channels:read,users:read","token_type":"user","expires_in":43200}}`
	for id, want := range map[string][3]string{"slack": {"xoxb-1", "xoxe-b", "chat:write"}, "slack-user": {"xoxp-1", "xoxe-p", "channels:read users:read"}} {
		f := setUp(t, id)
		f.status, f.body = 200, both
		got, err := f.exchange()
		if err != nil || got.Access.RevealString() != want[0] || got.Refresh.RevealString() != want[1] || strings.Join(got.Scopes.List(), " ") != want[2] {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	f := setUp(t, "slack-user")
	f.status, f.body = 200, `{"ok":true,"access_token":"xoxb-1","token_type":"bot"}`
	if got, err := f.exchange(); err == nil {
		t.Errorf("the bot's token was taken for the user's: %+v", got)
	}
}
