package poolpage

import (
	"slices"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/userpool"
)

// BadRequest is the title of pages about a request that an application got wrong.
func BadRequest() browser.Text {
	return browser.Text{EN: "The application sent a wrong request", ZH: "应用发来的请求有误"}
}

// faultNotice is the pool edges' table from fault to page: by code where there is
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
		n.Title = BadRequest()
		n.Text = browser.Textf("What came: %s.", "收到的请求有问题：%s。", f.Message)
		n.Detail = browser.Text{EN: "Start again at the application.", ZH: "请回到应用重新开始。"}
	case "proof_used":
		n.Title = browser.Text{EN: "This link is not good any more", ZH: "此链接已失效"}
		n.Text = browser.Text{EN: "It was used before, or a newer one was sent, or its 30 minutes are over.", ZH: "链接已被使用、已有更新的链接，或已超过 30 分钟。"}
		n.Detail = browser.Text{EN: "Ask for a new one at the login page.", ZH: "请在登录页面重新申请。"}
	case "recovery_off":
		n.Text = browser.Text{EN: "This is not offered here.", ZH: "此处不提供该功能。"}
		n.Detail = browser.Text{EN: "Ask an administrator.", ZH: "请联系管理员。"}
	case "recovery_throttled":
		n.Mood = browser.Warning
		n.Text = browser.Text{EN: "That was asked for too often.", ZH: "请求过于频繁。"}
		n.Detail = browser.Text{EN: "Wait ten minutes and try again.", ZH: "请等待十分钟后重试。"}
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
		n.Title = BadRequest()
		n.Text = browser.Text{EN: "The request is too large.", ZH: "请求过大。"}
	default:
		n.Text = browser.Textf("The answer is: %s.", "返回信息：%s。", f.Message)
		n.Detail = browser.Text{EN: f.Fix, ZH: f.Fix}
	}
}

// ScopeItems are scopes in words: those that the pool knows in the order in which
// they make sense, then those of resources.
func ScopeItems(scopes name.Scopes) []browser.Item {
	var items []browser.Item
	known := userpool.KnownScopes()
	of := slices.DeleteFunc(scopes.List(), func(s string) bool { return slices.Contains(known, s) })
	for _, scope := range append(known, of...) {
		if scopes.Has(scope) {
			items = append(items, browser.Item{Title: scopeText(scope), Detail: scope})
		}
	}
	return items
}

func scopeText(scope string) browser.Text {
	switch scope {
	case oauth.ScopeOpenID:
		return browser.Text{EN: "Know who you are", ZH: "识别你的身份"}
	case oauth.ScopeProfile:
		return browser.Text{EN: "See your name and user name", ZH: "查看你的姓名和用户名"}
	case oauth.ScopeEmail:
		return browser.Text{EN: "See your e-mail address", ZH: "查看你的邮箱地址"}
	case "phone":
		return browser.Text{EN: "See your phone number", ZH: "查看你的手机号码"}
	case "groups":
		return browser.Text{EN: "See which groups you are in", ZH: "查看你所在的用户组"}
	case oauth.ScopeOfflineAccess:
		return browser.Text{EN: "Keep access after you have logged out", ZH: "在你退出登录后继续访问"}
	default:
		return browser.Text{EN: "Use the scope", ZH: "使用权限"}
	}
}
