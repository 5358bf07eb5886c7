package ingress_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/ingress"
)

func TestEventsArriveOneByOne(t *testing.T) {
	next := make(chan string)
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			io.WriteString(rw, "data: "+event+"\n\n")
			rw.(http.Flusher).Flush()
		}
	}, nil)
	go func() { next <- "1" }()
	res := w.post("{}", "Authorization: Bearer "+w.good())
	if res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("header %v", res.Header)
	}
	in := bufio.NewReader(res.Body)
	for i := 1; i <= 5; i++ {
		if line, err := in.ReadString('\n'); err != nil || line != "data: "+strconv.Itoa(i)+"\n" {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if i < 5 {
			next <- strconv.Itoa(i + 1) // only after the one before has arrived
		}
	}
	close(next)
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestTheAgentLearnsThatTheClientIsGone(t *testing.T) {
	gone := make(chan struct{})
	for _, firstByte := range []bool{false, true} {
		began := make(chan struct{})
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if firstByte {
				rw.(http.Flusher).Flush()
			}
			close(began)
			<-r.Context().Done()
			gone <- struct{}{}
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.ingress.URL+invoke, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.good())
		go func() {
			<-began
			cancel()
		}()
		if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		<-gone
	}
}

func TestFailuresBehindTheIngress(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for what, c := range map[string]struct {
		agent  http.HandlerFunc
		change func(*ingress.Config)
		spoil  func(*world)
		status int
		typ    string
		code   string
		after  string
	}{
		"agent ended":      {echo, nil, func(w *world) { w.fleet.status.URL = "http://" + closed.Addr().String() }, 502, "BadGateway", "agent_unreachable", ""},
		"agent hangs up":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, nil, 502, "BadGateway", "agent_unreachable", ""},
		"no first byte":    {hang, func(c *ingress.Config) { c.Limits.FirstByte = 20 * time.Millisecond }, nil, 504, "GatewayTimeout", "agent_timeout", ""},
		"no end":           {hang, func(c *ingress.Config) { c.Limits.Timeout = 50 * time.Millisecond }, nil, 504, "GatewayTimeout", "agent_timeout", ""},
		"switch protocols": {switchProtocols, nil, nil, 502, "BadGateway", "agent_unreachable", ""},
		"starting": {echo, nil, func(w *world) { w.fleet.status = fleet.Status{State: fleet.Starting, Reason: "secret path"} },
			503, "ServiceUnavailable", "agent_not_ready", "1"},
		"backing off": {echo, nil, func(w *world) {
			w.fleet.status = fleet.Status{State: fleet.Backoff, NextTry: time.Now().Add(59500 * time.Millisecond)}
		}, 503, "ServiceUnavailable", "agent_not_ready", "60"},
		"no record":      {echo, nil, func(w *world) { w.recorder.broken = true }, 503, "ServiceUnavailable", "audit_unavailable", ""},
		"no WAT":         {echo, nil, func(w *world) { w.minter.fail(errors.New("the key is away")) }, 500, "InternalServerError", "internal", ""},
		"no workload":    {echo, nil, func(w *world) { w.minter.fail(fault.New(fault.NotFound, "workload_not_found", "gone")) }, 404, "NotFound", "workload_not_found", ""},
		"no issuer":      {echo, nil, func(w *world) { w.issuer.Close() }, 503, "ServiceUnavailable", "issuer_unreachable", ""},
		"another issuer": {echo, nil, func(w *world) { w.fleet.inbound.DiscoveryURL = w.agent.URL + "/.well-known/openid-configuration" }, 502, "BadGateway", "issuer_invalid", ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, c.agent, c.change)
			if c.spoil != nil {
				c.spoil(w)
			}
			res := w.post("{}", "Authorization: Bearer "+w.good())
			f := readFailure(t, res)
			if res.StatusCode != c.status || f.Error.Type != c.typ || f.Error.Code != c.code || res.Header.Get("Retry-After") != c.after {
				t.Errorf("got %d %+v %v", res.StatusCode, f.Error, res.Header)
			}
			if len(res.Header["X-Request-Id"]) != 1 || strings.Contains(f.Error.Message, "secret path") || strings.Contains(f.Error.Message, "the key is away") {
				t.Errorf("message %q, header %v", f.Error.Message, res.Header)
			}
		})
	}
}

func switchProtocols(rw http.ResponseWriter, _ *http.Request) {
	conn, buf, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	buf.Flush()
}

func TestRequestsToOneAgentAreBounded(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
	}, func(c *ingress.Config) { c.Limits.MaxConcurrent = 2 })
	done := make(chan int)
	for range 2 {
		go func() { done <- w.post("{}", "Authorization: Bearer "+w.good()).StatusCode }()
		<-entered
	}
	res := w.post("{}", "Authorization: Bearer "+w.good())
	if f := readFailure(t, res); res.StatusCode != 429 || f.Error.Code != "agent_busy" || f.Error.Type != "TooManyRequests" || res.Header.Get("Retry-After") != "1" {
		t.Errorf("got %d %+v", res.StatusCode, f.Error)
	}
	release <- struct{}{}
	if status := <-done; status != 200 {
		t.Errorf("status %d", status)
	}
	go func() { done <- w.post("{}", "Authorization: Bearer "+w.good()).StatusCode }()
	<-entered // the place that became free
	close(release)
	<-done
	<-done
}

func TestASlowRequestIsGivenUp(t *testing.T) {
	w := newWorld(t, echo, func(c *ingress.Config) { c.Limits.BodyTimeout = 20 * time.Millisecond })
	res := w.raw("POST " + invoke + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.good() + "\r\nContent-Length: 10\r\n\r\n{")
	if f := readFailure(t, res); res.StatusCode != 408 || f.Error.Code != "body_timeout" {
		t.Errorf("got %d %+v", res.StatusCode, f.Error)
	}
}

func TestTheAgentsAnswerIsCleaned(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		h := rw.Header()
		for header, v := range map[string]string{"Set-Cookie": "deputy_session=evil", "Access-Control-Allow-Origin": "*", "Clear-Site-Data": "*",
			"Strict-Transport-Security": "max-age=1", "X-Request-Id": "forged", "Content-Security-Policy": "default-src *", "X-Kept": "yes", "Content-Type": "text/html"} {
			h.Set(header, v)
		}
		rw.WriteHeader(418)
		io.WriteString(rw, "<script>")
	}, nil)
	res := w.post("{}", "Authorization: Bearer "+w.good())
	if body := read(t, res); res.StatusCode != 418 || body != "<script>" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	for header, want := range map[string]string{"Set-Cookie": "", "Access-Control-Allow-Origin": "", "Clear-Site-Data": "", "Strict-Transport-Security": "",
		"X-Kept": "yes", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "no-store"} {
		if got := strings.Join(res.Header[header], ","); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if ids := res.Header["X-Request-Id"]; len(ids) != 1 || !strings.HasPrefix(ids[0], "req_") {
		t.Errorf("request ids %v", ids)
	}
}

func TestPingSaysOneWord(t *testing.T) {
	w := newWorld(t, echo, nil)
	get := func() (int, string) {
		res, err := http.Get(w.ingress.URL + "/agents/default/doc/ping")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode, read(t, res)
	}
	if status, body := get(); status != 200 || body != `{"status":"Healthy"}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	w.fleet.set(func(a *agents) { a.status = fleet.Status{State: fleet.Failed, Reason: "main.go:3: undefined"} })
	if status, body := get(); status != 503 || body != `{"status":"Unhealthy"}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
}
