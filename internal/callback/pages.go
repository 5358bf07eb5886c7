package callback

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// done tells how an authorization ended.
func (h *Handler) done(w http.ResponseWriter, r *http.Request, a consent.Authorization) {
	if a.State == consent.Completed {
		h.Pages.Render(w, r, http.StatusOK, browser.Notice{
			Mood:  browser.OK,
			Title: browser.Text{EN: "Authorized", ZH: "授权成功"},
			Text: browser.Text{
				EN: "The agent goes on by itself. You can close this page.",
				ZH: "智能体会自动继续。你可以关闭此页面。",
			},
			Facts: []browser.Fact{
				{Label: browser.Text{EN: "Agent", ZH: "智能体"}, Values: []string{a.Workload.String()}},
				{Label: browser.Text{EN: "May use", ZH: "可使用"}, Values: []string{a.Provider}},
			},
		})
		return
	}
	detail := browser.Text{EN: "Nothing was stored. You can close this page; ask the agent again to get a new link.", ZH: "未保存任何内容。你可以关闭此页面；再次询问智能体即可获得新链接。"}
	if a.Reason == "scopes_not_granted" {
		detail = browser.Text{
			EN: "What you did grant is kept. If you left something out by mistake, ask the agent again to get a new link and tick everything.",
			ZH: "你已授予的权限会被保留。如果是无意中漏选，请再次询问智能体以获得新链接，并勾选全部权限。",
		}
	}
	h.Pages.Render(w, r, http.StatusOK, browser.Notice{
		Mood: browser.Warning, Title: browser.Text{EN: "Not authorized", ZH: "未授权"}, Text: why(a), Detail: detail, Code: a.Reason,
	})
}

// whyChinese has the reasons for which an authorization fails without a third
// party's fault, in Chinese.
var whyChinese = map[string]string{
	"access_denied":      "你没有同意授权。",
	"grant_changed":      "你在第三方的授权在此期间发生了变化。",
	"provider_changed":   "你在第三方期间，凭据提供方的设置发生了变化。",
	"scopes_not_granted": "第三方没有授予该智能体所需的全部权限。",
}

// why tells why an authorization did not succeed.
func why(a consent.Authorization) browser.Text {
	t := browser.Text{EN: sentence(a.Message), ZH: whyChinese[a.Reason]}
	if t.EN == "" {
		t.EN = "The authorization did not succeed."
	}
	if t.ZH == "" {
		t.ZH = "授权没有完成：" + t.EN // what a third party's error means is kept in English
	}
	return t
}

// notYours is the page for everybody but the user that a link was made for.
func (h *Handler) notYours(w http.ResponseWriter, r *http.Request, err error, local string) {
	f := fault.As(err)
	h.log(r, f)
	h.Pages.Render(w, r, http.StatusForbidden, browser.Notice{
		Mood:  browser.Failure,
		Title: browser.Text{EN: "This link was made for somebody else", ZH: "此链接属于其他用户"},
		Text: browser.Text{
			EN: "An agent asked for the authorization of another user. If somebody sent you this link, do not go on: your account would serve him. Nothing was stored.",
			ZH: "智能体请求的是另一位用户的授权。如果是他人把此链接发给你，请不要继续：否则你的账号将为其所用。未保存任何内容。",
		},
		Detail: browser.Text{
			EN: "If you asked the agent yourself, log in here as the same user.",
			ZH: "如果是你本人向智能体发起的请求，请在此以同一用户登录。",
		},
		Links: []browser.Link{{Label: browser.Text{EN: "Log in as another user", ZH: "以其他用户登录"}, URL: local + "&" + againParam + "=again"}},
		Code:  f.Code,
	})
}

// statuses is this edge's table from kind to wire.
var statuses = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.Unauthenticated: http.StatusUnauthorized, fault.Forbidden: http.StatusForbidden,
	fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Gone: http.StatusGone, fault.TooLarge: http.StatusRequestEntityTooLarge,
	fault.Throttled: http.StatusTooManyRequests, fault.Upstream: http.StatusBadGateway, fault.Unavailable: http.StatusServiceUnavailable,
	fault.Internal: http.StatusInternalServerError,
}

