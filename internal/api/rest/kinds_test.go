package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/name"
)

const providers = "/workload-pools/default/providers"

// TestCredentialsThatNeedNobody has agents ask for what operators gave, with and
// without a user.
func TestCredentialsThatNeedNobody(t *testing.T) {
	w := newWorld(t)
	w.create(providers, `{"name":"weather","type":"api_key","apiKey":{"key":"the-weather-key","header":"X-Api-Key"}}`, nil)
	w.create(providers, `{"name":"model","type":"api_key","apiKey":{"key":"the-model-key"},"workloads":["doc"]}`, nil)
	w.create(providers, `{"name":"wiki","type":"basic","basic":{"username":"bot","password":"the wiki password"}}`, nil)
	alone := w.tokenFor(docAgent, name.User{})
	for _, token := range []string{w.agent, alone} {
		for provider, want := range map[string]string{
			"weather": `{"type":"api_key","apiKey":"the-weather-key","header":"X-Api-Key"}`,
			"model":   `{"type":"api_key","apiKey":"the-model-key","header":"Authorization","prefix":"Bearer "}`,
			"wiki":    `{"type":"basic","username":"bot","password":"the wiki password"}`,
		} {
			var got struct{ Credential json.RawMessage }
			w.expectFrom(token, 200, "POST", "/credentials", `{"provider":"`+provider+`"}`, &got)
			if string(got.Credential) != want {
				t.Errorf("%s: %s", provider, got.Credential)
			}
		}
	}
	if got := w.call("POST", "/credentials", alone, `{"provider":"feishu"}`); got.status != 403 || !strings.Contains(got.body, `"user_required"`) {
		t.Errorf("a federated one without a user: %d %s", got.status, got.body)
	}
	if got := w.call("POST", "/credentials", alone, `{"provider":"weather","scopes":["read"]}`); got.status != 400 || !strings.Contains(got.body, `"scopes_not_for_type"`) {
		t.Errorf("a key with scopes: %d %s", got.status, got.body)
	}
	audit := w.call("GET", "/audit?limit=1000", w.operator, "").body
	if !strings.Contains(audit, `"type":"api_key"`) || !strings.Contains(audit, `"scopes_not_for_type"`) {
		t.Errorf("the log does not tell of it: %s", audit)
	}
	for _, place := range []string{audit, w.log.String(), w.call("GET", providers, w.operator, "").body, w.call("GET", providers+"/model", w.operator, "").body} {
		for _, secret := range []string{"the-weather-key", "the-model-key", "the wiki password"} {
			if strings.Contains(place, secret) {
				t.Errorf("%q is shown: %s", secret, place)
			}
		}
	}
}

// TestWhoMayUseAProvider narrows one that is in use already.
func TestWhoMayUseAProvider(t *testing.T) {
	w := newWorld(t)
	w.create("/workload-pools/default/workloads", `{"name":"other"}`, nil)
	w.create(providers, `{"name":"weather","type":"api_key","apiKey":{"key":"the-weather-key"}}`, nil)
	other := w.tokenFor(name.Workload{Pool: "default", Name: "other"}, zhang)
	w.expectFrom(other, 200, "POST", "/credentials", `{"provider":"weather"}`, nil)
	w.expectFrom(other, 200, "POST", "/credentials", `{"provider":"feishu"}`, nil) // a link
	w.expect(200, "PUT", providers+"/weather", `{"type":"api_key","apiKey":{"header":"X-Api-Key"},"workloads":["doc"]}`, nil)
	w.expect(200, "PUT", providers+"/feishu", `{"vendor":"feishu","clientId":"cli_1","scopes":["`+readDoc+`"],"workloads":["doc"]}`, nil)
	for _, body := range []string{`{"provider":"weather"}`, `{"provider":"feishu"}`, `{"provider":"feishu","scopes":["` + readDoc + `"]}`} {
		if got := w.call("POST", "/credentials", other, body); got.status != 403 || !strings.Contains(got.body, `"workload_not_allowed"`) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
		w.expectFrom(w.agent, 200, "POST", "/credentials", body, nil)
	}
	if log := w.call("GET", "/audit?limit=1000", w.operator, "").body; strings.Count(log, `"reason":"workload_not_allowed"`) != 3 {
		t.Errorf("the refusals are not recorded: %s", log)
	}
}

