package feishu_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

func TestAuthorizeErrors(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		name, link, code, says string
	}{
		{"no such app", link("", "client_id", "cli_none"), "20048", "cli_none"},
		{"no app", link("", "client_id", ""), "20048", "There is no such app"},
		{"redirect URI not registered", link("", "redirect_uri", "http://evil.example/cb"), "20029", "http://evil.example/cb"},
		{"redirect URI with a slash more", link("", "redirect_uri", redirectURI+"/"), "20029", "redirect_uri"},
		{"redirect URI in other case", link("", "redirect_uri", strings.ToUpper(redirectURI)), "20029", "redirect_uri"},
		{"no redirect URI", link("", "redirect_uri", ""), "20029", "redirect_uri"},
		{"OpenID scope", link("openid docx:document:readonly"), "20043", "openid"},
		{"misspelt scope", link("docx:document:readable"), "20043", "docx:document:readable"},
		{"scope not enabled", link("docx:document:readonly wiki:wiki:readonly"), "20027", "wiki:wiki:readonly"},
		{"implicit flow", link("", "response_type", "token"), "20001", "response_type"},
		{"plain PKCE", link("", "code_challenge", challenge(), "code_challenge_method", "plain"), "20001", "code_challenge_method"},
		{"PKCE method missing", link("", "code_challenge", challenge()), "20001", "code_challenge_method"},
		{"challenge too short", link("", "code_challenge", "abc", "code_challenge_method", "S256"), "20001", "code_challenge"},
		{"parameter twice", link("") + "&state=again", "20001", "state"},
		{"unreadable query", link("") + "&a=%zz", "20001", "query"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := r.browser().get(test.link)
			if p.status != http.StatusBadRequest || p.location != nil {
				t.Errorf("status %d, location %v", p.status, p.location)
			}
			if !strings.Contains(p.body, "<b>"+test.code+"</b>") || !strings.Contains(html.UnescapeString(p.body), test.says) {
				t.Errorf("the page does not say %s and %s:\n%s", test.code, test.says, p.body)
			}
		})
	}
}

func TestPagesAreSafe(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", link(""), link("", "redirect_uri", `http://x/"><script>alert(1)</script>`)} {
		p := r.browser().get(path)
		if got := p.header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; style-src 'self'") || !strings.Contains(got, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, got)
		}
		if strings.Contains(p.body, "<script") || strings.Contains(p.body, "style=") {
			t.Errorf("%s: script or inline style in the page", path)
		}
		if !strings.Contains(p.body, "这不是飞书") || !strings.Contains(p.body, "This is not Feishu") {
			t.Errorf("%s: does not say that it is a sandbox", path)
		}
	}
}

func TestLoginPage(t *testing.T) {
	r := newRig(t, func(c *feishu.Config) {
		c.Users = append(c.Users, feishu.User{Username: "real", Password: "private-password", Name: "真人"})
	})
	p := r.browser().get(link(""))
	for _, want := range []string{"张三", "zhangsan / sandbox", `value="lisi"`, `name="username"`, `name="password"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(p.body, "private-password") || strings.Contains(p.body, "真人") {
		t.Error("a user who is not for demonstrations is on the page")
	}
}

func TestLogin(t *testing.T) {
	r := newRig(t, func(c *feishu.Config) {
		c.Users = append(c.Users, feishu.User{Username: "real", Password: "private-password", Name: "真人"})
	})
	tests := []struct {
		name   string
		change func(url.Values)
		status int
	}{
		{"right", func(f url.Values) {}, http.StatusSeeOther},
		{"wrong password", func(f url.Values) { f.Set("password", "x") }, http.StatusUnauthorized},
		{"no such user", func(f url.Values) { f.Set("username", "nobody") }, http.StatusUnauthorized},
		{"no such user, no password", func(f url.Values) { f.Set("username", "nobody"); f.Del("password") }, http.StatusUnauthorized},
		{"demo user by one click", func(f url.Values) { f.Del("username"); f.Del("password"); f.Set("quick", "lisi") }, http.StatusSeeOther},
		{"other user by one click", func(f url.Values) { f.Del("username"); f.Del("password"); f.Set("quick", "real") }, http.StatusUnauthorized},
		{"no CSRF token", func(f url.Values) { f.Del("csrf") }, http.StatusForbidden},
		{"wrong CSRF token", func(f url.Values) { f.Set("csrf", strings.Repeat("0", 64)) }, http.StatusForbidden},
		{"request changed", func(f url.Values) { f.Set("request", "client_id=x") }, http.StatusBadRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := r.browser()
			form := b.get(link("")).hidden()
			form.Set("username", "zhangsan")
			form.Set("password", "sandbox")
			test.change(form)
			if p := b.post("/accounts/login", form); p.status != test.status {
				t.Errorf("status %d, want %d\n%s", p.status, test.status, p.body)
			}
		})
	}
	t.Run("form of another browser", func(t *testing.T) {
		form := r.browser().get(link("")).hidden()
		form.Set("quick", "zhangsan")
		other := r.browser()
		other.get(link(""))
		if p := other.post("/accounts/login", form); p.status != http.StatusForbidden {
			t.Errorf("status %d", p.status)
		}
	})
}

