package feishu_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

func TestAPIErrors(t *testing.T) {
	r := newRig(t)
	good := "Bearer " + r.mustToken(exchangeParams(r.code("docx:document:readonly"))).AccessToken
	bare := "Bearer " + r.mustToken(exchangeParams(r.authorize("lisi", "allow", link("")).Get("code"))).AccessToken
	killed := "Bearer " + r.mustToken(exchangeParams(r.authorize("alice", "allow", link("docx:document:readonly")).Get("code"))).AccessToken
	r.Revoke("alice")

	const (
		missing = `{"code":99991661,"msg":"Missing access token for authorization. Please make a request with token attached.","error":{"log_id":"LOG"}}`
		invalid = `,"msg":"Invalid access token for authorization. Please make a request with token attached.","error":{"log_id":"LOG"}}`
	)
	tests := []struct {
		name, path, authorization string
		status                    int
		want                      string
	}{
		{"no token", rawContent(ownDocument), "", 400, missing},
		{"no token, user info", feishu.UserInfoPath, "", 400, missing},
		{"without Bearer", rawContent(ownDocument), strings.TrimPrefix(good, "Bearer "), 400, missing},
		{"Basic", rawContent(ownDocument), "Basic YTpi", 400, missing},
		{"empty token", rawContent(ownDocument), "Bearer ", 400, missing},
		{"unknown user token", rawContent(ownDocument), "Bearer eyJunknown", 400, `{"code":99991668` + invalid},
		{"unknown old user token", rawContent(ownDocument), "Bearer u-unknown", 400, `{"code":99991668` + invalid},
		{"unknown token", rawContent(ownDocument), "Bearer t-unknown", 400, `{"code":99991663` + invalid},
		{"revoked token", feishu.UserInfoPath, killed, 400, `{"code":99991668` + invalid},
		{"scope missing", rawContent(feishu.DocumentOfLiSi), bare, 400,
			`{"code":99991679,"msg":"Unauthorized. You do not have permission to perform the requested operation on the resource. ` +
				`Please request user re-authorization and try again. required one of these privileges under the user identity: [docx:document, docx:document:readonly]",` +
				`"error":{"log_id":"LOG","permission_violations":[{"subject":"docx:document"},{"subject":"docx:document:readonly"}]}}`},
		{"another user's document", rawContent(feishu.DocumentOfLiSi), good, 403, `{"code":1770032,"msg":"forBidden","error":{"log_id":"LOG"}}`},
		{"no document", rawContent("Nonesuch0000000000000000000"), good, 404, `{"code":1770002,"msg":"not found","error":{"log_id":"LOG"}}`},
		{"no such path", "/open-apis/docx/v1/documents", good, 404, "404 page not found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body := r.api(test.path, test.authorization)
			if status != test.status || body != test.want {
				t.Errorf("status %d, body %s\nwant %d, %s", status, body, test.status, test.want)
			}
		})
	}
	r.ExpireAccessTokens()
	want := `{"code":99991677,"msg":"Authentication token expired","error":{"log_id":"LOG"}}`
	if status, body := r.api(feishu.UserInfoPath, good); status != 400 || body != want {
		t.Errorf("expired: status %d, body %s", status, body)
	}
}

func TestWrongMethod(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{feishu.TokenPathV3, feishu.TokenPathV2} {
		if status, body := r.api(path, ""); status != 404 || body != "404 page not found" {
			t.Errorf("GET %s: status %d, body %s", path, status, body)
		}
	}
	if p := r.browser().post(feishu.UserInfoPath, nil); p.status != 404 {
		t.Errorf("POST %s: status %d", feishu.UserInfoPath, p.status)
	}
}

func TestUserInfo(t *testing.T) {
	r := newRig(t)
	info := func(scope string) map[string]string {
		t.Helper()
		token := r.mustToken(exchangeParams(r.code(scope))).AccessToken
		status, body := r.api(feishu.UserInfoPath, "Bearer "+token)
		var answer struct {
			Code int
			Msg  string
			Data map[string]string
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 || answer.Code != 0 || answer.Msg != "success" {
			t.Fatalf("%v, status %d, body %s", err, status, body)
		}
		return answer.Data
	}
	plain := info("")
	if plain["name"] != "张三" || plain["en_name"] != "Zhang San" || plain["open_id"] != feishu.OpenID(appID, "zhangsan") ||
		!strings.HasPrefix(plain["open_id"], "ou_") || !strings.HasPrefix(plain["union_id"], "on_") {
		t.Errorf("got %v", plain)
	}
	if _, told := plain["email"]; told {
		t.Error("e-mail address without its scope")
	}
	full := info("contact:user.email:readonly contact:user.employee_id:readonly")
	if full["email"] != "zhangsan@example.com" || full["user_id"] == "" || full["open_id"] != plain["open_id"] {
		t.Errorf("got %v", full)
	}
	if feishu.OpenID("cli_other", "zhangsan") == plain["open_id"] {
		t.Error("two apps see the same open_id")
	}
}

// Every default document can be read by its owner and by nobody else.
func TestDefaultDocuments(t *testing.T) {
	r := newRig(t)
	for _, u := range feishu.DefaultUsers() {
		code := r.authorize(u.Username, "allow", link("docx:document:readonly")).Get("code")
		token := "Bearer " + r.mustToken(exchangeParams(code)).AccessToken
		own := 0
		for _, d := range feishu.DefaultDocuments() {
			status, body := r.api(rawContent(d.ID), token)
			if d.Owner != u.Username {
				if status != 403 || strings.Contains(body, d.Title) {
					t.Errorf("%s reads %s of %s: status %d", u.Username, d.ID, d.Owner, status)
				}
				continue
			}
			own++
			var answer struct{ Data struct{ Content string } }
			if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
				t.Fatalf("%s: %v, status %d", d.ID, err, status)
			}
			if answer.Data.Content != d.Title+"\n"+d.Body+"\n" {
				t.Errorf("%s: content differs", d.ID)
			}
			if n := utf8.RuneCountInString(d.Body); n < 800 || strings.Count(d.Body, "\n") < 5 || !utf8.ValidString(d.Body) {
				t.Errorf("%s: %d characters, %d paragraphs", d.ID, n, strings.Count(d.Body, "\n")+1)
			}
		}
		if own < 2 {
			t.Errorf("%s has %d documents", u.Username, own)
		}
	}
}
