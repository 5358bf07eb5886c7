package main

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// documentHosts are the sites whose links name Feishu documents: these, and
// whatever is below them.
var documentHosts = []string{"feishu.cn", "larkoffice.com", "larksuite.com"}

var (
	documentToken = regexp.MustCompile(`^[A-Za-z0-9]{4,64}$`)
	// A link in a message ends where a URL cannot go on; Chinese text has no space before and after it.
	linkInText = regexp.MustCompile(`(?i)https?://[^\s\p{Han}<>"'` + "`" + `，。！？；：、（）【】「」《》“”]+`)
	// A link that was copied without its scheme.
	bareLinkInText = regexp.MustCompile(`(?i)\b[a-z0-9.-]*\b(?:feishu\.cn|larkoffice\.com|larksuite\.com)/[A-Za-z0-9/?=&%#._-]+`)
	// A document named by its id alone.
	tokenInText = regexp.MustCompile(`(?i)(?:文档|文件|document|doc|docx|id)(?:\s|[:：=#]|id|号|编号|为|是)*\b([A-Za-z0-9]{6,64})\b`)
	longToken   = regexp.MustCompile(`\b[A-Za-z0-9]{20,64}\b`)
)

// otherKinds are Feishu links to something that is not a document of the new kind.
var otherKinds = map[string]problem{
	"wiki": {
		zh: "这是知识库（wiki）链接。它指向知识库里的一个节点，而不是文档本身，我不能直接读取。请打开它，用右上角的“…”里“查看源文档”或“复制链接”得到 /docx/ 开头的链接，再发给我。",
		en: "This is a wiki link. It names a node of a knowledge base, not the document itself, so I cannot read it directly. Open it, get the link of the document behind it (the one with /docx/ in it), and send me that.",
	},
	"docs":      {zh: "这是旧版文档（/docs/）链接。我只能读取新版文档（/docx/）。", en: "This is a link to a document of the old kind (/docs/). I can only read the new kind (/docx/)."},
	"sheets":    {zh: "这是电子表格链接，我只能读取文档（/docx/）。", en: "This is a link to a spreadsheet. I can only read documents (/docx/)."},
	"base":      {zh: "这是多维表格链接，我只能读取文档（/docx/）。", en: "This is a link to a Base. I can only read documents (/docx/)."},
	"slides":    {zh: "这是幻灯片链接，我只能读取文档（/docx/）。", en: "This is a link to slides. I can only read documents (/docx/)."},
	"mindnotes": {zh: "这是思维笔记链接，我只能读取文档（/docx/）。", en: "This is a link to a mind note. I can only read documents (/docx/)."},
	"file":      {zh: "这是文件链接，我只能读取文档（/docx/）。", en: "This is a link to a file. I can only read documents (/docx/)."},
	"drive":     {zh: "这是文件夹链接，请发给我其中一篇文档（/docx/）的链接。", en: "This is a link to a folder. Send me the link of one document (/docx/) in it."},
}

// documentID returns the document that a link or an id names. Only the id is
// ever used: where the request goes is settled in the settings, not in a link.
func documentID(s string) (string, error) {
	s = strings.TrimSpace(s)
	if documentToken.MatchString(s) {
		return s, nil
	}
	if !strings.Contains(s, "://") && bareLinkInText.MatchString(s) {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return "", &problem{zh: "这不是文档链接，也不是文档 ID。链接的样子是 https://example.feishu.cn/docx/ABC123。",
			en: "This is neither the link nor the id of a document. A link looks like https://example.feishu.cn/docx/ABC123."}
	}
	if u.User != nil || !documentHost(u) {
		return "", &problem{zh: "这个链接不在飞书的网站上（feishu.cn、larkoffice.com、larksuite.com），我不会打开它。",
			en: "This link is not on a Feishu site (feishu.cn, larkoffice.com, larksuite.com), so I will not open it."}
	}
	path := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	if len(path) == 2 && path[0] == "docx" && documentToken.MatchString(path[1]) {
		return path[1], nil
	}
	if p, ok := otherKinds[path[0]]; ok {
		return "", &p
	}
	return "", &problem{zh: "这个飞书链接里没有文档 ID。文档链接的样子是 https://example.feishu.cn/docx/ABC123。",
		en: "There is no document id in this Feishu link. A document's link looks like https://example.feishu.cn/docx/ABC123."}
}

func documentHost(u *url.URL) bool {
	if port := u.Port(); port != "" && port != "443" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, h := range documentHosts {
		if host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	return false
}

// maxLinks bounds the documents of one message.
const maxLinks = 3

// findLinks returns what in a message looks like a document, in order and without
// repetition, and the message without it.
func findLinks(message string) (links []string, rest string) {
	add := func(s string) string {
		link := strings.TrimRight(s, `.,;:!?)]}*_|`)
		if len(links) < maxLinks && !slices.Contains(links, link) {
			links = append(links, link)
		}
		return " " + s[len(link):]
	}
	rest = linkInText.ReplaceAllStringFunc(message, add)
	rest = bareLinkInText.ReplaceAllStringFunc(rest, add)
	for _, m := range tokenInText.FindAllStringSubmatch(rest, maxLinks) {
		if strings.ContainsAny(m[1], "0123456789") { // else it is a word
			rest = strings.Replace(rest, m[1], add(m[1]), 1)
		}
	}
	rest = longToken.ReplaceAllStringFunc(rest, add)
	return links, strings.TrimSpace(rest)
}
