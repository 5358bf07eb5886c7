package federation_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
	"github.com/deputy-id/deputy/internal/visitor"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

const base = "/api/v1/user-pools"

// world is a Deputy whose pool staff has a small Feishu as identity provider.
type world struct {
	*servertest.Replica
	t     *testing.T
	token string
	seen  map[string]any // the provider as it was created
}

func newWorld(t *testing.T, appSecret string) *world {
	t.Helper()
	upstream := httptest.NewUnstartedServer(nil)
	w := &world{t: t, Replica: servertest.Start(t, server.Config{
		Data: servertest.DataDir(t), Version: "test", Logger: slog.New(slog.DiscardHandler), AllowOutbound: []string{upstream.Listener.Addr().String()},
	})}
	small, err := feishu.New(feishu.Config{
		Users: feishu.DefaultUsers(),
		Apps: []feishu.App{{
			ID: "cli_login", Secret: appSecret, RedirectURIs: []string{w.URL + "/userpool/staff/login/feishu/callback"},
			Scopes: []string{"contact:user.base:readonly", "contact:contact.base:readonly"},
		}},
	})
	w.must(err)
	upstream.Config.Handler = small.Handler()
	upstream.Start()
	t.Cleanup(upstream.Close)
	token, err := os.ReadFile(filepath.Join(w.Dir, "operator.token"))
	w.must(err)
	w.token = strings.TrimSpace(string(token))
	w.api(http.MethodPost, base, map[string]any{"name": "staff"}, http.StatusCreated)
	w.seen = w.api(http.MethodPost, base+"/staff/identity-providers", map[string]any{
		"name": "feishu", "type": "feishu", "clientId": "cli_login", "clientSecret": "right", "createUsers": true,
		"endpoints": map[string]string{
			"authorization": upstream.URL + feishu.AuthorizePath, "token": upstream.URL + "/oauth/v3/token", "userInfo": upstream.URL + feishu.UserInfoPath,
			"api": upstream.URL + "/open-apis",
		},
	}, http.StatusCreated)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) api(method, path string, in any, want int) map[string]any {
	w.t.Helper()
	body, err := json.Marshal(in)
	w.must(err)
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, bytes.NewReader(body))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != want {
		w.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, got)
	}
	var out map[string]any
	if len(got) > 0 {
		w.must(json.Unmarshal(got, &out))
	}
	return out
}

func (w *world) browser() *visitor.Visitor {
	w.t.Helper()
	v, err := visitor.New()
	w.must(err)
	return v
}

// callback logs a person in at Feishu and returns the address to which Feishu
// sends the browser back, which was not opened.
func (w *world) callback(v *visitor.Visitor, user, decision string) string {
	w.t.Helper()
	stop := func(next *url.URL) bool { return !strings.HasSuffix(next.Path, "/callback") }
	page, err := v.Get(w.t.Context(), w.URL+"/userpool/staff/login/feishu/begin", stop)
	w.must(err)
	if form, err := page.Find("username", "password"); err == nil { // the first time
		page, err = v.Submit(w.t.Context(), page, form, url.Values{"username": {user}, "password": {"sandbox"}}, "", "", stop)
		w.must(err)
	}
	if form, err := page.Find("decision"); err == nil {
		page, err = v.Submit(w.t.Context(), page, form, nil, "decision", decision, stop)
		w.must(err)
	}
	hop, ok := page.Toward(w.URL + "/userpool/staff/login/feishu/callback")
	if !ok {
		w.t.Fatalf("Feishu did not send the browser back: %d %s", page.Status, page.URL)
	}
	return hop.Location.String()
}

func (w *world) open(v *visitor.Visitor, address string, status int, says string) {
	w.t.Helper()
	page, err := v.Get(w.t.Context(), address, nil)
	w.must(err)
	if page.Status != status || !strings.Contains(page.Body, says) {
		w.t.Errorf("%s: %d, want %d and %q:\n%s", page.URL.Path, page.Status, status, says, page.Body)
	}
}

func (w *world) users() []any {
	w.t.Helper()
	items, _ := w.api(http.MethodGet, base+"/staff/users", nil, http.StatusOK)["items"].([]any)
	return items
}

func TestFeishu(t *testing.T) {
	w := newWorld(t, "right")
	if w.seen["callbackUrl"] != w.URL+"/userpool/staff/login/feishu/callback" || w.seen["clientSecret"] != nil {
		t.Errorf("shown as %v", w.seen)
	}
	for _, c := range w.seen["checks"].([]any) {
		if c.(map[string]any)["ok"] != true {
			t.Errorf("the settings are right, and the test says %v", c)
		}
	}
	v := w.browser()
	w.open(v, w.URL+"/userpool/staff/login", http.StatusOK, "使用飞书登录")
	back := w.callback(v, "zhangsan", "allow")
	w.open(w.browser(), back, http.StatusGone, "idp_login_gone") // in somebody else's browser
	w.open(v, strings.Replace(back, "state=", "state=x", 1), http.StatusGone, "idp_login_gone")
	w.open(v, back, http.StatusOK, "张三")
	w.open(v, back, http.StatusGone, "idp_login_gone") // replayed
	w.open(v, w.callback(v, "zhangsan", "allow"), http.StatusOK, "张三")
	if n := len(w.users()); n != 1 {
		t.Errorf("one account, %d users", n)
	}
	w.open(w.browser(), w.URL+"/userpool/staff/login/other/begin", http.StatusNotFound, "idp_not_found")
}

func TestACancelledLogin(t *testing.T) {
	w := newWorld(t, "right")
	v := w.browser()
	w.open(v, w.callback(v, "lisi", "deny"), http.StatusForbidden, "idp_denied")
	if n := len(w.users()); n != 0 {
		t.Errorf("nobody logged in, %d users", n)
	}
}

func TestAWrongSecretIsExplained(t *testing.T) {
	w := newWorld(t, "another")
	told := func(seen map[string]any, says, fix string) {
		t.Helper()
		checks := seen["checks"].([]any)
		last := checks[len(checks)-1].(map[string]any)
		if message, _ := last["message"].(string); last["name"] != "client" || last["ok"] != false || !strings.Contains(message, says) || !strings.Contains(last["fix"].(string), fix) {
			t.Errorf("the test says %v, want %q", last, says)
		}
	}
	told(w.seen, "Feishu knows the App ID, but the App Secret is wrong", "App Secret of this very app") // at once, when it is saved
	change := func(clientID string) map[string]any {
		return w.api(http.MethodPut, base+"/staff/identity-providers/feishu", map[string]any{
			"type": "feishu", "clientId": clientID, "createUsers": true, "endpoints": w.seen["endpoints"],
		}, http.StatusOK)
	}
	told(change("cli_typo"), "Feishu does not know this App ID", "begins with cli_")
	change("cli_login")
	v := w.browser()
	w.open(v, w.callback(v, "lisi", "allow"), http.StatusBadGateway, "idp_config")
}
