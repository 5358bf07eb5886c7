package e2e_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// The forms about accounts elsewhere, on the account page.
const (
	feishuButton = `a[href*="/login/feishu/begin"]`
	linkForm     = `form[action$="/account/links/begin"]`
	unlinkForm   = `form[action$="/account/links/remove"]`
)

// startFeishuPool is startPool with a small Feishu by which people log in. It
// returns the addresses of both.
func startFeishuPool(t *testing.T) (pool, party string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	pool, operator := startPoolBeside(t, srv.Listener.Addr().String())
	scopes := []string{"contact:user.base:readonly", "contact:contact.base:readonly"}
	small, err := feishu.New(feishu.Config{Users: feishu.DefaultUsers(), Apps: []feishu.App{{
		ID: "cli_login", Secret: "app-secret", Name: "研发团队 People", RedirectURIs: []string{pool + "/login/feishu/callback"}, Scopes: scopes,
	}}})
	must(t, err)
	srv.Config.Handler = small.Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	made, err := operator.CreateIdentityProvider(t.Context(), "people", apiclient.IdentityProvider{
		Name: "feishu", Type: "feishu", ClientID: "cli_login", CreateUsers: true, Endpoints: map[string]string{
			"authorization": srv.URL + feishu.AuthorizePath, "token": srv.URL + feishu.TokenPathV3, "userInfo": srv.URL + feishu.UserInfoPath, "api": srv.URL + "/open-apis",
		},
	}, secret.FromString("app-secret"))
	must(t, err)
	for _, c := range made.Checks {
		if !c.OK {
			t.Errorf("the live test says: %s", c.Message)
		}
	}
	return pool, srv.URL
}

// atFeishu logs in there and answers whether the app may know who it is.
func (p tab) atFeishu(party, user, decision string) {
	p.t.Helper()
	p.do(see("#login #password"))
	p.at(party)
	p.do(write("#login #username", user), write("#login #password", "sandbox"), click("#login button"), see("#consent"))
	p.at(party)
	p.shoot("feishu-consent")
	p.do(click(`#consent button[value="` + decision + `"]`))
}

func (p tab) says(selector, want string) {
	p.t.Helper()
	if text := p.text(selector); !strings.Contains(text, want) {
		p.t.Errorf("%s says %q, want %q", selector, text, want)
	}
}

// TestFeishuLoginInABrowser logs two people in at Feishu, each in his language.
func TestFeishuLoginInABrowser(t *testing.T) {
	pool, party := startFeishuPool(t)
	origin := strings.TrimSuffix(pool, "/userpool/people")
	for _, who := range []struct{ language, user, name, button, section, onlyWay, denied string }{
		{"zh-CN", "zhangsan", "张三", "使用飞书登录", "外部账号", "这是你唯一的登录方式", "你在身份源处取消了操作"},
		{"en-US", "alice", "王爱丽", "Log in with Feishu", "Accounts elsewhere", "This is your only way to log in", "You did not allow it"},
	} {
		p := openBrowser(t, who.language)
		p.do(open(pool+"/login"), see(feishuButton))
		p.says(feishuButton, who.button)
		p.shoot("feishu-login-" + who.language)
		p.do(click(feishuButton))
		p.atFeishu(party, who.user, "allow")
		p.do(see(unlinkForm))
		p.at(origin)
		p.says("main", who.name)
		p.says("main", who.section)
		if location := read(p, chromedp.Location()); strings.Contains(location, "code=") || strings.Contains(location, "state=") {
			t.Errorf("Feishu's answer stays in the address bar: %s", location)
		}
		p.shoot("feishu-account-" + who.language)
		p.problems.expect("409 /userpool/people/account/links/remove")
		p.do(click(unlinkForm+" button"), see(".mood.warning"))
		p.says("h1", who.onlyWay)
		p.shoot("feishu-only-way-" + who.language)

		// Feishu remembers who is logged in there, and asks for consent again.
		p.problems.expect("403 /userpool/people/login/feishu/callback")
		p.do(open(pool+"/login"), click(feishuButton), click(`#consent button[value="deny"]`), see(".mood.warning"))
		p.at(origin)
		p.says("main", who.denied)
		p.shoot("feishu-denied-" + who.language)
		p.problems.check(t)
	}
}

// TestLinkingInABrowser links an account at Feishu with a user who has a
// password, logs in by it, and unlinks it.
func TestLinkingInABrowser(t *testing.T) {
	pool, party := startFeishuPool(t)
	p := openBrowser(t, "en-US")
	p.password(pool, "li", ".mood.ok")
	p.do(open(pool+"/account"), see(linkForm))
	p.shootBoth("account-not-linked", pageLanguage)
	p.do(click(linkForm + " button"))
	p.atFeishu(party, "lisi", "allow")
	p.do(see(unlinkForm))
	p.at(strings.TrimSuffix(pool, "/userpool/people"))
	p.says("main", "李四")
	p.shootBoth("account-linked", pageLanguage)

	p.forget()
	p.do(open(pool+"/login"), click(feishuButton))
	p.atFeishu(party, "lisi", "allow")
	p.do(see(unlinkForm))
	p.says("main", "User name: li")
	p.do(click(unlinkForm+" button"), see(linkForm))
	if n := p.count(unlinkForm); n != 0 {
		t.Errorf("%d accounts are still linked", n)
	}
	p.problems.check(t)
}