// chinese has the faults of these pages in Chinese; what is not in it is shown
// in English.
var chinese = map[string]string{
	"authorization_not_found": "未找到此授权。",
	"link_malformed":          "此地址不是完整的授权链接。请原样打开智能体给出的链接。",
	"link_unknown":            "未找到此链接。请让智能体重新给出链接。",
	"link_expired":            "此链接已过期。请再次询问智能体以获得新链接。",
	"link_used":               "此链接已被使用。如仍需要授权，请再次询问智能体以获得新链接。",
	"callback_mismatch":       "第三方的返回到达了与约定不同的地址。请在第三方登记此凭据提供方的回调地址；如果无人改动过，则可能有人试图混淆两个第三方。未保存任何内容。",
	"issuer_mismatch":         "该返回并非来自所询问的第三方。未保存任何内容。",
	"state_unknown":           "第三方的这次返回不属于任何等待中的授权。如果你是后退或刷新了页面，则已完成；否则请再次询问智能体。",
	"browser_changed":         "授权是在另一个浏览器中开始的。请在同一浏览器中打开链接并同意。未保存任何内容。",
	"link_not_yours":          "此链接属于其他用户。未保存任何内容。",
	"trial_not_found":         "未找到此测试。",
	"provider_not_found":      "未找到此凭据提供方。",
	"callback_malformed":      "第三方返回的参数不完整（缺少授权码或 state）。请再次询问智能体以获得新链接；如果反复出现，请让管理员检查第三方的设置。未保存任何内容。",
	"form_malformed":          "表单不完整。请重新打开链接。",
	"form_foreign":            "此表单不属于该浏览器或已过期。请允许 Cookie，返回并刷新后重试。",
	"login_required":          "你已退出登录。请重新打开链接。",
	"user_not_of_pool":        "此授权的用户不属于本 Deputy 的用户池。",
}

// titles say at a glance which of the things has happened that people meet, be
// it by chance or because somebody leads them here.
var titles = map[string]browser.Text{
	"authorization_not_found": {EN: "There is no such authorization", ZH: "授权不存在"},
	"link_malformed":          {EN: "This link is not complete", ZH: "链接不完整"},
	"link_unknown":            {EN: "This link leads nowhere", ZH: "链接无效"},
	"link_expired":            {EN: "Too late", ZH: "已超时"},
	"link_used":               {EN: "This link works only once", ZH: "链接只能使用一次"},
	"link_not_yours":          {EN: "This is for somebody else", ZH: "此授权属于其他用户"}, // the answer; for the link there is a page of its own
	"state_unknown":           {EN: "Nothing is waiting for this", ZH: "没有等待中的授权"},
	"browser_changed":         {EN: "This is another browser", ZH: "浏览器不一致"},
	"callback_malformed":      {EN: "The answer is not complete", ZH: "返回不完整"},
	"issuer_mismatch":         {EN: "The answer is from somebody else", ZH: "返回并非来自该第三方"},
	"callback_mismatch":       {EN: "The answer came to the wrong address", ZH: "返回地址不符"},
	"form_malformed":          {EN: "The form is not complete", ZH: "表单不完整"},
	"form_foreign":            {EN: "The form is not from this browser", ZH: "表单不属于该浏览器"},
	"login_required":          {EN: "You are logged out", ZH: "你已退出登录"},
}

// fail tells a person what went wrong.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.As(err)
	h.log(r, f)
	en := browser.Text{EN: sentence(f.Message), ZH: sentence(f.Message)}
	fix := browser.Text{EN: sentence(f.Fix), ZH: sentence(f.Fix)}
	if zh, ok := chinese[f.Code]; ok {
		en.ZH, fix.ZH = zh, ""
	}
	title, ok := titles[f.Code]
	if !ok {
		title = browser.Text{EN: "This did not work", ZH: "操作未成功"}
	}
	h.Pages.Render(w, r, statuses[f.Kind], browser.Notice{Mood: browser.Failure, Title: title, Text: en, Detail: fix, Code: f.Code})
}

// sentence makes a sentence of a fault's message.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

// names lists the names of the parameters that came, never their values.
func names(query url.Values) string {
	if len(query) == 0 {
		return "no parameters"
	}
	return name.Clip(strings.Join(slices.Sorted(maps.Keys(query)), ", "), 200)
}

// stateOf returns the state parameter of a redirect that Deputy made itself.
func stateOf(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil {
		return ""
	}
	return u.Query().Get("state")
}
