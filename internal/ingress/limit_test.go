package ingress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/usertoken"
)

// hands is a clock that a test moves.
type hands struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *hands { return &hands{at: time.Now()} }

func (c *hands) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *hands) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestACallerWhoComesTooOften(t *testing.T) {
	clock := newClock()
	w := newWorld(t, echo, func(c *ingress.Config) { c.Now, c.Limits.Rate, c.Limits.Burst = clock.now, 6, 3 })
	w.keys.add(ownKey, agent.Key{ID: "agk_1", Pool: doc.Pool, Agent: doc.Name})
	w.fleet.inbound.APIKeys, w.fleet.inbound.Open = true, true
	taken := func(who string) int {
		t.Helper()
		for n := 0; ; n++ {
			res := w.post("{}", who)
			if res.StatusCode == 200 {
				continue
			}
			if f := readFailure(t, res); res.StatusCode != 429 || f.Error.Code != "rate_limited" || res.Header.Get("Retry-After") != "10" {
				t.Errorf("%d %+v, again after %s", res.StatusCode, f, res.Header.Get("Retry-After"))
			}
			return n
		}
	}
	for _, who := range []string{w.as("usr_li"), w.as("usr_zhang"), "Authorization: Bearer " + ownKey, "X-Nobody: true"} {
		if n := taken(who); n != 3 {
			t.Errorf("%s: %d requests at once", who[:20], n)
		}
		if d, _ := w.recorder.last(t); d.Allowed || d.Code != "rate_limited" {
			t.Errorf("recorded %+v", d)
		}
	}
	clock.pass(10 * time.Second)
	if n := taken(w.as("usr_li")); n != 1 {
		t.Errorf("%d requests after a while", n)
	}
	clock.pass(time.Hour)
	if n := taken(w.as("usr_li")); n != 3 {
		t.Errorf("%d requests after a pause", n)
	}
}

// A flood of refusals is in the log as a flood, not as as many entries.
func TestAFloodOfStrangers(t *testing.T) {
	clock := newClock()
	w := newWorld(t, echo, func(c *ingress.Config) { c.Now = clock.now })
	const flood = 500
	for range flood {
		if res := w.post("{}", "Authorization: Bearer nonsense"); res.StatusCode != 401 {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	if n := len(w.recorder.decisions); n != 100 {
		t.Errorf("%d entries", n)
	}
	clock.pass(2 * time.Second)
	w.post("{}")
	if d, _ := w.recorder.last(t); d.Unrecorded != flood-100 || d.Code != "token_missing" {
		t.Errorf("recorded %+v", d)
	}
	w.post("{}")
	if d, _ := w.recorder.last(t); d.Unrecorded != 0 {
		t.Errorf("told twice: %+v", d)
	}
	// Whoever may, comes in meanwhile, and is recorded.
	readEcho(t, w.post("{}", "Authorization: Bearer "+w.good()))
	if d, _ := w.recorder.last(t); !d.Allowed {
		t.Errorf("recorded %+v", d)
	}
}

func TestOneCallerLeavesRoomForOthers(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}, func(c *ingress.Config) { c.Limits.MaxPerCaller, c.Limits.MaxConcurrent = 2, 3 })
	done := make(chan int)
	enter := func(who string) {
		go func() { done <- w.post("{}", who).StatusCode }()
		<-entered
	}
	enter(w.as("usr_li"))
	enter(w.as("usr_li"))
	if res := w.post("{}", w.as("usr_li")); res.StatusCode != 429 || readFailure(t, res).Error.Code != "caller_busy" || res.Header.Get("Retry-After") != "1" {
		t.Errorf("a third one: %d", res.StatusCode)
	}
	enter(w.as("usr_zhang"))
	if res := w.post("{}", w.as("usr_zhang")); res.StatusCode != 429 || readFailure(t, res).Error.Code != "agent_busy" {
		t.Errorf("more than the agent takes: %d", res.StatusCode)
	}
	close(release)
	for range 3 {
		if status := <-done; status != 200 {
			t.Errorf("status %d", status)
		}
	}
}

func TestStreamsEnd(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*ingress.Limits)
		every  time.Duration // between events; 0 = one only
	}{
		"when nothing is said":     {func(l *ingress.Limits) { l.Idle = 50 * time.Millisecond }, 0},
		"when they take too long":  {func(l *ingress.Limits) { l.Timeout = time.Second }, 10 * time.Millisecond},
		"when they are not ending": {func(l *ingress.Limits) { l.Timeout, l.Idle = time.Second, time.Hour }, 0},
	} {
		t.Run(what, func(t *testing.T) {
			gone := make(chan struct{})
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				defer close(gone)
				tick := time.NewTicker(max(c.every, time.Millisecond))
				defer tick.Stop()
				for {
					io.WriteString(rw, "data: 1\n\n")
					rw.(http.Flusher).Flush()
					next := tick.C
					if c.every == 0 {
						next = nil
					}
					select {
					case <-next:
					case <-r.Context().Done():
						return
					}
				}
			}, func(conf *ingress.Config) { c.change(&conf.Limits) })
			res := w.post("{}", "Authorization: Bearer "+w.good())
			if _, err := io.Copy(io.Discard, res.Body); err == nil || res.StatusCode != 200 {
				t.Errorf("it ended as if it were complete: %d", res.StatusCode)
			}
			<-gone
		})
	}
}

