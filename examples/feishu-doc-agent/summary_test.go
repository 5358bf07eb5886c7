package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func load(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A summary has the facts and leaves the chatter out.
func TestSummaries(t *testing.T) {
	tests := map[string]struct {
		file, wish string
		lang       language
		title      string
		has, lacks []string
	}{
		"chinese":                      {"zh.txt", "", chinese, "《星河项目三季度复盘》的内容摘要", []string{"91%", "10 月 31 日", "风险", "要点："}, []string{"气氛", "努力", "testdata"}},
		"english":                      {"en.txt", "", english, "Summary of “Migration of the billing service”", []string{"three stages", "January 15, 2027", "Key points:"}, []string{"lunch", "weather"}},
		"a wish":                       {"zh.txt", "预算支出", chinese, "《星河项目三季度复盘》", []string{"186 万元"}, nil},
		"framed in the other language": {"zh.txt", "", english, "Summary of “星河项目三季度复盘”", []string{"Key points:", "91%"}, []string{"要点"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := load(t, test.file)
			s := summarize(text, termsOf(test.wish))
			got := s.render(test.lang)
			t.Log(got)
			for _, want := range append(test.has, test.title) {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing", want)
				}
			}
			for _, bad := range test.lacks {
				if strings.Contains(got, bad) {
					t.Errorf("%q is in it", bad)
				}
			}
			if len([]rune(got)) > len([]rune(text))*9/10 {
				t.Errorf("a summary of %d characters of a text of %d", len([]rune(got)), len([]rune(text)))
			}
			all := slices.Clone(s.overview)
			for _, p := range s.points {
				all = append(all, p.text)
			}
			last := map[bool]int{}
			for i, sentence := range all {
				if strings.Count(got, sentence) != 1 {
					t.Errorf("%q is there more than once", sentence)
				}
				at, isPoint := strings.Index(text, sentence), i >= len(s.overview)
				if at < last[isPoint] {
					t.Errorf("%q is not in the order of the text", sentence)
				}
				last[isPoint] = at
			}
		})
	}
}

func TestShortDocuments(t *testing.T) {
	for text, want := range map[string]string{
		"":              "这篇文档是空的",
		" \n\u200b\n":   "这篇文档是空的",
		"今天下午三点开会。":     "今天下午三点开会。",
		"周会\n今天下午三点开会。": "《周会》的内容摘要\n\n今天下午三点开会。",
		"同一句话。同一句话。同一句话。":              "摘要\n\n同一句话。\n",
		"One. Two and a half, 2.5 km.": "One. Two and a half, 2.5 km.",
	} {
		if got := summarize(clean(text), nil).render(chinese); !strings.Contains(got, want) || strings.Contains(got, "要点") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestSplitSentences(t *testing.T) {
	for line, want := range map[string][]string{
		"今天开会。明天呢？好！":                                                    {"今天开会。", "明天呢？", "好！"},
		"他说：“走吧！”然后走了。":                                                  {"他说：“走吧！”", "然后走了。"},
		"真的吗？！是的……吧。":                                                    {"真的吗？！", "是的……吧。"},
		"Dr. Meyer paid $3.50 to J. Smith. He left at 5 p.m. on Monday.": {"Dr. Meyer paid $3.50 to J. Smith.", "He left at 5 p.m. on Monday."},
		"See example.com/a?b=c for v1.2. Done!":                          {"See example.com/a?b=c for v1.2.", "Done!"},
		`She said "Go." Then she left.`:                                  {`She said "Go."`, "Then she left."},
		"延迟是 3.14 ms。OK. 好的。":                                            {"延迟是 3.14 ms。", "OK.", "好的。"},
		"no end":                                                         {"no end"},
	} {
		if got := splitSentences(line); !slices.Equal(got, want) {
			t.Errorf("%q is split into %q", line, got)
		}
	}
}

func TestTakeApart(t *testing.T) {
	a := takeApart(load(t, "zh.txt"))
	if a.title != "星河项目三季度复盘" {
		t.Errorf("title = %q", a.title)
	}
	headings := map[string]bool{}
	bullets := 0
	for _, s := range a.sentences {
		headings[s.heading] = true
		if s.bullet {
			bullets++
		}
	}
	for _, h := range []string{"背景", "进展", "问题", "下一步"} {
		if !headings[h] {
			t.Errorf("heading %q was not recognized: %v", h, headings)
		}
	}
	if bullets != 3 {
		t.Errorf("%d items, want 3", bullets)
	}
}

// No text makes the summarizer panic or talk without end, and everything that it
// says stands in the text.
func FuzzSummarize(f *testing.F) {
	f.Add(load(f, "zh.txt"), "预算")
	f.Add(load(f, "en.txt"), "budget")
	f.Add(strings.Repeat("a. ", 3000), "")
	f.Fuzz(func(t *testing.T, text, wish string) {
		text = clean(text)
		s := summarize(text, termsOf(wish))
		if got := s.render(english); len([]rune(got)) > 20*maxQuote {
			t.Fatalf("%d characters", len(got))
		}
		flat := strings.Join(strings.Fields(text), " ")
		for _, o := range s.overview {
			if !strings.Contains(flat, o) {
				t.Fatalf("%q is not in the text", o)
			}
		}
	})
}

func BenchmarkSummarize(b *testing.B) {
	text := strings.Repeat(load(b, "zh.txt")+load(b, "en.txt"), 30)
	for b.Loop() {
		summarize(text, nil)
	}
}
