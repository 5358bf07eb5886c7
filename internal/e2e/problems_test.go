package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestProblemsAreSeen makes sure that a browser without problems means
// something.
func TestProblemsAreSeen(t *testing.T) {
	pages := map[string]struct{ policy, body string }{
		"/strict": {"default-src 'none'; script-src 'self'", `<p>x</p><script src="/shout.js"></script><script>1</script>`},
		"/lax":    {"default-src 'none'; script-src 'unsafe-inline'", `<p onclick="1">x</p>`},
		"/none":   {"", "<p>x</p>"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch page, ok := pages[r.URL.Path]; {
		case r.URL.Path == "/shout.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, "console.error('no'); missing()") // the browser waits for it
		case !ok:
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Security-Policy", page.policy)
			_, _ = io.WriteString(w, page.body) // the browser waits for it
		}
	}))
	t.Cleanup(server.Close)
	p := openBrowser(t, "en-US")
	p.problems.expect("404 /favicon.ico")
	found := map[string]int{}
	for path := range pages {
		p.do(chromedp.Navigate(server.URL+path), see("p"))
		found[path] = len(p.inline())
	}
	if found["/strict"] != 1 || found["/lax"] != 1 || found["/none"] != 0 {
		t.Errorf("inline scripts: %v", found)
	}
	p.problems.mu.Lock()
	defer p.problems.mu.Unlock()
	for _, want := range []string{
		"console.error", "exception Uncaught", "security error: ", "/lax has no strict content policy", "/none has no strict content policy",
	} {
		if !slices.ContainsFunc(p.problems.seen, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q was not seen; seen were %q", want, p.problems.seen)
		}
	}
}
