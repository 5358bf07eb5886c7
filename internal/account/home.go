package account

import (
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The paths of the pages, in a pool.
const (
	homePath      = "/account"
	endPath       = "/account/sessions/end"
	endOthersPath = "/account/sessions/end-others"
	revokePath    = "/account/applications/revoke"
)

// Home serves the page that shows people who they are here, where they are
// logged in, and which applications they allowed what. All fields are required.
type Home struct {
	Base
	Clients  userpool.Clients
	Sessions userpool.Sessions
	Consents userpool.Consents
	Guard    *guard.Guard

	Federation *federation.Federation
	Factors    *factor.Registry
}

// Mount adds the pages to mux.
func (h *Home) Mount(mux *http.ServeMux) {
	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET " + homePath, h.Page(h.as(anytime, h.show))},
		{"POST " + endPath, h.Form(h.as(anytime, h.end))},
		{"POST " + endOthersPath, h.Form(h.as(anytime, h.endOthers))},
		{"POST " + linkPath, h.Form(h.as(recently, h.link))},
		{"POST " + unlinkPath, h.Form(h.as(recently, h.unlink))},
		{"POST " + revokePath, h.Form(h.as(anytime, h.revoke))},
	} {
		mux.Handle(poolpage.Pattern(endpoint.pattern), endpoint.handler)
	}
}

// show renders one section for each file of this package that has one.
func (h *Home) show(v visit) error {
	page := browser.List{
		Brand: v.brand, Title: browser.Text{EN: "Your account", ZH: "你的账户"}, Sections: []browser.Section{whoSection(v)},
		Links: []browser.Link{
			{Label: browser.Text{EN: "Password and security", ZH: "密码与安全"}, URL: v.path(securityPath)},
			agentsLink(v),
			{Label: browser.Text{EN: "Log out", ZH: "退出登录"}, URL: v.path("/logout")},
		},
	}
	for _, section := range []func(visit) (browser.Section, error){h.sessions, h.applications} {
		s, err := section(v)
		if err != nil {
			return err
		}
		page.Sections = append(page.Sections, s)
	}
	external, targets, err := h.external(v)
	if err != nil {
		return err
	}
	if !external.Title.IsZero() {
		page.Sections, page.Targets = slices.Insert(page.Sections, 1, external), targets
	}
	h.Pages.Render(v.w, v.r, http.StatusOK, page)
	return nil
}

// home goes back to the page.
func (v visit) home() error {
	poolpage.Redirect(v.w, v.path(homePath))
	return nil
}

func whoSection(v visit) browser.Section {
	u := v.login.User
	who := browser.Row{Title: same(u.Title()), Details: []browser.Text{browser.Textf("User name: %s", "用户名：%s", u.UserName)}}
	if u.Email != "" {
		who.Details = append(who.Details, browser.Textf("E-mail: %s", "邮箱：%s", u.Email))
		if u.EmailVerified {
			who.Mark = browser.Text{EN: "e-mail verified", ZH: "邮箱已验证"}
		}
	}
	if u.Phone != "" {
		who.Details = append(who.Details, browser.Textf("Phone: %s", "手机：%s", u.Phone))
	}
	for _, group := range u.Groups {
		who.Details = append(who.Details, browser.Textf("Group: %s", "用户组：%s", group))
	}
	return browser.Section{Title: browser.Text{EN: "Who you are here", ZH: "你的身份"}, Rows: []browser.Row{who}}
}

// same is a text that is the same in every language.
func same(s string) browser.Text { return browser.Text{EN: s, ZH: s} }
