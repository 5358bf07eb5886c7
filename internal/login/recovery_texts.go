package login

import (
	"net/url"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/userpool"
)

// This file has what people read on the pages of recovery.go, in both languages.

func textForgot() browser.Text {
	return browser.Text{EN: "Forgot your password?", ZH: "忘记密码？"}
}

func textCreateAccount() browser.Text {
	return browser.Text{EN: "Create an account", ZH: "注册账号"}
}

func textEmailInvalid() browser.Text {
	return browser.Text{EN: "That is not an e-mail address to which we can write.", ZH: "这不是可以接收邮件的邮箱地址。"}
}

func textPasswordsDiffer() browser.Text {
	return browser.Text{EN: "The two passwords are not the same.", ZH: "两次输入的密码不一致。"}
}

func backToLogin(pool userpool.Pool) browser.Link {
	return browser.Link{Label: browser.Text{EN: "Log in", ZH: "登录"}, URL: poolpage.Path(pool.Name, "/login")}
}

func askPage(brand browser.Brand, pool userpool.Pool, kind userpool.LetterKind, email string, problem browser.Text, token string) browser.Form {
	f := browser.Form{
		Brand: brand, Error: problem, Submit: browser.Text{EN: "Send the link", ZH: "发送链接"},
		Action: StartPath(pool.Name, kind), Again: StartPath(pool.Name, kind),
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}},
		Inputs: []browser.Input{{Name: "email", Label: browser.Text{EN: "E-mail address", ZH: "邮箱地址"}, Type: "email", Autocomplete: "email", Value: email, Autofocus: true, Mode: "email"}},
		Links:  []browser.Link{{Label: browser.Text{EN: "Back to login", ZH: "返回登录"}, URL: poolpage.Path(pool.Name, "/login")}},
	}
	if kind == userpool.LetterSignUp {
		f.Title = textCreateAccount()
		f.Text = browser.Text{EN: "We send you a link with which you go on.", ZH: "我们会发送一个链接，打开后即可继续注册。"}
		return f
	}
	f.Title = browser.Text{EN: "Set a new password", ZH: "设置新密码"}
	f.Text = browser.Text{EN: "Give the e-mail address of your account. We send you a link with which you set a new password.",
		ZH: "请输入账号的邮箱地址，我们会发送一个用于设置新密码的链接。"}
	return f
}

func askedNotice(brand browser.Brand, pool userpool.Pool, kind userpool.LetterKind, email string) browser.Notice {
	n := browser.Notice{
		Brand: brand, Title: browser.Text{EN: "Look into your mailbox", ZH: "请查收邮件"},
		Text: browser.Textf("A letter goes to %s, with a link that is good for 30 minutes.", "邮件将发送至 %s，其中的链接 30 分钟内有效。", email),
		Detail: browser.Text{EN: "If nothing comes within some minutes, look into the spam folder, and check the address.",
			ZH: "如几分钟内未收到，请检查垃圾邮件文件夹，并确认邮箱地址无误。"},
		Links: []browser.Link{backToLogin(pool)},
	}
	if kind == userpool.LetterReset {
		n.Text = browser.Textf("If there is an account with the address %s, a letter goes there, with a link that is good for 30 minutes.",
			"如果存在使用 %s 的账号，我们会向该邮箱发送邮件，其中的链接 30 分钟内有效。", email)
	}
	return n
}

// proofPage is the page to which the link in a letter leads.
func proofPage(brand browser.Brand, pool userpool.Pool, o recovery.Opened, f proofForm, csrf string) browser.Form {
	path := map[userpool.Purpose]string{userpool.ResetPassword: resetPath, userpool.VerifyEmail: verifyPath, userpool.SignUp: finishPath}[o.Purpose]
	page := browser.Form{
		Brand: brand, Error: f.problem, Action: poolpage.Path(pool.Name, path),
		Again:  poolpage.Path(pool.Name, path) + "?" + url.Values{"token": {f.token}}.Encode(),
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: csrf}, {Name: "token", Value: f.token}},
	}
	switch o.Purpose {
	case userpool.VerifyEmail:
		page.Title = browser.Text{EN: "Confirm your e-mail address?", ZH: "确认邮箱地址？"}
		page.Text = browser.Textf("%s is the address of the account %s.", "%s 是账号 %s 的邮箱地址。", o.Email, f.userName)
		page.Submit = browser.Text{EN: "Confirm", ZH: "确认"}
	case userpool.ResetPassword:
		page.Title = browser.Text{EN: "Set a new password", ZH: "设置新密码"}
		page.Text = browser.Textf("For the account %s. You are logged out everywhere.", "账号：%s。所有设备上的登录都会退出。", f.userName)
		page.Submit = browser.Text{EN: "Set the password", ZH: "设置密码"}
		page.Inputs = newPassword(pool, true)
	case userpool.SignUp:
		page.Title = textCreateAccount()
		page.Text = browser.Textf("Your e-mail address is %s.", "你的邮箱地址：%s。", o.Email)
		page.Submit = browser.Text{EN: "Create the account", ZH: "创建账号"}
		page.Inputs = append([]browser.Input{
			{Name: "username", Label: browser.Text{EN: "User name", ZH: "用户名"}, Type: "text", Autocomplete: "username", Value: f.userName, Autofocus: true,
				Hint: browser.Text{EN: "Letters, digits, '-', '_' and '.'", ZH: "可使用字母、数字、“-”、“_”和“.”"}},
			{Name: "displayname", Label: browser.Text{EN: "Your name (optional)", ZH: "姓名（选填）"}, Type: "text", Autocomplete: "name", Value: f.displayName, Optional: true},
		}, newPassword(pool, false)...)
	}
	return page
}

