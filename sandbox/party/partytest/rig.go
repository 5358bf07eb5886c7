// Package partytest has people and apps for the tests of small third parties.
package partytest

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

	"github.com/deputy-id/deputy/sandbox/party"
)

// What the app of a [Rig] is, and what it proves itself with.
const (
	AppID       = "app.test"
	AppSecret   = "app-secret-that-nobody-may-log"
	RedirectURI = "http://127.0.0.1:8080/api/v1/oauth2callback?tenant=1"
	Verifier    = "verifier-0123456789-0123456789-0123456789-abc"
)

// Rig is a running third party, its time and its log.
type Rig struct {
	URL string
	t   *testing.T

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

// New serves what build makes of a configuration, until the test ends.
func New(t *testing.T, build func(party.Config) (http.Handler, error)) *Rig {
	t.Helper()
	r := &Rig{t: t, now: time.Date(2026, 8, 20, 9, 0, 0, 0, time.UTC)}
	h, err := build(party.Config{
		App:   party.App{ID: AppID, Secret: AppSecret, Name: "Test app", RedirectURIs: []string{RedirectURI}},
		Users: party.DefaultUsers(), Now: r.clock,
		Logger: slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Write implements [io.Writer]: it is the log.
func (r *Rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// Log returns what was logged.
func (r *Rig) Log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func (r *Rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// Pass lets time pass.
func (r *Rig) Pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// Answer is a response that was read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Do sends a request with headers, given as name, value and so on.
func (r *Rig) Do(client *http.Client, method, path, body string, header ...string) Answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
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
	return Answer{resp.StatusCode, resp.Header, string(b)}
}

// API calls with an access token, and a body of JSON if there is one.
func (r *Rig) API(access, method, path, body string, header ...string) Answer {
	r.t.Helper()
	return r.Do(http.DefaultClient, method, path, body, append(header, "Authorization", "Bearer "+access, "Content-Type", "application/json")...)
}

// Form posts a form, by the app's Basic credentials if basic is true.
func (r *Rig) Form(path string, fields url.Values, basic bool, header ...string) Answer {
	r.t.Helper()
	if basic {
		header = append(header, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(AppID+":"+AppSecret)))
	}
	return r.Do(http.DefaultClient, "POST", path, fields.Encode(), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
}

// Browser returns a browser that does not follow redirects.
func (r *Rig) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Link returns the path of the authorize page with a request for a code; change
// replaces parameters of it.
func Link(authorizePath string, change url.Values) string {
	sum := sha256.Sum256([]byte(Verifier))
	q := url.Values{"client_id": {AppID}, "redirect_uri": {RedirectURI}, "state": {"the-state"}, "response_type": {"code"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	for name, values := range change {
		q[name] = values
	}
	return authorizePath + "?" + q.Encode()
}

var hidden = regexp.MustCompile(`name="(form|request)" value="([^"]*)"`)

// Submit posts the first form of a page with more fields.
func (r *Rig) Submit(b *http.Client, path string, page Answer, fields url.Values) Answer {
	r.t.Helper()
	for _, m := range hidden.FindAllStringSubmatch(page.Body, 2) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	return r.Do(b, "POST", path, fields.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// Decide logs a user in at a link, decides, and returns the query of the redirect
// back to the app.
func (r *Rig) Decide(link, username, decision string) url.Values {
	r.t.Helper()
	b := r.Browser()
	in := r.Submit(b, "/sandbox/login", r.Do(b, "GET", link, ""), url.Values{"username": {username}, "password": {"sandbox"}})
	if in.Status != http.StatusSeeOther {
		r.t.Fatalf("login: status %d", in.Status)
	}
	back := r.Submit(b, "/sandbox/consent", r.Do(b, "GET", in.Header.Get("Location"), ""), url.Values{"decision": {decision}})
	target, err := url.Parse(back.Header.Get("Location"))
	if err != nil || back.Status != http.StatusFound {
		r.t.Fatalf("consent: status %d, %v", back.Status, err)
	}
	return target.Query()
}

// Exchange is the form that exchanges a code.
func Exchange(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "client_id": {AppID}, "client_secret": {AppSecret}, "code": {code}, "redirect_uri": {RedirectURI}, "code_verifier": {Verifier}}
}

// JSON decodes an answer's body.
func JSON[V any](t *testing.T, a Answer) V {
	t.Helper()
	var v V
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		t.Fatalf("status %d, body %q: %v", a.Status, a.Body, err)
	}
	return v
}

// Check is one call of an API and what must be answered.
type Check struct {
	name, access, method, path, body string
	status                           int
	want                             string // in the body
	header                           []string
}

// Call returns the check that a call with an access token is answered with a status
// and a text in the body.
func Call(name, access, method, path, body string, status int, want string, header ...string) Check {
	return Check{name, access, method, path, body, status, want, header}
}

// Run makes the calls in order.
func (r *Rig) Run(checks ...Check) {
	r.t.Helper()
	for _, c := range checks {
		if a := r.API(c.access, c.method, c.path, c.body, c.header...); a.Status != c.status || !strings.Contains(a.Body, c.want) {
			r.t.Errorf("%s: status %d, body %s", c.name, a.Status, a.Body)
		}
	}
}
