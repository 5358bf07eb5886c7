package op

import (
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// This file has what people read, in both languages.

func textBadRequest() browser.Text {
	return browser.Text{EN: "The application sent a wrong request", ZH: "应用发来的请求有误"}
}

func textLoginFailed() browser.Text {
	return browser.Text{EN: "User name or password is wrong.", ZH: "用户名或密码不正确。"}
}

func textThrottled(wait time.Duration) browser.Text {
	return browser.Textf("Too many failed logins. Try again in %d s.", "登录失败次数过多，请在 %d 秒后重试。", int(wait/time.Second))
}

func loginPage(pool userpool.Pool, f loginForm, token string) browser.Form {
	return browser.Form{
		Brand: pool.Title(), Title: browser.Text{EN: "Log in", ZH: "登录"}, Error: f.problem, Submit: browser.Text{EN: "Log in", ZH: "登录"},
		Action: poolPath(pool.Name, "/login"), Again: poolPath(pool.Name, "/login?") + url.Values{"return": {f.returnTo}}.Encode(),
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "return", Value: f.returnTo}},
		Inputs: []browser.Input{
			{Name: "username", Label: browser.Text{EN: "User name", ZH: "用户名"}, Type: "text", Autocomplete: "username", Value: f.userName, Autofocus: f.userName == ""},
			{Name: "password", Label: browser.Text{EN: "Password", ZH: "密码"}, Type: "password", Autocomplete: "current-password", Autofocus: f.userName != ""},
		},
	}
}

func consentPage(pool userpool.Pool, a authRequest, l Login, token string) browser.Decision {
	d := browser.Decision{
		Brand: pool.Title(), Title: browser.Text{EN: "Allow access?", ZH: "是否允许访问？"}, Who: a.client.Name,
		Text:   browser.Text{EN: "This application asks to:", ZH: "此应用请求："},
		Note:   browser.Textf("You are logged in as %s. Your answer is sent to %s.", "您已登录为 %s。您的选择将发送至 %s。", l.Title, a.redirectURI),
		Action: poolPath(pool.Name, "/consent"), Targets: []string{a.redirectURI},
		Allow:  browser.Text{EN: "Allow access", ZH: "允许访问"},
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "request", Value: a.raw}},
	}
	for _, scope := range userpool.KnownScopes() { // in the order in which they make sense
		if a.scopes.Has(scope) {
			d.Items = append(d.Items, browser.Item{Title: scopeText(scope), Detail: scope})
		}
	}
	return d
}

func scopeText(scope string) browser.Text {
	switch scope {
	case oauth.ScopeOpenID:
		return browser.Text{EN: "Know who you are", ZH: "识别您的身份"}
	case oauth.ScopeProfile:
		return browser.Text{EN: "See your name and user name", ZH: "查看您的姓名和用户名"}
	case oauth.ScopeEmail:
		return browser.Text{EN: "See your e-mail address", ZH: "查看您的邮箱地址"}
	case "phone":
		return browser.Text{EN: "See your phone number", ZH: "查看您的手机号码"}
	default:
		return browser.Text{EN: "Use the scope", ZH: "使用权限"}
	}
}

func loggedInNotice(pool userpool.Pool, u userpool.User) browser.Notice {
	return browser.Notice{
		Brand: pool.Title(), Mood: browser.OK, Title: browser.Text{EN: "You are logged in", ZH: "您已登录"},
		Text:  browser.Textf("Logged in as %s.", "当前登录用户：%s。", u.Title()),
		Links: []browser.Link{{Label: browser.Text{EN: "Log out", ZH: "退出登录"}, URL: poolPath(pool.Name, "/logout")}},
	}
}

