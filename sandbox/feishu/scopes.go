package feishu

import (
	"maps"
	"slices"
	"strings"
)

// offlineAccess is the scope without which no refresh token is given.
const offlineAccess = "offline_access"

// words says what a scope allows, in both languages of the pages.
type words struct{ Chinese, English string }

// scopeWords are the scope names that this Feishu knows. Any other name is error
// 20043 on the authorize page; a name that is known but not enabled for the app
// is error 20027.
var scopeWords = map[string]words{
	offlineAccess:                       {"在你离开后保持授权（持续访问已授权的数据）", "Keep this access while you are away"},
	"auth:user.id:read":                 {"获取你的用户标识", "Know your user id"},
	"contact:user.base:readonly":        {"获取你的姓名等基本信息", "See your name and basic profile"},
	"contact:contact.base:readonly":     {"获取通讯录基本信息", "See basic contact information"},
	"contact:user.email:readonly":       {"获取你的邮箱", "See your e-mail address"},
	"contact:user.employee_id:readonly": {"获取你的用户 ID", "See your employee id"},
	"docx:document":                     {"查看、编辑和管理你的新版文档", "View, edit and manage your documents"},
	"docx:document:readonly":            {"查看你的新版文档", "View your documents"},
	"docs:document.content:read":        {"查看云文档的内容", "View the content of your cloud documents"},
	"drive:drive":                       {"查看、编辑和管理云空间中所有文件", "View, edit and manage all files of your drive"},
	"drive:drive:readonly":              {"查看云空间中所有文件", "View all files of your drive"},
	"wiki:wiki:readonly":                {"查看知识库", "View your wiki"},
	"calendar:calendar:readonly":        {"查看你的日历", "View your calendars"},
	"im:message:readonly":               {"查看你的消息", "View your messages"},
	"task:task:read":                    {"查看你的任务", "View your tasks"},
}

// scopeSet is an ordered set of scope names.
type scopeSet []string

// parseScopes splits a space-separated list; duplicates reports whether a name
// came twice, which the token endpoint refuses and the authorize page ignores.
func parseScopes(list string) (set scopeSet, duplicates bool) {
	fields := strings.Fields(list)
	slices.Sort(fields)
	compact := slices.Compact(slices.Clone(fields))
	return compact, len(compact) != len(fields)
}

func (s scopeSet) has(name string) bool { return slices.Contains(s, name) }

func (s scopeSet) within(other scopeSet) bool {
	return !slices.ContainsFunc(s, func(name string) bool { return !other.has(name) })
}

func (s scopeSet) union(other scopeSet) scopeSet {
	all := make(map[string]struct{}, len(s)+len(other))
	for _, name := range slices.Concat(s, other) {
		all[name] = struct{}{}
	}
	return slices.Sorted(maps.Keys(all))
}

func (s scopeSet) without(name string) scopeSet {
	return slices.DeleteFunc(slices.Clone(s), func(n string) bool { return n == name })
}

func (s scopeSet) String() string { return strings.Join(s, " ") }
