package recovery

import (
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/mail"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// This file has what letters say, in both languages: who reads a mailbox is not
// known before.

// account is one that a letter names, with its link.
type account struct{ userName, link string }

// content is a letter without its address.
type content struct {
	subject browser.Text
	text    browser.Text
}

// message puts both languages into one letter, the one asked for first.
func message(l userpool.Letter, c content) mail.Message {
	first, second := browser.English, browser.Chinese
	if l.Language == string(browser.Chinese) {
		first, second = second, first
	}
	return mail.Message{
		To: l.Email, Subject: c.subject.In(first) + " · " + c.subject.In(second),
		Text: c.text.In(first) + "\n\n----------------------------------------\n\n" + c.text.In(second) + "\n",
	}
}

// title is what the pool is called, short enough for a subject.
func title(pool userpool.Pool) string { return name.Clip(pool.Title(), 60) }

func textReset(pool userpool.Pool, accounts []account) content {
	var links strings.Builder
	for _, a := range accounts {
		links.WriteString("  " + a.userName + "\n  " + a.link + "\n\n")
	}
	return content{
		browser.Textf("%s: set a new password", "%s：设置新密码", title(pool)),
		browser.Textf(
			"Somebody asked for a new password at %[1]s for this address. To set one, open the link of the account:\n\n%[2]s"+
				"A link is good for 30 minutes and once; of several letters only the newest counts. If it was not you, do nothing: your password stays as it is.",
			"有人在 %[1]s 为此邮箱申请设置新密码。如需设置，请打开对应账号的链接：\n\n%[2]s"+
				"链接 30 分钟内有效，且只能使用一次；如收到多封邮件，以最新一封为准。如非本人操作，请忽略本邮件，你的密码不会改变。",
			title(pool), links.String()),
	}
}

func textSignUp(pool userpool.Pool, link string) content {
	return content{
		browser.Textf("%s: finish creating your account", "%s：完成账号注册", title(pool)),
		browser.Textf(
			"Somebody wants to create an account at %s with this address. If it is you, go on here:\n\n  %s\n\n"+
				"The link is good for 30 minutes and once. If it is not you, do nothing: there will be no account.",
			"有人希望使用此邮箱在 %s 注册账号。如是你本人，请打开以下链接继续：\n\n  %s\n\n链接 30 分钟内有效，且只能使用一次。如非本人操作，请忽略本邮件，不会创建账号。",
			title(pool), link),
	}
}

func textHasAccount(pool userpool.Pool, accounts []account, recover string) content {
	var names strings.Builder
	for _, a := range accounts {
		names.WriteString("  " + a.userName + "\n")
	}
	forgot := browser.Text{}
	if recover != "" {
		forgot = browser.Textf("\n\nIf you forgot the password, set a new one here:\n\n  %s", "\n\n如果忘记密码，可在此设置新密码：\n\n  %s", recover)
	}
	return content{
		browser.Textf("%s: you have an account", "%s：你已有账号", title(pool)),
		browser.Textf(
			"Somebody wanted to create an account at %[1]s with this address. It has one already; the user name is:\n\n%[2]s\nNothing was changed.%[3]s",
			"有人希望使用此邮箱在 %[1]s 注册账号。此邮箱已有账号，用户名为：\n\n%[2]s\n未做任何更改。%[4]s", title(pool), names.String(), forgot.EN, forgot.ZH),
	}
}

func textVerify(pool userpool.Pool, a account) content {
	return content{
		browser.Textf("%s: confirm your e-mail address", "%s：确认邮箱地址", title(pool)),
		browser.Textf(
			"To confirm that this is the e-mail address of the account %[2]s at %[1]s, open this link:\n\n  %[3]s\n\nIt is good for 30 minutes and once. If it is not your account, do nothing.",
			"如需确认此邮箱属于 %[1]s 的账号 %[2]s，请打开以下链接：\n\n  %[3]s\n\n链接 30 分钟内有效，且只能使用一次。如非你的账号，请忽略本邮件。", title(pool), a.userName, a.link),
	}
}

func textChanged(pool userpool.Pool, u userpool.User) content {
	return content{
		browser.Textf("%s: your e-mail address was changed", "%s：邮箱地址已更改", title(pool)),
		browser.Textf(
			"This is no longer the e-mail address of the account %[2]s at %[1]s. If you did not expect that, tell an administrator at once.",
			"此邮箱不再是 %[1]s 的账号 %[2]s 的邮箱地址。如非预期的更改，请立即联系管理员。", title(pool), u.UserName),
	}
}
