package e2e_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds one wait for something in a page.
const patience = 30 * time.Second

// browser is a Chromium with a profile of its own.
type browser struct {
	t        *testing.T
	ctx      context.Context // of its first tab
	problems *problems
}

// tab is a page of a browser, with somebody who looks at it.
type tab struct {
	*browser
	ctx context.Context
}

// openBrowser starts Chromium with a fresh profile that prefers a language, and
// returns its first tab. Without Chromium the test is skipped, but not in CI.
func openBrowser(t *testing.T, language string) tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is required in CI:", err)
		}
		t.Skip("chromium is not installed: the demo was not tried in a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("accept-lang", language), chromedp.WindowSize(desktop.width, desktop.height))
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	b := &browser{t: t, problems: &problems{}}
	b.ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(b.problems.see))
	t.Cleanup(func() {
		bound, stop := context.WithTimeout(b.ctx, patience)
		defer stop()
		if err := chromedp.Cancel(bound); err != nil { // waits, so that the profile can be removed
			t.Error("chromium does not end:", err)
		}
		cancel()
	})
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatal("chromium does not start:", err)
	}
	return tab{b, b.ctx}
}

// do does steps one after the other and fails the test at the first that cannot
// be done in time, with what the page shows instead.
func (p tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for i, step := range steps {
		if err := chromedp.Do(ctx, step); err != nil {
			p.t.Fatalf("step %d of %d: %v\n%s", i+1, len(steps), err, p.shown())
		}
	}
}

// read returns what a page answers to one action.
func read[T any](p tab, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.shown())
	}
	return v
}

// shown is the page in words, for the message of a failed test.
func (p tab) shown() string {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body?.innerText`))
	if err != nil {
		return "(the page cannot be read: " + err.Error() + ")"
	}
	return text
}

func (p tab) text(selector string) string {
	p.t.Helper()
	return read(p, chromedp.Text(chromedp.CSS(selector)))
}

// count returns how many elements the page has.
func (p tab) count(selector string) int {
	p.t.Helper()
	return read(p, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
}

// inlineScripts is what no page may have, whoever made it: program text outside
// of files of its own.
const inlineScripts = `[...document.querySelectorAll("*")].filter((e) =>
	e.matches('script:not([src]):not([type="application/json"])') ||
	[...e.attributes].some((a) => a.name.startsWith("on") || /^\s*javascript:/i.test(a.value))
).map((e) => e.outerHTML.slice(0, 200))`

// at checks that the page is on the origin where it should be, and that it has
// no inline script.
func (p tab) at(origin string) {
	p.t.Helper()
	location := read(p, chromedp.Location())
	if !strings.HasPrefix(location, origin+"/") {
		p.t.Fatalf("the page is at %s, not at %s\n%s", location, origin, p.shown())
	}
	if inline := p.inline(); len(inline) > 0 {
		p.t.Errorf("%s has inline script: %q", location, inline)
	}
}

// inline returns what the page has of inline script.
func (p tab) inline() []string {
	p.t.Helper()
	return read(p, chromedp.Evaluate[[]string](inlineScripts))
}

// newTab does what opens a new tab and returns that.
func (p tab) newTab(open chromedp.Action[chromedp.Void]) tab {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	opened := chromedp.WaitNewTarget(ctx, anything)
	p.do(open)
	select {
	case id := <-opened:
		ctx, cancel := chromedp.NewContext(p.browser.ctx, chromedp.WithTargetID(id), chromedp.WithListener(p.problems.see))
		p.t.Cleanup(cancel)
		if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first step
			p.t.Fatal("the new tab does not start:", err)
		}
		return tab{p.browser, ctx}
	case <-ctx.Done():
		p.t.Fatal("no new tab was opened")
		return tab{}
	}
}

// close closes the tab, and shows the one that the person goes back to.
func (p tab) close(back tab) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil {
		p.t.Fatal("the tab cannot be closed:", err)
	}
	if _, err := chromedp.Call(back.ctx, page.BringToFront, cdp.Empty{}); err != nil {
		p.t.Fatal(err)
	}
}

func anything[T any](T) bool { return true }

func see(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)
}

func write(selector, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible)
}

// problems collects what is wrong in all tabs of a browser: errors on the
// console, violations of the content policy, documents without one.
type problems struct {
	mu       sync.Mutex
	seen     []string
	expected []string // as "401 /api/chat"
}

// expect makes an answer that Chromium reports as an error, with the status and
// path of answer, no problem.
func (p *problems) expect(answer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, answer)
}

// see is called for every event of every tab.
func (p *problems) see(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			p.add("console.%s with %d arguments", e.Type, len(e.Args))
		}
	case *runtime.EventExceptionThrown:
		p.add("exception %s at %s", e.ExceptionDetails.Text, e.ExceptionDetails.URL)
	case *log.EventEntryAdded:
		p.entry(e.Entry)
	case *network.EventResponseReceived:
		p.response(e)
	}
}

func (p *problems) add(format string, args ...any) {
	p.seen = append(p.seen, fmt.Sprintf(format, args...))
}

// entry looks at what the browser itself says on the console.
func (p *problems) entry(e *log.Entry) {
	if e.Level != log.EntryLevelError && e.Level != log.EntryLevelWarning {
		return
	}
	u, err := url.Parse(e.URL)
	if err == nil && slices.ContainsFunc(p.expected, func(answer string) bool {
		status, path, _ := strings.Cut(answer, " ")
		return u.Path == path && strings.Contains(e.Text, "status of "+status+" ")
	}) {
		return
	}
	p.add("%s %s: %s (%s)", e.Source, e.Level, e.Text, e.URL)
}

// response wants a content policy without exceptions for every document.
func (p *problems) response(e *network.EventResponseReceived) {
	if e.Type != network.ResourceTypeDocument {
		return
	}
	for name, value := range e.Response.Headers {
		policy := fmt.Sprint(value)
		if strings.EqualFold(name, "Content-Security-Policy") && strings.Contains(policy, "default-src 'none'") && !strings.Contains(policy, "unsafe") {
			return
		}
	}
	p.add("%s has no strict content policy", e.Response.URL)
}

// check fails the test if anything was wrong.
func (p *problems) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, problem := range p.seen {
		t.Error("in the browser:", problem)
	}
}