func newPassword(pool userpool.Pool, focus bool) []browser.Input {
	least := max(pool.Settings.Password.MinLength, userpool.MinPassword)
	return []browser.Input{
		{Name: "password", Label: browser.Text{EN: "New password", ZH: "新密码"}, Type: "password", Autocomplete: "new-password", Autofocus: focus,
			Hint: browser.Textf("At least %d characters.", "至少 %d 个字符。", least)},
		{Name: "repeated", Label: browser.Text{EN: "The same again", ZH: "再次输入新密码"}, Type: "password", Autocomplete: "new-password"},
	}
}

// textProblem is this page's table from what is wrong with a submission to what
// people read.
func textProblem(f *fault.Error) browser.Text {
	switch f.Code {
	case "user_exists":
		return browser.Text{EN: "This user name is taken. Choose another.", ZH: "此用户名已被占用，请换一个。"}
	case "name_invalid":
		return browser.Text{EN: "This user name cannot be used. Choose letters, digits, '-', '_' and '.'.", ZH: "此用户名不可用，请使用字母、数字、“-”、“_”和“.”。"}
	case "text_invalid":
		return browser.Text{EN: "This name cannot be used.", ZH: "此姓名不可用。"}
	case "password_length":
		return browser.Text{EN: "The password is too short or too long.", ZH: "密码过短或过长。"}
	case "password_blank":
		return browser.Text{EN: "The password is blank.", ZH: "密码不能为空白。"}
	case "password_is_name":
		return browser.Text{EN: "The password is your user name or e-mail address. Choose one that nobody can look up.", ZH: "密码与用户名或邮箱相同，请换一个他人无法得知的密码。"}
	case "password_breached":
		return browser.Text{EN: "This password is on a list of known ones, which attackers try first. Three or four random words are good.",
			ZH: "此密码在已泄露密码列表中，攻击者会最先尝试。建议使用三四个随机词语。"}
	case "password_used":
		return browser.Text{EN: "You had this password before. Choose another.", ZH: "此密码曾经使用过，请换一个。"}
	default:
		return browser.Text{EN: f.Error(), ZH: f.Error()}
	}
}

func resetNotice(brand browser.Brand, pool userpool.Pool) browser.Notice {
	return browser.Notice{
		Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "The new password is set", ZH: "新密码已设置"},
		Text:  browser.Text{EN: "You were logged out everywhere. Log in with the new password.", ZH: "所有设备上的登录均已退出，请使用新密码登录。"},
		Links: []browser.Link{backToLogin(pool)},
	}
}

func signedUpNotice(brand browser.Brand, pool userpool.Pool, u userpool.User) browser.Notice {
	return browser.Notice{
		Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "Your account is ready", ZH: "账号已创建"},
		Text:  browser.Textf("Your user name is %s.", "你的用户名是 %s。", u.UserName),
		Links: []browser.Link{backToLogin(pool)},
	}
}

func verifyPage(brand browser.Brand, pool userpool.Pool, u userpool.User, csrf string) browser.Page {
	if u.Email == "" || u.EmailVerified {
		return verifiedNotice(brand, u)
	}
	return browser.Form{
		Brand: brand, Title: browser.Text{EN: "Confirm your e-mail address", ZH: "确认邮箱地址"},
		Text:   browser.Textf("We send a link to %s.", "我们会向 %s 发送链接。", u.Email),
		Submit: browser.Text{EN: "Send the link", ZH: "发送链接"}, Action: poolpage.Path(pool.Name, verifyPath), Again: poolpage.Path(pool.Name, verifyPath),
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: csrf}},
	}
}

func verifiedNotice(brand browser.Brand, u userpool.User) browser.Notice {
	n := browser.Notice{Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "Your e-mail address is confirmed", ZH: "邮箱地址已确认"},
		Text: browser.Textf("The address of the account %s is %s.", "账号 %s 的邮箱地址是 %s。", u.UserName, u.Email)}
	if u.Email == "" {
		n.Mood = ""
		n.Title = browser.Text{EN: "You have no e-mail address", ZH: "你没有邮箱地址"}
		n.Text = browser.Text{EN: "Ask an administrator to enter one.", ZH: "请联系管理员添加。"}
	}
	return n
}
