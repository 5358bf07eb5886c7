package callback

import (
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/name"
)

// devicePath shows the code of a device authorization (RFC 8628, section 3.3) to
// its user, and waits with him.
const devicePath = "/authorize/device"

// holdFor is how long a page that waits is held back. It is short enough for
// every proxy on the way.
const holdFor = 25 * time.Second

func devicePage(id string) string { return devicePath + "?id=" + url.QueryEscape(id) }

// device shows the code. The page asks for its own successor at once, and that
// one is held back until there is news: so the code stays where it is, without a
// script, and the result comes by itself.
func (h *Handler) device(w http.ResponseWriter, r *http.Request) {
	id := name.Clip(r.URL.Query().Get("id"), 100)
	who := func(issuer string) name.Caller {
		person, _ := h.Login.Person(r, issuer) // nobody is not the user either
		return person
	}
	if r.URL.Query().Has("wait") {
		if _, err := h.Flow.AwaitResult(r.Context(), id, holdFor, who); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	a, shown, err := h.Flow.ShowDevice(r.Context(), id, who)
	switch {
	case err != nil:
		h.fail(w, r, err)
		return
	case a.State != consent.Redirected:
		h.toResult(w, r, a)
		return
	}
	to := shown.Typed
	if to == "" {
		to = shown.At
	}
	w.Header().Set("Refresh", "1; url="+devicePage(a.ID)+"&wait")
	h.Pages.Render(w, r, http.StatusOK, browser.Notice{
		Title: browser.Text{EN: "Agree at " + a.Provider, ZH: "前往 " + a.Provider + " 授权"},
		Text: browser.Text{
			EN: "Open the page below, on this device or on another one, and type this code:",
			ZH: "请在本设备或其他设备上打开下方页面，并输入此代码：",
		},
		Key: shown.UserCode,
		Facts: []browser.Fact{
			{Label: browser.Text{EN: "Page", ZH: "页面"}, Values: []string{shown.At}},
			{Label: browser.Text{EN: "Agent", ZH: "智能体"}, Values: []string{a.Workload.String()}},
			{Label: browser.Text{EN: "Good until", ZH: "有效期至"}, Values: []string{a.Expires.UTC().Format("15:04:05 UTC")}},
		},
		Detail: browser.Text{
			EN: "Use your own account there, and give the code to nobody. The agent goes on by itself as soon as you have agreed; you can close this page.",
			ZH: "请使用你自己的账号，不要把代码交给任何人。同意后，智能体会自动继续；你可以关闭此页面。",
		},
		Links: []browser.Link{{Label: browser.Text{EN: "Open the page", ZH: "打开页面"}, URL: to}},
	})
}
