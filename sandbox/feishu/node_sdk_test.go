package feishu_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

// The official Node SDK, unchanged, must find in the sandbox what it expects of
// Feishu: paths, wire shapes, and where errors are.
func TestOfficialNodeSDK(t *testing.T) {
	dir := filepath.Join("testdata", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@larksuiteoapi", "node-sdk", "package.json")); err != nil {
		const missing = "the SDK is not installed; run: npm ci --prefix sandbox/feishu/testdata/node"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	r := newRig(t)
	pkce := []string{"code_challenge", challenge(), "code_challenge_method", "S256"}
	input, err := json.Marshal(map[string]string{
		"base": r.url, "appId": appID, "appSecret": appSecret, "redirectUri": redirectURI, "codeVerifier": verifier,
		"code":              r.code(readAndOffline+" contact:user.email:readonly", pkce...),
		"codeForV2":         r.code("docx:document:readonly", pkce...),
		"tokenWithoutScope": r.mustToken(exchangeParams(r.authorize("lisi", "allow", link("")).Get("code"))).AccessToken,
		"ownDocument":       ownDocument,
		"foreignDocument":   feishu.DocumentOfLiSi,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "client.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	var got any
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout.String())
	}
	if diff := cmp.Diff(wantOfNodeSDK(t), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, op := range []feishu.Operation{feishu.OpTokenV3, feishu.OpTokenV2, feishu.OpUserInfo, feishu.OpRawContent} {
		if r.Calls()[op] == 0 {
			t.Errorf("the SDK never called %s", op)
		}
	}
}

func wantOfNodeSDK(t *testing.T) any {
	t.Helper()
	type object = map[string]any
	doc := feishu.DefaultDocuments()[0]
	tokens := func(scope string, offline bool) object {
		o := object{"tokenType": "Bearer", "expiresIn": 7200, "scope": scope, "hasAccess": true, "hasRefresh": offline}
		if offline {
			o["refreshTokenExpiresIn"] = 604800
		}
		return o
	}
	oauth := func(code int, err, description string) object {
		return object{"name": "AccessTokenError", "status": 400, "code": code, "error": err, "description": description}
	}
	api := func(status, code int, msg string) object {
		return object{"status": status, "code": code, "msg": msg, "logId": true}
	}
	const (
		all     = "contact:user.email:readonly docx:document:readonly offline_access"
		invalid = "Invalid access token for authorization. Please make a request with token attached."
	)
	want := object{
		"exchange": tokens(all, true), "refresh": tokens(all, true), "narrowed": tokens("docx:document:readonly", false),
		"rotated": true, "userCode": 0,
		"user": object{"name": "张三", "en_name": "Zhang San", "email": "zhangsan@example.com", "tenant_key": "sandbox",
			"open_id": feishu.OpenID(appID, "zhangsan"), "union_id": "on_02041ebd37e2094dd53e1450649275f3"},
		"document": doc.Title + "\n" + doc.Body + "\n",
		"v2":       object{"code": 0, "tokenType": "Bearer", "expiresIn": 7200, "scope": "contact:user.email:readonly docx:document:readonly"},
		"errors": object{
			"codeUsed":        oauth(20065, "invalid_grant", "The authorization code has been used. Please note that an authorization code can only be used once."),
			"codeUnknown":     oauth(20003, "invalid_grant", "The authorization code is not found. Please note that an authorization code can only be used once."),
			"refreshUsed":     oauth(20073, "invalid_grant", "The refresh token has been used. Please note that a refresh token can only be used once."),
			"refreshUnknown":  oauth(20026, "invalid_grant", "The refresh token passed is invalid. Please check the value."),
			"wrongSecret":     oauth(20002, "invalid_client", "The client secret is invalid."),
			"noOauthBaseUrl":  object{"name": "Error", "message": "oauthBaseUrl is not configured. When domain is a non-default value (neither open.feishu.cn nor open.larksuite.com), set oauthBaseUrl explicitly."},
			"noToken":         api(400, 99991661, "Missing access token for authorization. Please make a request with token attached."),
			"badToken":        api(400, 99991668, invalid),
			"noScope":         api(400, 99991679, "Unauthorized. You do not have permission to perform the requested operation on the resource. Please request user re-authorization and try again. required one of these privileges under the user identity: [docx:document, docx:document:readonly]"),
			"foreignDocument": api(403, 1770032, "forBidden"),
			"noDocument":      api(404, 1770002, "not found"),
		},
	}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var generic any
	if err := json.Unmarshal(raw, &generic); err != nil {
		t.Fatal(err)
	}
	return generic
}
