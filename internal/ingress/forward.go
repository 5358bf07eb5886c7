package ingress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
)

// newTransport returns the way to agents, all of which are on this machine.
func newTransport(l Limits) http.RoundTripper {
	return &http.Transport{
		// Proxy stays nil: what the environment says about proxies is not about agents.
		DialContext:            (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		DisableCompression:     true, // the client and the agent agree on that
		MaxIdleConnsPerHost:    l.MaxConcurrent,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  l.FirstByte,
		MaxResponseHeaderBytes: 64 << 10,
		// Half of what is usual, since silent streams keep them; what is larger passes them by.
		ReadBufferSize: 2 << 10, WriteBufferSize: 2 << 10,
	}
}

// readBody reads the whole request before the agent sees any of it, so that one
// that is too large, too slow or broken never reaches the agent. A body that
// does not belong to the method stays behind.
func (h *Handler) readBody(q *request) ([]byte, error) {
	if !carries(q.in.Method) {
		return nil, nil
	}
	limit := h.config.Limits.MaxBody
	if q.in.ContentLength > limit {
		return nil, fault.New(fault.TooLarge, "body_too_large", "the body is larger than %d bytes", limit)
	}
	control := http.NewResponseController(q.out)
	_ = control.SetReadDeadline(time.Now().Add(h.config.Limits.BodyTimeout)) // not supported by test recorders only
	body, err := wire.ReadAll(q.in.Body, limit)
	if err != nil {
		// The deadline stays: the server reads on before it answers, to see whether
		// the connection can be used again, and must not wait for a slow sender there.
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, errSlowBody
		}
		return nil, err
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

var errSlowBody = errors.New("the request did not arrive in time")

var errTime = errors.New("the request has taken too long, or neither side of a stream has said anything for too long")

// forward hands the request to the agent and the answer to the client, as it
// comes.
func (h *Handler) forward(q *request, with passage) {
	target, err := url.Parse(with.base)
	if err != nil {
		h.refuse(q, err)
		return
	}
	ctx, cancel := context.WithCancelCause(q.in.Context())
	defer cancel(nil)
	patience := newPatience(h.config.Limits, func() {
		cancel(errTime)
		q.out.cut() // whoever does not read what he asked for does not end with the context
	})
	defer patience.end()
	defer func() { // also when the proxy gives up a stream by panic
		if q.code == "" && errors.Is(context.Cause(ctx), errTime) {
			q.code = "stream_timeout"
		}
	}()
	in := q.in.WithContext(ctx)
	in.Trailer, in.TransferEncoding = nil, nil // trailers could bring headers in after the check
	in.Body, in.ContentLength = http.NoBody, 0
	if carries(in.Method) {
		in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(with.body)), int64(len(with.body))
	}
	in.Header = stripped(q.in.Header) // before the proxy sees it, which would hand on an Upgrade
	if q.route == routeSocket {
		handshake(in.Header, q.in.Header)
	}
	session := sessionID(q.in.Header)
	proxy := httputil.ReverseProxy{
		Transport: h.transport, ErrorLog: h.proxyLog, BufferPool: &h.buffers,
		Rewrite: func(p *httputil.ProxyRequest) {
			// No query: the agent's interfaces have none, and people put tokens there.
			p.Out.URL = &url.URL{Scheme: target.Scheme, Host: target.Host, Path: q.path}
			p.Out.Host = ""
			if carries(in.Method) {
				p.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(with.body)), nil }
			}
			q.introduce(p.Out.Header, with, session)
		},
		ModifyResponse: func(r *http.Response) error {
			if err := h.receive(q, with.caller, r); err != nil {
				return err
			}
			r.Body = patience.watch(r.Body)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { h.unreachable(q, r.Context(), err) },
	}
	proxy.ServeHTTP(q.out, in)
}

// introduce says to the agent who is calling. The names are spelled as agents
// expect them, so not by Header.Set.
func (q *request) introduce(header http.Header, with passage, session string) {
	header["WorkloadAccessToken"] = []string{with.wat.RevealString()}
	if !with.user.IsZero() {
		header["user_id"] = []string{with.user.Subject}
	}
	if session != "" {
		header["session_id"] = []string{session}
	}
	if q.mcp != "" {
		header[mcpSession] = []string{q.mcp}
	}
	if q.route == routeCard {
		delete(header, "Accept-Encoding") // it is read on the way
	}
	header.Set("X-Request-Id", q.id)
}

// receive makes the agent's answer one that the ingress can stand for.
func (h *Handler) receive(q *request, caller string, r *http.Response) error {
	clean(r.Header)
	r.Header.Set("X-Request-Id", q.id)
	// Once, although it is set on the writer too: the proxy adds.
	q.out.Header().Del("X-Request-Id")
	switch q.route {
	case routeMCP:
		return h.keepSession(q, r, caller)
	case routeCard:
		return h.card(q, r)
	case routeSocket:
		q.chosen(r)
	}
	return nil
}

// buffers are what answers are copied through. The proxy's own would be of 32 KiB
// and new for each answer, and a stream that is silent for hours keeps its buffer.
type buffers struct{ pool sync.Pool }

const bufferSize = 2 << 10

// Get implements [httputil.BufferPool].
func (b *buffers) Get() []byte {
	if free, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return free[:]
	}
	return make([]byte, bufferSize)
}

// Put implements [httputil.BufferPool].
func (b *buffers) Put(used []byte) { b.pool.Put((*[bufferSize]byte)(used)) }

// unreachable answers for an agent that did not.
func (h *Handler) unreachable(q *request, ctx context.Context, err error) {
	var timeout net.Error
	var said *fault.Error
	switch {
	case q.in.Context().Err() != nil:
		q.code = "client_gone" // nobody is there to be told
		return
	case errors.Is(context.Cause(ctx), errTime), errors.As(err, &timeout) && timeout.Timeout():
		h.answer(q, http.StatusGatewayTimeout, fault.Wrap(err, fault.Unavailable, "agent_timeout", "the agent did not answer in time"))
	case errors.As(err, &said):
		h.refuse(q, said)
	default:
		h.answer(q, http.StatusBadGateway, fault.Wrap(err, fault.Upstream, "agent_unreachable", "the agent did not answer").
			WithFix("try again in a moment; the runtime restarts agents that ended"))
	}
	h.config.Log.Warn("agent did not answer", "requestId", q.id, "agent", q.workload.String(), "err", err)
}
