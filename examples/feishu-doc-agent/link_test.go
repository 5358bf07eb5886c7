package main

import (
	"slices"
	"strings"
	"testing"
)

func TestDocumentID(t *testing.T) {
	good := []string{"ABC123", " ABC123 ", "https://x.feishu.cn/docx/ABC123", "HTTPS://X.FEISHU.CN/docx/ABC123", "https://feishu.cn/docx/ABC123/", "http://x.feishu.cn/docx/ABC123",
		"https://bytedance.larkoffice.com/docx/ABC123?from=x#part", "https://a.b.larksuite.com:443/docx/ABC123", "x.feishu.cn/docx/ABC123"}
	for _, s := range good {
		if id, err := documentID(s); err != nil || id != "ABC123" {
			t.Errorf("%q: %q, %v", s, id, err)
		}
	}
	bad := map[string]string{
		"": "neither", "a b": "neither", "../../etc": "neither", "javascript:alert(1)": "neither", "ftp://x.feishu.cn/docx/ABC123": "neither",
		"https://evil.test/docx/ABC123":                       "not on a Feishu site",
		"https://evilfeishu.cn/docx/ABC123":                   "not on a Feishu site",
		"https://feishu.cn.evil.test/docx/ABC123":             "not on a Feishu site",
		"https://evil.test/x.feishu.cn/docx/ABC123":           "not on a Feishu site",
		"https://x.feishu.cn@evil.test/docx/ABC123":           "not on a Feishu site",
		"https://user@x.feishu.cn/docx/ABC123":                "not on a Feishu site",
		"https://x.feishu.cn:8443/docx/ABC123":                "not on a Feishu site",
		"https://x.feishu.cn\\@evil.test/docx/ABC123":         "neither",
		"https://x.feishu.cn/wiki/ABC123":                     "wiki link",
		"https://x.feishu.cn/docs/doccnABC":                   "old kind",
		"https://x.feishu.cn/docx/../wiki/ABC123":             "no document id",
		"https://x.feishu.cn/docx/ABC%2F123":                  "no document id",
		"https://x.feishu.cn/docx/":                           "no document id",
		"https://x.feishu.cn/":                                "no document id",
		"https://x.feishu.cn/docx/" + strings.Repeat("A", 65): "no document id",
	}
	for s, want := range bad {
		if id, err := documentID(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", s, id, err)
		}
	}
}

func TestFindLinks(t *testing.T) {
	for message, want := range map[string][]string{
		"请为我总结这篇文档的内容：https://bytedance.larkoffice.com/docx/LddRdcWDro6GRdxOdzEck1DdnFd": {"https://bytedance.larkoffice.com/docx/LddRdcWDro6GRdxOdzEck1DdnFd"},
		"总结https://x.feishu.cn/docx/A1B2，谢谢":                                             {"https://x.feishu.cn/docx/A1B2"},
		"（https://x.feishu.cn/docx/A1B2）和 <https://x.feishu.cn/docx/C3D4>.":              {"https://x.feishu.cn/docx/A1B2", "https://x.feishu.cn/docx/C3D4"},
		"Read https://x.feishu.cn/docx/A1B2, please":                                     {"https://x.feishu.cn/docx/A1B2"},
		"twice https://x.feishu.cn/docx/A1B2 https://x.feishu.cn/docx/A1B2":              {"https://x.feishu.cn/docx/A1B2"},
		"看看 x.feishu.cn/docx/A1B2 吧":                                                     {"x.feishu.cn/docx/A1B2"},
		"summarize document ABC123":                                                      {"ABC123"},
		"总结文档ABC123":                                                                     {"ABC123"},
		"summarize LddRdcWDro6GRdxOdzEck1DdnFd":                                          {"LddRdcWDro6GRdxOdzEck1DdnFd"},
		"summarize the document please":                                                  nil,
		"你好":                                                                             nil,
	} {
		if got, _ := findLinks(message); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}

func TestIntents(t *testing.T) {
	type flags struct{ clear, afresh bool }
	for message, want := range map[string]flags{
		"清理我的身份凭据":                                              {true, false},
		"帮我清除飞书授权":                                              {true, false},
		"把我的凭证删掉":                                               {true, false},
		"撤销对飞书的授权":                                              {true, false},
		"clear my credentials":                                  {true, false},
		"Please forget my tokens":                               {true, false},
		"revoke your access":                                    {true, false},
		"重新授权飞书":                                                {false, true},
		"我想换个账号":                                                {false, true},
		"re-authorize Feishu":                                   {false, true},
		"Reauthorise please":                                    {false, true},
		"authorize Feishu again":                                {false, true},
		"不要清理我的凭据":                                              {},
		"don't clear my credentials":                            {},
		"总结这篇关于授权流程的文档":                                         {},
		"summarize the document about authorization and tokens": {},
		"https://x.feishu.cn/docx/clearmycredentials":           {},
		"你好": {},
	} {
		if got := understand(message); got.clear != want.clear || got.afresh != want.afresh {
			t.Errorf("%q: clear %v, afresh %v", message, got.clear, got.afresh)
		}
	}
}

// An id is all that ever comes out of a link, whatever goes in.
func FuzzDocumentID(f *testing.F) {
	for _, s := range []string{"ABC123", "https://x.feishu.cn/docx/ABC123?a=b#c", "https://x.feishu.cn@evil/docx/A", "x.larksuite.com/docx/ABC123", "https://x.feishu.cn/wiki/%2e%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := documentID(s)
		if err != nil {
			return
		}
		if !documentToken.MatchString(id) || !strings.Contains(s, id) {
			t.Fatalf("%q gives %q", s, id)
		}
		if again, err := documentID("https://x.feishu.cn/docx/" + id); err != nil || again != id {
			t.Fatalf("%q gives %q, which gives %q, %v", s, id, again, err)
		}
		_ = understand(s)
	})
}
