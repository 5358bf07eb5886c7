package callback

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/trial"
)

// trialResultPath shows how a trial went, as resultPath does for authorizations.
const trialResultPath = trial.Path + "/result"

// trialCookie names the cookie that marks the browser of one trial.
func trialCookie(id string) string {
	return "trial-" + secret.FromString(id).Digest("trial-cookie").String()[:16]
}

// openTrial is the link of a trial.
func (h *Handler) openTrial(w http.ResponseWriter, r *http.Request) {
	if onlyLooking(r) {
		browser.Headers(w)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	query, err := oauth.ParseQuery(r.URL.RawQuery)
	id := query.Get("link")
	if err != nil || id == "" || len(id) > 200 {
		h.fail(w, r, fault.New(fault.Invalid, "link_malformed", "this address is not a complete link").WithFix("open the link exactly as it was shown"))
		return
	}
	t, redirect, mark, err := h.Trials.Open(r.Context(), secret.FromString(id))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.Site.SetCookie(w, trialCookie(t.ID), mark.RevealString(), trial.Life)
	browser.Headers(w)
	http.Redirect(w, r, redirect, http.StatusFound)
}

// finishTrial takes the callback of a trial.
func (h *Handler) finishTrial(w http.ResponseWriter, r *http.Request, id string, query url.Values) {
	t, err := h.Trials.Finish(r.Context(), trial.Callback{
		State: secret.FromString(query.Get("state")), Code: secret.FromString(h.code(query)), Browser: secret.FromString(h.Site.Cookie(r, trialCookie(id))),
		Error: query.Get("error"), Description: query.Get("error_description"), Issuer: query.Get("iss"), Below: strings.TrimPrefix(r.URL.Path, Path),
	})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	browser.Headers(w)
	http.Redirect(w, r, trialResultPath+"?id="+url.QueryEscape(t.ID), http.StatusSeeOther)
}

// trialResult shows a trial to the browser that went through it.
func (h *Handler) trialResult(w http.ResponseWriter, r *http.Request) {
	id := name.Clip(r.URL.Query().Get("id"), 100)
	t, err := h.Trials.Seen(r.Context(), id, secret.FromString(h.Site.Cookie(r, trialCookie(id))))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	page := browser.List{
		Title: browser.Text{EN: "Does " + t.Provider + " work?", ZH: t.Provider + " 是否可用？"},
		Said:  browser.Text{EN: "It works. You can close this page.", ZH: "可以使用。你可以关闭此页面。"},
		Text: browser.Text{
			EN: "The tokens of this test were used once and forgotten. The terminal shows the same.",
			ZH: "本次测试的令牌只使用一次，不会保存。终端中会显示相同的结果。",
		},
	}
	if !t.Worked() {
		page.Said, page.Alert = browser.Text{}, browser.Text{EN: "It does not work yet.", ZH: "尚不能使用。"}
	}
	section := browser.Section{Title: browser.Text{EN: "Steps", ZH: "步骤"}}
	for _, result := range t.Results {
		section.Rows = append(section.Rows, trialRow(result))
	}
	page.Sections = []browser.Section{section}
	h.Pages.Render(w, r, http.StatusOK, page)
}

func trialRow(r trial.Result) browser.Row {
	row := browser.Row{
		Title: stepTitles[r.Step], Mark: outcomeMarks[r.Outcome], Mood: outcomeMoods[r.Outcome],
		Details: []browser.Text{{EN: sentence(r.Text.EN), ZH: r.Text.ZH + "。"}},
	}
	if r.Fix.EN != "" {
		row.Details = append(row.Details, browser.Text{EN: "What to do: " + r.Fix.EN, ZH: "处理方法：" + r.Fix.ZH})
	}
	if r.Paste != "" {
		row.Details = append(row.Details, browser.Text{EN: r.Paste, ZH: r.Paste})
	}
	if r.Code != "" {
		row.Details = append(row.Details, browser.Text{EN: "Code: " + r.Code, ZH: "代码：" + r.Code})
	}
	return row
}

var stepTitles = map[trial.Step]browser.Text{
	trial.StepEndpoints:     {EN: "Endpoints", ZH: "端点"},
	trial.StepClient:        {EN: "Client id and secret", ZH: "客户端 ID 与密钥"},
	trial.StepScopes:        {EN: "Scopes", ZH: "权限范围"},
	trial.StepAuthorization: {EN: "Authorization page", ZH: "授权页面"},
	trial.StepConsent:       {EN: "Consent", ZH: "用户同意"},
	trial.StepExchange:      {EN: "Code exchange", ZH: "换取令牌"},
	trial.StepAccount:       {EN: "Account", ZH: "账号"},
	trial.StepRefresh:       {EN: "Refresh", ZH: "刷新"},
	trial.StepRequest:       {EN: "Test request", ZH: "测试请求"},
}

var outcomeMarks = map[trial.Outcome]browser.Text{
	trial.Passed:  {EN: "✓ works", ZH: "✓ 正常"},
	trial.Failed:  {EN: "✗ failed", ZH: "✗ 失败"},
	trial.Skipped: {EN: "not tried", ZH: "未测试"},
}

var outcomeMoods = map[trial.Outcome]browser.Mood{trial.Passed: browser.OK, trial.Failed: browser.Failure, trial.Skipped: browser.Warning}