func logoutPage(pool userpool.Pool, q logoutRequest, l Login, token string) browser.Decision {
	d := browser.Decision{
		Brand: pool.Title(), Title: browser.Text{EN: "Log out?", ZH: "是否退出登录？"}, Who: q.client.Name,
		Text:   browser.Textf("You are logged in as %s.", "您已登录为 %s。", l.Title),
		Action: poolPath(pool.Name, "/logout/confirm"),
		Allow:  browser.Text{EN: "Log out", ZH: "退出登录"}, Deny: browser.Text{EN: "Stay logged in", ZH: "保持登录"},
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "request", Value: q.raw}},
	}
	if q.to != "" {
		d.Targets = []string{q.to}
	}
	return d
}

func loggedOutNotice(pool userpool.Pool) browser.Notice {
	return browser.Notice{
		Brand: pool.Title(), Mood: browser.OK, Title: browser.Text{EN: "You are logged out", ZH: "您已退出登录"},
		Text:  browser.Text{EN: "You can close this page.", ZH: "您可以关闭此页面。"},
		Links: []browser.Link{{Label: browser.Text{EN: "Log in again", ZH: "重新登录"}, URL: poolPath(pool.Name, "/login")}},
	}
}

func stillLoggedInNotice(pool userpool.Pool, l Login) browser.Notice {
	return browser.Notice{
		Brand: pool.Title(), Mood: browser.OK, Title: browser.Text{EN: "You are still logged in", ZH: "您仍处于登录状态"},
		Text: browser.Textf("Logged in as %s. You can close this page.", "当前登录用户：%s。您可以关闭此页面。", l.Title),
	}
}

// faultNotice is this edge's table from fault to page: by code where there is
// more to say, else by kind.
func faultNotice(f *fault.Error) browser.Notice {
	n := browser.Notice{Mood: browser.Failure, Title: browser.Text{EN: "This did not work", ZH: "操作未成功"}, Code: f.Code}
	switch f.Code {
	case "userpool_not_found":
		n.Text = browser.Text{EN: "There is no user pool at this address.", ZH: "此地址没有对应的用户池。"}
		n.Detail = browser.Text{EN: "Check the pool's name in the issuer URL.", ZH: "请检查签发者地址中的用户池名称。"}
	case "form_foreign":
		n.Text = browser.Text{EN: "This form was not made for this browser, or it is out of date.", ZH: "此表单不是为当前浏览器生成的，或已过期。"}
		n.Detail = browser.Text{EN: "Allow cookies, go back, reload the page and try again.", ZH: "请允许使用 Cookie，返回并刷新页面后重试。"}
	case "return_invalid", "request_changed", "form_parameter_repeated", "form_invalid", "id_token_hint_invalid":
		n.Title = textBadRequest()
		n.Text = browser.Textf("What came: %s.", "收到的请求有问题：%s。", f.Message)
		n.Detail = browser.Text{EN: "Start again at the application.", ZH: "请回到应用重新开始。"}
	case "login_busy":
		n.Mood = browser.Warning
		n.Text = browser.Text{EN: "Too many people are logging in right now.", ZH: "当前登录人数过多。"}
		n.Detail = browser.Text{EN: "Try again in a moment.", ZH: "请稍后重试。"}
	default:
		kindNotice(f, &n)
	}
	return n
}

func kindNotice(f *fault.Error, n *browser.Notice) {
	switch f.Kind {
	case fault.Internal:
		n.Text = browser.Text{EN: "Something went wrong on our side.", ZH: "服务内部出现问题。"}
		n.Detail = browser.Text{EN: "If it happens again, give the request number below to your administrator.", ZH: "如再次出现，请将下方的请求编号告知管理员。"}
	case fault.Unavailable, fault.Throttled:
		n.Mood = browser.Warning
		n.Text = browser.Text{EN: "A part that we need does not answer now.", ZH: "所需的服务暂时没有响应。"}
		n.Detail = browser.Text{EN: "Try again in a moment.", ZH: "请稍后重试。"}
	case fault.TooLarge:
		n.Title = textBadRequest()
		n.Text = browser.Text{EN: "The request is too large.", ZH: "请求过大。"}
	default:
		n.Text = browser.Textf("The answer is: %s.", "返回信息：%s。", f.Message)
		n.Detail = browser.Text{EN: f.Fix, ZH: f.Fix}
	}
}