// TestSettingsOfEachKind says what is wrong with settings, and where.
func TestSettingsOfEachKind(t *testing.T) {
	w := newWorld(t)
	const aws = `"cloud":"aws","accessKeyId":"AKIA12345678","secretAccessKey":"s","role":"arn:aws:iam::123456789012:role/agent"`
	for body, want := range map[string]string{
		`"type":"oauth3"`:                                                          `"type"`,
		`"type":"api_key","apiKey":{"key":""}`:                                     `"apiKey.key"`,
		`"type":"api_key","apiKey":{"key":"a b"}`:                                  `"apiKey.key"`,
		`"type":"api_key","apiKey":{"key":"k","header":"Content-Length"}`:          `"apiKey.header"`,
		`"type":"api_key","apiKey":{"key":"k","header":"X-Key:"}`:                  `"apiKey.header"`,
		`"type":"api_key","apiKey":{"key":"k","header":"X-Key","prefix":"a\r\nb"}`: `"apiKey.prefix"`,
		`"type":"api_key","apiKey":{"key":"k"},"vendor":"feishu"`:                  `"vendor"`,
		`"type":"api_key","apiKey":{"key":"k"},"clientId":"x"`:                     `"clientId"`,
		`"type":"api_key","apiKey":{"key":"k"},"flow":"M2M"`:                       `"flow"`,
		`"type":"api_key","basic":{"username":"u","password":"p"}`:                 `"basic"`,
		`"type":"basic","basic":{"username":"a:b","password":"p"}`:                 `"basic.username"`,
		`"type":"basic","basic":{"username":"u","password":"p\n"}`:                 `"basic.password"`,
		`"type":"basic","basic":{"username":"u"}`:                                  `"basic.password"`,
		`"type":"sts"`: `"sts"`,
		`"type":"sts","sts":{` + strings.Replace(aws, `"aws"`, `"gcp"`, 1) + `}`:                               `"sts.cloud"`,
		`"type":"sts","sts":{` + strings.Replace(aws, "arn:", "trn:", 1) + `}`:                                 `"sts.role"`,
		`"type":"sts","sts":{` + aws + `,"lifetimeSeconds":899}`:                                               `"sts.lifetime"`,
		`"type":"sts","sts":{` + aws + `,"region":"US East"}`:                                                  `"sts.region"`,
		`"type":"sts","sts":{` + aws + `,"endpoint":"http://sts.example"}`:                                     `"sts.endpoint"`,
		`"type":"sts","sts":{` + aws + `,"endpoint":"https://sts.example/path"}`:                               `"sts.endpoint"`,
		`"type":"sts","sts":{` + aws + `,"policy":{}}`:                                                         `"sts.policy"`,
		`"type":"sts","sts":{` + aws + `,"policies":{"doc":[]}}`:                                               `"sts.policies.doc"`,
		`"vendor":"feishu","clientId":"c","clientSecret":"s","flow":"DEVICE"`:                                  `"flow"`,
		`"vendor":"feishu","clientId":"c","clientSecret":"s","parameters":{"state":"x"}`:                       `"parameters"`,
		`"vendor":"feishu","clientId":"c","clientSecret":"s","workloads":["doc","doc"]`:                        `"workloads"`,
		`"vendor":"feishu","clientId":"c","clientSecret":"s","sts":{"cloud":"aws","accessKeyId":"","role":""}`: `"sts"`,
	} {
		got := w.call("POST", providers, w.operator, `{"name":"x",`+body+`}`)
		if got.status != 400 || !strings.Contains(got.body, `"source":`+want) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	w.create(providers, `{"name":"cloud","type":"sts","sts":{`+aws+`,"lifetimeSeconds":900,"policies":{"doc":{"Version":"2012-10-17"}}}}`, nil)
	if got := w.call("PUT", providers+"/cloud", w.operator, `{"type":"basic","basic":{"username":"u","password":"p"}}`); !strings.Contains(got.body, `"provider_type_fixed"`) {
		t.Errorf("the type was changed: %s", got.body)
	}
	if got := w.call("GET", providers+"/cloud", w.operator, ""); !strings.Contains(got.body, `"lifetimeSeconds":900,"policies":{"doc":{"Version":"2012-10-17"}}`) {
		t.Errorf("got %s", got.body)
	}
}
