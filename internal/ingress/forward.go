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
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// newTransport returns the way to agents, all of which are on this machine.
func newTransport(c Config) http.RoundTripper {
	return &http.Transport{
		// Proxy stays nil: what the environment says about proxies is not about agents.
		DialContext:            (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		DisableCompression:     true, // the client and the agent agree on that
		MaxIdleConnsPerHost:    c.MaxConcurrent,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  c.FirstByte,
		MaxResponseHeaderBytes: 64 << 10,
		// Half of what is usual, since silent streams keep them; what is larger passes them by.
		ReadBufferSize: 2 << 10, WriteBufferSize: 2 << 10,
	}
}

// readBody reads the whole request before the agent sees any of it, so that one
// that is too large, too slow or broken never reaches the agent.
func (h *Handler) readBody(q *request) ([]byte, error) {
	if q.in.ContentLength > h.config.MaxBody {
		return nil, fault.New(fault.TooLarge, "body_too_large", "the body is larger than %d bytes", h.config.MaxBody)
	}
	control := http.NewResponseController(q.out)
	_ = control.SetReadDeadline(time.Now().Add(h.config.BodyTimeout)) // not supported by test recorders only
	body, err := wire.ReadAll(q.in.Body, h.config.MaxBody)
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

// forward hands the request to the agent and the answer to the client, as it
// comes.
func (h *Handler) forward(q *request, base string, u name.User, wat secret.Text, body []byte) {
	target, err := url.Parse(base)
	if err != nil {
		h.refuse(q, err)
		return
	}
	ctx, cancel := context.WithTimeout(q.in.Context(), h.config.Timeout)
	defer cancel()
	in := q.in.WithContext(ctx)
	in.Trailer, in.TransferEncoding = nil, nil // trailers could bring headers in after the check
	in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	session := sessionID(in.Header)
	in.Header = stripped(in.Header) // before the proxy sees it, which would hand on an Upgrade
	proxy := httputil.ReverseProxy{
		Transport: h.transport, FlushInterval: -1, ErrorLog: h.proxyLog, BufferPool: &h.buffers,
		Rewrite: func(p *httputil.ProxyRequest) {
			// No query: the agent's interface has none, and people put tokens there.
			p.Out.URL = &url.URL{Scheme: target.Scheme, Host: target.Host, Path: "/invoke"}
			p.Out.Host = ""
			p.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
			// Spelled as agents expect them, so not by Header.Set.
			p.Out.Header["WorkloadAccessToken"] = []string{wat.RevealString()}
			p.Out.Header["user_id"] = []string{u.Subject}
			if session != "" {
				p.Out.Header["session_id"] = []string{session}
			}
			p.Out.Header.Set("X-Request-Id", q.id)
		},
		ModifyResponse: func(r *http.Response) error {
			clean(r.Header)
			r.Header.Set("X-Request-Id", q.id)
			// Once, although it is set on the writer too: the proxy adds.
			q.out.Header().Del("X-Request-Id")
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { h.unreachable(q, r.Context(), err) },
	}
	proxy.ServeHTTP(q.out, in)
}

// buffers are what answers are copied through. The proxy's own would be of 32 KiB
// and new for each answer, and a stream that is silent for hours keeps its buffer.
type buffers struct{ pool sync.Pool }

const bufferSize = 4 << 10

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
	switch {
	case q.in.Context().Err() != nil:
		q.code = "client_gone" // nobody is there to be told
		return
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		h.answer(q, http.StatusGatewayTimeout, fault.Wrap(err, fault.Unavailable, "agent_timeout", "the agent did not answer in time"))
	default:
		h.answer(q, http.StatusBadGateway, fault.Wrap(err, fault.Upstream, "agent_unreachable", "the agent did not answer").
			WithFix("try again in a moment; the runtime restarts agents that ended"))
	}
	h.config.Log.Warn("agent did not answer", "requestId", q.id, "agent", q.workload.String(), "err", err)
}

// recorder notes the status of the answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach what the server gave us.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
