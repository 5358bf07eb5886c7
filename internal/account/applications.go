package account

import (
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// applications is the section with what the person has allowed.
func (h *Home) applications(v visit) (browser.Section, error) {
	section := browser.Section{
		Title: browser.Text{EN: "Applications that you allowed access", ZH: "已授权的应用"},
		Empty: browser.Text{EN: "None so far.", ZH: "暂无。"},
	}
	ctx := v.r.Context()
	list, err := h.Consents.ConsentsOf(ctx, v.pool.Name, v.login.User.ID)
	if err != nil {
		return section, err
	}
	for _, c := range list {
		client, err := h.Clients.Client(ctx, v.pool.Name, c.ClientID)
		if fault.Is(err, fault.NotFound) {
			continue // deleted a moment ago, and the consent with it
		}
		if err != nil {
			return section, err
		}
		row := browser.Row{Title: same(client.Name), Actions: []browser.Action{{
			Label: browser.Text{EN: "Revoke", ZH: "撤销"}, Path: v.path(revokePath), Danger: true,
			Hidden: []browser.Hidden{h.hidden(v, revokePath, c.ClientID), {Name: "client", Value: c.ClientID}},
		}}}
		for _, item := range poolpage.ScopeItems(c.Scopes) {
			row.Details = append(row.Details, browser.Text{EN: item.Title.EN + " (" + item.Detail + ")", ZH: item.Title.ZH + "（" + item.Detail + "）"})
		}
		row.Details = append(row.Details, browser.Textf("Since %s", "自 %s", minute(c.GrantedAt)))
		section.Rows = append(section.Rows, row)
	}
	return section, nil
}

// revoke takes back what was allowed: the application's tokens end, and it has to
// ask again.
func (h *Home) revoke(v visit) error {
	ctx := v.r.Context()
	form, err := h.form(v, revokePath, "client")
	if err != nil {
		return err
	}
	c := userpool.Consent{Pool: v.pool.Name, UserID: v.login.User.ID, ClientID: form.Get("client")}
	p, err := h.Guard.Allow(ctx, v.login.Caller(), userpool.ActionDeleteConsent, c.Resource())
	if err != nil {
		return err
	}
	if err := h.Consents.DeleteConsent(ctx, p.Detail(map[string]string{"client": c.ClientID}), c); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return v.home()
}
