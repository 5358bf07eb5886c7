package main

import (
	"context"
	"strings"

	deputy "github.com/deputy-id/deputy/sdk"
)

// maxWhole bounds a document that is shown as it is, in characters.
const maxWhole = 4000

// answerOffline answers without a language model.
func (a *agent) answerOffline(ctx context.Context, t *deputy.Turn, in intent, talk *conversation) error {
	links := in.links
	if in.again && len(talk.Documents) > 0 {
		links = talk.Documents[len(talk.Documents)-1:]
	}
	if in.clear || in.afresh {
		if err := a.withdraw(ctx, t, in); err != nil || len(links) == 0 {
			return err
		}
	}
	if len(links) == 0 {
		t.Say(a.smallTalk(in))
		return nil
	}
	for i, link := range links {
		if i > 0 {
			t.Say("\n\n———\n\n")
		}
		if err := a.tell(ctx, t, in, link); err != nil {
			return err
		}
	}
	return nil
}

// withdraw takes back the agent's permission and says what comes next.
func (a *agent) withdraw(ctx context.Context, t *deputy.Turn, in intent) error {
	if err := t.Call(ctx, toolClear, nil, nil); err != nil {
		return a.excuse(ctx, t, in.lang, err)
	}
	if in.afresh {
		a.memory.askAfresh(t.Session.User)
		t.Say(in.lang.pick("好的，之前的飞书授权已经作废。下次读取文档时，我会请您重新授权。",
			"Done: the earlier Feishu authorization no longer counts. The next time you want a document, I will ask you to authorize again."))
	} else {
		t.Say(in.lang.pick("已清理您的飞书凭据，我不能再读取您的文档了。下次读取文档时，需要您重新授权。",
			"Your Feishu credentials are cleared; I can no longer read your documents. The next time you want one, I will ask for your authorization again."))
	}
	if len(in.links) > 0 {
		t.Say("\n\n")
	}
	return nil
}

// tell reads one document and says what is in it.
func (a *agent) tell(ctx context.Context, t *deputy.Turn, in intent, link string) error {
	doc, err := a.fetch(ctx, t, link)
	if err != nil {
		return a.excuse(ctx, t, in.lang, err)
	}
	l := in.lang
	if !in.spoken {
		l, _ = languageOf(doc.Text)
	}
	if in.whole {
		t.Say(whole(doc.Text, l))
		return nil
	}
	// In paragraphs, so that a reader sees the first while the rest is on its way.
	for part := range strings.SplitAfterSeq(summarize(doc.Text, in.wish).render(l), "\n") {
		t.Say(part)
	}
	return nil
}

func whole(text string, l language) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return l.pick("这篇文档是空的。", "This document is empty.")
	}
	if r := []rune(text); len(r) > maxWhole {
		return string(r[:maxWhole]) + l.pick("……\n\n（文档较长，只显示了开头。）", "…\n\n(The document is long; this is its beginning.)")
	}
	return text
}

func (a *agent) smallTalk(in intent) string {
	abilities := in.lang.pick(`我可以：
- 总结飞书文档：把文档链接发给我，例如“请为我总结这篇文档的内容：https://example.feishu.cn/docx/ABC123”
- 清理您的授权：说“清理我的身份凭据”
- 重新授权：说“重新授权飞书”`, `I can
- sum up a Feishu document: send me its link, as in “Summarize https://example.feishu.cn/docx/ABC123”
- clear your authorization: say “clear my credentials”
- let you authorize again: say “re-authorize Feishu”`)
	switch {
	case in.thanks:
		return in.lang.pick("不客气！", "You are welcome!")
	case in.greet:
		return in.lang.pick("您好！我是飞书文档助手。", "Hello! I am an assistant for Feishu documents. ") + abilities
	case in.sum || in.again || in.whole:
		return in.lang.pick("请把文档的链接也发给我，例如 https://example.feishu.cn/docx/ABC123。",
			"Please send me the document's link too, for example https://example.feishu.cn/docx/ABC123.")
	}
	return in.lang.pick("抱歉，我没有听懂。", "Sorry, I did not understand that. ") + abilities
}
