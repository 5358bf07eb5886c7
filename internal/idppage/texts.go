package idppage

import (
	"errors"
	"unicode"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vendor"
)

// This file has what people read, in both languages.

func textLogInWith(p idp.Provider) browser.Text {
	who := login.ExternalName(p)
	t := browser.Text{EN: "Log in with " + who.EN, ZH: "使用 " + who.ZH + " 登录"}
	if first, _ := utf8.DecodeRuneInString(who.ZH); unicode.Is(unicode.Han, first) {
		t.ZH = "使用" + who.ZH + "登录"
	}
	return t
}

func notice(code string, text, detail browser.Text) browser.Notice {
	return browser.Notice{Mood: browser.Failure, Title: browser.Text{EN: "The login did not work", ZH: "登录未成功"}, Text: text, Detail: detail, Code: code}
}

func disabledNotice() browser.Notice {
	return notice("user_disabled", browser.Text{EN: "Your account here is disabled.", ZH: "你在此处的账号已被停用。"},
		browser.Text{EN: "Ask your administrator.", ZH: "请联系管理员。"})
}

func notLinked() browser.Text {
	return browser.Text{EN: "The account was not linked", ZH: "账号未关联"}
}

// onward leads to where a login or a link can be begun again.
func onward(pool userpool.Pool, begun federation.Finished) browser.Link {
	if begun.Linked {
		return browser.Link{Label: browser.Text{EN: "Back to your account", ZH: "返回你的账户"}, URL: poolpage.Path(pool.Name, "/account")}
	}
	to := poolpage.Path(pool.Name, "/login")
	if begun.ReturnTo != "" { // which was looked at when the login began
		to = poolpage.WithQuery(to, map[string][]string{"return": {begun.ReturnTo}})
	}
	return browser.Link{Label: browser.Text{EN: "Log in again", ZH: "重新登录"}, URL: to}
}

// explained gives err the page that says what to do about it, if it has one,
// and a link to begin again what was begun.
func explained(pool userpool.Pool, begun federation.Finished, err error) error {
	f := fault.As(err)
	again := browser.Text{EN: "Log in again, here or at the application.", ZH: "请在此处或返回应用重新登录。"}
	if begun.Linked {
		again = browser.Text{EN: "Begin again on your account page.", ZH: "请在账户页面重新发起。"}
	}
	administrator := browser.Text{EN: "Tell your administrator; the test of the identity provider says more.", ZH: "请联系管理员；身份源的测试功能会给出详细原因。"}
	var n browser.Notice
	switch f.Code {
	case "idp_not_found":
		n = notice(f.Code, browser.Text{EN: "There is no such way to log in here.", ZH: "此处没有该登录方式。"}, again)
	case "idp_login_gone":
		n = notice(f.Code, browser.Text{EN: "This login has expired, was used before, or was begun in another browser.", ZH: "本次登录已过期、已被使用，或是在另一个浏览器中发起的。"}, again)
	case "idp_link_exists":
		n = notice(f.Code, browser.Text{EN: "This account is linked with another user already. Nothing was changed.", ZH: "该账号已与其他用户关联。未做任何更改。"},
			browser.Text{EN: "If both are yours, log in with that account and unlink it there first.", ZH: "如果两者都属于你，请先用该账号登录并取消关联。"})
	case "idp_denied":
		n = notice(f.Code, browser.Text{EN: "You did not allow it at the identity provider.", ZH: "你在身份源处取消了操作。"}, again)
		n.Mood = browser.Warning
	case "idp_user_unknown":
		n = notice(f.Code, browser.Text{EN: "Nobody here has this account, and accounts are not added by themselves.", ZH: "此处没有与该账号对应的用户，且未开启自动创建。"},
			browser.Text{EN: "Ask your administrator to add you. An e-mail address counts only if both sides have verified it.", ZH: "请联系管理员添加你。只有双方都验证过的邮箱才会被用于关联账号。"})
	case "idp_config":
		n = notice(f.Code, browser.Text{EN: "The identity provider does not accept this service's client id or client secret.", ZH: "身份源不接受本服务的客户端 ID 或密钥。"}, administrator)
	case "idp_answer_invalid":
		n = notice(f.Code, browser.Textf("The identity provider's answer cannot be trusted: %s.", "身份源的返回不可信：%s。", f.Message), again)
	case "idp_refused", "idp_unreachable", "idp_discovery_invalid":
		n = notice(f.Code, browser.Textf("The identity provider did not do its part: %s.", "身份源未能完成登录：%s。", f.Message), administrator)
		var why *vendor.Failure
		if errors.As(err, &why) {
			n.Text = browser.Text{EN: "The identity provider refused: " + why.Explanation + ".", ZH: "身份源拒绝了请求：" + why.ExplanationZH + "。"}
			n.Detail = browser.Text{EN: why.Fix, ZH: why.FixZH}
		}
	default:
		return err
	}
	n.Links = []browser.Link{onward(pool, begun)}
	if begun.Linked {
		n.Title = notLinked()
	}
	return &poolpage.Error{Status: poolpage.Status(f.Kind), Notice: n}
}
