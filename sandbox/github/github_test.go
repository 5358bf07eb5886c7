package github_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/sandbox/github"
	"github.com/deputy-id/deputy/sandbox/party"
	"github.com/deputy-id/deputy/sandbox/party/partytest"
)

// rig is a running GitHub.
type rig struct {
	*partytest.Rig
	t *testing.T
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{partytest.New(t, func(c party.Config) (http.Handler, error) {
		s, err := github.New(c)
		if err != nil {
			return nil, err
		}
		return s.Handler(), nil
	}), t}
}

func link(change url.Values) string {
	all := url.Values{"scope": {"repo user:email"}}
	maps.Copy(all, change)
	return partytest.Link(github.AuthorizePath, all)
}

// decide logs a user in, decides, and returns the query of the redirect.
func (r *rig) decide(username, decision string, change url.Values) url.Values {
	r.t.Helper()
	return r.Decide(link(change), username, decision)
}

func (r *rig) exchange(code string, change url.Values, header ...string) partytest.Answer {
	r.t.Helper()
	form := partytest.Exchange(code)
	form.Del("grant_type") // which GitHub does not want
	maps.Copy(form, change)
	return r.Form(github.TokenPath, form, false, header...)
}

// login returns an access token of username.
func (r *rig) login(username, scope string) string {
	r.t.Helper()
	a := r.exchange(r.decide(username, "allow", url.Values{"scope": {scope}}).Get("code"), nil)
	form, err := url.ParseQuery(a.Body)
	if err != nil || !strings.HasPrefix(form.Get("access_token"), "gho_") {
		r.t.Fatalf("exchange: status %d, %v", a.Status, err)
	}
	return form.Get("access_token")
}

func TestAuthorization(t *testing.T) {
	r := newRig(t)
	back := r.decide("zhangsan", "allow", nil)
	if back.Get("state") != "the-state" || back.Get("tenant") != "1" {
		t.Errorf("redirect lost something: %v", back)
	}
	a := r.exchange(back.Get("code"), nil, "Accept", "application/json")
	var tokens map[string]string
	if err := json.Unmarshal([]byte(a.Body), &tokens); err != nil || tokens["scope"] != "repo,user:email" || tokens["token_type"] != "bearer" {
		t.Errorf("got %v, %v", tokens, err)
	}
	if again := r.exchange(back.Get("code"), nil); !strings.Contains(again.Body, "error=bad_verification_code") {
		t.Errorf("the second exchange: status %d", again.Status)
	}
	if denied := r.decide("lisi", "deny", nil); denied.Get("error") != "access_denied" || denied.Has("code") {
		t.Errorf("denied: %v", denied)
	}
	for _, private := range []string{partytest.AppSecret, back.Get("code"), tokens["access_token"]} {
		if strings.Contains(r.Log(), private) {
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
			r.Pass(test.late)
			a := r.exchange(code, test.change)
			if form, err := url.ParseQuery(a.Body); err != nil || a.Status != 200 || form.Get("error") != test.want {
				t.Errorf("status %d, body %s, %v", a.Status, a.Body, err)
			}
		})
	}
}

func TestPagesRefuse(t *testing.T) {
	r := newRig(t)
	for name, value := range map[string]string{"client_id": "other", "redirect_uri": "http://evil.example/", "code_challenge_method": "plain", "scope": "admin:org"} {
		if a := r.Do(r.Browser(), "GET", link(url.Values{name: {value}}), ""); a.Status != 400 || !strings.Contains(a.Body, "<code>"+name+"</code>") {
			t.Errorf("%s: status %d", name, a.Status)
		}
	}
	b := r.Browser()
	page := r.Do(b, "GET", link(nil), "")
	if a := r.Submit(b, "/sandbox/login", page, url.Values{"username": {"alice"}, "password": {"wrong"}}); a.Status != 401 {
		t.Errorf("wrong password: status %d", a.Status)
	}
	if a := r.Submit(b, "/sandbox/consent", page, url.Values{"decision": {"allow"}}); a.Status != 400 {
		t.Errorf("consent of nobody: status %d", a.Status)
	}
	if a := r.Submit(r.Browser(), "/sandbox/login", page, url.Values{"username": {"alice"}, "password": {"sandbox"}}); a.Status != 403 {
		t.Errorf("form of another browser: status %d", a.Status)
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
		if a := r.API(test.access, test.method, test.path, test.body); a.Status != test.status || !strings.Contains(a.Body, test.want) {
			t.Errorf("%s: status %d, body %s", test.name, a.Status, a.Body)
		}
	}
	if a := r.API(public, "GET", "/user/repos", ""); strings.Contains(a.Body, "lisi/notes") {
		t.Error("a private repository is listed without the scope repo")
	}
}

func TestRevoke(t *testing.T) {
	r := newRig(t)
	first, second, third := r.login("alice", "repo"), r.login("alice", "repo"), r.login("alice", "repo")
	end := func(kind, access, secret string) int {
		basic := base64.StdEncoding.EncodeToString([]byte(partytest.AppID + ":" + secret))
		return r.Do(http.DefaultClient, "DELETE", "/applications/"+partytest.AppID+"/"+kind, `{"access_token":"`+access+`"}`, "Authorization", "Basic "+basic).Status
	}
	steps := []struct {
		kind, access, secret string
		status               int
	}{
		{"token", first, "wrong", 404}, {"token", first, partytest.AppSecret, 204}, {"token", first, partytest.AppSecret, 422}, {"grant", second, partytest.AppSecret, 204},
	}
	for _, s := range steps {
		if got := end(s.kind, s.access, s.secret); got != s.status {
			t.Errorf("%s: status %d, want %d", s.kind, got, s.status)
		}
	}
	for _, access := range []string{first, second, third} {
		if a := r.API(access, "GET", "/user", ""); a.Status != 401 {
			t.Errorf("a token that ended is taken: status %d", a.Status)
		}
	}
}