// loggedIn returns a browser that 张三 logged in with, at the consent page of link.
func (r *rig) loggedIn(link string) (*browser, page) {
	r.t.Helper()
	b := r.browser()
	form := b.get(link).hidden()
	form.Set("quick", "zhangsan")
	b.post("/accounts/login", form)
	return b, b.get(link)
}

func TestConsentPage(t *testing.T) {
	r := newRig(t)
	b, p := r.loggedIn(link(readAndOffline))
	for _, want := range []string{"Test app", "张三", "查看你的新版文档", "View your documents", "docx:document:readonly", "Keep this access while you are away", "<em>新 new</em>"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	r.authorize("zhangsan", "allow", link(readAndOffline))
	if p := b.get(link(readAndOffline)); strings.Contains(p.body, "<em>") {
		t.Error("a scope is called new that was agreed to before")
	}
}

func TestConsent(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		name   string
		change func(url.Values)
		status int
	}{
		{"allow", func(f url.Values) { f.Set("decision", "allow") }, http.StatusFound},
		{"deny", func(f url.Values) { f.Set("decision", "deny") }, http.StatusFound},
		{"neither", func(f url.Values) { f.Set("decision", "perhaps") }, http.StatusBadRequest},
		{"no CSRF token", func(f url.Values) { f.Set("decision", "allow"); f.Del("csrf") }, http.StatusForbidden},
		{"request changed to another redirect URI", func(f url.Values) {
			f.Set("decision", "allow")
			f.Set("request", strings.Replace(f.Get("request"), "8080", "6666", 1))
		}, http.StatusBadRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, p := r.loggedIn(link(""))
			form := p.hidden()
			test.change(form)
			if p := b.post("/accounts/consent", form); p.status != test.status {
				t.Errorf("status %d, want %d\n%s", p.status, test.status, p.body)
			}
		})
	}
	t.Run("form of another session", func(t *testing.T) {
		_, p := r.loggedIn(link(""))
		form := p.hidden()
		form.Set("decision", "allow")
		other, _ := r.loggedIn(link(""))
		if p := other.post("/accounts/consent", form); p.status != http.StatusForbidden {
			t.Errorf("status %d", p.status)
		}
	})
	t.Run("without session", func(t *testing.T) {
		_, p := r.loggedIn(link(""))
		form := p.hidden()
		form.Set("decision", "allow")
		if p := r.browser().post("/accounts/consent", form); p.status != http.StatusSeeOther || p.location.Path != feishu.AuthorizePath {
			t.Errorf("status %d, location %v", p.status, p.location)
		}
	})
}

func TestRedirectBack(t *testing.T) {
	r := newRig(t)
	denied := r.authorize("zhangsan", "deny", link(""))
	if denied.Encode() != "error=access_denied&state=st%26te&tenant=1" {
		t.Errorf("denied: %s", denied.Encode())
	}
	allowed := r.authorize("zhangsan", "allow", link("", "state", ""))
	if _, sent := allowed["state"]; sent || len(allowed.Get("code")) != 32 || allowed.Get("tenant") != "1" {
		t.Errorf("allowed: %s", allowed.Encode())
	}
}

func TestSessionSkipsLoginAndLogoutEndsIt(t *testing.T) {
	r := newRig(t)
	b, p := r.loggedIn(link(""))
	if !strings.Contains(p.body, `id="consent"`) {
		t.Fatal("no consent page")
	}
	if p := b.post("/accounts/logout", p.hidden()); p.status != http.StatusSeeOther {
		t.Errorf("logout: status %d", p.status)
	}
	if p := b.get(link("")); !strings.Contains(p.body, `id="login"`) {
		t.Error("still logged in")
	}
}

func TestSessionExpires(t *testing.T) {
	r := newRig(t)
	b, _ := r.loggedIn(link(""))
	r.clock.Advance(8 * 60 * 60 * 1e9)
	if p := b.get(link("")); !strings.Contains(p.body, `id="login"`) {
		t.Error("still logged in")
	}
}
