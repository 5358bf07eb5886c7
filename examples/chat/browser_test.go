package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// newTab starts headless Chromium with a fresh profile. Where there is none the
// test is skipped, but not in CI.
func newTab(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is required in CI:", err)
		}
		t.Skip("chromium is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-US"),
		chromedp.WindowSize(390, 844))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// read returns what the page answers to one action.
func read[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func see(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

func write(text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS("#message"), text)
}

const hostileText = `# Plan <img src=x onerror="document.title='owned'">

- **bold** and ` + "`code`" + `
- [click me](javascript:document.title='owned') and [bank](https://evil.example/login)

<script>document.title='owned'</script> see https://example.com/a?b=c. ![x](https://evil.example/pixel)`

// The page, as a person uses it: refused before login, logged in, asked for
// authorization, and the answer that goes on by itself.
func TestInBrowser(t *testing.T) {
	ctx := newTab(t)
	consent := make(chan struct{})
	r := newRig(t, func(p *pool, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		send := stream(w)
		send(needs(p.URL + "/consent"))
		select {
		case <-consent:
			send(piece(hostileText[:50]), whole(hostileText))
		case <-r.Context().Done():
		}
	})
	do(t, ctx,
		chromedp.Navigate(r.URL),
		write("my question\r"),
		see(`[data-role=assistant][data-state=done] a[href="/login"]`),
		click("#login"),
		see("#logout"),
	)
	draft, who := read(t, ctx, chromedp.Value(chromedp.CSS("#message"))), read(t, ctx, chromedp.Text(chromedp.CSS("#who")))
	if draft != "my question" || who != "zhang" {
		t.Errorf("after login: draft %q, user %q", draft, who)
	}

	do(t, ctx, write("\r"), see("[data-role=assistant][data-state=waiting] #authorize"))
	link := read(t, ctx, chromedp.Evaluate[map[string]string](`(({href, target, rel}) => ({href, target, rel, focus: document.activeElement.id}))(document.getElementById("authorize"))`))
	if link["href"] != r.pool.URL+"/consent" || link["target"] != "_blank" || !strings.Contains(link["rel"], "noopener") || link["focus"] != "authorize" {
		t.Errorf("the link: %v", link)
	}

	close(consent)
	do(t, ctx, see("[data-role=assistant][data-state=done] .prose h3"))
	text := read(t, ctx, chromedp.Text(chromedp.CSS("[data-role=assistant] .prose")))
	markup := read(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll(".prose :is(img, script, iframe, [onerror], [style])").length`))
	links := read(t, ctx, chromedp.Evaluate[string](`[...document.querySelectorAll(".prose a")].map((a) => a.href + a.nextSibling?.textContent).join(" ")`))
	if title := read(t, ctx, chromedp.Title()); strings.Contains(title, "owned") || markup != 0 {
		t.Errorf("foreign text became markup: title %q, %d elements", title, markup)
	}
	for _, want := range []string{`<img src=x onerror=`, "<script>", "javascript:"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q: %s", want, text)
		}
	}
	if want := "https://evil.example/login (evil.example) https://example.com/a?b=c. "; !strings.HasPrefix(links, want) {
		t.Errorf("links: %s", links)
	}

	do(t, ctx, click("#language"), see(`html[lang=zh]`), chromedp.Reload(), see(`html[lang=zh] #logout`), click("#logout"), see("#login"))
}
