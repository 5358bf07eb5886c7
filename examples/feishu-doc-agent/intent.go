package main

import (
	"regexp"
	"strings"
)

// intent is what a user wants.
type intent struct {
	clear  bool // withdraw the agent's permission
	afresh bool // and be asked anew, at the third party itself
	again  bool // the document that was read before
	whole  bool // its text instead of a summary
	greet  bool
	thanks bool
	sum    bool     // the message asks for a summary
	links  []string // what looks like documents
	wish   map[string]float64
	lang   language
	spoken bool // the message has words, so that lang is the user's
}

var (
	negated = regexp.MustCompile(`(?i)(?:不要|不用|不必|先别|别|请勿|勿|don'?t|do not|never|not to)\s*(?:再|去|please)?\s*(?:清|删|移|撤|取消|忘|解|重|clear|delete|remove|revoke|forget|reset|wipe|re-?auth)`)
	clears  = regexp.MustCompile(`(?i)(?:清理|清除|清空|清掉|删除|删掉|移除|撤销|撤回|取消|忘记|忘掉|注销|解除|失效).{0,12}(?:凭据|凭证|授权|令牌|token|身份|权限|登录)|` +
		`(?:凭据|凭证|授权|令牌).{0,6}(?:清理|清除|清空|清掉|删除|删掉|移除|撤销|取消|失效)|` +
		`\b(?:clear|clean(?: up)?|delete|remove|revoke|forget|reset|wipe|erase|drop|withdraw|disconnect)\b.{0,30}\b(?:credentials?|authori[sz]ations?|tokens?|access|permissions?|consent|feishu|lark)\b`)
	afreshes = regexp.MustCompile(`(?i)(?:重新|再次|再|重).{0,6}(?:授权|认证|登录|绑定)|换(?:一)?个.{0,4}(?:账号|帐号)|授权飞书|^\s*飞书授权\s*$|` +
		`\bre-?auth(?:ori[sz]e|enticate)?\b|\bauthori[sz]e\b.{0,20}\b(?:again|anew|feishu|lark)\b|\b(?:sign|log) ?in again\b|\bre-?connect\b|\b(?:another|different|switch) account`)
	sums    = regexp.MustCompile(`(?i)总结|摘要|概括|归纳|概述|概要|要点|提炼|讲了什么|说了什么|主要内容|阅读|读取|读一下|看一下|看看|summar|sum up|tl;?dr|key points|overview|digest|gist|\bread\b|what does .{0,40} say`)
	agains  = regexp.MustCompile(`(?i)再.{0,4}(?:一次|一遍|总结|读)|刚才|上一篇|那篇|这篇|该文档|重试|再试|\bagain\b|\bonce more\b|\b(?:that|this|same|the) doc|\bretry\b|\btry it\b`)
	wholes  = regexp.MustCompile(`(?i)原文|全文|完整内容|full text|whole (?:text|document)|verbatim|entire (?:text|document)`)
	greets  = regexp.MustCompile(`(?i)^\W*(?:你好|您好|嗨|哈喽|早上好|下午好|晚上好|在吗|帮助|hi|hello|hey|good (?:morning|afternoon|evening)|help|start)\b?|你(?:能|可以|会)(?:做|干)?.{0,3}什么|怎么用|如何使用|你是谁|what can you do|who are you|how (?:do|can) i use`)
	thankss = regexp.MustCompile(`(?i)^\W*(?:谢谢|多谢|感谢|thanks|thank you|thx)`)
	// Words of the request itself, which say nothing about what in the document is wanted.
	commands  = regexp.MustCompile(`(?i)请|帮我|帮忙|麻烦|为我|给我|一下|这篇|那篇|这个|文档|文件|飞书|内容|用中文|用英文|重新|授权|然后|` + sums.String() + `|\b(?:please|can|could|would|me|document|docx?|feishu|lark|content|contents|link|file|tell|give|show|following|in (?:english|chinese))\b`)
	inChinese = regexp.MustCompile(`(?i)用中文|(?:in|into) chinese`)
	inEnglish = regexp.MustCompile(`(?i)用英文|用英语|(?:in|into) english`)
)

// understand reads a user's message. Only that: a document's text never comes
// here, so nothing in a document can be taken for a wish.
func understand(message string) intent {
	links, words := findLinks(message)
	in := intent{links: links}
	in.lang, in.spoken = languageOf(words)
	switch {
	case inEnglish.MatchString(words):
		in.lang = english
	case inChinese.MatchString(words):
		in.lang = chinese
	}
	if !negated.MatchString(words) {
		in.clear = clears.MatchString(words)
		in.afresh = afreshes.MatchString(words)
	}
	in.sum, in.whole = sums.MatchString(words), wholes.MatchString(words)
	in.again = len(links) == 0 && agains.MatchString(words) && !in.clear && !in.afresh
	in.greet, in.thanks = greets.MatchString(words), thankss.MatchString(words)
	in.wish = termsOf(strings.TrimSpace(commands.ReplaceAllString(words, " ")))
	return in
}
