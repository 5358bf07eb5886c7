package account

import (
	"net/http"
	"slices"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// The paths of the forms about accounts elsewhere, in a pool.
const (
	linkPath   = "/account/links/begin"
	unlinkPath = "/account/links/remove"
)

// external is the section with the person's accounts at the pool's identity
// providers, and those that he could link. It has no title if there are none.
func (h *Home) external(v visit) (section browser.Section, targets []string, err error) {
	links, err := h.Federation.LinksOf(v.r.Context(), v.pool.Name, v.login.User.ID)
	if err != nil {
		return section, nil, err
	}
	providers, err := h.Federation.Enabled(v.r.Context(), v.pool.Name)
	if err != nil || len(links)+len(providers) == 0 {
		return section, nil, err
	}
	section.Title = browser.Text{EN: "Accounts elsewhere", ZH: "外部账号"}
	section.Text = browser.Text{EN: "With a linked account you log in here without a password.", ZH: "关联后，你可以用该账号登录，无需密码。"}
	for _, l := range links {
		row := browser.Row{Title: login.ExternalName(l.Provider), Mark: browser.Text{EN: "linked", ZH: "已关联"},
			Details: []browser.Text{browser.Textf("Since %s", "关联于 %s", minute(l.CreatedAt))},
			Actions: []browser.Action{{
				Label: browser.Text{EN: "Unlink", ZH: "取消关联"}, Path: v.path(unlinkPath), Danger: true,
				Hidden: []browser.Hidden{
					h.hidden(v, unlinkPath, l.ProviderID, l.Issuer, l.Subject),
					{Name: "provider", Value: l.ProviderID}, {Name: "issuer", Value: l.Issuer}, {Name: "subject", Value: l.Subject},
				},
			}},
		}
		if l.Name != "" {
			row.Details = slices.Insert(row.Details, 0, same(l.Name))
		}
		section.Rows = append(section.Rows, row)
	}
	for _, p := range providers {
		if slices.ContainsFunc(links, func(l federation.Linked) bool { return l.ProviderID == p.ID }) {
			continue
		}
		section.Rows = append(section.Rows, browser.Row{Title: login.ExternalName(p), Actions: []browser.Action{{
			Label: browser.Text{EN: "Link", ZH: "关联"}, Path: v.path(linkPath),
			Hidden: []browser.Hidden{h.hidden(v, linkPath, p.Name), {Name: "idp", Value: p.Name}},
		}}})
		targets = append(targets, p.Issuer, p.Endpoints.Authorization, "https://") // the types that need no address are at https ones
	}
	return section, targets, nil
}

// link sends the person away to prove that an account is his.
func (h *Home) link(v visit) error {
	form, err := h.form(v, linkPath, "idp")
	if err != nil {
		return err
	}
	token := h.Site.Cookie(v.r, login.ExternalCookie(v.pool))
	if token == "" {
		token = name.NewToken("fb")
	}
	to, err := h.Federation.BeginLink(v.r.Context(), v.login.Session, form.Get("idp"), secret.FromString(token))
	if err != nil {
		return err
	}
	h.Site.SetCookie(v.w, login.ExternalCookie(v.pool), token, idp.LoginLifetime)
	poolpage.Redirect(v.w, to, to)
	return nil
}

// unlink takes an account away, unless it is the only way in.
func (h *Home) unlink(v visit) error {
	form, err := h.form(v, unlinkPath, "provider", "issuer", "subject")
	if err != nil {
		return err
	}
	otherwise, err := h.otherwise(v)
	if err != nil {
		return err
	}
	err = h.Federation.Unlink(v.r.Context(), v.login.User, form.Get("provider"), form.Get("issuer"), form.Get("subject"), otherwise)
	if fault.HasCode(err, "idp_only_way") {
		return &poolpage.Error{Status: http.StatusConflict, Notice: browser.Notice{
			Brand: v.brand, Mood: browser.Warning, Code: "idp_only_way",
			Title: browser.Text{EN: "This is your only way to log in", ZH: "这是你唯一的登录方式"},
			Text: browser.Text{
				EN: "Nothing was changed. Set a password, add a passkey, or link another account first; if you never had a password, your administrator can give you one.",
				ZH: "未做任何更改。请先设置密码、添加通行密钥或关联其他账号；如果你从未设置过密码，管理员可以为你设置。",
			},
			Links: []browser.Link{{Label: browser.Text{EN: "Back to your account", ZH: "返回你的账户"}, URL: v.path(homePath)}},
		}}
	}
	if err != nil && !fault.HasCode(err, "idp_link_not_found") { // twice is as good as once
		return err
	}
	return v.home()
}

// otherwise reports whether the person has a password or a passkey.
func (h *Home) otherwise(v visit) (bool, error) {
	if !v.login.User.PasswordHash.Empty() {
		return true, nil
	}
	if v.pool.Settings.SecondFactor == userpool.FactorOff {
		return false, nil
	}
	set, err := h.Factors.Set(v.r.Context(), v.owner())
	return len(set.Of(factor.Passkey)) > 0, err
}