// A client that asks for much and reads nothing keeps its place no longer than
// others.
func TestAClientThatDoesNotRead(t *testing.T) {
	gone := make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "much" {
			return
		}
		defer close(gone)
		for chunk := make([]byte, 1<<20); ; {
			if _, err := rw.Write(chunk); err != nil {
				return
			}
		}
	}, func(c *ingress.Config) { c.Limits.Timeout, c.Limits.MaxPerCaller = time.Second, 1 })
	conn, err := net.Dial("tcp", w.ingress.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST "+invoke+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+w.good()+"\r\nContent-Length: 4\r\n\r\nmuch")
	<-gone
	bound := time.After(30 * time.Second)
	for w.post("{}", "Authorization: Bearer "+w.good()).StatusCode != 200 {
		select {
		case <-bound:
			t.Fatal("its place is not free")
		default:
		}
	}
}

func TestDraining(t *testing.T) {
	for _, end := range []string{"by itself", "by its bound"} {
		t.Run(end, func(t *testing.T) {
			w, h := draining(t)
			sse := w.post("{}", w.as("usr_li"))
			line := bufio.NewReader(sse.Body)
			if got, err := line.ReadString('\n'); err != nil || got != "data: 1\n" {
				t.Fatalf("%q %v", got, err)
			}
			ws := w.dial(w.as("usr_li"))
			if ws.res.StatusCode != 101 {
				t.Fatalf("status %d", ws.res.StatusCode)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			drained := make(chan struct{})
			go func() {
				h.Drain(ctx)
				close(drained)
			}()
			// New ones are refused as soon as it has begun.
			bound := time.After(30 * time.Second)
			for {
				res := w.do("POST", "invoke", `{"quick":true}`, w.as("usr_li"))
				if res.StatusCode == 503 {
					if f := readFailure(t, res); f.Error.Code != "shutting_down" || res.Header.Get("Retry-After") != "5" || !res.Close {
						t.Errorf("%+v %v", f, res.Header)
					}
					break
				}
				read(t, res)
				select {
				case <-bound:
					t.Fatal("new requests are let in")
				default:
				}
			}
			select {
			case <-drained:
				t.Fatal("it did not wait")
			default:
			}
			if end == "by its bound" {
				cancel()
			} else {
				sse.Body.Close()
				ws.Close()
			}
			<-drained
		})
	}
}

// draining returns a world with an agent whose answers do not end, unless they
// are to be quick.
func draining(t *testing.T) (*world, *ingress.Handler) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			parrot(rw, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		io.WriteString(rw, "data: 1\n\n")
		if strings.Contains(string(body), "quick") {
			return
		}
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
	}, nil)
	w.fleet.paths = agent.Paths{agent.Invoke: "/invoke", agent.WebSocket: "/ws"}
	w.ingress.Close()
	c := w.config
	c.Limits.Rate, c.Limits.Burst = 1<<30, 1<<30
	h := ingress.New(c)
	w.ingress = httptest.NewServer(h)
	t.Cleanup(w.ingress.Close)
	return w, h
}

// An issuer that is away, and strangers with keys that never were, are no reason
// to refuse those who may come in, nor to ask the issuer all the time.
func TestKeysOfTheIssuerAreKept(t *testing.T) {
	clock, fetches, away := newClock(), &atomic.Int32{}, &atomic.Bool{}
	w := newWorld(t, echo, func(c *ingress.Config) {
		c.Limits.Rate, c.Limits.Burst = 1<<30, 1<<30
		c.Verifier = &usertoken.Issuers{Now: clock.now, Fetch: func(ctx context.Context, url string) ([]byte, error) {
			fetches.Add(1)
			if away.Load() {
				return nil, errors.New("no route to host")
			}
			return fetch(ctx, url)
		}}
	})
	token := func(subject string) string {
		return w.token("at+jwt", map[string]any{"sub": subject, "exp": clock.now().Add(time.Hour).Unix()})
	}
	readEcho(t, w.post("{}", "Authorization: Bearer "+token("usr_0")))
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches for the first token", n)
	}
	stranger, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		forged, err := jwt.Sign(stranger, "at+jwt", map[string]any{"iss": w.issuer.URL, "sub": strconv.Itoa(i), "exp": clock.now().Add(time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		if res := w.post("{}", "Authorization: Bearer "+forged); res.StatusCode != 401 || readFailure(t, res).Error.Code != "token_unknown_key" {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	if n := fetches.Load(); n > 4 {
		t.Errorf("%d fetches for strangers' keys", n)
	}
	away.Store(true)
	for i := range 24 {
		clock.pass(59 * time.Minute)
		if res := w.post("{}", "Authorization: Bearer "+token(fmt.Sprint("usr_", i))); res.StatusCode != 200 {
			t.Fatalf("after %d hours: %d %s", i, res.StatusCode, read(t, res))
		}
	}
	clock.pass(time.Hour)
	if res := w.post("{}", "Authorization: Bearer "+token("usr_late")); res.StatusCode != 503 || readFailure(t, res).Error.Code != "issuer_unreachable" {
		t.Errorf("after a day: %d", res.StatusCode)
	}
	away.Store(false)
	clock.pass(time.Minute)
	readEcho(t, w.post("{}", "Authorization: Bearer "+token("usr_late")))
}
