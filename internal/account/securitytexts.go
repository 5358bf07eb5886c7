package account

import (
	"encoding/base64"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// What people read on the pages about password and second factors, in one place.

func textWrongPassword() browser.Text {
	return browser.Text{EN: "The present password is not right.", ZH: "当前密码不正确。"}
}

func textWrongCode() browser.Text {
	return browser.Text{EN: "That code is not right. Type the one that the app shows now, and check the phone's clock.", ZH: "验证码不正确。请输入应用当前显示的验证码，并检查手机时间。"}
}

func textBadName() browser.Text {
	return browser.Text{EN: "Give it a name of up to 80 bytes that can be read.", ZH: "请填写一个可读的名称，不超过 80 字节。"}
}

func textPasskeyRefused() browser.Text {
	return browser.Text{EN: "That passkey was not accepted. Try again.", ZH: "该通行密钥未被接受，请重试。"}
}

func textCancel() browser.Text { return browser.Text{EN: "Back", ZH: "返回"} }

func (v visit) back() []browser.Link {
	return []browser.Link{{Label: textCancel(), URL: v.path(securityPath)}}
}

func (s *Security) securityPage(v visit, set factor.Set) browser.List {
	page := browser.List{
		Brand: v.brand, Title: browser.Text{EN: "Password and security", ZH: "密码与安全"},
		Text: browser.Textf("Logged in as %s.", "当前登录用户：%s。", v.login.Title),
	}
	if !v.login.User.PasswordHash.Empty() {
		page.Sections = append(page.Sections, browser.Section{
			Title: browser.Text{EN: "Password", ZH: "密码"},
			Text:  browser.Textf("Last changed %s.", "上次修改：%s。", day(v.login.User.PasswordChangedAt)),
			Links: []browser.Link{{Label: browser.Text{EN: "Change the password", ZH: "修改密码"}, URL: v.path(passwordPath)}},
		})
	}
	if v.pool.Settings.SecondFactor == userpool.FactorOff {
		return page
	}
	apps := browser.Section{
		Title: browser.Text{EN: "Authenticator app", ZH: "身份验证器"},
		Text:  browser.Text{EN: "An app on your phone that shows a code for each login.", ZH: "手机应用，每次登录时显示一个验证码。"},
		Rows:  s.rows(v, set.Of(factor.TOTP)),
	}
	if len(apps.Rows) == 0 {
		apps.Links = []browser.Link{{Label: browser.Text{EN: "Set up an app", ZH: "设置身份验证器"}, URL: v.path(appPath)}}
	}
	page.Sections = append(page.Sections, apps)
	if s.SignIn.Factors.Passkeys() {
		page.Sections = append(page.Sections, browser.Section{
			Title: browser.Text{EN: "Passkeys", ZH: "通行密钥"},
			Text:  browser.Text{EN: "Log in with your fingerprint, face or device PIN, or with a security key. No password is needed.", ZH: "使用指纹、面容、设备 PIN 或安全密钥登录，无需密码。"},
			Rows:  s.rows(v, set.Of(factor.Passkey)),
			Links: []browser.Link{{Label: browser.Text{EN: "Add a passkey", ZH: "添加通行密钥"}, URL: v.path(passkeyPath)}},
		})
	}
	if set.Any() {
		page.Sections = append(page.Sections, s.recoverySection(v, set.Recovery))
	}
	return page
}

func (s *Security) recoverySection(v visit, left int) browser.Section {
	return browser.Section{
		Title: browser.Text{EN: "Recovery codes", ZH: "恢复码"},
		Text:  browser.Text{EN: "For when you have lost your phone or passkey. New codes take the place of the old ones.", ZH: "在丢失手机或通行密钥时使用。生成新恢复码后，旧的将失效。"},
		Rows: []browser.Row{{
			Title:   browser.Textf("%d codes left", "剩余 %d 个", left),
			Actions: []browser.Action{{Label: browser.Text{EN: "New codes", ZH: "重新生成"}, Path: v.path(recoveryPath), Hidden: []browser.Hidden{s.hidden(v, recoveryPath)}}},
		}},
	}
}

// rows are the factors of a section, each with what can be done to it.
func (s *Security) rows(v visit, factors []factor.Factor) []browser.Row {
	var rows []browser.Row
	for _, f := range factors {
		row := browser.Row{
			Title:   browser.Text{EN: f.Name, ZH: f.Name},
			Details: []browser.Text{browser.Textf("Added %s.", "添加于 %s。", day(f.CreatedAt))},
			Links:   []browser.Link{{Label: browser.Text{EN: "Rename", ZH: "重命名"}, URL: v.path(renamePath) + "?" + url.Values{"id": {f.ID}}.Encode()}},
			Actions: []browser.Action{{Label: browser.Text{EN: "Remove", ZH: "移除"}, Path: v.path(removePath), Danger: true,
				Hidden: []browser.Hidden{s.hidden(v, removePath, f.ID), {Name: "id", Value: f.ID}}}},
		}
		if !f.LastUsedAt.IsZero() {
			row.Details = append(row.Details, browser.Textf("Last used %s.", "上次使用：%s。", day(f.LastUsedAt)))
		}
		rows = append(rows, row)
	}
	return rows
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func (s *Security) passwordPage(v visit, problem browser.Text) browser.Form {
	present := browser.Input{Name: "present", Label: browser.Text{EN: "Present password", ZH: "当前密码"}, Type: "password", Autocomplete: "current-password", Autofocus: true}
	return browser.Form{
		Brand: v.brand, Title: browser.Text{EN: "Change the password", ZH: "修改密码"}, Error: problem, Submit: browser.Text{EN: "Change", ZH: "修改"},
		Text:   browser.Text{EN: "Your logins in other browsers end with it.", ZH: "修改后，其他浏览器中的登录将失效。"},
		Inputs: append([]browser.Input{present}, login.NewPasswordInputs(v.pool)...),
		Action: v.path(passwordPath), Again: v.path(passwordPath), Hidden: []browser.Hidden{s.hidden(v, passwordPath)}, Links: v.back(),
	}
}

func nameInput(value string) browser.Input {
	return browser.Input{Name: "name", Label: browser.Text{EN: "Name", ZH: "名称"}, Type: "text", Autocomplete: "off", Value: value,
		Hint: browser.Text{EN: "So that you know it again, such as “work phone”.", ZH: "便于识别，例如“工作手机”。"}}
}

func (s *Security) appPage(v visit, seed secret.Text, problem browser.Text) (browser.Form, error) {
	drawing, facts, err := login.Enrolment(v.pool, v.login.User.UserName, seed)
	return browser.Form{
		Brand: v.brand, Title: browser.Text{EN: "Set up an authenticator app", ZH: "设置身份验证器"}, Error: problem, Submit: browser.Text{EN: "Set up", ZH: "完成设置"},
		Text:    browser.Text{EN: "Scan this with the app, and type the code that it shows.", ZH: "请用应用扫描二维码，然后输入显示的验证码。"},
		Drawing: drawing, Facts: facts, Inputs: []browser.Input{login.CodeInput(), nameInput(login.AppName(s.Site.Language(v.r)))},
		Action: v.path(appPath), Hidden: []browser.Hidden{s.hidden(v, appPath, seed.RevealString()), {Name: "seed", Value: seed.RevealString()}}, Links: v.back(),
	}, err
}

func encodeChallenge(challenge []byte) string {
	return base64.RawURLEncoding.EncodeToString(challenge)
}

func parseChallenge(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(factor.NewChallenge()) {
		return nil, fault.Wrap(err, fault.Invalid, "challenge_invalid", "the challenge is not one that Deputy made").WithFix("reload the page and try again")
	}
	return b, nil
}

func (s *Security) passkeyPage(v visit, challenge []byte, options string, problem browser.Text) browser.Passkey {
	text := encodeChallenge(challenge)
	return browser.Passkey{
		Brand: v.brand, Title: browser.Text{EN: "Add a passkey", ZH: "添加通行密钥"}, Error: problem, Create: true, Options: options,
		Text:   browser.Text{EN: "It stays on this device, on your phone or on a security key, and asks for your fingerprint, face or PIN.", ZH: "通行密钥保存在本设备、手机或安全密钥上，使用时需要指纹、面容或 PIN。"},
		Inputs: []browser.Input{nameInput("")}, Ask: browser.Text{EN: "Add", ZH: "添加"},
		Action: v.path(passkeyPath), Again: v.path(passkeyPath), Hidden: []browser.Hidden{s.hidden(v, passkeyPath, text), {Name: "challenge", Value: text}}, Links: v.back(),
	}
}

func (s *Security) renamePage(v visit, f factor.Factor, problem browser.Text) browser.Form {
	input := nameInput(f.Name)
	input.Autofocus = true
	return browser.Form{
		Brand: v.brand, Title: browser.Text{EN: "Rename", ZH: "重命名"}, Error: problem, Submit: browser.Text{EN: "Rename", ZH: "重命名"}, Inputs: []browser.Input{input},
		Action: v.path(renamePath), Again: v.path(renamePath) + "?" + url.Values{"id": {f.ID}}.Encode(),
		Hidden: []browser.Hidden{s.hidden(v, renamePath, f.ID), {Name: "id", Value: f.ID}}, Links: v.back(),
	}
}
