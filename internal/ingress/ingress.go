// Package ingress is the guarded way in: it verifies who is calling, strips what a client claims about itself, and hands the request to the agent with a token of the agent's own.
//
// An agent is reached under /agents/<pool>/<name>/ in the ways that its
// definition names, and in no other: invoke, ws (WebSocket), a2a with its
// agent card, and mcp. The guard is the same for all of them.
package ingress

import (
	"context"
	"crypto/rand"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/wire"
)

// Fleet knows the agents; [fleet.Fleet] is one. Lookup must be fast: strangers
// cause it.
type Fleet interface {
	Lookup(w name.Workload) (agent.Agent, fleet.Status, error)
	// Enter returns the status for one request, for whose time the agent is not
	// replaced; it waits for an agent that the call has to start.
	Enter(ctx context.Context, w name.Workload) (s fleet.Status, leave func(), err error)
}

// Verifier checks a user's token against the issuer with a discovery URL;
// [usertoken.Issuers] is one.
type Verifier interface {
	// Verify returns what a token says. One that proves nothing is a fault of kind Unauthenticated.
	Verify(ctx context.Context, discoveryURL, token string) (usertoken.Claims, error)
	// Issuer returns the name of the issuer.
	Issuer(ctx context.Context, discoveryURL string) (string, error)
}

// Keys checks keys of agents; [agent.Keys] is one. A key that proves nothing is a
// fault of kind Unauthenticated.
type Keys interface {
	Verify(ctx context.Context, w name.Workload, key secret.Text) (agent.Key, error)
}

// Calls knows who calls an agent with a call token (see [workload.CallType]):
// another agent, for its user. Whoever may not is a fault of kind
// Unauthenticated or Forbidden; as far as he is known, he is returned with it.
type Calls interface {
	Called(ctx context.Context, w name.Workload, token secret.Text) (name.Caller, error)
}

// Minter makes workload access tokens.
type Minter interface {
	// Mint returns a token with which w acts for u; for itself, if u is zero. chain are the agents that called
	// it, nearest first. For who is deleted or disabled the fault is of kind Unauthenticated.
	Mint(ctx context.Context, w name.Workload, u name.User, chain []name.Workload) (secret.Text, error)
}

// Decision says whether a request was let in to an agent.
type Decision struct {
	Workload name.Workload
	Protocol agent.Protocol
	User     name.User // zero if the request did not prove one
	Client   string    // client id in the token; "" as above
	Key      agent.Key // zero if none was shown
	// Agent is the agent that calls for User, and Chain are those that called it, nearest first; zero if none does.
	Agent   name.Workload
	Chain   []name.Workload
	Allowed bool
	Code    string // why not: the code of the answer
	Reason  string // the same in words
	// Unrecorded is how many refusals at this agent came before this one and were not recorded, because there
	// were too many at once.
	Unrecorded int
}

// caller says whom limits and sessions belong to; "" for nobody. No two callers
// have the same: neither issuers nor subjects hold a NUL.
func (d Decision) caller() string {
	switch {
	case !d.Agent.IsZero():
		return "agent\x00" + d.Agent.String() + "\x00" + d.User.Issuer + "\x00" + d.User.Subject
	case !d.User.IsZero():
		return "user\x00" + d.User.Issuer + "\x00" + d.User.Subject
	case d.Key.ID != "":
		return "key\x00" + d.Key.ID
	default:
		return ""
	}
}

// Recorder makes a decision durable. The request id is in ctx (package audit).
type Recorder interface {
	Record(ctx context.Context, d Decision) error
}

// Config says what an ingress is made of.
type Config struct {
	Fleet    Fleet
	Verifier Verifier
	Keys     Keys
	Calls    Calls
	Minter   Minter
	Recorder Recorder
	Talk     Talk // nil: nobody logs in at the ingress
	Log      *slog.Logger
	// URL is where clients reach the ingress, without a slash at the end. A token
	// whose audience is URL/agents/<pool>/<name> is meant for that agent.
	URL    string
	Now    func() time.Time // for rates; nil means time.Now
	Limits Limits
}

