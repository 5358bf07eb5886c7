package vendor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/vendor"
)

// provable is setUp for an app that is at the third party's own API.
func provable(t *testing.T, id string) *fixture {
	t.Helper()
	f := setUp(t, id)
	base := strings.TrimSuffix(f.entry.Endpoints.Token, "/token")
	e, err := lookup(t, id).With(vendor.Endpoints{Token: base + "/token", API: base + "/open-apis/"})
	if err != nil {
		t.Fatal(err)
	}
	f.entry = e
	return f
}

func TestFeishuProof(t *testing.T) {
	for _, id := range []string{"feishu", "feishu-v2", "lark"} {
		f := provable(t, id)
		if !f.entry.Proves() {
			t.Fatalf("%s proves nothing", id)
		}
		f.status, f.body = 200, `{"app_access_token":"t-1","code":0,"expire":7140,"msg":"ok","tenant_access_token":"t-1"}`
		if err := f.client.Probe(context.Background(), f.entry, f.app); err != nil {
			t.Errorf("%s, right: %v", id, err)
		}
		var sent map[string]string
		if err := json.Unmarshal(f.sent, &sent); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"app_id": "cli_1", "app_secret": clientSecret}, sent); diff != "" || f.asked.URL.Path != "/open-apis/auth/v3/app_access_token/internal" {
			t.Errorf("%s: %s %s", id, f.asked.URL, diff)
		}
		for _, test := range []struct {
			name, body string
			status     int
			class      vendor.Class
			says       string
		}{
			{"no such app", `{"code":10003,"msg":"invalid param"}`, 400, vendor.ClassConfig, "does not know this App ID"},
			{"wrong secret", `{"code":10014,"msg":"app secret invalid"}`, 400, vendor.ClassConfig, "the App Secret is wrong"},
			{"wrong secret, with success as status", `{"code":10014,"msg":"app secret invalid"}`, 200, vendor.ClassConfig, "the App Secret is wrong"},
			{"asked too often", `{"code":99991400,"msg":"request trigger frequency limit"}`, 429, vendor.ClassRetry, "asked too often"},
			{"another page", `<html>`, 200, vendor.ClassRetry, "no clear answer"},
			{"no token", `{"code":0,"msg":"ok"}`, 200, vendor.ClassRetry, "no clear answer"},
			{"not there", `404 page not found`, 404, vendor.ClassRetry, "no clear answer"},
			{"out of order", `{"code":10014}`, 500, vendor.ClassRetry, "no clear answer"},
			{"it repeats the request", `{"code":10014,"msg":"` + clientSecret + `"}`, 400, vendor.ClassConfig, "the App Secret is wrong"},
		} {
			f.status, f.body = test.status, test.body
			err := f.client.Probe(context.Background(), f.entry, f.app)
			var why *vendor.Failure
			if !errors.As(err, &why) || why.Step != vendor.StepProof || why.Class != test.class || !strings.Contains(why.Explanation, test.says) {
				t.Errorf("%s, %s: %v", id, test.name, err)
			}
			if err != nil && strings.Contains(why.Error()+err.Error()+f.log.String(), clientSecret) {
				t.Errorf("%s, %s: the secret is told", id, test.name)
			}
		}
	}
}

// TestNoProofElsewhere: an app at another address is not of the vendor, whose own
// API must not see its secret.
func TestNoProofElsewhere(t *testing.T) {
	f := setUp(t, "feishu")
	f.status, f.body = 400, `{"code":20003,"error":"invalid_grant"}`
	if err := f.client.Probe(context.Background(), f.entry, f.app); err != nil || f.entry.Proves() || f.asked.URL.Path != "/token" {
		t.Errorf("%v, asked %s", err, f.asked.URL)
	}
	if !lookup(t, "feishu").Proves() || !lookup(t, "github").Proves() {
		t.Error("there the proof is possible")
	}
}
