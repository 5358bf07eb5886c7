package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

var (
	zhang = deputy.User{Issuer: "http://deputy.test/userpool/staff", Subject: "u_zhangsan"}
	li    = deputy.User{Issuer: "http://deputy.test/userpool/staff", Subject: "u_lisi"}
)

// world is a Deputy, a Feishu and the agent, on loopback.
type world struct {
	t      *testing.T
	deputy *deputytest.Server
	agent  string
	mu     sync.Mutex
	reads  []string                         // ids that Feishu was asked for
	refuse func(token string) (int, string) // status and body instead of the document
}

func newWorld(t *testing.T, model modelSettings) *world {
	t.Helper()
	w := &world{t: t, deputy: deputytest.Start(t)}
	docs := map[string]string{"ZhDoc2026": load(t, "zh.txt"), "EnDoc2026": load(t, "en.txt"), "Empty2026": ""}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /open-apis/docx/v1/documents/{id}/raw_content", func(out http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		w.mu.Lock()
		w.reads = append(w.reads, r.PathValue("id"))
		refuse := w.refuse
		w.mu.Unlock()
		text, ok := docs[r.PathValue("id")]
		status, body := http.StatusOK, ""
		if refuse != nil {
			status, body = refuse(token)
		}
		switch {
		case body != "":
		case !ok:
			status, body = 404, `{"code":1770002,"msg":"not found","error":{"log_id":"1"}}`
		default:
			b, _ := json.Marshal(map[string]any{"code": 0, "msg": "success", "data": map[string]string{"content": text}})
			body = string(b)
		}
		out.WriteHeader(status)
		_, _ = io.WriteString(out, body)
	})
	feishu := httptest.NewServer(mux)
	t.Cleanup(feishu.Close)
	a := newAgent(settings{provider: "feishu_oauth", feishu: feishu.URL, model: model}, slog.New(slog.DiscardHandler))
	a.Deputy = w.deputy.Client()
	h, err := a.Handler()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	w.agent = srv.URL
	return w
}

// say sends a prompt as u, agrees to whatever authorization is asked for, and
// returns the final text and how often the user was asked.
func (w *world) say(u deputy.User, prompt string) (text string, asked int) {
	return w.sayAnd(u, prompt, func(id string) { w.deputy.Agree(id) })
}

