package ingress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// patience is how long a request may still take. Before the agent answers that is
// the whole time; afterwards its end is also near when nobody says anything.
type patience struct {
	timer *time.Timer
	until time.Time
	idle  time.Duration
}

// newPatience has over called when the time is over.
func newPatience(l Limits, over func()) patience {
	return patience{time.AfterFunc(l.Timeout, over), time.Now().Add(l.Timeout), l.Idle}
}

func (p patience) heard() { p.timer.Reset(min(p.idle, time.Until(p.until))) }
func (p patience) end()   { p.timer.Stop() }

// watch returns the body of the agent's answer, of which each part is heard, and
// what a client sends to a WebSocket.
func (p patience) watch(body io.ReadCloser) io.ReadCloser {
	p.heard()
	w := watched{body, p}
	if both, ok := body.(io.ReadWriteCloser); ok {
		return watchedBoth{w, both}
	}
	return w
}

type watched struct {
	io.ReadCloser
	patience
}

// Read implements [io.Reader].
func (w watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.heard()
	return n, err
}

// watchedBoth is the connection to an agent that has switched protocols.
type watchedBoth struct {
	watched
	conn io.ReadWriteCloser
}

// Write implements [io.Writer].
func (w watchedBoth) Write(p []byte) (int, error) {
	n, err := w.conn.Write(p)
	w.heard()
	return n, err
}

// recorder notes the status of the answer, and the connection if it becomes that
// of a WebSocket.
type recorder struct {
	http.ResponseWriter

	mu     sync.Mutex
	status int      // 0 until the answer begins
	conn   net.Conn // nil until it is taken over
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if status >= 200 {
		r.mu.Lock()
		r.status = status
		r.mu.Unlock()
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach what the server gave us.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack implements [http.Hijacker].
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.conn, r.status = conn, http.StatusSwitchingProtocols
	}
	return conn, buffered, err
}

// cut ends the waiting for a client that does not read its answer. An answer
// that has not begun may still be one about the time that is over.
func (r *recorder) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.conn != nil {
		_ = r.conn.SetDeadline(now) // it is closed already, or ends with this
		return
	}
	if r.status == 0 {
		return
	}
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(now) // not supported by test recorders only
}
