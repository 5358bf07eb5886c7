package rest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/api/rest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/secret"
)

// chain is a rest.AuditLog in memory.
type chain struct {
	mu      sync.Mutex
	records []audit.Record
	grown   chan struct{}
}

func (c *chain) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		var last audit.Hash
		seq := int64(len(c.records) + 1)
		if seq > 1 {
			last = c.records[seq-2].Hash
		}
		leaf := fmt.Appendf(nil, `{"id":"aud_%d"}`, seq)
		c.records = append(c.records, audit.Record{Seq: seq, Leaf: leaf, Hash: last.Next(seq, leaf)})
	}
	select {
	case c.grown <- struct{}{}:
	default:
	}
}

func (c *chain) Listen() (<-chan struct{}, func())                { return c.grown, func() {} }
func (c *chain) AppendAudit(context.Context, []audit.Entry) error { return nil }

func (c *chain) AuditRecords(_ context.Context, f audit.Filter) ([]audit.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []audit.Record
	for _, r := range c.records {
		if r.Seq > f.After {
			found = append(found, r)
		}
	}
	if f.Newest {
		found = found[max(0, len(found)-f.Limit):]
	}
	return found[:min(len(found), f.Limit)], nil
}

// everybody is an owner.
type everybody struct{ operator.Store }

func (everybody) Token(context.Context, secret.Hash) (operator.Token, error) {
	return operator.Token{Name: "root", Role: operator.Owner, UsedAt: time.Now()}, nil
}

// auditMux has the API with nothing in it but an audit log.
func auditMux(c *chain) *http.ServeMux {
	mux := http.NewServeMux()
	(&rest.API{PublicURL: publicURL, Operators: &operator.Registry{Store: everybody{}, Now: time.Now}, Audit: c, Logger: slog.New(slog.DiscardHandler)}).Mount(mux)
	return mux
}

func auditRequest(ctx context.Context, method, path string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, "/api/v1/audit"+path, nil)
	r.Header.Set("Authorization", "Bearer dop_x")
	return r
}

// follow opens a stream and returns its lines.
func follow(t *testing.T, url, token, lastEventID string) *bufio.Scanner {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	must(t, err)
	t.Cleanup(func() { _ = res.Body.Close() }) // whatever is left of it
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%d %v %s", res.StatusCode, res.Header, b)
	}
	return bufio.NewScanner(res.Body)
}

// next returns the next line that begins with prefix, without it.
func next(t *testing.T, lines *bufio.Scanner, prefix string) string {
	t.Helper()
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			return text
		}
	}
	t.Fatalf("the stream ended before %q: %v", prefix, lines.Err())
	return ""
}

// TestFollowingMissesNothing: whatever is recorded once the answer has begun is
// sent.
func TestFollowingMissesNothing(t *testing.T) {
	c := &chain{grown: make(chan struct{}, 1)}
	c.add(3)
	server := httptest.NewServer(auditMux(c))
	t.Cleanup(server.CloseClientConnections)
	lines := follow(t, server.URL+"/api/v1/audit/stream", "dop_x", "")
	c.add(250) // more than one batch
	for seq := 4; seq <= 253; seq++ {
		if got := next(t, lines, "id: "); got != strconv.Itoa(seq) {
			t.Fatalf("got record %s, want %d", got, seq)
		}
	}
}

func TestFollowingGoesOnWhereItBroke(t *testing.T) {
	c := &chain{grown: make(chan struct{}, 1)}
	c.add(5)
	server := httptest.NewServer(auditMux(c))
	t.Cleanup(server.CloseClientConnections)
	for _, from := range []struct{ query, last, want string }{
		{"?after=0", "", "1"}, {"?after=2", "", "3"}, {"?after=0", "4", "5"}, {"", "3", "4"},
	} {
		if got := next(t, follow(t, server.URL+"/api/v1/audit/stream"+from.query, "dop_x", from.last), "id: "); got != from.want {
			t.Errorf("%+v: got record %s", from, got)
		}
	}
	r := auditRequest(t.Context(), "GET", "/stream")
	r.Header.Set("Last-Event-ID", "x")
	w := httptest.NewRecorder()
	auditMux(c).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"source":"Last-Event-ID"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// reader is a ResponseWriter at the other end of which somebody reads, as what
// is written is flushed; it remembers how long the last write might have taken.
type reader struct {
	mu             sync.Mutex
	header         http.Header
	waiting, seen  string
	began          bool
	bound, written time.Time
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting += string(b)
	return len(b), nil
}

func (r *reader) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.waiting, r.began, r.written = r.seen+r.waiting, "", true, time.Now()
}

func (r *reader) SetWriteDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bound = t
	return nil
}

// is reports whether the answer has begun and has this text.
func (r *reader) is(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began && r.seen == text && r.bound.Sub(r.written) == 30*time.Second
}

// TestAQuietStreamIsAlive: the answer begins at once, heartbeats come, none may take long, and nothing is
// left when the client has gone.
func TestAQuietStreamIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		w := &reader{header: http.Header{}}
		go auditMux(&chain{}).ServeHTTP(w, auditRequest(ctx, "GET", "/stream"))
		synctest.Wait()
		if !w.is("") {
			t.Errorf("at once: %+v", w)
		}
		<-time.After(46 * time.Second)
		synctest.Wait()
		if !w.is(strings.Repeat(": alive\n\n", 3)) {
			t.Errorf("after 46 s: %+v", w)
		}
		leave() // the bubble waits for everything that was started
	})
}

func TestThereIsNothingToFollowInAHead(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w := httptest.NewRecorder()
	auditMux(&chain{}).ServeHTTP(w, auditRequest(ctx, "HEAD", "/stream"))
	if ctx.Err() != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
}

func TestABrokenChainIsSeen(t *testing.T) {
	for what, c := range map[string]struct {
		change func([]audit.Record) []audit.Record
		want   string
	}{
		"whole":   {func(r []audit.Record) []audit.Record { return r }, `{"ok":true,"records":2500,`},
		"altered": {func(r []audit.Record) []audit.Record { r[1200].Leaf = []byte(`{"id":"aud_0"}`); return r }, `"broken":1201}`},
		"removed": {func(r []audit.Record) []audit.Record { return append(r[:999:999], r[1000:]...) }, `"broken":1000}`},
		"inserted": {func(r []audit.Record) []audit.Record {
			return append(r[:2:2], append([]audit.Record{r[1]}, r[2:]...)...)
		}, `"broken":3}`},
		"relinked": {func(r []audit.Record) []audit.Record { r[7].Hash = audit.Hash{1}; return r }, `"ok":false,"records":7,`},
	} {
		log := &chain{}
		log.add(2500)
		log.records = c.change(log.records)
		w := httptest.NewRecorder()
		auditMux(log).ServeHTTP(w, auditRequest(t.Context(), "GET", "/verify"))
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %s", what, w.Body)
		}
	}
}
