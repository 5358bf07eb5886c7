// Package ingress is the guarded way in: it verifies the user's token, strips what a client claims about itself, and hands the request to the agent with a token of the agent's own.
package ingress

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// Fleet knows the agents; [fleet.Fleet] is one. Lookup must be fast: strangers
// cause it.
type Fleet interface {
	Lookup(w name.Workload) (agent.Agent, fleet.Status, error)
	// Enter returns the status for one request, for whose time the agent is not
	// replaced.
	Enter(w name.Workload) (s fleet.Status, leave func(), err error)
}

// Verifier checks a user's token against the issuer with a discovery URL. A
// token that proves nothing is a fault of kind Unauthenticated. [Issuers] is one.
type Verifier interface {
	Verify(ctx context.Context, discoveryURL, token string) (Claims, error)
}

// Minter makes workload access tokens.
type Minter interface {
	MintForUser(ctx context.Context, w name.Workload, u name.User) (secret.Text, error)
}

// Decision says whether a request was let in to an agent.
type Decision struct {
	Workload name.Workload
	User     name.User // zero if the token did not prove one
	Client   string    // client id in the token; "" as above
	Allowed  bool
	Code     string // why not: the code of the answer
	Reason   string // the same in words
}

// Recorder makes a decision durable. The request id is in ctx (package audit).
type Recorder interface {
	Record(ctx context.Context, d Decision) error
}

// Config says what an ingress is made of. Zero numbers take the default.
type Config struct {
	Fleet    Fleet
	Verifier Verifier
	Minter   Minter
	Recorder Recorder
	Log      *slog.Logger
	// URL is where clients reach the ingress, without a slash at the end. A token
	// whose audience is URL/agents/<pool>/<name> is meant for that agent.
	URL string

	MaxBody       int64         // of a request, in bytes; 1 MiB
	MaxConcurrent int           // requests to one agent at once; 64
	BodyTimeout   time.Duration // until the request has arrived; 30 s
	FirstByte     time.Duration // until the agent begins to answer; 5 min
	Timeout       time.Duration // until the answer has ended; 30 min
}

// Handler serves /agents/{pool}/{name}/invoke and …/ping.
type Handler struct {
	config    Config
	transport http.RoundTripper
	proxyLog  *log.Logger // of the proxies
	buffers   buffers

	mu   sync.Mutex
	busy map[name.Workload]int // requests that are being served
}

// New returns a handler.
func New(c Config) *Handler {
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.MaxConcurrent <= 0 {
		c.MaxConcurrent = 64
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.BodyTimeout, 30 * time.Second}, {&c.FirstByte, 5 * time.Minute}, {&c.Timeout, 30 * time.Minute}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return &Handler{config: c, transport: newTransport(c), proxyLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug), busy: map[name.Workload]int{}}
}

// request is one request on its way in.
type request struct {
	id       string
	workload name.Workload
	route    string // "invoke", "ping", or "" if there is no such route
	code     string // of the refusal; "" = none
	out      *recorder
	in       *http.Request
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{id: name.NewID("req"), out: &recorder{ResponseWriter: w}}
	q.in = r.WithContext(audit.WithRequestID(r.Context(), q.id))
	q.workload, q.route = route(r)
	w.Header().Set("X-Request-Id", q.id)
	began := time.Now()
	defer func() { // also when the proxy gives up a stream by panic
		// Neither path nor query as the client wrote them: people put tokens there.
		h.config.Log.Info("ingress", "requestId", q.id, "method", name.Clip(r.Method, 16), "route", q.route, "agent", q.workload.String(),
			"status", q.out.status, "code", q.code, "took", time.Since(began))
	}()
	switch {
	case q.route == "":
		h.refuse(q, fault.New(fault.NotFound, "route_not_found", "there is nothing here").WithFix("POST to /agents/<workload pool>/<agent>/invoke"))
	case q.route == "ping" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		h.ping(q)
	case q.route == "ping":
		h.wrongMethod(q, "GET, HEAD")
	case r.Method == http.MethodPost:
		h.invoke(q)
	default:
		h.wrongMethod(q, "POST")
	}
}