func (w *world) sayAnd(u deputy.User, prompt string, decide func(id string)) (text string, asked int) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]string{"prompt": prompt})
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", w.agent+"/invoke", strings.NewReader(string(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("WorkloadAccessToken", w.deputy.Mint(u).Reveal())
	req.Header.Set("session_id", "conversation-1")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Error   string
			Partial *bool
			Content struct {
				Parts []struct {
					Text         string
					FunctionCall *struct {
						Name string
						Args struct {
							AuthConfig struct{ ExchangedAuthCredential struct{ ResourceRef string } }
						}
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Error != "" {
			return "ERROR " + e.Error, asked
		}
		part := e.Content.Parts[0]
		if part.FunctionCall != nil && part.FunctionCall.Name == "adk_request_credential" {
			asked++
			decide(part.FunctionCall.Args.AuthConfig.ExchangedAuthCredential.ResourceRef)
		}
		if e.Partial != nil && !*e.Partial {
			text = part.Text
		}
	}
	return text, asked
}

const (
	zhLink = "https://bytedance.larkoffice.com/docx/ZhDoc2026"
	enLink = "https://acme.feishu.cn/docx/EnDoc2026?from=from_copylink"
)

// The tutorial's conversation, in its order and its words.
func TestTutorial(t *testing.T) {
	w := newWorld(t, modelSettings{})
	steps := []struct {
		user   deputy.User
		prompt string
		asked  int
		want   string
	}{
		{zhang, "你好", 0, "清理我的身份凭据"},
		{zhang, "请为我总结这篇文档的内容：" + zhLink, 1, "《星河项目三季度复盘》的内容摘要"},
		{zhang, "为我总结文档内容：" + enLink, 0, "《Migration of the billing service》的内容摘要"},
		{zhang, "Summarize " + enLink, 0, "Key points:"},
		{li, "请为我总结这篇文档的内容：" + zhLink, 1, "星河项目"},
		{zhang, "清理我的身份凭据", 0, "已清理"},
		{zhang, "为我总结文档内容：" + zhLink, 1, "星河项目"},
		{li, "为我总结文档内容：" + zhLink, 0, "星河项目"},
		{zhang, "重新授权飞书", 0, "重新授权"},
		{zhang, "再总结一遍那篇文档", 1, "星河项目"},
		{zhang, "clear my credentials", 0, "cleared"},
		{zhang, "please re-authorize Feishu and read " + enLink, 1, "Summary of"},
		{zhang, "thanks", 0, "You are welcome"},
		{zhang, zhLink, 0, "要点："}, // no words: in the document's language
		{zhang, "show me the full text of " + enLink, 0, "Everybody enjoyed the lunch"},
		{zhang, "总结一下 " + zhLink + " 和 " + enLink, 0, "———"},
		{zhang, "https://acme.feishu.cn/docx/Empty2026", 0, "empty"},
		{zhang, "summarize it", 0, "Please send me the document's link"},
		{zhang, "天气怎么样", 0, "没有听懂"},
	}
	for _, s := range steps {
		text, asked := w.say(s.user, s.prompt)
		if asked != s.asked || !strings.Contains(text, s.want) {
			t.Errorf("%q by %s: asked %d times (want %d); answer %q lacks %q", s.prompt, s.user.Subject, asked, s.asked, text, s.want)
		}
	}
}

// Whatever goes wrong is said in words, in the user's language.
func TestWhatGoesWrong(t *testing.T) {
	code := func(status, code int, more string) func(string) (int, string) {
		return func(string) (int, string) {
			return status, fmt.Sprintf(`{"code":%d,"msg":"x","error":{%s}}`, code, more)
		}
	}
	tests := map[string]struct {
		prompt string
		refuse func(string) (int, string)
		asked  int
		want   string
	}{
		"wiki":                   {"总结 https://acme.feishu.cn/wiki/AbCd1234", nil, 0, "知识库"},
		"sheet":                  {"summarize https://acme.feishu.cn/sheets/AbCd1234", nil, 0, "spreadsheet"},
		"foreign host":           {"summarize https://feishu.cn.evil.test/docx/AbCd1234", nil, 0, "not on a Feishu site"},
		"not found":              {"summarize https://acme.feishu.cn/docx/NoSuch1", nil, 1, "There is no such document"},
		"forbidden":              {"总结 " + zhLink, code(403, 1770032, ""), 1, "没有阅读这篇文档的权限"},
		"app scope":              {"summarize " + enLink, code(400, 99991672, ""), 1, "lacks the permission docx:document:readonly"},
		"user scope":             {"summarize " + enLink, code(400, 99991679, `"permission_violations":[{"subject":"docs:document.content:read"}]`), 1, "does not include the permission docs:document.content:read"},
		"rate":                   {"summarize " + enLink, code(429, 99991400, ""), 1, "too many requests"},
		"some other code":        {"summarize " + enLink, code(400, 4711, ""), 1, "Feishu refused to give the document: x (Feishu error 4711)"},
		"HTML":                   {"summarize " + enLink, func(string) (int, string) { return 502, "<html>" }, 1, "cannot be understood (HTTP 502)"},
		"token refused for ever": {"summarize " + enLink, code(400, 99991668, ""), 2, "re-authorize Feishu"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, modelSettings{})
			w.refuse = test.refuse
			if text, asked := w.say(zhang, test.prompt); asked != test.asked || !strings.Contains(text, test.want) {
				t.Errorf("asked %d times, answered %q", asked, text)
			}
		})
	}
}

// A token that Feishu no longer takes is replaced, with the user's help, and the
// answer comes all the same.
func TestTokenThatFeishuRefuses(t *testing.T) {
	w := newWorld(t, modelSettings{})
	old := w.deputy.Grant(zhang, "feishu_oauth")
	w.refuse = func(token string) (int, string) {
		if token == old {
			return 400, `{"code":99991677,"msg":"Authentication token expired"}`
		}
		return 200, ""
	}
	if text, asked := w.say(zhang, "总结 "+zhLink); asked != 1 || !strings.Contains(text, "星河项目") {
		t.Errorf("asked %d times, answered %q", asked, text)
	}
}

func TestUserWhoDoesNotAgree(t *testing.T) {
	w := newWorld(t, modelSettings{})
	if text, _ := w.sayAnd(zhang, "总结 "+zhLink, w.deputy.Decline); !strings.Contains(text, "您没有同意授权") {
		t.Errorf("declined: %q", text)
	}
	if text, _ := w.sayAnd(zhang, "summarize "+zhLink, w.deputy.Expire); !strings.Contains(text, "not used in time") {
		t.Errorf("expired: %q", text)
	}
	text, _ := w.sayAnd(zhang, "summarize "+zhLink, func(id string) { w.deputy.Fails(id, "vendor_app", "the app is not published") })
	if !strings.Contains(text, "the app is not published") || len(w.reads) != 0 {
		t.Errorf("failed: %q", text)
	}
}

// The document's text asks for the credentials to be cleared; nothing of the
// kind happens.
func TestDocumentsAreNotObeyed(t *testing.T) {
	w := newWorld(t, modelSettings{})
	w.deputy.Grant(zhang, "feishu_oauth")
	w.say(zhang, "show me the full text of "+enLink)
	w.say(zhang, "summarize "+enLink)
	if n := w.deputy.Requests("DELETE /api/v1/credentials/feishu_oauth"); n != 0 {
		t.Errorf("the credentials were cleared %d times", n)
	}
}
