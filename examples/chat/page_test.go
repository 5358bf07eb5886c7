package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLanguage(t *testing.T) {
	for header, want := range map[string]string{
		"":                           "en",
		"zh-CN,zh;q=0.9,en;q=0.8":    "zh",
		"en-US,en;q=0.9,zh-CN;q=0.8": "en",
		"fr,de;q=0.9":                "en",
		"fr,zh-Hant;q=0.4":           "zh",
		"en;q=0.1,ZH;q=0.2":          "zh",
		"zh;q=0":                     "en",
		"zh;q=x,en;q=":               "en",
		strings.Repeat("x,", 1000):   "en",
		"zhx,*":                      "en",
	} {
		r, _ := http.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", header)
		if got := chooseLanguage(r); got != want {
			t.Errorf("%.40q: %s, want %s", header, got, want)
		}
		r.AddCookie(&http.Cookie{Name: langCookie, Value: "zh"})
		if got := chooseLanguage(r); got != "zh" {
			t.Errorf("%.40q with a remembered zh: %s", header, got)
		}
	}
}

func TestPage(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t)
	resp, err := b.Get(r.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	policy := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	if strings.Contains(policy, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", resp.Header)
	}
	if inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son\w+=|javascript:|https?://(?:[^b]|b[^y])[^"]*\.(?:js|css)`).Find(body); inline != nil {
		t.Errorf("inline or foreign code: %s", inline)
	}
	for _, want := range []string{`id="login"`, `id="message"`, `id="send"`, `lang="en"`, "LddRdcWDro6GRdxOdzEck1DdnFd"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	b.login("zhang")
	if _, _, page := b.get("/"); !strings.Contains(page, `id="logout"`) || strings.Contains(page, `id="login"`) || !strings.Contains(page, "zhang") {
		t.Error("the page of somebody who is logged in")
	}
	if _, _, page := b.get("/?notice=%3Cscript%3Ealert(1)%3C/script%3E"); strings.Contains(page, "alert(1)") || strings.Contains(page, `id="notice"`) {
		t.Error("an unknown notice is shown")
	}
}

func TestStatic(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t)
	for name, kind := range map[string]string{"chat.js": "text/javascript", "markdown.js": "text/javascript", "chat.css": "text/css", "icon.svg": "image/svg+xml"} {
		resp, err := b.Get(r.URL + "/static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		tag := resp.Header.Get("ETag")
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) || tag == "" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
		req, _ := http.NewRequest(http.MethodGet, r.URL+"/static/"+name, nil)
		req.Header.Set("If-None-Match", tag)
		if resp, err = b.Do(req); err != nil || resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %v %v", name, resp.StatusCode, err)
		}
		resp.Body.Close()
	}
	for _, path := range []string{"/static/page.html", "/static/words.json", "/static/..%2fpage.html", "/static/", "/.env", "/nothing"} {
		if status, _, _ := b.get(path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _, body := b.get("/healthz"); status != 200 || !strings.Contains(body, "healthy") {
		t.Errorf("healthz: %d %s", status, body)
	}
}

// A name that resolves to this machine (DNS rebinding) is not this application.
func TestForeignHost(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]int{"/": 302, "/login": 421, "/api/session": 421, "/static/chat.js": 421, "/healthz": 200} {
		req, _ := http.NewRequest(http.MethodGet, r.URL+path, nil)
		req.Host = "evil.example:8082"
		resp, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || path == "/" && resp.Header.Get("Location") != r.URL+"/" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}

func TestWordsAreCompleteInBothLanguages(t *testing.T) {
	text, _ := ui.ReadFile("ui/words.json")
	var words map[string]map[string]string
	if err := json.Unmarshal(text, &words); err != nil {
		t.Fatal(err)
	}
	hole := regexp.MustCompile(`\{\w+\}`)
	for _, lang := range languages {
		for key, en := range words["en"] {
			got := words[lang][key]
			if got == "" || !slices.Equal(hole.FindAllString(en, -1), hole.FindAllString(got, -1)) {
				t.Errorf("%s: %q", lang, key)
			}
		}
		if len(words[lang]) != len(words["en"]) {
			t.Errorf("%s has words that en lacks", lang)
		}
	}
	// Every error that this program can send has words.
	for _, file := range []string{"adk", "agent", "chat", "web", "login"} {
		source := readSource(t, file+".go")
		for _, m := range regexp.MustCompile(`(?:errorMessage|fail|notice)\((?:w, r, )?"([a-z_]+)"|code, text :?= "([a-z_]+)"`).FindAllStringSubmatch(source, -1) {
			if code := m[1] + m[2]; words["en"]["error."+code] == "" {
				t.Errorf("%s.go: no words for %s", file, code)
			}
		}
	}
	// The page asks for no words that do not exist.
	sources := readSource(t, "ui/chat.js") + readSource(t, "ui/page.html")
	for _, m := range regexp.MustCompile(`data-t(?:-[a-z-]+)?="([A-Za-z.]+)"|say\([^"]*?, "([A-Za-z.]+)"|[^a-z]t\("([A-Za-z.]+)"|announce\("(\w+)"|\$?\.T\.(\w+)`).FindAllStringSubmatch(sources, -1) {
		if key := strings.Join(m[1:], ""); !strings.HasSuffix(key, ".") && words["en"][key] == "" {
			t.Errorf("no words for %q", key)
		}
	}
}

// Foreign text must not become markup; the policy enforces it, this says where.
func TestScriptsBuildNoMarkup(t *testing.T) {
	for _, file := range []string{"ui/chat.js", "ui/markdown.js"} {
		if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|setHTML|createContextualFragment|srcdoc|window\.open`).FindString(readSource(t, file)); found != "" {
			t.Errorf("%s uses %s", file, found)
		}
	}
}

func readSource(t *testing.T, name string) string {
	t.Helper()
	if strings.HasPrefix(name, "ui/") {
		b, err := ui.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	text, err := readBounded(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestServeStopsWithItsContext(t *testing.T) {
	began := make(chan struct{})
	r := newRig(t, func(_ *pool, w http.ResponseWriter, r *http.Request) {
		stream(w)(piece("hello"))
		close(began)
		<-r.Context().Done()
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, r.app, slog.New(slog.DiscardHandler)) }()

	s := newSession("zhang", newToken("t"))
	key := randomToken()
	r.app.sessions.put(key, s, time.Now().Add(time.Hour))
	req, _ := http.NewRequest(http.MethodPost, "http://"+listener.Addr().String()+"/api/chat", strings.NewReader(`{"message":"x"}`))
	req.Host = strings.TrimPrefix(r.URL, "http://")
	req.Header.Set("Content-Type", "application/json")
	req.AddCookie(&http.Cookie{Name: sessionCookie, Value: key.reveal()})
	resp, err := r.browser(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-began
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestRunRefusesNonsense(t *testing.T) {
	t.Chdir(t.TempDir())
	none := func(string) (string, bool) { return "", false }
	for _, args := range [][]string{{}, {"-nope"}, {"file"}, {"-env", "missing"}} {
		if err := run(t.Context(), args, none, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	env := good()
	env[setRedirect] = "http://" + taken.Addr().String() + "/callback"
	err = run(t.Context(), nil, func(k string) (string, bool) { v, ok := env[k]; return v, ok }, io.Discard)
	if err == nil || !strings.Contains(err.Error(), setRedirect) {
		t.Errorf("a taken port: %v", err)
	}
}