// route takes the path apart as the client wrote it. Nothing is cleaned or
// decoded: a path that would need it names no agent.
func route(r *http.Request) (name.Workload, string) {
	part := strings.Split(r.URL.EscapedPath(), "/")
	if len(part) != 5 || part[0] != "" || part[1] != "agents" || (part[4] != "invoke" && part[4] != "ping") {
		return name.Workload{}, ""
	}
	w := name.Workload{Pool: part[2], Name: part[3]}
	if name.Check("workload pool", w.Pool) != nil || name.Check("agent", w.Name) != nil {
		return name.Workload{}, ""
	}
	return w, part[4]
}

// ping tells everybody whether the agent is up, and nothing else.
func (h *Handler) ping(q *request) {
	_, status, err := h.config.Fleet.Lookup(q.workload)
	switch {
	case err != nil:
		h.refuse(q, err)
	case status.State == fleet.Ready:
		wire.Write(q.out, http.StatusOK, map[string]string{"status": "Healthy"})
	default:
		wire.Write(q.out, http.StatusServiceUnavailable, map[string]string{"status": "Unhealthy"})
	}
}

// invoke lets a request in, if its token is good. The order matters: a stranger
// learns nothing about an agent, and costs nothing, before he is known.
func (h *Handler) invoke(q *request) {
	ctx := q.in.Context()
	a, _, missing := h.config.Fleet.Lookup(q.workload)
	token, err := bearer(q.in.Header)
	if err == nil {
		err = missing
	}
	decision := Decision{Workload: q.workload}
	if err == nil {
		err = h.authenticate(ctx, a.Definition.Inbound, token, &decision)
	}
	if err != nil {
		if missing == nil && refusal(err) {
			h.recordRefusal(ctx, decision, err)
		}
		h.refuse(q, err)
		return
	}
	status, finished, err := h.config.Fleet.Enter(q.workload)
	if err != nil { // deleted in between
		h.refuse(q, err)
		return
	}
	defer finished()
	if status.State != fleet.Ready {
		h.notReady(q, status)
		return
	}
	if !h.enter(q.workload) {
		q.out.Header().Set("Retry-After", "1")
		h.refuse(q, fault.New(fault.Throttled, "agent_busy", "the agent serves %d requests already", h.config.MaxConcurrent).WithFix("try again in a moment"))
		return
	}
	defer h.leave(q.workload)
	body, err := h.readBody(q)
	if err != nil {
		h.refuse(q, err)
		return
	}
	decision.Allowed = true
	if err := h.config.Recorder.Record(ctx, decision); err != nil {
		// No record, no entry.
		h.config.Log.Error("invocation not recorded", "requestId", q.id, "err", err)
		h.refuse(q, fault.Wrap(err, fault.Unavailable, "audit_unavailable", "the request cannot be recorded").WithFix("try again later"))
		return
	}
	wat, err := h.config.Minter.MintForUser(ctx, q.workload, decision.User)
	if err != nil {
		h.config.Log.Error("no workload access token", "requestId", q.id, "err", err)
		h.refuse(q, err)
		return
	}
	h.forward(q, status.URL, decision.User, wat, body)
}

// refusal reports whether err is a judgement on the request, not a failure of
// ours to make one.
func refusal(err error) bool {
	return fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Forbidden)
}

func (h *Handler) recordRefusal(ctx context.Context, d Decision, err error) {
	e := fault.As(err)
	d.Code, d.Reason = e.Code, e.Message
	if err := h.config.Recorder.Record(ctx, d); err != nil {
		h.config.Log.Error("refusal not recorded", "requestId", audit.RequestID(ctx), "code", e.Code, "err", err)
	}
}

func (h *Handler) enter(w name.Workload) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[w] >= h.config.MaxConcurrent {
		return false
	}
	h.busy[w]++
	return true
}

func (h *Handler) leave(w name.Workload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[w]--; h.busy[w] == 0 {
		delete(h.busy, w)
	}
}
