package ingress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// heard returns the body of an agent's answer, watched: silence is put off by
// each part of it, and by what a client sends to a WebSocket.
func heard(body io.ReadCloser, silence *time.Timer, idle time.Duration) io.ReadCloser {
	silence.Reset(idle)
	w := watched{body, silence, idle}
	if both, ok := body.(io.ReadWriteCloser); ok {
		return watchedBoth{w, both}
	}
	return w
}

type watched struct {
	io.ReadCloser
	silence *time.Timer
	idle    time.Duration
}

// Read implements [io.Reader].
func (w watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.silence.Reset(w.idle)
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
	w.silence.Reset(w.idle)
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
