package deputy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// memnet is a network in memory: its connections are [net.Pipe]s, which a
// synctest bubble can see through, so that a test of minutes takes none.
type memnet struct {
	mu    sync.Mutex
	hosts map[string]chan net.Conn
	tr    *http.Transport
}

func newMemnet() *memnet {
	n := &memnet{hosts: map[string]chan net.Conn{}}
	n.tr = &http.Transport{DialContext: n.dial}
	return n
}

func (n *memnet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	host := n.hosts[addr]
	n.mu.Unlock()
	if host == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case host <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve serves h at addr and returns what stops it.
func (n *memnet) serve(addr string, h http.Handler) (stop func()) {
	l := &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	n.hosts[addr] = l.conns
	n.mu.Unlock()
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = srv.Serve(l) }()
	return func() {
		n.mu.Lock()
		delete(n.hosts, addr)
		n.mu.Unlock()
		_ = srv.Close()
	}
}

type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *memListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

const (
	deputyAddr = "deputy.test:80"
	agentAddr  = "agent.test:80"
	thirdAddr  = "127.0.0.1:9000"
	thirdURL   = "http://127.0.0.1:9000"
)

var alice = deputy.User{Issuer: "http://deputy.test/userpool/staff", Subject: "u_alice"}
var bob = deputy.User{Issuer: "http://deputy.test/userpool/staff", Subject: "u_bob"}

// stage is a Deputy, a third party and an agent on one memnet.
type stage struct {
	net    *memnet
	deputy *deputytest.Server
	active atomic.Int64 // requests that Deputy is answering now
	stops  []func()
	third  func(w http.ResponseWriter, r *http.Request)
}

func newStage() *stage {
	s := &stage{net: newMemnet(), deputy: deputytest.New("http://deputy.test")}
	s.stops = append(s.stops, s.net.serve(deputyAddr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.active.Add(1)
		defer s.active.Add(-1)
		s.deputy.ServeHTTP(w, r)
	})), s.net.serve(thirdAddr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.third(w, r) })))
	s.third = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) }
	return s
}

func (s *stage) client() *deputy.Client {
	c := s.deputy.Client()
	c.Transport = s.net.tr
	return c
}

func (s *stage) play(t *testing.T, a *deputy.Agent) {
	t.Helper()
	if a.Name == "" {
		a.Name = "tester"
	}
	a.Deputy, a.Transport, a.Log = s.client(), s.net.tr, slog.New(slog.DiscardHandler)
	h, err := a.Handler()
	if err != nil {
		t.Fatal(err)
	}
	s.stops = append(s.stops, s.net.serve(agentAddr, h))
}

// close ends everything; a goroutine of the SDK that is left makes synctest fail.
func (s *stage) close() {
	for _, stop := range s.stops {
		stop()
	}
	s.net.tr.CloseIdleConnections()
}

// invoke sends a prompt as u.
func (s *stage) invoke(ctx context.Context, t *testing.T, u deputy.User, prompt string) *answer {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"prompt": prompt})
	req, err := http.NewRequestWithContext(ctx, "POST", "http://agent.test/invoke", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("WorkloadAccessToken", s.deputy.Mint(u).Reveal())
	req.Header.Set("session_id", "s1")
	resp, err := s.net.tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, content type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return &answer{t: t, body: resp.Body, lines: bufio.NewReader(resp.Body)}
}

// answer is a stream that is being read.
type answer struct {
	t     *testing.T
	body  io.Closer
	lines *bufio.Reader
	raw   strings.Builder
}

// event is what a client may rely on; an unknown key fails the test.
type event struct {
	Content *struct {
		Role  string `json:"role"`
		Parts []struct {
			Text         *string `json:"text"`
			FunctionCall *struct {
				ID   string          `json:"id"`
				Name string          `json:"name"`
				Args json.RawMessage `json:"args"`
			} `json:"functionCall"`
			FunctionResponse *struct {
				ID       string            `json:"id"`
				Name     string            `json:"name"`
				Response map[string]string `json:"response"`
			} `json:"functionResponse"`
		} `json:"parts"`
	} `json:"content"`
	Partial      *bool                      `json:"partial"`
	TurnComplete bool                       `json:"turnComplete"`
	LongRunning  []string                   `json:"longRunningToolIds"`
	InvocationID string                     `json:"invocationId"`
	Author       string                     `json:"author"`
	Actions      map[string]json.RawMessage `json:"actions"`
	ID           string                     `json:"id"`
	Timestamp    float64                    `json:"timestamp"`

	Error     string `json:"error"`
	ErrorType string `json:"error_type"`
	Message   string `json:"message"`
}

// next returns the next event, or nil at the end.
func (a *answer) next() *event {
	a.t.Helper()
	line, err := a.lines.ReadString('\n')
	if err != nil {
		return nil
	}
	a.raw.WriteString(line)
	data, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: ")
	if blank, _ := a.lines.ReadString('\n'); !ok || blank != "\n" {
		a.t.Fatalf("not a data line: %q", line)
	}
	var e event
	d := json.NewDecoder(strings.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		a.t.Fatalf("%v in %s", err, data)
	}
	if e.Error == "" && (e.Content == nil || len(e.Content.Parts) != 1 || e.Author == "" || e.InvocationID == "" || e.ID == "" || e.Actions == nil || e.Timestamp == 0) {
		a.t.Fatalf("incomplete event: %s", data)
	}
	return &e
}

// rest reads to the end and returns the last event.
func (a *answer) rest() *event {
	a.t.Helper()
	var last *event
	for e := a.next(); e != nil; e = a.next() {
		last = e
	}
	_ = a.body.Close()
	if last == nil {
		a.t.Fatal("the stream ended without an event")
	}
	return last
}

// final reads to the end and returns the whole answer.
func (a *answer) final() string {
	a.t.Helper()
	e := a.rest()
	if e.Error != "" {
		a.t.Fatalf("the stream ended with %q (%s)", e.Error, e.ErrorType)
	}
	if e.Partial == nil || *e.Partial || !e.TurnComplete {
		a.t.Fatal("the last event is not final")
	}
	return *e.Content.Parts[0].Text
}

// until reads up to a function call of that name.
func (a *answer) until(name string) *event {
	a.t.Helper()
	for e := a.next(); e != nil; e = a.next() {
		if e.Error != "" {
			a.t.Fatalf("the stream failed: %s", e.Error)
		}
		if c := e.Content.Parts[0].FunctionCall; c != nil && c.Name == name {
			return e
		}
	}
	a.t.Fatalf("no call of %s; the stream was\n%s", name, a.raw.String())
	return nil
}

// fetch is a tool that asks the third party once and says what it said.
func fetch(steps *atomic.Int64) deputy.Tool {
	return deputy.NewTool("fetch", "Asks the third party.", func(ctx context.Context, call *deputy.Call, in struct {
		Path string `json:"path,omitempty"`
	}) (string, error) {
		if steps != nil {
			steps.Add(1)
		}
		req, err := http.NewRequestWithContext(ctx, "GET", thirdURL+"/"+in.Path, nil)
		if err != nil {
			return "", err
		}
		resp, err := call.HTTP.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.Status + " " + string(b), err
	}, mail)
}

var mail = deputy.OAuth2("mail", "read").At(thirdURL)

// respondWith makes an agent that calls a tool and says its result.
func respondWith(tool string, in any) func(context.Context, *deputy.Turn) error {
	return func(ctx context.Context, t *deputy.Turn) error {
		var out string
		if err := t.Call(ctx, tool, in, &out); err != nil {
			return err
		}
		t.Say(out)
		return nil
	}
}
