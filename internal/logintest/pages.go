package logintest

import (
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
)

// This file has what people read, in both languages.

func brand() browser.Brand { return browser.Brand{Name: "Deputy login test"} }

func startPage(c Config) browser.Notice {
	return browser.Notice{
		Brand: brand(), Title: browser.Text{EN: "Login test", ZH: "登录测试"},
		Text: browser.Text{EN: "Log in, and see what an application gets.", ZH: "登录后查看应用获得的信息。"},
		Facts: []browser.Fact{
			{Label: browser.Text{EN: "Issuer", ZH: "签发者"}, Values: []string{c.Issuer}},
			{Label: browser.Text{EN: "Client", ZH: "客户端"}, Values: []string{c.ClientID}},
			{Label: browser.Text{EN: "Callback URL of the client", ZH: "客户端的回调地址"}, Values: []string{c.URL + CallbackPath}},
			{Label: browser.Text{EN: "Scopes", ZH: "权限范围"}, Values: []string{strings.Join(c.Scopes, " ")}},
		},
		Links: []browser.Link{{Label: browser.Text{EN: "Log in", ZH: "登录"}, URL: "/login"}},
	}
}

func loginPage(l Login, logout string) browser.Notice {
	n := browser.Notice{
		Brand: brand(), Mood: browser.OK, Title: browser.Text{EN: "The login works", ZH: "登录成功"},
		Text: browser.Textf("Subject: %s", "用户标识：%s", l.Subject),
		Facts: []browser.Fact{
			{Label: browser.Text{EN: "Verified", ZH: "已验证"}, Values: []string{strings.Join(l.Verified, ", ")}},
			{Label: browser.Text{EN: "Claims of the ID token", ZH: "ID 令牌的声明"}, Values: lines(l.IDToken)},
			{Label: browser.Text{EN: "Claims of the access token", ZH: "访问令牌的声明"}, Values: lines(l.AccessToken)},
		},
		Links: []browser.Link{{Label: browser.Text{EN: "Log in again", ZH: "重新登录"}, URL: "/login"}},
	}
	if l.Token != "" {
		n.Facts = append(n.Facts, browser.Fact{Label: browser.Text{EN: "Access token", ZH: "访问令牌"}, Values: []string{l.Token}})
	}
	if logout != "" {
		n.Links = append(n.Links, browser.Link{Label: browser.Text{EN: "Log out", ZH: "退出登录"}, URL: logout})
	}
	return n
}

func failedPage(l Login) browser.Notice {
	return browser.Notice{
		Brand: brand(), Mood: browser.Failure, Title: browser.Text{EN: "The login does not work", ZH: "登录失败"},
		Text: browser.Textf("What happened: %s.", "发生的情况：%s。", l.Error), Detail: browser.Text{EN: l.Fix, ZH: l.Fix},
		Links: []browser.Link{{Label: browser.Text{EN: "Try again", ZH: "重试"}, URL: "/login"}},
	}
}

func loggedOutPage() browser.Notice {
	return browser.Notice{
		Brand: brand(), Mood: browser.OK, Title: browser.Text{EN: "You are logged out", ZH: "你已退出登录"},
		Links: []browser.Link{{Label: browser.Text{EN: "Log in again", ZH: "重新登录"}, URL: "/login"}},
	}
}
