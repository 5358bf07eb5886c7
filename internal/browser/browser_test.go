package browser_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/browser"
)

func newSite(t *testing.T, publicURL string) *browser.Site {
	t.Helper()
	s, err := browser.NewSite(publicURL, "id")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSites(t *testing.T) {
	for publicURL, ok := range map[string]bool{
		"https://id.example.com": true, "https://id.example.com:8443": true, "http://localhost:8080": true, "http://127.0.0.1:8080": true,
		"http://[::1]:8080": true, "http://id.example.com": false, "https://id.example.com/": false, "https://id.example.com/x": false,
		"https://u:p@id.example.com": false, "https://id.example.com?x": false, "id.example.com": false, "": false, "ftp://id.example.com": false,
	} {
		if _, err := browser.NewSite(publicURL, "id"); (err == nil) != ok {
			t.Errorf("NewSite(%q) = %v, want ok %v", publicURL, err, ok)
		}
	}
}

func TestCookies(t *testing.T) {
	for publicURL, want := range map[string]string{
		"https://id.example.com": "__Host-id-session=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax",
		"http://localhost:8080":  "id-8080-session=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax",
		"http://localhost":       "id-80-session=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax",
	} {
		w := httptest.NewRecorder()
		newSite(t, publicURL).SetCookie(w, "session", "v", 60e9)
		if got := w.Header().Get("Set-Cookie"); got != want {
			t.Errorf("%s sets %q, want %q", publicURL, got, want)
		}
	}
	s := newSite(t, "https://id.example.com")
	for header, want := range map[string]string{
		"__Host-id-session=a":                        "a",
		"id-session=a":                               "",
		"__Host-id-session=a; __Host-id-session=b":   "",
		"__Host-id-session=a; __Host-chat-session=b": "a",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", header)
		if got := s.Cookie(r, "session"); got != want {
			t.Errorf("Cookie of %q = %q, want %q", header, got, want)
		}
	}
}

func TestFormsAreBoundToBrowserAndPurpose(t *testing.T) {
	s := newSite(t, "https://id.example.com")
	w := httptest.NewRecorder()
	token := s.FormToken(w, httptest.NewRequest("GET", "/", nil), "consent", "staff")
	same := httptest.NewRequest("POST", "/", nil)
	same.AddCookie(w.Result().Cookies()[0])
	if again := httptest.NewRecorder(); s.FormToken(again, same, "consent", "staff") != token || again.Header().Get("Set-Cookie") != "" {
		t.Error("the second form of a browser got another key")
	}
	other := httptest.NewRequest("POST", "/", nil)
	w = httptest.NewRecorder()
	s.FormToken(w, other)
	other.AddCookie(w.Result().Cookies()[0])
	short := httptest.NewRequest("POST", "/", nil)
	short.Header.Set("Cookie", "__Host-id-form=x")

	if err := s.CheckForm(same, token, "consent", "staff"); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"no cookie":       s.CheckForm(httptest.NewRequest("POST", "/", nil), token, "consent", "staff"),
		"other browser":   s.CheckForm(other, token, "consent", "staff"),
		"planted key":     s.CheckForm(short, token, "consent", "staff"),
		"no token":        s.CheckForm(same, "", "consent", "staff"),
		"other purpose":   s.CheckForm(same, token, "login", "staff"),
		"other pool":      s.CheckForm(same, token, "consent", "guests"),
		"joined":          s.CheckForm(same, token, "consent&staff"),
		"split elsewhere": s.CheckForm(same, token, "consent", "sta", "ff"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestLanguage(t *testing.T) {
	s := newSite(t, "https://id.example.com")
	for _, c := range []struct {
		url, cookie, accept string
		want                browser.Language
	}{
		{"/", "", "", browser.English},
		{"/", "", "zh-CN,zh;q=0.9,en;q=0.8", browser.Chinese},
		{"/", "", "de, zh;q=0.3, en;q=0.7", browser.English},
		{"/", "", "zh;q=0, en;q=0.1", browser.English},
		{"/", "", "zh;q=x,,;;", browser.English},
		{"/", "", strings.Repeat("zh,", 100000), browser.Chinese},
		{"/?lang=zh", "", "en", browser.Chinese},
		{"/?lang=EN-us", "zh", "zh", browser.English},
		{"/", "zh", "en", browser.Chinese},
		{"/?lang=xx", "yy", "zh", browser.Chinese},
	} {
		r := httptest.NewRequest("GET", c.url, nil)
		r.Header.Set("Accept-Language", c.accept)
		if c.cookie != "" {
			r.Header.Set("Cookie", "__Host-id-lang="+c.cookie)
		}
		if got := s.Language(r); got != c.want {
			t.Errorf("%.100v: %s", c, got)
		}
	}
}

func newPages(t *testing.T) (*browser.Pages, *http.ServeMux) {
	t.Helper()
	p, err := browser.NewPages(newSite(t, "https://id.example.com"), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.Mount(mux)
	return p, mux
}

// pages has one of each kind, with hostile text wherever a stranger's text may stand.
func pages() map[string]browser.Page {
	const evil = `"><script>alert(1)</script>`
	e := browser.Text{EN: "E" + evil, ZH: "Z" + evil}
	return map[string]browser.Page{
		"notice": browser.Notice{Brand: browser.Brand{Name: evil, Style: evil, Logo: evil}, Mood: browser.Failure, Title: e, Text: e, Detail: e, Code: evil,
			Facts: []browser.Fact{{Label: e, Values: []string{evil}}, {Label: e}}, Links: []browser.Link{{Label: e, URL: "javascript:alert(1)"}}},
		"decision": browser.Decision{Brand: browser.Brand{Name: evil, Style: evil, Logo: evil}, Title: e, Who: evil, Text: e, Items: []browser.Item{{Title: e, Detail: evil}}, Note: e,
			Action: "javascript:alert(1)", Hidden: []browser.Hidden{{Name: evil, Value: evil}}, Targets: []string{"https://a.example/cb?x;y"}},
		"list": browser.List{Brand: browser.Brand{Name: evil, Style: evil, Logo: evil}, Title: e, Text: e, Alert: e, Links: []browser.Link{{Label: e, URL: evil}},
			Sections: []browser.Section{{Title: e, Text: e, Empty: e, Links: []browser.Link{{Label: e, URL: evil}},
				Rows: []browser.Row{{Title: e, Mark: e, Details: []browser.Text{e}, Actions: []browser.Action{{Label: e, Path: "/x", Hidden: []browser.Hidden{{Name: evil, Value: evil}}}}}}}}},
		"passkey": browser.Passkey{Brand: browser.Brand{Name: evil, Style: evil, Logo: evil}, Title: e, Text: e, Error: e, Ask: e, Options: evil, Action: "/x",
			Hidden: []browser.Hidden{{Name: evil, Value: evil}}, Links: []browser.Link{{Label: e, URL: "javascript:alert(1)"}}},
		"talk": browser.Talk{Title: e, Who: e, Action: "javascript:alert(1)", Links: evil, Again: evil, Logout: "javascript:alert(1)", Hidden: []browser.Hidden{{Name: evil, Value: evil}}},
		"form": browser.Form{Drawing: browser.Drawing{Label: e, Side: 9, Path: evil}, Facts: []browser.Fact{{Label: e, Values: []string{evil}}},
			Others: []browser.Other{{Name: evil, Label: e, Path: "javascript:alert(1)"}},
			Brand:  browser.Brand{Name: evil, Style: evil, Logo: evil}, Title: e, Text: e, Error: e, Submit: e, Action: "/x", Hidden: []browser.Hidden{{Name: "return", Value: evil}},
			Inputs: []browser.Input{{Name: "username", Label: e, Type: "text", Value: evil}}},
	}
}

func TestPagesEscapeEverything(t *testing.T) {
	p, _ := newPages(t)
	for name, page := range pages() {
		for _, lang := range []string{"en", "zh"} {
			w := httptest.NewRecorder()
			p.Render(w, httptest.NewRequest("GET", "/x?a=%22%3E%3Cscript%3E&lang="+lang, nil), http.StatusTeapot, page)
			body := w.Body.String()
			if w.Code != http.StatusTeapot || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
				t.Errorf("%s: status %d, page %.80q", name, w.Code, body)
			}
			if name == "passkey" || name == "talk" { // the pages that have a script: a file of ours
				own := `<script src="` + assets(t, p) + `/` + name + `.js" defer></script>`
				if !strings.Contains(body, own) || !strings.HasSuffix(w.Header().Get("Content-Security-Policy"), "; script-src 'self'; connect-src 'self'") {
					t.Errorf("the script is not there, or may not run: %s", w.Header())
				}
				body = strings.Replace(body, own, "", 1)
			} else if strings.Contains(w.Header().Get("Content-Security-Policy"), "script") {
				t.Errorf("%s may run scripts", name)
			}
			for _, bad := range []string{"<script", "javascript:", " style=", "<style", " onclick"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s in %s has %q:\n%s", name, lang, bad, body)
				}
			}
			if want := map[string]string{"en": `<html lang="en">`, "zh": `<html lang="zh-CN">`}[lang]; !strings.Contains(body, want) {
				t.Errorf("%s in %s is not marked so", name, lang)
			}
			if !strings.Contains(w.Header().Get("Set-Cookie"), "lang="+lang) {
				t.Errorf("%s: the choice of language is not remembered", name)
			}
		}
	}
}

// assets returns the path of the pages' assets.
func assets(t *testing.T, p *browser.Pages) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.Render(w, httptest.NewRequest("GET", "/", nil), 200, browser.Notice{})
	path, ok := strings.CutSuffix(regexp.MustCompile(`/assets/[0-9a-f]+/deputy.css`).FindString(w.Body.String()), "/deputy.css")
	if !ok {
		t.Fatal("the page has no stylesheet")
	}
	return path
}

func TestHeaders(t *testing.T) {
	p, _ := newPages(t)
	w := httptest.NewRecorder()
	p.Render(w, httptest.NewRequest("GET", "/", nil), 200, pages()["decision"])
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'",
		"Referrer-Policy":         "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Cross-Origin-Opener-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestFormTargets(t *testing.T) {
	for _, c := range []struct {
		targets []string
		want    string
	}{
		{nil, ""},
		{[]string{"https://a.example/cb"}, " https:"},
		{[]string{"http://127.0.0.1:8082/callback"}, " http:"},
		{[]string{"http://[::1]:8082/cb", "https:", "https://b.example"}, " https: http:"},
		{[]string{"https://a.example;script-src *"}, " https:"},
		{[]string{"javascript:alert(1)", "/local", "", "%zz", "data:text/html,x", "; script-src https:"}, ""},
	} {
		w := httptest.NewRecorder()
		browser.Headers(w, c.targets...)
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(csp, "; form-action 'self'"+c.want+"; frame-ancestors") {
			t.Errorf("%q: %s", c.targets, csp)
		}
	}
}

func TestAssets(t *testing.T) {
	p, mux := newPages(t)
	w := httptest.NewRecorder()
	p.Render(w, httptest.NewRequest("GET", "/", nil), 200, pages()["form"])
	for _, link := range regexp.MustCompile(`(?:href|src)="(/assets/[^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", link[1], nil))
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("%s: %d %v", link[1], w.Code, w.Header())
		}
	}
	for _, path := range []string{"/assets/x/deputy.css", "/assets/x/page.html", "/assets/x/" + url.PathEscape("../site.go")} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestTheLanguageSwitchKeepsTheQuery(t *testing.T) {
	p, _ := newPages(t)
	get, post, again := httptest.NewRecorder(), httptest.NewRecorder(), httptest.NewRecorder()
	p.Render(get, httptest.NewRequest("GET", "/login?return=%2Fa%3Fb%3Dc&lang=en", nil), 200, pages()["form"])
	p.Render(post, httptest.NewRequest("POST", "/login", nil), 200, pages()["form"])
	p.Render(again, httptest.NewRequest("POST", "/login", nil), 200, browser.Form{Again: "/login?return=%2Fx"})
	if want := `href="/login?lang=zh&amp;return=%2Fx"`; !strings.Contains(again.Body.String(), want) {
		t.Errorf("no %s in\n%s", want, again.Body)
	}
	if want := `href="?lang=zh&amp;return=%2Fa%3Fb%3Dc"`; !strings.Contains(get.Body.String(), want) {
		t.Errorf("no %s in\n%s", want, get.Body)
	}
	if strings.Contains(post.Body.String(), "lang=zh&amp;") || strings.Contains(post.Body.String(), "中文") {
		t.Error("a page that answers a POST offers to be loaded again")
	}
}
