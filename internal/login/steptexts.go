package login

import (
	"strings"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func textWithPasskey() browser.Text {
	return browser.Text{EN: "Log in with a passkey", ZH: "使用通行密钥登录"}
}

func textExpired() browser.Text {
	return browser.Text{EN: "This login has expired, or there were too many wrong answers. Log in again.", ZH: "本次登录已过期，或错误次数过多。请重新登录。"}
}

func textFactorFailed(use string) browser.Text {
	switch use {
	case byPasskey:
		return browser.Text{EN: "That passkey was not accepted. Try again, or choose another way.", ZH: "该通行密钥未被接受。请重试，或选择其他方式。"}
	case byRecovery:
		return browser.Text{EN: "That recovery code is wrong, or it was used before.", ZH: "恢复码不正确，或已被使用过。"}
	default:
		return browser.Text{EN: "That code is not right, or it was used before. Type the one that is shown now.", ZH: "验证码不正确或已被使用，请输入当前显示的验证码。"}
	}
}

// PasswordProblem says why a new password is refused, or nothing if err is about
// something else.
func PasswordProblem(pool userpool.Pool, err error) browser.Text {
	switch fault.As(err).Code {
	case "password_length":
		least := max(pool.Settings.Password.MinLength, userpool.MinPassword)
		return browser.Textf("The new password is too short or too long. Use at least %d characters.", "新密码过短或过长，请至少使用 %d 个字符。", least)
	case "password_blank":
		return browser.Text{EN: "The new password is blank.", ZH: "新密码不能全为空白。"}
	case "password_is_name":
		return browser.Text{EN: "The new password is your user name or e-mail address. Choose another.", ZH: "新密码不能与用户名或邮箱相同，请换一个。"}
	case "password_breached":
		return browser.Text{EN: "This password is on a list of known ones, which attackers try first. Choose another.", ZH: "该密码在已泄露的密码列表中，攻击者会最先尝试。请换一个。"}
	case "password_used":
		return browser.Text{EN: "You had this password before. Choose another.", ZH: "该密码以前使用过，请换一个。"}
	case "password_not_repeated":
		return browser.Text{EN: "The two passwords are not the same.", ZH: "两次输入的密码不一致。"}
	default:
		return browser.Text{}
	}
}

// NewPasswordInputs are the inputs for a new password, to be typed twice.
func NewPasswordInputs(pool userpool.Pool) []browser.Input {
	least := max(pool.Settings.Password.MinLength, userpool.MinPassword)
	return []browser.Input{
		{Name: "password", Label: browser.Text{EN: "New password", ZH: "新密码"}, Type: "password", Autocomplete: "new-password",
			Hint: browser.Textf("At least %d characters. Three or four random words are good.", "至少 %d 个字符。建议使用三四个不相关的词。", least)},
		{Name: "again", Label: browser.Text{EN: "New password, again", ZH: "再次输入新密码"}, Type: "password", Autocomplete: "new-password"},
	}
}

// CodeInput is the input for a code of an authenticator app.
func CodeInput() browser.Input {
	return browser.Input{Name: "code", Label: browser.Text{EN: "Code", ZH: "验证码"}, Type: "text", Autocomplete: "one-time-code", Mode: "numeric", Autofocus: true,
		Hint: browser.Text{EN: "Six digits, as the app shows them now.", ZH: "应用当前显示的六位数字。"}}
}

// AppName is what an authenticator app is called that was enrolled at a login.
func AppName(l browser.Language) string {
	return browser.Text{EN: "Authenticator app", ZH: "身份验证器"}.In(l)
}

// Enrolment shows a seed: as a QR code, and as text to type.
func Enrolment(pool userpool.Pool, userName string, seed secret.Text) (browser.Drawing, []browser.Fact, error) {
	side, path, err := factor.QR(factor.KeyURI(pool.Title(), userName, seed))
	if err != nil {
		return browser.Drawing{}, nil, err
	}
	var groups []string
	for s := seed.RevealString(); s != ""; s = s[min(4, len(s)):] {
		groups = append(groups, s[:min(4, len(s))])
	}
	return browser.Drawing{Label: browser.Text{EN: "QR code with the secret below", ZH: "包含下方密钥的二维码"}, Side: side, Path: path},
		[]browser.Fact{{Label: browser.Text{EN: "Cannot scan it? Type this secret", ZH: "无法扫描？请手动输入此密钥"}, Values: []string{strings.Join(groups, " ")}}}, nil
}

// RecoveryNotice shows recovery codes, this once. next is where to go on to; it
// may be empty.
func RecoveryNotice(brand browser.Brand, codes []secret.Text, next string) browser.Notice {
	shown := make([]string, len(codes))
	for i, c := range codes {
		shown[i] = c.RevealString()
	}
	n := browser.Notice{
		Brand: brand, Mood: browser.Warning, Title: browser.Text{EN: "Keep your recovery codes", ZH: "请保存你的恢复码"},
		Text: browser.Text{
			EN: "Each of these codes lets you in once, if you lose your phone or your passkey. They are shown only now: print them, or put them where you keep your passwords.",
			ZH: "如果丢失手机或通行密钥，每个恢复码可用于登录一次。恢复码只显示这一次，请打印或存放在你保管密码的地方。"},
		Facts: []browser.Fact{{Label: browser.Text{EN: "Recovery codes", ZH: "恢复码"}, Values: shown}},
	}
	if next != "" {
		n.Links = []browser.Link{{Label: browser.Text{EN: "I have kept them: go on", ZH: "已保存，继续"}, URL: next}}
	}
	return n
}

// stepView is what the pages of the steps are made of.
type stepView struct {
	pool    userpool.Pool
	brand   browser.Brand
	f       stepForm
	token   string
	targets []string
}

func (v stepView) hidden(use string) []browser.Hidden {
	return []browser.Hidden{{Name: browser.FormField, Value: v.token}, {Name: "return", Value: v.f.returnTo}, {Name: "use", Value: use}}
}

func (v stepView) path(p string) string { return poolpage.Path(v.pool.Name, "/login/"+p) }

// links are the other ways to give a second factor, and the way back.
func (v stepView) links(code, passkey, recovery bool) []browser.Link {
	var links []browser.Link
	if passkey {
		links = append(links, browser.Link{Label: browser.Text{EN: "Use a passkey", ZH: "使用通行密钥"}, URL: stepPath(v.pool, v.f.returnTo, byPasskey)})
	}
	if code {
		links = append(links, browser.Link{Label: browser.Text{EN: "Use the authenticator app", ZH: "使用身份验证器"}, URL: stepPath(v.pool, v.f.returnTo, byCode)})
	}
	if recovery && v.f.progress.Factors.Recovery > 0 {
		links = append(links, browser.Link{Label: browser.Text{EN: "Use a recovery code", ZH: "使用恢复码"}, URL: stepPath(v.pool, v.f.returnTo, byRecovery)})
	}
	back := poolpage.Path(v.pool.Name, "/login")
	if v.f.returnTo != "" {
		back = poolpage.WithQuery(back, map[string][]string{"return": {v.f.returnTo}})
	}
	return append(links, browser.Link{Label: browser.Text{EN: "Log in as somebody else", ZH: "使用其他账号登录"}, URL: back})
}

func (v stepView) form(use string, f browser.Form) browser.Form {
	f.Brand, f.Error, f.Hidden, f.Targets, f.Again = v.brand, v.f.problem, append(v.hidden(use), f.Hidden...), v.targets, stepPath(v.pool, v.f.returnTo, use)
	if f.Submit.IsZero() {
		f.Submit = browser.Text{EN: "Go on", ZH: "继续"}
	}
	return f
}

func (v stepView) code(passkey bool) browser.Form {
	return v.form(byCode, browser.Form{
		Title: browser.Text{EN: "One more step", ZH: "还差一步"}, Text: browser.Text{EN: "Open your authenticator app and type its code.", ZH: "请打开身份验证器，输入显示的验证码。"},
		Inputs: []browser.Input{CodeInput()}, Action: v.path("code"), Links: v.links(false, passkey, true),
	})
}

func (v stepView) recoveryCode(code, passkey bool) browser.Form {
	return v.form(byRecovery, browser.Form{
		Title: browser.Text{EN: "Use a recovery code", ZH: "使用恢复码"}, Text: browser.Text{EN: "Each code works once.", ZH: "每个恢复码只能使用一次。"},
		Inputs: []browser.Input{{Name: "recovery", Label: browser.Text{EN: "Recovery code", ZH: "恢复码"}, Type: "text", Autocomplete: "off", Autofocus: true}},
		Action: v.path("recovery-code"), Links: v.links(code, passkey, false),
	})
}

func (v stepView) newPassword() browser.Form {
	return v.form("", browser.Form{
		Title:  browser.Text{EN: "Choose your password", ZH: "设置你的密码"},
		Text:   browser.Text{EN: "The password that you were given is for the first login only.", ZH: "你收到的初始密码仅用于首次登录。"},
		Inputs: NewPasswordInputs(v.pool), Action: v.path("password"),
	})
}

func (v stepView) enrolment() (browser.Form, error) {
	drawing, facts, err := Enrolment(v.pool, v.f.progress.User.UserName, v.f.seed)
	f := v.form("", browser.Form{
		Title: browser.Text{EN: "Set up a second factor", ZH: "设置第二验证因素"},
		Text: browser.Text{
			EN: "A password alone is not enough here. Scan this with an authenticator app on your phone, and type the code that it shows.",
			ZH: "此处仅凭密码不足以登录。请用手机上的身份验证器扫描二维码，然后输入显示的验证码。"},
		Drawing: drawing, Facts: facts, Inputs: []browser.Input{CodeInput()}, Action: v.path("enrol"),
		Hidden: []browser.Hidden{{Name: "seed", Value: v.f.seed.RevealString()}},
	})
	f.Again = "" // another language would be another seed
	return f, err
}

func (v stepView) passkey(options string, code bool) browser.Passkey {
	return browser.Passkey{
		Brand: v.brand, Title: browser.Text{EN: "Use your passkey", ZH: "使用通行密钥"}, Error: v.f.problem,
		Text: browser.Text{EN: "Your browser asks for the passkey: on this device, on your phone, or on a security key.", ZH: "浏览器会请求通行密钥：它可以在本设备、手机或安全密钥上。"},
		Ask:  browser.Text{EN: "Ask for the passkey", ZH: "请求通行密钥"}, Options: options, Action: v.path("passkey"), Hidden: v.hidden(byPasskey), Targets: v.targets,
		Again: stepPath(v.pool, v.f.returnTo, byPasskey), Links: v.links(code, false, true),
	}
}
