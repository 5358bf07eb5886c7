package main

import (
	"context"
	"errors"
	"fmt"
	"unicode"

	deputy "github.com/deputy-id/deputy/sdk"
)

// language is the one to answer in.
type language int

const (
	english language = iota
	chinese
)

// pick returns the text in l.
func (l language) pick(zh, en string) string {
	if l == chinese {
		return zh
	}
	return en
}

// languageOf guesses the language of a text by its letters: a Chinese text about
// "OAuth 2.0 access tokens" is Chinese, so one Chinese character weighs as much as
// several Latin letters. ok is false if there are no letters.
func languageOf(text string) (l language, ok bool) {
	han, latin := 0, 0
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Han, r):
			han++
		case unicode.IsLetter(r):
			latin++
		}
	}
	if han*4 > latin {
		return chinese, true
	}
	return english, latin > 0
}

// problem is an error that a user can understand, in both languages. Its
// [error] text is the English one, which is also what a language model reads.
type problem struct {
	zh, en string
	cause  error
}

func (p *problem) Error() string { return p.en }
func (p *problem) Unwrap() error { return p.cause }

// explain says in words why there is no document. ok is false for errors that
// no words help with, such as the user going away.
func explain(err error, l language) (text string, ok bool) {
	var (
		known   *problem
		consent *deputy.AuthorizationError
		refusal *deputy.Error
	)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "", false
	case errors.As(err, &known):
		return l.pick(known.zh, known.en), true
	case errors.As(err, &consent):
		return explainConsent(consent, l), true
	case errors.As(err, &refusal):
		return explainRefusal(refusal, l), true
	}
	return "", false
}

func explainConsent(e *deputy.AuthorizationError, l language) string {
	switch {
	case e.Reason == "access_denied":
		return l.pick("您没有同意授权，所以我不能读取这篇文档。需要时再发一次链接，我会重新请求授权。",
			"You did not agree to the authorization, so I cannot read the document. Send the link again whenever you want to be asked anew.")
	case e.State == deputy.Expired:
		return l.pick("授权链接在有效期内没有完成，已经失效。请再发一次文档链接，我会给您一个新的授权链接。",
			"The authorization link was not used in time and has expired. Send the document link again and I will give you a new one.")
	}
	return l.pick("飞书授权没有成功："+e.Message+"。请再试一次；如果仍然失败，请把这条信息发给管理员。",
		"The Feishu authorization did not succeed: "+e.Message+". Please try again; if it fails again, show this message to your administrator.")
}

func explainRefusal(e *deputy.Error, l language) string {
	switch e.Code {
	case "deputy_unreachable":
		return l.pick("身份服务暂时没有响应，请稍后再试。", "The identity service does not answer right now. Please try again in a moment.")
	case "token_expired":
		return l.pick("这次请求等待得太久，您的会话凭证已过期，请再发一次。", "This request waited too long and its proof of who you are has expired. Please send it again.")
	case "consent_incomplete":
		return l.pick("您同意了授权，但没有包含读取文档所需的全部权限。请重试，并同意列表中的每一项权限。",
			"You agreed, but not to every permission that reading a document needs. Please try again and grant all that are listed.")
	}
	detail := e.Message
	if e.Fix != "" {
		detail += "; " + e.Fix
	}
	if e.RequestID != "" {
		detail += " (" + e.RequestID + ")"
	}
	return fmt.Sprintf(l.pick("身份服务拒绝了这次请求：%s。", "The identity service refused this request: %s."), detail)
}
