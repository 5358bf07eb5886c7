package op

import (
	"net/url"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/userpool"
)

// This file has what people read on the pages for devices, in both languages.

func textWrongCode() browser.Text {
	return browser.Text{EN: "No device is waiting with this code. It may have expired: the device can show a new one.", ZH: "没有设备正在等待此验证码。它可能已过期，请让设备显示新的验证码。"}
}

func textTooManyCodes(wait time.Duration) browser.Text {
	return browser.Textf("Too many wrong codes. Try again in %d s.", "验证码错误次数过多，请在 %d 秒后重试。", int(wait/time.Second))
}

func deviceForm(pool userpool.Pool, brand browser.Brand, who login.Login, typed string, problem browser.Text, token string) browser.Form {
	return browser.Form{
		Brand: brand, Title: browser.Text{EN: "Connect a device", ZH: "连接设备"}, Error: problem,
		Text:   browser.Textf("You are logged in as %s. Enter the code that your device shows.", "你已登录为 %s。请输入设备上显示的验证码。", who.Title),
		Submit: browser.Text{EN: "Continue", ZH: "继续"}, Action: poolpage.Path(pool.Name, devicePath),
		Again:  poolpage.Path(pool.Name, devicePath+"?") + url.Values{"user_code": {typed}}.Encode(),
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}},
		Inputs: []browser.Input{{
			Name: "user_code", Label: browser.Text{EN: "Code", ZH: "验证码"}, Type: "text", Autocomplete: "off", Value: typed, Autofocus: typed == "",
			Hint: browser.Text{EN: "Compare it with the one on the device, letter by letter.", ZH: "请与设备上显示的验证码逐字核对。"},
		}},
	}
}

func deviceDecision(pool userpool.Pool, brand browser.Brand, who login.Login, client userpool.Client, d userpool.Device, typed, token string) browser.Decision {
	code, _ := userpool.ParseUserCode(typed) // it was just found by it
	return browser.Decision{
		Brand: brand, Title: browser.Text{EN: "Allow this device?", ZH: "是否允许此设备？"}, Who: client.Title(),
		Text:  browser.Text{EN: "On a device, this application asks to:", ZH: "此应用在一台设备上请求："},
		Items: askedItems(d.Scopes, d.Resources),
		Facts: []browser.Fact{
			{Label: browser.Text{EN: "Code on the device", ZH: "设备上的验证码"}, Values: []string{code.String()}},
			{Label: browser.Text{EN: "The device asked from", ZH: "设备的请求来源"}, Values: slices.DeleteFunc([]string{d.Address, d.Agent}, func(s string) bool { return s == "" })},
			{Label: browser.Text{EN: "At", ZH: "请求时间"}, Values: []string{d.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC")}},
		},
		Note: browser.Textf("You are logged in as %s. Allow only if you started this yourself, on a device in front of you. "+
			"If somebody sent you the code or this address, he would get access in your name: deny.",
			"你已登录为 %s。仅当这是你本人在面前的设备上发起的请求时才允许。如果验证码或本页地址是别人发给你的，允许后对方将以你的身份获得访问权限：请拒绝。", who.Title),
		Action: poolpage.Path(pool.Name, devicePath+"/decision"), Allow: browser.Text{EN: "Allow access", ZH: "允许访问"},
		Hidden: []browser.Hidden{{Name: browser.FormField, Value: token}, {Name: "user_code", Value: code.String()}},
	}
}

func deviceNotice(brand browser.Brand, d userpool.Device) browser.Notice {
	if d.State == userpool.DeviceDenied {
		return browser.Notice{
			Brand: brand, Mood: browser.Warning, Title: browser.Text{EN: "The device was denied", ZH: "已拒绝该设备"},
			Text: browser.Text{EN: "It got no access. You can close this page.", ZH: "该设备未获得访问权限。你可以关闭此页面。"},
		}
	}
	return browser.Notice{
		Brand: brand, Mood: browser.OK, Title: browser.Text{EN: "The device is connected", ZH: "设备已连接"},
		Text: browser.Text{EN: "Go on at the device. You can close this page.", ZH: "请回到设备上继续。你可以关闭此页面。"},
	}
}
