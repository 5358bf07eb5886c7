package feishu_test

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

	"github.com/deputy-id/deputy/sandbox/feishu"
)

const (
	appID       = "cli_test"
	appSecret   = "app-secret-that-nobody-may-log"
	redirectURI = "http://127.0.0.1:8080/api/v1/oauth2callback?tenant=1"
	verifier    = "verifier-0123456789-0123456789-0123456789-abc"
	ownDocument = feishu.DocumentOfZhangSan
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a running sandbox, its clock and its log.
type rig struct {
	*feishu.Sandbox
	t     *testing.T
	url   string
	clock *clock
	log   *lockedBuffer
}

// lockedBuffer collects the log of concurrent requests.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T, change ...func(*feishu.Config)) *rig {
	t.Helper()
	c := &clock{now: time.Date(2026, 8, 20, 9, 0, 0, 0, time.UTC)}
	log := &lockedBuffer{}
	config := feishu.Config{
		Apps: []feishu.App{
			{ID: appID, Secret: appSecret, Name: "Test app", RedirectURIs: []string{redirectURI},
				Scopes: []string{"docx:document:readonly", "offline_access", "contact:user.email:readonly", "contact:user.employee_id:readonly", "drive:drive"}},
			{ID: "cli_other", Secret: "other-secret", RedirectURIs: []string{redirectURI}, Scopes: []string{"docx:document:readonly"}},
		},
		Users: feishu.DefaultUsers(), Documents: feishu.DefaultDocuments(),
		Now: c.Now, Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&config)
	}
	s, err := feishu.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return &rig{Sandbox: s, t: t, url: server.URL, clock: c, log: log}
}

// browser is a client with cookies that does not follow redirects.
type browser struct {
	*rig
	client *http.Client
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &browser{r, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is an answer that was read.
type page struct {
	status   int
	header   http.Header
	body     string
	location *url.URL
}

func (b *browser) do(req *http.Request) page {
	b.t.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	location, _ := resp.Location() // nil when there is none
	return page{resp.StatusCode, resp.Header, string(body), location}
}

func (b *browser) get(path string) page {
	b.t.Helper()
	req, err := http.NewRequest("GET", b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) post(path string, form url.Values) page {
	b.t.Helper()
	req, err := http.NewRequest("POST", b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

var hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// hidden returns the hidden inputs of a page, as a script would read them.
func (p page) hidden() url.Values {
	form := url.Values{}
	for _, m := range hiddenInput.FindAllStringSubmatch(p.body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	return form
}

// link returns an authorize path with the given scopes; more overrides parameters.
func link(scope string, more ...string) string {
	q := url.Values{"client_id": {appID}, "response_type": {"code"}, "redirect_uri": {redirectURI}, "state": {"st&te"}, "scope": {scope}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
		if more[i+1] == "" {
			q.Del(more[i])
		}
	}
	return feishu.AuthorizePath + "?" + q.Encode()
}

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorize plays the user to the end and returns the query of the redirect.
func (r *rig) authorize(username, decision, link string) url.Values {
	r.t.Helper()
	b := r.browser()
	form := b.get(link).hidden()
	form.Set("username", username)
	form.Set("password", "sandbox")
	p := b.post("/accounts/login", form)
	if p.status != http.StatusSeeOther {
		r.t.Fatalf("login: status %d\n%s", p.status, p.body)
	}
	form = b.get(p.location.RequestURI()).hidden()
	form.Set("decision", decision)
	p = b.post("/accounts/consent", form)
	if p.status != http.StatusFound {
		r.t.Fatalf("consent: status %d\n%s", p.status, p.body)
	}
	return p.location.Query()
}

// code returns a code of 张三 for scope.
func (r *rig) code(scope string, more ...string) string {
	r.t.Helper()
	return r.authorize("zhangsan", "allow", link(scope, more...)).Get("code")
}

// tokens is an answer of the token endpoint.
type tokens struct {
	Status           int    `json:"-"`
	Body             string `json:"-"`
	Code             int    `json:"code"`
	AccessToken      string `json:"access_token"`
	ExpiresIn        int    `json:"expires_in"`
	RefreshToken     string `json:"refresh_token"`
	RefreshExpiresIn int    `json:"refresh_token_expires_in"`
	Scope            string `json:"scope"`
	TokenType        string `json:"token_type"`
}

// token posts params as JSON; err is that of the connection.
func (r *rig) token(path string, params map[string]string) (tokens, error) {
	body, err := json.Marshal(params)
	if err != nil {
		return tokens{}, err
	}
	resp, err := http.Post(r.url+path, "application/json; charset=utf-8", bytes.NewReader(body))
	if err != nil {
		return tokens{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return tokens{}, err
	}
	answer := tokens{Status: resp.StatusCode, Body: strings.TrimSuffix(string(raw), "\n")}
	return answer, json.Unmarshal(raw, &answer)
}

func exchangeParams(code string, more ...string) map[string]string {
	return with(map[string]string{"grant_type": "authorization_code", "client_id": appID, "client_secret": appSecret,
		"code": code, "redirect_uri": redirectURI}, more...)
}

func refreshParams(token string, more ...string) map[string]string {
	return with(map[string]string{"grant_type": "refresh_token", "client_id": appID, "client_secret": appSecret, "refresh_token": token}, more...)
}

// with sets name-value pairs; an empty value removes.
func with(params map[string]string, more ...string) map[string]string {
	for i := 0; i+1 < len(more); i += 2 {
		params[more[i]] = more[i+1]
		if more[i+1] == "" {
			delete(params, more[i])
		}
	}
	return params
}

// mustToken is token that must succeed.
func (r *rig) mustToken(params map[string]string) tokens {
	r.t.Helper()
	answer, err := r.token(feishu.TokenPathV3, params)
	if err != nil || answer.Status != http.StatusOK || answer.Code != 0 || answer.AccessToken == "" {
		r.t.Fatalf("token request: %v, status %d, body %s", err, answer.Status, answer.Body)
	}
	return answer
}

var logIDs = regexp.MustCompile(`"log_id":"[0-9]{14}[0-9A-F]{18}"`)

// api calls an API and returns status and body, with the log id made constant.
func (r *rig) api(path, authorization string) (int, string) {
	r.t.Helper()
	b := r.browser()
	req, err := http.NewRequest("GET", r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	p := b.do(req)
	return p.status, strings.TrimSuffix(logIDs.ReplaceAllString(p.body, `"log_id":"LOG"`), "\n")
}

func rawContent(id string) string {
	return strings.ReplaceAll(feishu.RawContentPath, "{document_id}", id)
}
