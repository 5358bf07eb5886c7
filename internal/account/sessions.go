package account

import (
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/userpool"
)

// alive returns the person's sessions that still hold, the newest first.
func (h *Home) alive(v visit) ([]userpool.Session, error) {
	list, err := h.Sessions.SessionsOf(v.r.Context(), v.pool.Name, v.login.User.ID)
	now := h.Now()
	return slices.DeleteFunc(list, func(s userpool.Session) bool { return !s.Alive(v.login.User, now) }), err
}

// sessions is the section with the places where the person is logged in.
func (h *Home) sessions(v visit) (browser.Section, error) {
	section := browser.Section{
		Title: browser.Text{EN: "Where you are logged in", ZH: "登录会话"},
		Text:  browser.Text{EN: "If you do not recognise one of them, end it and change your password.", ZH: "如果发现不认识的会话，请结束它并修改密码。"},
	}
	list, err := h.alive(v)
	for _, s := range list {
		row := browser.Row{Title: same(browserName(s.Agent)), Details: []browser.Text{
			browser.Textf("From %s", "来自 %s", s.Address),
			browser.Textf("Logged in %s, last used %s", "登录于 %s，最近使用 %s", minute(s.AuthTime), minute(s.LastUsedAt)),
		}}
		if s.Agent == "" {
			row.Title = browser.Text{EN: "Unknown browser", ZH: "未知浏览器"}
		}
		if s.ID == v.login.Session.ID {
			row.Mark = browser.Text{EN: "this browser", ZH: "当前浏览器"}
		} else {
			row.Actions = []browser.Action{{
				Label: browser.Text{EN: "End", ZH: "结束"}, Path: v.path(endPath), Danger: true,
				Hidden: []browser.Hidden{h.hidden(v, endPath, s.ID), {Name: "session", Value: s.ID}},
			}}
		}
		section.Rows = append(section.Rows, row)
	}
	if len(list) > 1 {
		section.Rows = append(section.Rows, browser.Row{
			Title: browser.Textf("All others (%d)", "其他全部会话（%d）", len(list)-1),
			Actions: []browser.Action{{
				Label: browser.Text{EN: "End all others", ZH: "结束其他全部会话"}, Path: v.path(endOthersPath), Danger: true,
				Hidden: []browser.Hidden{h.hidden(v, endOthersPath)},
			}},
		})
	}
	return section, err
}

// browserName returns what people call the browser that names itself so
// (RFC 9110, section 10.1.5): "Firefox on Windows". One that it does not know is
// called what it says.
func browserName(agent string) string {
	first := func(names [][2]string) string {
		for _, n := range names {
			if strings.Contains(agent, n[0]) {
				return n[1]
			}
		}
		return ""
	}
	// The order matters: most browsers name others, too, so that old servers take them for one of them.
	program := first([][2]string{{"MicroMessenger/", "WeChat"}, {"Lark/", "Feishu"}, {"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}})
	system := first([][2]string{{"HarmonyOS", "HarmonyOS"}, {"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Macintosh", "macOS"}, {"Linux", "Linux"}})
	switch {
	case program == "":
		return agent
	case system == "":
		return program
	default:
		return program + " · " + system
	}
}

// minute is a time as people read it here: in UTC, and saying so.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func (h *Home) end(v visit) error {
	ctx := v.r.Context()
	form, err := h.form(v, endPath, "session")
	if err != nil {
		return err
	}
	list, err := h.Sessions.SessionsOf(ctx, v.pool.Name, v.login.User.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(s userpool.Session) bool { return s.ID == form.Get("session") })
	if i < 0 {
		return v.home() // it has ended meanwhile, or was never his
	}
	p, err := h.Guard.Allow(ctx, v.login.Caller(), userpool.ActionEndSession, list[i].Resource())
	if err != nil {
		return err
	}
	if err := h.Sessions.EndSession(ctx, p, v.pool.Name, list[i].ID); err != nil {
		return err
	}
	return v.home()
}

func (h *Home) endOthers(v visit) error {
	ctx := v.r.Context()
	if _, err := h.form(v, endOthersPath); err != nil {
		return err
	}
	p, err := h.Guard.Allow(ctx, v.login.Caller(), userpool.ActionEndSession, v.login.User.Resource())
	if err != nil {
		return err
	}
	p = p.Detail(map[string]string{"except": v.login.Session.ID})
	if _, err := h.Sessions.EndSessions(ctx, p, v.pool.Name, v.login.User.ID, v.login.Session.ID); err != nil {
		return err
	}
	return v.home()
}
