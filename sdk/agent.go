package deputy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// Agent answers prompts on behalf of users. Fill in a literal and call
// [Agent.Serve], or mount [Agent.Handler].
type Agent struct {
	// Name is the author of the answer's events, and the name in logs. Required.
	Name string
	// Tools are what the agent can do.
	Tools []Tool
	// Respond answers one prompt: it calls tools with [Turn.Call] and speaks with
	// [Turn.Say]. ctx ends when the user goes away, and after MaxTurn. Of an error
	// it returns, the user sees the words only if it is an [*Error] or an
	// [*AuthorizationError]. Required.
	Respond func(ctx context.Context, t *Turn) error
	// Progress is told of each question that is put to the user, whose link is on the answer's stream by then, and of
	// each state that it comes to. It may [Turn.Say] something. Questions that are open at the same time are told of by
	// goroutines of their own. May be nil.
	Progress func(ctx context.Context, t *Turn, a Authorization)
	// Unattended lets in requests that act for no user: of programs with a key, or of everybody, if the agent's
	// runtime_auth_type is "none". [Session.User] is zero then, and there are no credentials that a user has to give.
	Unattended bool
	// Deputy is the client to use. Nil means [FromEnvironment].
	Deputy *Client
	// Transport carries the tools' requests to third parties. Nil means a clone of
	// [http.DefaultTransport] that waits 30 s for the beginning of an answer.
	Transport http.RoundTripper
	// Log gets what operators want to know, and never a secret. Nil means [slog.Default].
	Log *slog.Logger
	// MaxTurn bounds one answer, the user's time to decide included. 0 means 15 minutes:
	// workload access tokens do not live longer.
	MaxTurn time.Duration
	// MaxPrompt bounds the body of a request, in bytes. 0 means 256 KiB.
	MaxPrompt int64
}

// builtAgent is an Agent that was checked, with its defaults filled in.
type builtAgent struct {
	name      string
	respond   func(context.Context, *Turn) error
	progress  func(context.Context, *Turn, Authorization)
	alone     bool // requests for nobody are let in
	list      []Tool
	tools     map[string]builtTool // by name
	deputy    *Client
	transport http.RoundTripper
	log       *slog.Logger
	now       func() time.Time
	maxTurn   time.Duration
	maxPrompt int64
}

type builtTool struct {
	tool  Tool
	creds map[string]Credential // by origin
}

// Handler returns the agent's routes: POST /invoke, GET /ping and GET /health.
// It reports whatever is wrong with the declaration.
func (a *Agent) Handler() (http.Handler, error) {
	b, err := a.build()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /invoke", b.invoke)
	mux.HandleFunc("GET /ping", b.ping)
	mux.HandleFunc("GET /health", b.health)
	mux.HandleFunc("/", notFound)
	return mux, nil
}

func (a *Agent) build() (*builtAgent, error) {
	b := &builtAgent{
		name: a.Name, respond: a.Respond, progress: a.Progress, alone: a.Unattended, deputy: a.Deputy, transport: a.Transport, log: a.Log,
		maxTurn: a.MaxTurn, maxPrompt: a.MaxPrompt, list: slices.Clone(a.Tools), tools: map[string]builtTool{},
	}
	if a.Name == "" || a.Respond == nil {
		return nil, refuse("agent_invalid", "an agent needs Name and Respond")
	}
	for _, t := range a.Tools {
		creds, err := t.check()
		if err != nil {
			return nil, err
		}
		if _, ok := b.tools[t.Name]; ok {
			return nil, refuse("agent_invalid", "there are two tools named %q", t.Name)
		}
		b.tools[t.Name] = builtTool{t, creds}
	}
	if b.deputy == nil {
		c, err := FromEnvironment()
		if err != nil {
			return nil, err
		}
		b.deputy = c
	}
	if err := b.deputy.ready(); err != nil {
		return nil, fmt.Errorf("agent %s: %w", a.Name, err)
	}
	b.now = b.deputy.Now
	if b.progress == nil {
		b.progress = func(context.Context, *Turn, Authorization) {}
	}
	if b.transport == nil {
		b.transport = thirdPartyTransport()
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.maxTurn == 0 {
		b.maxTurn = 15 * time.Minute
	}
	if b.maxPrompt == 0 {
		b.maxPrompt = 256 << 10
	}
	return b, nil
}
