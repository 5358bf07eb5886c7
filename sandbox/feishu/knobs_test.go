package feishu_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

// race runs params twenty times at once and counts the answers by code.
func (r *rig) race(params map[string]string) map[int]int {
	const callers = 20
	codes := make(chan int, callers)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range callers {
		wg.Go(func() {
			<-start
			answer, err := r.token(feishu.TokenPathV3, params)
			if err != nil {
				answer.Code = -1
			}
			codes <- answer.Code
		})
	}
	close(start)
	wg.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	return count
}

func TestOneCodeManyCallers(t *testing.T) {
	r := newRig(t)
	if diff := cmp.Diff(map[int]int{0: 1, 20065: 19}, r.race(exchangeParams(r.code("")))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOneRefreshTokenManyCallers(t *testing.T) {
	r := newRig(t)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	if diff := cmp.Diff(map[int]int{0: 1, 20073: 19}, r.race(refreshParams(first.RefreshToken))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The answer is lost, yet the token has been rotated.
func TestDropNext(t *testing.T) {
	r := newRig(t)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	r.DropNext(feishu.OpRefresh, 1)
	if got, err := r.token(feishu.TokenPathV3, refreshParams("ur-unknown")); err != nil || got.Code != 20026 {
		t.Errorf("a refusal was dropped: %v, %s", err, got.Body)
	}
	if got, err := r.token(feishu.TokenPathV3, refreshParams(first.RefreshToken)); err == nil {
		t.Errorf("an answer came: %s", got.Body)
	}
	if got, err := r.token(feishu.TokenPathV3, refreshParams(first.RefreshToken)); err != nil || got.Code != 20073 {
		t.Errorf("%v, %s", err, got.Body)
	}
}

func TestRefuseNext(t *testing.T) {
	r := newRig(t)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	r.RefuseNext(feishu.OpRefresh, feishu.Refusal{Code: 20050})
	r.RefuseNext(feishu.OpTokenV3, feishu.Refusal{Code: 20072, Status: 200})
	r.RefuseNext(feishu.OpRefresh, feishu.Refusal{Error: "invalid_grant", Status: 200})
	r.RefuseNext(feishu.OpUserInfo, feishu.Refusal{Code: 99991400})
	want := []struct {
		status int
		body   string
	}{
		{200, `{"code":20072,"error":"temporarily_unavailable","error_description":"The server is temporarily unavailable. Please retry your request."}`},
		{500, `{"code":20050,"error":"server_error","error_description":"An unexpected server error occurred. Please retry your request."}`},
		{200, `{"code":0,"error":"invalid_grant","error_description":"Refused by the sandbox."}`},
	}
	for _, w := range want {
		got, err := r.token(feishu.TokenPathV3, refreshParams(first.RefreshToken))
		if err != nil || got.Status != w.status || got.Body != w.body {
			t.Errorf("%v, status %d, body %s\nwant %d, %s", err, got.Status, got.Body, w.status, w.body)
		}
	}
	r.mustToken(refreshParams(first.RefreshToken)) // nothing was consumed
	if status, body := r.api(feishu.UserInfoPath, "Bearer "+first.AccessToken); status != 429 || !strings.HasPrefix(body, `{"code":99991400,`) {
		t.Errorf("status %d, body %s", status, body)
	}
	r.RefuseNext(feishu.OpAuthorize, feishu.Refusal{Code: 20010})
	if p := r.browser().get(link("")); p.status != 400 || !strings.Contains(p.body, "<b>20010</b>") {
		t.Errorf("status %d", p.status)
	}
}

func TestSetAccessLifetime(t *testing.T) {
	r := newRig(t)
	r.SetAccessLifetime(3500 * time.Millisecond)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	if !strings.Contains(first.Body, `"expires_in":3,`) {
		t.Errorf("body %s", first.Body)
	}
	r.clock.Advance(3 * time.Second)
	if status, body := r.api(feishu.UserInfoPath, "Bearer "+first.AccessToken); status != 400 || !strings.Contains(body, "99991677") {
		t.Errorf("after its life: status %d, body %s", status, body)
	}
	r.ResetKnobs()
	if second := r.mustToken(refreshParams(first.RefreshToken)); !strings.Contains(second.Body, `"expires_in":7200,`) {
		t.Errorf("body %s", second.Body)
	}
}

func TestKillOnRotate(t *testing.T) {
	r := newRig(t)
	r.KillOnRotate(true)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	second := r.mustToken(refreshParams(first.RefreshToken))
	if status, body := r.api(feishu.UserInfoPath, "Bearer "+first.AccessToken); status != 400 || !strings.Contains(body, "99991668") {
		t.Errorf("old token: status %d, body %s", status, body)
	}
	if status, body := r.api(feishu.UserInfoPath, "Bearer "+second.AccessToken); status != 200 {
		t.Errorf("new token: status %d, body %s", status, body)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := feishu.New(feishu.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s.SetLatency(feishu.OpUserInfo, 5*time.Second)
		start := time.Now()
		s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", feishu.UserInfoPath, nil))
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("waited %v", waited)
		}
		s.ResetKnobs()
		start = time.Now()
		s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", feishu.UserInfoPath, nil))
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v after reset", waited)
		}
	})
}

func TestCalls(t *testing.T) {
	r := newRig(t)
	first := r.mustToken(exchangeParams(r.code(readAndOffline)))
	r.mustToken(refreshParams(first.RefreshToken))
	r.api(feishu.UserInfoPath, "")
	want := map[feishu.Operation]int64{"authorize": 2, "token_v3": 2, "exchange": 1, "refresh": 1, "user_info": 1}
	if diff := cmp.Diff(want, r.Calls()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What was issued, the secrets and the passwords must not be in the log.
func TestNoSecretInLog(t *testing.T) {
	r := newRig(t, func(c *feishu.Config) {
		for i := range c.Users {
			c.Users[i].Password = "pass-phrase-to-look-for"
		}
	})
	b := r.browser()
	form := b.get(link(readAndOffline)).hidden()
	form.Set("username", "zhangsan")
	form.Set("password", "pass-phrase-to-look-for")
	form = b.get(b.post("/accounts/login", form).location.RequestURI()).hidden()
	form.Set("decision", "allow")
	code := b.post("/accounts/consent", form).location.Query().Get("code")
	first := r.mustToken(exchangeParams(code))
	r.token(feishu.TokenPathV3, exchangeParams(code))
	second := r.mustToken(refreshParams(first.RefreshToken))
	r.token(feishu.TokenPathV2, refreshParams(first.RefreshToken))
	r.api(rawContent(ownDocument), "Bearer "+second.AccessToken)
	r.api(rawContent(feishu.DocumentOfLiSi), "Bearer "+second.AccessToken)

	issued := r.Issued()
	kinds := map[string]int{}
	for _, i := range issued {
		kinds[i.Kind]++
		if strings.Contains(r.log.String(), i.Value) {
			t.Errorf("a %s is in the log", i.Kind)
		}
	}
	if diff := cmp.Diff(map[string]int{"session": 1, "code": 1, "access_token": 2, "refresh_token": 2}, kinds); diff != "" {
		t.Errorf("issued (-want +got)\n%s", diff)
	}
	for _, secret := range []string{appSecret, "pass-phrase-to-look-for", "st&te"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if !strings.Contains(r.log.String(), "tokens issued") {
		t.Error("nothing was logged at all")
	}
}

func TestControl(t *testing.T) {
	r := newRig(t)
	post := func(t *testing.T, path, body string, header ...string) page {
		t.Helper()
		req, err := http.NewRequest("POST", r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return r.browser().do(req)
	}
	tests := []struct {
		path, body string
		status     int
	}{
		{"latency", `{"operation":"refresh","milliseconds":1}`, 204},
		{"latency", `{"operation":"refresh","milliseconds":-1}`, 204},
		{"latency", `{"operation":"nonesuch","milliseconds":1}`, 400},
		{"drop-next", `{"operation":"refresh"}`, 204},
		{"refuse-next", `{"operation":"refresh","refusal":{"code":20050}}`, 204},
		{"refuse-next", `{"operation":"refresh","refusal":{"kode":20050}}`, 400},
		{"kill-on-rotate", `{"enabled":true}`, 204},
		{"expire-access-tokens", ``, 204},
		{"expire-refresh-tokens", `{}`, 204},
		{"revoke", `{"username":"zhangsan"}`, 204},
		{"revoke", `{"username":"nobody"}`, 400},
		{"reset", `[]`, 400},
		{"reset", ``, 204},
		{"nonesuch", ``, 404},
	}
	for _, test := range tests {
		t.Run(test.path+" "+test.body, func(t *testing.T) {
			if p := post(t, "/sandbox/"+test.path, test.body); p.status != test.status {
				t.Errorf("status %d, want %d: %s", p.status, test.status, p.body)
			}
		})
	}
	t.Run("refused after refuse-next", func(t *testing.T) {
		post(t, "/sandbox/refuse-next", `{"operation":"exchange","count":2,"refusal":{"code":20069}}`)
		for _, want := range []int{20069, 20069, 20003} {
			if got, err := r.token(feishu.TokenPathV3, exchangeParams("x")); err != nil || got.Code != want {
				t.Errorf("%v, %s", err, got.Body)
			}
		}
	})
	t.Run("calls and issued", func(t *testing.T) {
		code := r.code("")
		if p := r.browser().get("/sandbox/calls"); !strings.Contains(p.body, `"authorize":2`) {
			t.Error(p.body)
		}
		if p := r.browser().get("/sandbox/issued"); !strings.Contains(p.body, `{"kind":"code","value":"`+code+`"}`) {
			t.Error("the code is not listed")
		}
	})
	t.Run("a web page", func(t *testing.T) {
		if p := post(t, "/sandbox/reset", "", "Origin", "http://evil.example"); p.status != 403 {
			t.Errorf("status %d", p.status)
		}
		if p := post(t, "/sandbox/reset", "", "Sec-Fetch-Site", "cross-site"); p.status != 403 {
			t.Errorf("status %d", p.status)
		}
	})
	t.Run("another machine, or another name for this one", func(t *testing.T) {
		for _, from := range []struct{ remote, host string }{{"192.0.2.7:1234", "127.0.0.1:8083"}, {"127.0.0.1:1234", "rebound.example:8083"}, {"nonsense", "127.0.0.1"}} {
			req := httptest.NewRequest("GET", "/sandbox/issued", nil)
			req.RemoteAddr, req.Host = from.remote, from.host
			w := httptest.NewRecorder()
			r.Handler().ServeHTTP(w, req)
			if w.Code != 403 {
				t.Errorf("%v: status %d", from, w.Code)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	user := feishu.User{Username: "u", Password: "p", Name: "U"}
	app := feishu.App{ID: "cli", Secret: "the-secret", RedirectURIs: []string{"http://localhost/cb"}}
	tests := []struct {
		name   string
		config feishu.Config
		want   string
	}{
		{"app without id", feishu.Config{Apps: []feishu.App{{Secret: "the-secret"}}}, "app without id"},
		{"app without secret", feishu.Config{Apps: []feishu.App{{ID: "cli"}}}, "app cli has no secret"},
		{"app twice", feishu.Config{Apps: []feishu.App{app, app}}, "app cli is listed twice"},
		{"relative redirect URI", feishu.Config{Apps: []feishu.App{{ID: "cli", Secret: "the-secret", RedirectURIs: []string{"/cb"}}}}, `"/cb" is not an absolute URL`},
		{"unknown scope", feishu.Config{Apps: []feishu.App{{ID: "cli", Secret: "the-secret", Scopes: []string{"openid"}}}}, `scope "openid" is unknown`},
		{"user without password", feishu.Config{Users: []feishu.User{{Username: "u", Name: "U"}}}, "user u has no password"},
		{"user without name", feishu.Config{Users: []feishu.User{{Username: "u", Password: "the-secret"}}}, "needs a username and a name"},
		{"user twice", feishu.Config{Users: []feishu.User{user, user}}, "user u is listed twice"},
		{"document of nobody", feishu.Config{Documents: []feishu.Document{{ID: ownDocument, Owner: "u"}}}, `no user "u"`},
		{"document id", feishu.Config{Users: []feishu.User{user}, Documents: []feishu.Document{{ID: "../x", Owner: "u"}}}, "27 letters"},
		{"document twice", feishu.Config{Users: []feishu.User{user}, Documents: []feishu.Document{{ID: ownDocument, Owner: "u"}, {ID: ownDocument, Owner: "u"}}}, "listed twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := feishu.New(test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "the-secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The default ids must stay what documentation and demonstrations print.
func TestDemoLink(t *testing.T) {
	p := newRig(t).browser().get("/")
	if u := "https://example.feishu.cn/docx/" + ownDocument; p.status != 200 || !strings.Contains(p.body, u) {
		t.Errorf("status %d; %s is not on the start page", p.status, u)
	}
}
