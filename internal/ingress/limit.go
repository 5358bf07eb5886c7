package ingress

import (
	"context"
	"math"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
)

const (
	codeBusy     = "agent_busy"
	codeCrowding = "caller_busy"
	codeRate     = "rate_limited"
	codeDraining = "shutting_down"
)

// rates counts requests by key: each key has a bucket of burst requests, into
// which one more comes after every while (the virtual scheduling of GCRA: all
// that is kept of a bucket is when it will be full again).
type rates struct {
	every time.Duration
	burst int
	now   func() time.Time

	mu   sync.Mutex
	full map[string]time.Time
}

// maxBuckets bounds how many keys are remembered.
const maxBuckets = 20_000

func newRates(every time.Duration, burst int, now func() time.Time) *rates {
	return &rates{every: every, burst: burst, now: now, full: map[string]time.Time{}}
}

// take takes a request out of key's bucket. If it is empty, it returns how long
// it takes until there is one.
func (r *rates) take(key string) (wait time.Duration) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	full, known := r.full[key]
	if !known {
		r.forget(now)
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(r.every)
	if wait := full.Sub(now) - time.Duration(r.burst)*r.every; wait > 0 {
		return wait
	}
	r.full[key] = full
	return 0
}

// forget makes room for one more bucket. The full ones go, and if there is none,
// any: whoever floods under so many names gets little out of another burst.
func (r *rates) forget(now time.Time) {
	if len(r.full) < maxBuckets {
		return
	}
	for key, full := range r.full {
		if !full.After(now) {
			delete(r.full, key)
		}
	}
	for key := range r.full {
		if len(r.full) < maxBuckets {
			return
		}
		delete(r.full, key)
	}
}

// payer is who pays for a request: the caller, or for nobody the address that
// the request comes from.
func payer(q *request, d Decision) string {
	if c := d.caller(); c != "" {
		return c
	}
	host, _, err := net.SplitHostPort(q.in.RemoteAddr)
	if err != nil {
		return "address\x00"
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		// Whoever has one address of IPv6 has 2^64 of them.
		if net, err := ip.WithZone("").Prefix(64); err == nil {
			host = net.String()
		}
	}
	return "address\x00" + host
}

// paced refuses callers who come too often.
func (h *Handler) paced(q *request) error {
	wait := h.rates.take(q.payer)
	if wait == 0 {
		return nil
	}
	q.retryAfter(wait)
	return fault.New(fault.Throttled, codeRate, "there are more than %d requests in a minute", h.config.Limits.Rate).
		WithFix("send fewer; Retry-After says when the next one is taken")
}

// retryAfter tells the client when to come again, in whole seconds.
func (q *request) retryAfter(wait time.Duration) {
	q.out.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
}

// enter counts a request that is going to be served.
func (h *Handler) enter(q *request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		q.retryAfter(drainAgain)
		q.out.Header().Set("Connection", "close") // so that the next one goes where somebody serves
		return fault.New(fault.Unavailable, codeDraining, "the runtime is being stopped").WithFix("try again in a moment")
	case h.busy[q.workload] >= h.config.Limits.MaxConcurrent:
		q.retryAfter(time.Second)
		return fault.New(fault.Throttled, codeBusy, "the agent serves %d requests already", h.config.Limits.MaxConcurrent).WithFix("try again in a moment")
	case h.busyBy[q.payer] >= h.config.Limits.MaxPerCaller:
		q.retryAfter(time.Second)
		return fault.New(fault.Throttled, codeCrowding, "you have %d requests under way already", h.config.Limits.MaxPerCaller).WithFix("wait for one of them to end")
	}
	h.busy[q.workload]++
	h.busyBy[q.payer]++
	return nil
}

func (h *Handler) leave(q *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[q.workload]--; h.busy[q.workload] == 0 {
		delete(h.busy, q.workload)
	}
	if h.busyBy[q.payer]--; h.busyBy[q.payer] == 0 {
		delete(h.busyBy, q.payer)
	}
	if h.draining {
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// drainAgain is when clients may come again that came while the runtime was
// being stopped.
const drainAgain = 5 * time.Second

// Drain refuses new requests from now on, with status 503, and returns when
// those under way have ended or ctx is done.
func (h *Handler) Drain(ctx context.Context) {
	for {
		h.mu.Lock()
		h.draining = true
		left, changed := len(h.busy), h.changed
		h.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// The bounds of what strangers can write into the audit log about one agent: so
// many refusals at once, and then one in a while. The others are counted.
const (
	refusalBurst = 100
	refusalEvery = time.Second
)

func (h *Handler) recordRefusal(ctx context.Context, d Decision, err error) {
	h.mu.Lock()
	if h.refusals.take(d.Workload.String()) > 0 {
		h.unrecorded[d.Workload]++
		h.mu.Unlock()
		return
	}
	d.Unrecorded = h.unrecorded[d.Workload]
	delete(h.unrecorded, d.Workload)
	h.mu.Unlock()
	e := fault.As(err)
	d.Code, d.Reason = e.Code, e.Message
	if err := h.config.Recorder.Record(ctx, d); err != nil {
		h.config.Log.Error("refusal not recorded", "requestId", audit.RequestID(ctx), "code", e.Code, "err", err)
	}
}
