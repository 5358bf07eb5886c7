package account

import (
	"context"
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/vault"
)

// The paths of the page, in a pool.
const (
	agentsPath     = "/account/agents"
	disconnectPath = "/account/agents/disconnect"
	withdrawPath   = "/account/agents/withdraw"
)

// maxShown bounds what one person is shown of his grants, and of his delegations.
const maxShown = 200

// Agents serves the page that shows people what they gave agents at third
// parties, and lets them take it back. All fields are required.
type Agents struct {
	Base
	Vault *vault.Vault
	// Words says what scopes of a provider mean.
	Words func(ctx context.Context, pool, provider string, scopes name.Scopes) []browser.Item
}

// Mount adds the page to mux.
func (a *Agents) Mount(mux *http.ServeMux) {
	for _, endpoint := range []struct {
		pattern string
		handler http.Handler
	}{
		{"GET " + agentsPath, a.Page(a.as(anytime, a.show))},
		{"POST " + disconnectPath, a.Form(a.as(anytime, a.disconnect))},
		{"POST " + withdrawPath, a.Form(a.as(anytime, a.withdraw))},
	} {
		mux.Handle(poolpage.Pattern(endpoint.pattern), endpoint.handler)
	}
}

// agentsLink leads to the page.
func agentsLink(v visit) browser.Link {
	return browser.Link{Label: browser.Text{EN: "Agents that act for you", ZH: "代表你行事的智能体"}, URL: v.path(agentsPath)}
}

// show renders a section for each grant: what was given, and which agents may
// use it.
func (a *Agents) show(v visit) error {
	ctx := v.r.Context()
	mine := vault.Filter{Limit: maxShown}.Of(v.login.Caller().User)
	grants, err := a.Vault.Held.Grants(ctx, mine)
	if err != nil {
		return err
	}
	holdings, err := a.Vault.Held.Delegations(ctx, mine)
	if err != nil {
		return err
	}
	used := map[string][]vault.Holding{}
	for _, h := range holdings {
		used[h.Grant.ID] = append(used[h.Grant.ID], h)
	}
	page := browser.List{
		Brand: v.brand, Title: browser.Text{EN: "Agents that act for you", ZH: "代表你行事的智能体"},
		Text: browser.Text{
			EN: "What you disconnect ends at once for all agents, and is revoked at the other service, too.",
			ZH: "断开连接后，所有智能体立即失去访问权限，第三方服务上的授权也会被撤销。",
		},
		Links: []browser.Link{{Label: browser.Text{EN: "Your account", ZH: "你的账户"}, URL: v.path(homePath)}},
	}
	for _, g := range grants {
		page.Sections = append(page.Sections, a.section(v, g, used[g.ID]))
	}
	if len(grants) == 0 {
		page.Sections = []browser.Section{{Empty: browser.Text{EN: "No agent may use anything of yours so far.", ZH: "目前没有智能体可以使用你的任何内容。"}}}
	}
	a.Pages.Render(v.w, v.r, http.StatusOK, page)
	return nil
}

func (a *Agents) section(v visit, g vault.Grant, holdings []vault.Holding) browser.Section {
	title := g.Provider
	if g.Account.Name != "" {
		title += " · " + g.Account.Name
	}
	whole := browser.Row{
		Title: browser.Text{EN: "Your connection", ZH: "你的连接"}, Details: a.words(v, g, g.Scopes),
		Actions: []browser.Action{{
			Label: browser.Text{EN: "Disconnect", ZH: "断开连接"}, Path: v.path(disconnectPath), Danger: true,
			Hidden: []browser.Hidden{a.hidden(v, disconnectPath, g.Pool, g.ID), {Name: "pool", Value: g.Pool}, {Name: "grant", Value: g.ID}},
		}},
	}
	whole.Details = append(whole.Details, browser.Textf("Since %s", "自 %s", minute(g.Created)), browser.Textf("Last used %s", "最近使用 %s", minute(g.Used)))
	if g.State != vault.Active {
		whole.Mark = browser.Text{EN: "has ended", ZH: "已失效"}
		whole.Details = append(whole.Details, browser.Textf("Why it has ended: %s", "失效原因：%s", g.Reason))
	}
	s := browser.Section{Title: same(title), Rows: []browser.Row{whole}}
	for _, h := range holdings {
		d := h.Delegation
		s.Rows = append(s.Rows, browser.Row{
			Title:   browser.Textf("Agent %s", "智能体 %s", d.Workload.Name),
			Details: append(a.words(v, g, d.Scopes.Intersect(g.Scopes)), browser.Textf("Since %s", "自 %s", minute(d.Created))),
			Actions: []browser.Action{{
				Label: browser.Text{EN: "Withdraw", ZH: "撤回"}, Path: v.path(withdrawPath), Danger: true,
				Hidden: []browser.Hidden{a.hidden(v, withdrawPath, g.Pool, d.ID), {Name: "pool", Value: g.Pool}, {Name: "delegation", Value: d.ID}},
			}},
		})
	}
	return s
}

// words says what scopes mean, one line for all of them.
func (a *Agents) words(v visit, g vault.Grant, scopes name.Scopes) []browser.Text {
	var en, zh []string
	for _, item := range a.Words(v.r.Context(), g.Pool, g.Provider, scopes) {
		en, zh = append(en, item.Title.EN), append(zh, item.Title.ZH)
	}
	if len(en) == 0 {
		return nil
	}
	return []browser.Text{{EN: "May: " + strings.Join(en, ", "), ZH: "权限：" + strings.Join(zh, "、")}}
}

// disconnect ends a grant.
func (a *Agents) disconnect(v visit) error {
	return a.end(v, disconnectPath, "grant", a.Vault.Delete)
}

// withdraw ends a delegation.
func (a *Agents) withdraw(v visit) error {
	return a.end(v, withdrawPath, "delegation", a.Vault.Withdraw)
}

// end ends what a form names. What is not there any more, or is not his, is
// nothing to be told about.
func (a *Agents) end(v visit, path, field string, end func(ctx context.Context, c name.Caller, pool, id string) error) error {
	form, err := a.form(v, path, "pool", field)
	if err != nil {
		return err
	}
	if err := end(v.r.Context(), v.login.Caller(), form.Get("pool"), form.Get(field)); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	poolpage.Redirect(v.w, v.path(agentsPath))
	return nil
}