// Limits bound what one request, one caller and one agent may take. Zero numbers
// take the default.
type Limits struct {
	MaxBody       int64         // of a request, in bytes; 1 MiB
	MaxConcurrent int           // requests to one agent at once; 256
	MaxPerCaller  int           // requests of one caller at once; 32
	Rate          int           // requests of one caller in a minute; 600
	Burst         int           // requests of one caller that may come at once after a pause; 60
	BodyTimeout   time.Duration // until the request has arrived; 30 s
	FirstByte     time.Duration // until the agent begins to answer; 5 min
	Idle          time.Duration // between two parts of a stream; 15 min
	Timeout       time.Duration // until the answer has ended; 1 h
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.MaxConcurrent, 256}, {&l.MaxPerCaller, 32}, {&l.Rate, 600}, {&l.Burst, 60}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&l.BodyTimeout, 30 * time.Second}, {&l.FirstByte, 5 * time.Minute}, {&l.Idle, 15 * time.Minute}, {&l.Timeout, time.Hour}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.MaxBody <= 0 {
		l.MaxBody = 1 << 20
	}
	return l
}

// Handler serves the agents of a fleet.
type Handler struct {
	config    Config
	transport http.RoundTripper
	proxyLog  *log.Logger // of the proxies
	buffers   buffers
	rates     *rates // of callers
	refusals  *rates // of entries in the audit log, by agent
	// sessionKey binds sessions of agents to callers. It is new at each start: agents end with Deputy, and their
	// sessions with them.
	sessionKey [32]byte

	mu         sync.Mutex
	busy       map[name.Workload]int // requests that are being served
	busyBy     map[string]int        // the same by caller
	unrecorded map[name.Workload]int // refusals that are not in the audit log
	draining   bool
	changed    chan struct{} // closed and replaced when a request ends while draining
}

// New returns a handler.
func New(c Config) *Handler {
	c.Limits = c.Limits.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{
		config: c, transport: newTransport(c.Limits), proxyLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		rates: newRates(time.Minute/time.Duration(c.Limits.Rate), c.Limits.Burst, c.Now), refusals: newRates(refusalEvery, refusalBurst, c.Now),
		busy: map[name.Workload]int{}, busyBy: map[string]int{}, unrecorded: map[name.Workload]int{}, changed: make(chan struct{}),
	}
	_, _ = rand.Read(h.sessionKey[:]) // never fails (crypto/rand, since Go 1.24)
	return h
}

// request is one request on its way in.
type request struct {
	id       string
	workload name.Workload
	route    route
	code     string // of the refusal; "" = none
	out      *recorder
	in       *http.Request

	// Filled in on the way:
	known   bool // there is such an agent
	inbound agent.Inbound
	payer   string // whom the request counts for
	path    string // the agent's own
	socket  bool   // the token came as a subprotocol of a WebSocket
	browser bool   // the token is that of a browser's login here
	mcp     string // the agent's own id of an MCP session; "" = none
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{id: name.NewID("req"), out: &recorder{ResponseWriter: w}}
	q.in = r.WithContext(audit.WithRequestID(r.Context(), q.id))
	q.workload, q.route = find(r)
	w.Header().Set("X-Request-Id", q.id)
	began := time.Now()
	defer func() { // also when the proxy gives up a stream by panic
		// Neither path nor query as the client wrote them: people put tokens there.
		h.config.Log.LogAttrs(r.Context(), slog.LevelInfo, "ingress", slog.String("requestId", q.id), slog.String("method", name.Clip(r.Method, 16)),
			slog.String("route", string(q.route)), slog.String("agent", q.workload.String()), slog.Int("status", q.out.status), slog.String("code", q.code),
			slog.Duration("took", time.Since(began)))
	}()
	allow, protocol := q.route.serves()
	if page, ok := q.route.page(); ok {
		h.page(q, page, allow)
		return
	}
	switch {
	case q.route == nowhere:
		h.refuse(q, notHere())
	case !allow.has(r.Method):
		h.wrongMethod(q, string(allow))
	case q.route == routePing:
		h.ping(q)
	case q.route == routeMetadata:
		h.metadata(q)
	default:
		// A stream stays in forward for long: what is needed before must not wait below it on the stack.
		if p, ok := h.letIn(q, protocol); ok {
			defer p.leave()
			h.forward(q, p)
		}
	}
}

// ping tells everybody whether the agent is up, and nothing else.
func (h *Handler) ping(q *request) {
	_, status, err := h.config.Fleet.Lookup(q.workload)
	switch {
	case err != nil:
		h.refuse(q, err)
	case status.State == fleet.Ready, status.State == fleet.Idle:
		wire.Write(q.out, http.StatusOK, map[string]string{"status": "Healthy"})
	default:
		wire.Write(q.out, http.StatusServiceUnavailable, map[string]string{"status": "Unhealthy"})
	}
}

