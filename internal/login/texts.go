package login

import (
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// This file has what people read, in both languages.

func textLoginFailed() browser.Text {
	return browser.Text{EN: "User name or password is wrong.", ZH: "用户名或密码不正确。"}
}

// Throttled says how long to wait after too many failures.
func Throttled(wait time.Duration) browser.Text {
	return browser.Textf("Too many failed logins. Try again in %d s.", "登录失败次数过多，请在 %d 秒后重试。", int(wait/time.Second))
}

func loginPage(pool userpool.Pool, brand browser.Brand, f loginForm, token string) browser.Form {
	return browser.Form{
		Brand: brand, Title: browser.Text{EN: "Log in", ZH: "登录"}, Error: f.problem, Submit: browser.Text{EN: "Log in", ZH: "登录"},
		Action: poolpage.Path(pool.Name, "/login"), Again: poolpage.Path(pool.Name, "/login?") + url.Values{"return": {f.returnTo}}.Encode(),
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "return", Value: f.returnTo}},
		Inputs: []browser.Input{
			{Name: "username", Label: browser.Text{EN: "User name", ZH: "用户名"}, Type: "text", Autocomplete: "username", Value: f.userName, Autofocus: f.userName == ""},
			{Name: "password", Label: browser.Text{EN: "Password", ZH: "密码"}, Type: "password", Autocomplete: "current-password", Autofocus: f.userName != ""},
		},
	}
}

func loggedInNotice(pool userpool.Pool, brand browser.Brand, u userpool.User) browser.Notice {
	return browser.Notice{
		Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "You are logged in", ZH: "你已登录"},
		Text: browser.Textf("Logged in as %s.", "当前登录用户：%s。", u.Title()),
		Links: []browser.Link{
			{Label: browser.Text{EN: "Your account", ZH: "你的账户"}, URL: poolpage.Path(pool.Name, "/account")},
			{Label: browser.Text{EN: "Log out", ZH: "退出登录"}, URL: poolpage.Path(pool.Name, "/logout")},
		},
	}
}
