package op

import (
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/userpool"
)

// This file has what people read, in both languages.

func consentPage(pool userpool.Pool, brand browser.Brand, a authRequest, l login.Login, token string) browser.Decision {
	d := browser.Decision{
		Brand: brand, Title: browser.Text{EN: "Allow access?", ZH: "是否允许访问？"}, Who: a.client.Title(),
		Text:   browser.Text{EN: "This application asks to:", ZH: "此应用请求："},
		Note:   browser.Textf("You are logged in as %s. Your answer is sent to %s.", "你已登录为 %s。你的选择将发送至 %s。", l.Title, a.redirectURI),
		Action: poolpage.Path(pool.Name, "/consent"), Targets: []string{a.redirectURI},
		Allow:  browser.Text{EN: "Allow access", ZH: "允许访问"},
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "request", Value: a.raw}},
		Items:  askedItems(a.scopes, a.resources),
	}
	if a.client.Origin == userpool.ByDocument { // its name is what it says itself; its address is what it has
		d.Who = registration.Host(a.client.ID)
		if a.client.DisplayName != "" {
			d.Text = browser.Textf("This application, which calls itself “%s”, asks to:", "此应用自称“%s”，请求：", a.client.DisplayName)
		}
	}
	return d
}

// askedItems are the scopes in words, and then the resources.
func askedItems(scopes name.Scopes, resources []string) []browser.Item {
	items := poolpage.ScopeItems(scopes)
	for _, resource := range resources {
		items = append(items, browser.Item{Title: browser.Text{EN: "Act for you at another service", ZH: "代表你访问其他服务"}, Detail: resource})
	}
	return items
}

func logoutPage(pool userpool.Pool, brand browser.Brand, q logoutRequest, l login.Login, token string) browser.Decision {
	d := browser.Decision{
		Brand: brand, Title: browser.Text{EN: "Log out?", ZH: "是否退出登录？"}, Who: q.client.Title(),
		Text:   browser.Textf("You are logged in as %s.", "你已登录为 %s。", l.Title),
		Action: poolpage.Path(pool.Name, "/logout/confirm"),
		Allow:  browser.Text{EN: "Log out", ZH: "退出登录"}, Deny: browser.Text{EN: "Stay logged in", ZH: "保持登录"},
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "request", Value: q.raw}},
	}
	if q.to != "" {
		d.Targets = []string{q.to}
	}
	return d
}

func loggedOutNotice(brand browser.Brand, pool userpool.Pool) browser.Notice {
	return browser.Notice{
		Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "You are logged out", ZH: "你已退出登录"},
		Text:  browser.Text{EN: "You can close this page.", ZH: "你可以关闭此页面。"},
		Links: []browser.Link{{Label: browser.Text{EN: "Log in again", ZH: "重新登录"}, URL: poolpage.Path(pool.Name, "/login")}},
	}
}

func stillLoggedInNotice(brand browser.Brand, pool userpool.Pool, l login.Login) browser.Notice {
	return browser.Notice{
		Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "You are still logged in", ZH: "你仍处于登录状态"},
		Text: browser.Textf("Logged in as %s. You can close this page.", "当前登录用户：%s。你可以关闭此页面。", l.Title),
	}
}
