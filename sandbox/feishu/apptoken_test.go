package feishu_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

func TestAppToken(t *testing.T) {
	r := newRig(t)
	const invalidParam, wrongSecret = `{"code":10003,"msg":"invalid param"}`, `{"code":10014,"msg":"app secret invalid"}`
	for _, test := range []struct {
		name, id, secret, want string
	}{
		{"no such app", "cli_none", appSecret, invalidParam},
		{"no id", "", appSecret, invalidParam},
		{"no secret", appID, "", invalidParam},
		{"another app's secret", appID, "other-secret", wrongSecret},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := r.token(feishu.AppTokenPath, with(map[string]string{}, "app_id", test.id, "app_secret", test.secret))
			if err != nil || got.Status != http.StatusBadRequest || got.Body != test.want {
				t.Errorf("%v, status %d, body %s\nwant 400, %s", err, got.Status, got.Body, test.want)
			}
		})
	}
	right := map[string]string{"app_id": appID, "app_secret": appSecret}
	got, err := r.token(feishu.AppTokenPath, right)
	issued := r.Issued()
	if err != nil || len(issued) != 1 {
		t.Fatalf("%v, %d issued: %s", err, len(issued), got.Body)
	}
	token := issued[0].Value
	want := fmt.Sprintf(`{"app_access_token":%q,"code":0,"expire":7200,"msg":"ok","tenant_access_token":%q}`, token, token)
	if got.Status != http.StatusOK || got.Body != want || !strings.HasPrefix(token, "t-") {
		t.Errorf("status %d, body %s\nwant %s", got.Status, got.Body, want)
	}
	// It is nobody's.
	if status, body := r.api(feishu.UserInfoPath, "Bearer "+token); status != http.StatusBadRequest || !strings.HasPrefix(body, `{"code":99991663,`) {
		t.Errorf("with an app's token: %d %s", status, body)
	}
	r.RefuseNext(feishu.OpAppToken, feishu.Refusal{Code: 99991400})
	if got, err := r.token(feishu.AppTokenPath, right); err != nil || got.Status != http.StatusTooManyRequests || got.Code != 99991400 {
		t.Errorf("refused on request: %v, %d %s", err, got.Status, got.Body)
	}
	r.DropNext(feishu.OpAppToken, 1)
	if _, err := r.token(feishu.AppTokenPath, right); err == nil {
		t.Error("the answer was not dropped")
	}
	if calls := r.Calls()[feishu.OpAppToken]; calls != 7 {
		t.Errorf("%d calls", calls)
	}
	if log := r.log.String(); strings.Contains(log, token) || strings.Contains(log, appSecret) {
		t.Error("a secret is in the log")
	}
}
