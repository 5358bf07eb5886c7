package visitor

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadForms(t *testing.T) {
	const page = `<!doctype html><title>a <form> in a title</title><!-- <form action="/comment"> -->
<style>form > input { color: red }</style>
<form action='/out' method=POST><input type="hidden" name="csrf" value="a&amp;b &#34;c&#34;">
<input id=u name=username autocomplete="username" required><input name="password" type="password" value="">
<input type=checkbox name=stay value=yes><input type=checkbox name=keep value=yes checked>
<input value="without a name"><button class="main" id="submit">Log in</button>
<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>
<input name="outside"><p>1 < 2</p><form><input name=q value="x"/></form>`
	want := []Form{
		{
			Action: "/out", Method: "post",
			Fields:  url.Values{"csrf": {`a&b "c"`}, "username": {""}, "password": {""}, "keep": {"yes"}},
			Choices: url.Values{"decision": {"allow", "deny"}},
		},
		{Method: "get", Fields: url.Values{"q": {"x"}}, Choices: url.Values{}},
	}
	if diff := cmp.Diff(want, readForms(page)); diff != "" {
		t.Error(diff)
	}
}

func TestPress(t *testing.T) {
	f := Form{Fields: url.Values{"csrf": {"t"}, "username": {""}}, Choices: url.Values{"decision": {"allow", "deny"}}}
	got, err := f.press(url.Values{"username": {"zhangsan"}}, "decision", "allow")
	want := url.Values{"csrf": {"t"}, "username": {"zhangsan"}, "decision": {"allow"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if f.Fields.Get("username") != "" {
		t.Error("pressing changed the form itself")
	}
	for what, try := range map[string]func() (url.Values, error){
		"a field that is not there":  func() (url.Values, error) { return f.press(url.Values{"admin": {"1"}}, "", "") },
		"a button that is not there": func() (url.Values, error) { return f.press(nil, "submit", "") },
		"a choice that is not there": func() (url.Values, error) { return f.press(nil, "decision", "always") },
	} {
		if got, err := try(); err == nil {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func FuzzReadForms(f *testing.F) {
	for _, seed := range []string{"<form", "<form a", "<form a=", `<form a="`, "<input =x>", "<!--", "<form><input name==a>", "</", "<a/b>", "<script>", "<title></title><form =>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, page string) {
		forms := readForms(page)
		total := 0
		for _, form := range forms {
			if form.Method != "get" && form.Method != "post" {
				t.Errorf("method %q", form.Method)
			}
			for _, values := range form.Fields {
				total += len(values)
			}
			for _, values := range form.Choices {
				total += len(values)
			}
		}
		if len(forms) > maxForms || total > maxFields {
			t.Errorf("%d forms with %d fields", len(forms), total)
		}
	})
}