// letIn lets a request in, if it may, and reports whether it does; if not, the
// request is answered. The order matters: a stranger learns nothing about an
// agent, and costs nothing, before he is known. Whoever is let in leaves by
// passage.leave.
func (h *Handler) letIn(q *request, protocol agent.Protocol) (passage, bool) {
	ctx := q.in.Context()
	decision := Decision{Workload: q.workload, Protocol: protocol}
	err := h.admit(q, &decision)
	if err != nil {
		if q.known && refusal(err) {
			h.recordRefusal(ctx, decision, err)
		}
		h.refuse(q, err)
		return passage{}, false
	}
	if err := h.enter(q); err != nil {
		h.refuse(q, err)
		return passage{}, false
	}
	status, finished, err := h.config.Fleet.Enter(ctx, q.workload)
	if err != nil { // deleted in between
		h.leave(q)
		h.refuse(q, err)
		return passage{}, false
	}
	leave := func() {
		h.leave(q)
		finished()
	}
	if status.State != fleet.Ready {
		leave()
		h.notReady(q, status)
		return passage{}, false
	}
	p, err := h.pass(q, decision)
	if err != nil {
		leave()
		h.refuse(q, err)
		return passage{}, false
	}
	p.base, p.leave = status.URL, leave
	return p, true
}

// passage is what a request is handed to the agent with.
type passage struct {
	base   string    // of the agent
	user   name.User // zero: nobody
	caller string    // whom sessions belong to
	wat    secret.Text
	body   []byte
	leave  func() // when the request is over
}

// pass records that a request is let in, and gets what it needs for that.
func (h *Handler) pass(q *request, d Decision) (passage, error) {
	body, err := h.readBody(q)
	if err != nil {
		return passage{}, err
	}
	ctx := q.in.Context()
	var chain []name.Workload
	if !d.Agent.IsZero() {
		chain = slices.Concat([]name.Workload{d.Agent}, d.Chain)
	}
	wat, err := h.config.Minter.Mint(ctx, q.workload, d.User, chain)
	switch {
	case err != nil && refusal(err): // the user, or the agent's own identity, was ended a moment ago
		h.recordRefusal(ctx, d, err)
		return passage{}, err
	case err != nil:
		h.config.Log.Error("no workload access token", "requestId", q.id, "err", err)
		return passage{}, err
	}
	d.Allowed = true
	if err := h.config.Recorder.Record(ctx, d); err != nil {
		// No record, no entry.
		h.config.Log.Error("invocation not recorded", "requestId", q.id, "err", err)
		return passage{}, fault.Wrap(err, fault.Unavailable, "audit_unavailable", "the request cannot be recorded").WithFix("try again later")
	}
	return passage{user: d.User, caller: d.caller(), wat: wat, body: body}, nil
}

// admit finds the agent and out who is calling, and whether he may.
func (h *Handler) admit(q *request, d *Decision) error {
	a, _, missing := h.config.Fleet.Lookup(q.workload)
	q.known, q.inbound = missing == nil, a.Definition.Inbound
	shown, err := q.credential()
	if err == nil && shown == "" {
		shown, err = h.loggedIn(q)
		q.browser = shown != ""
	}
	if err != nil {
		return err
	}
	if missing != nil {
		if shown == "" {
			// As at an agent that is there and not open to everybody.
			return noToken()
		}
		return missing
	}
	if err := h.authenticate(q, shown, d); err != nil {
		return err
	}
	q.payer = payer(q, *d)
	if err := h.paced(q); err != nil {
		return err
	}
	var offered bool
	if q.path, offered = a.Definition.Paths.Of(d.Protocol); !offered {
		return fault.New(fault.NotFound, "protocol_not_offered", "this agent does not speak %s", d.Protocol).
			WithFix("its runtime_paths in agentkit.yaml say what it speaks")
	}
	switch {
	case q.route == routeCard:
		q.path = cardPath
	case q.route == routeMCP:
		return h.openSession(q, d.caller())
	case q.route == routeSocket && !isWebSocket(q.in.Header):
		return errNoWebSocket
	}
	return nil
}

// refusal reports whether err is a judgement on the request, not a failure of
// ours to make one.
func refusal(err error) bool {
	return fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Forbidden) || fault.HasCode(err, "token_ambiguous") ||
		fault.HasCode(err, codeRate) || fault.HasCode(err, codeSession)
}
