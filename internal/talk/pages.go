package talk

import (
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/ingress"
)

// This file has what people read, in both languages.

func loginPage(v ingress.Visit) browser.Notice {
	return browser.Notice{
		Title: browser.Textf("Talk to %s", "与 %s 对话", v.Workload.Name),
		Text:  browser.Text{EN: "This agent acts for you, so it has to know who you are.", ZH: "此智能体以你的名义行事，因此需要先确认你的身份。"},
		Facts: []browser.Fact{{Label: browser.Text{EN: "You log in at", ZH: "登录地址"}, Values: []string{v.Issuer}}},
		Links: []browser.Link{
			{Label: browser.Text{EN: "Log in", ZH: "登录"}, URL: v.Path + "login"},
			{Label: browser.Text{EN: "Log in as somebody else", ZH: "使用其他账号登录"}, URL: v.Path + "login?other=1"},
		},
	}
}

func failedPage(v ingress.Visit, f *fault.Error) browser.Notice {
	n := browser.Notice{
		Mood: browser.Failure, Title: browser.Text{EN: "You are not logged in", ZH: "未登录"}, Code: f.Code,
		Text: browser.Textf("What happened: %s.", "发生的情况：%s。", f.Message), Detail: browser.Text{EN: f.Fix, ZH: f.Fix},
		Links: []browser.Link{{Label: browser.Text{EN: "Back to the agent", ZH: "返回智能体页面"}, URL: v.Path}},
	}
	if f.Code == "login_denied" {
		n.Mood = browser.Warning
	}
	return n
}

func talkPage(v ingress.Visit, who, identity, logout string) browser.Talk {
	return browser.Talk{
		Title: browser.Text{EN: v.Workload.Name, ZH: v.Workload.Name}, Action: v.Path + "invoke", Links: identity, Again: v.Path,
		Who: browser.Textf("Logged in as %s", "已登录：%s", who), Logout: v.Path + "logout", Hidden: []browser.Hidden{{Name: browser.FormField, Value: logout}},
	}
}
