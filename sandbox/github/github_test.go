package github_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/sandbox/github"
	"github.com/deputy-id/deputy/sandbox/party"
)

const (
	appID       = "Iv1.test"
	appSecret   = "app-secret-that-nobody-may-log"
	redirectURI = "http://127.0.0.1:8080/api/v1/oauth2callback?tenant=1"
	verifier    = "verifier-0123456789-0123456789-0123456789-abc"
)

// rig is a running sandbox, its time and its log.
type rig struct {
	t   *testing.T
	url string

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Date(2026, 8, 20, 9, 0, 0, 0, time.UTC)}
	s, err := github.New(party.Config{
		App:   party.App{ID: appID, Secret: appSecret, Name: "Test app", RedirectURIs: []string{redirectURI}},
		Users: party.DefaultUsers(), Now: r.clock,
		Logger: slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (r *rig) do(client *http.Client, method, path, body string, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (r *rig) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func link(change url.Values) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"client_id": {appID}, "redirect_uri": {redirectURI}, "state": {"the-state"}, "scope": {"repo user:email"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	for name, values := range change {
		q[name] = values
	}
	return github.AuthorizePath + "?" + q.Encode()
}

var hidden = regexp.MustCompile(`name="(form|request)" value="([^"]*)"`)

// submit posts the first form of a page with more fields.
func (r *rig) submit(b *http.Client, path string, page answer, fields url.Values) answer {
	r.t.Helper()
	for _, m := range hidden.FindAllStringSubmatch(page.body, 2) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	return r.do(b, "POST", path, fields.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// decide logs a user in, decides, and returns the query of the redirect.
func (r *rig) decide(username, decision string, change url.Values) url.Values {
	r.t.Helper()
	b := r.browser()
	in := r.submit(b, "/sandbox/login", r.do(b, "GET", link(change), ""), url.Values{"username": {username}, "password": {"sandbox"}})
	if in.status != http.StatusSeeOther {
		r.t.Fatalf("login: status %d", in.status)
	}
	back := r.submit(b, "/sandbox/consent", r.do(b, "GET", in.header.Get("Location"), ""), url.Values{"decision": {decision}})
	target, err := url.Parse(back.header.Get("Location"))
	if err != nil || back.status != http.StatusFound {
		r.t.Fatalf("consent: status %d, %v", back.status, err)
	}
	return target.Query()
}

func (r *rig) exchange(code string, change url.Values, header ...string) answer {
	r.t.Helper()
	form := url.Values{"client_id": {appID}, "client_secret": {appSecret}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}}
	for name, values := range change {
		form[name] = values
	}
	return r.do(http.DefaultClient, "POST", github.TokenPath, form.Encode(),
		append(header, "Content-Type", "application/x-www-form-urlencoded")...)
}

// login returns an access token of username.
func (r *rig) login(username, scope string) string {
	r.t.Helper()
	a := r.exchange(r.decide(username, "allow", url.Values{"scope": {scope}}).Get("code"), nil)
	form, err := url.ParseQuery(a.body)
	if err != nil || !strings.HasPrefix(form.Get("access_token"), "gho_") {
		r.t.Fatalf("exchange: status %d, %v", a.status, err)
	}
	return form.Get("access_token")
}

func (r *rig) api(access, method, path, body string) answer {
	return r.do(http.DefaultClient, method, path, body, "Authorization", "Bearer "+access)
}

func TestAuthorization(t *testing.T) {
	r := newRig(t)
	back := r.decide("zhangsan", "allow", nil)
	if back.Get("state") != "the-state" || back.Get("tenant") != "1" {
		t.Errorf("redirect lost something: %v", back)
	}
	a := r.exchange(back.Get("code"), nil, "Accept", "application/json")
	var tokens map[string]string
	if err := json.Unmarshal([]byte(a.body), &tokens); err != nil || tokens["scope"] != "repo,user:email" || tokens["token_type"] != "bearer" {
		t.Errorf("got %v, %v", tokens, err)
	}
	if again := r.exchange(back.Get("code"), nil); !strings.Contains(again.body, "error=bad_verification_code") {
		t.Errorf("the second exchange: status %d", again.status)
	}
	if denied := r.decide("lisi", "deny", nil); denied.Get("error") != "access_denied" || denied.Has("code") {
		t.Errorf("denied: %v", denied)
	}
	for _, private := range []string{appSecret, back.Get("code"), tokens["access_token"]} {
		if strings.Contains(r.log.String(), private) {
			t.Error("the log holds a secret")
		}
	}
}

func TestExchangeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change url.Values
		late   time.Duration
		want   string
	}{
		{"secret", url.Values{"client_secret": {"wrong"}}, 0, "incorrect_client_credentials"},
		{"verifier", url.Values{"code_verifier": {"wrong"}}, 0, "bad_verification_code"},
		{"redirect", url.Values{"redirect_uri": {"http://127.0.0.1/"}}, 0, "redirect_uri_mismatch"},
		{"grant", url.Values{"grant_type": {"password"}}, 0, "unsupported_grant_type"},
		{"late", nil, 10 * time.Minute, "bad_verification_code"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			code := r.decide("alice", "allow", nil).Get("code")
			r.advance(test.late)
			a := r.exchange(code, test.change)
			if form, err := url.ParseQuery(a.body); err != nil || a.status != 200 || form.Get("error") != test.want {
				t.Errorf("status %d, body %s, %v", a.status, a.body, err)
			}
		})
	}
}

func TestPagesRefuse(t *testing.T) {
	r := newRig(t)
	for name, value := range map[string]string{"client_id": "other", "redirect_uri": "http://evil.example/", "code_challenge_method": "plain", "scope": "admin:org"} {
		if a := r.do(r.browser(), "GET", link(url.Values{name: {value}}), ""); a.status != 400 || !strings.Contains(a.body, "<code>"+name+"</code>") {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
	b := r.browser()
	page := r.do(b, "GET", link(nil), "")
	if a := r.submit(b, "/sandbox/login", page, url.Values{"username": {"alice"}, "password": {"wrong"}}); a.status != 401 {
		t.Errorf("wrong password: status %d", a.status)
	}
	if a := r.submit(b, "/sandbox/consent", page, url.Values{"decision": {"allow"}}); a.status != 400 {
		t.Errorf("consent of nobody: status %d", a.status)
	}
	if a := r.submit(r.browser(), "/sandbox/login", page, url.Values{"username": {"alice"}, "password": {"sandbox"}}); a.status != 403 {
		t.Errorf("form of another browser: status %d", a.status)
	}
}

func TestRepositoriesAndIssues(t *testing.T) {
	r := newRig(t)
	all, public, profile := r.login("zhangsan", "repo user:email"), r.login("lisi", "public_repo"), r.login("alice", "read:user")
	tests := []struct {
		name, access, method, path, body string
		status                           int
		want                             string
	}{
		{"user", all, "GET", "/user", "", 200, `"email":"zhangsan@example.com"`},
		{"user without email", profile, "GET", "/user", "", 200, `"email":null`},
		{"own repositories", all, "GET", "/user/repos", "", 200, `"full_name":"zhangsan/notes","private":true`},
		{"issues", all, "GET", "/repos/zhangsan/website/issues", "", 200, `"title":"The start page is slow"`},
		{"private of another", public, "GET", "/repos/zhangsan/notes/issues", "", 404, "Not Found"},
		{"own private without repo", public, "GET", "/repos/lisi/notes/issues", "", 404, "Not Found"},
		{"new issue", public, "POST", "/repos/zhangsan/website/issues", `{"title":"A broken link"}`, 201, `"number":2,"title":"A broken link"`},
		{"seen by all", all, "GET", "/repos/zhangsan/website/issues", "", 200, `[{"number":2,`},
		{"without a scope that writes", profile, "POST", "/repos/zhangsan/website/issues", `{"title":"x"}`, 404, "Not Found"},
		{"without title", all, "POST", "/repos/zhangsan/website/issues", `{}`, 422, "Validation Failed"},
		{"no JSON", all, "POST", "/repos/zhangsan/website/issues", `{`, 400, "Problems parsing JSON"},
		{"no token", "gho_other", "GET", "/user", "", 401, "Bad credentials"},
		{"no such path", all, "GET", "/orgs", "", 404, "Not Found"},
	}
	for _, test := range tests {
		if a := r.api(test.access, test.method, test.path, test.body); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s: status %d, body %s", test.name, a.status, a.body)
		}
	}
	if a := r.api(public, "GET", "/user/repos", ""); strings.Contains(a.body, "lisi/notes") {
		t.Error("a private repository is listed without the scope repo")
	}
}

func TestRevoke(t *testing.T) {
	r := newRig(t)
	first, second, third := r.login("alice", "repo"), r.login("alice", "repo"), r.login("alice", "repo")
	end := func(kind, access, secret string) int {
		basic := base64.StdEncoding.EncodeToString([]byte(appID + ":" + secret))
		return r.do(http.DefaultClient, "DELETE", "/applications/"+appID+"/"+kind, `{"access_token":"`+access+`"}`, "Authorization", "Basic "+basic).status
	}
	steps := []struct {
		kind, access, secret string
		status               int
	}{
		{"token", first, "wrong", 404}, {"token", first, appSecret, 204}, {"token", first, appSecret, 422}, {"grant", second, appSecret, 204},
	}
	for _, s := range steps {
		if got := end(s.kind, s.access, s.secret); got != s.status {
			t.Errorf("%s: status %d, want %d", s.kind, got, s.status)
		}
	}
	for _, access := range []string{first, second, third} {
		if a := r.api(access, "GET", "/user", ""); a.status != 401 {
			t.Errorf("a token that ended is taken: status %d", a.status)
		}
	}
}
