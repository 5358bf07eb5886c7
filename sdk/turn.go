package deputy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// Session names a conversation. The id is the client's own choice, so it means
// something only together with the user, who is verified: use the whole value as
// a key.
type Session struct {
	User User
	ID   string // may be empty
}

// Turn is one prompt and the answer to it.
type Turn struct {
	Prompt    string
	Session   Session
	Chain     []string // SPIFFE IDs of the agents that called this one for the user, nearest first
	RequestID string

	agent  *builtAgent
	wat    Secret
	out    outlet
	wallet *wallet
}

// newTurn returns a turn whose questions to the user go to out.
func newTurn(b *builtAgent, wat Secret, out outlet) *Turn {
	t := &Turn{agent: b, wat: wat, out: out}
	same := func(context.Context, Secret) (Secret, error) { return wat, nil }
	t.wallet = &wallet{deputy: b.deputy, identity: same, consent: t.consent}
	return t
}

// Tools returns the agent's tools, in the order of their declaration, to show to a
// language model.
func (t *Turn) Tools() []Tool { return slices.Clone(t.agent.list) }

// Say sends a piece of the answer to the user.
func (t *Turn) Say(text string) { t.out.say(text) }

// Call runs a tool: in is encoded as its arguments (nil means none), its result
// is decoded into out, if that is not nil. For a language model, in and out are
// [json.RawMessage] and *[json.RawMessage].
func (t *Turn) Call(ctx context.Context, tool string, in, out any) error {
	built, ok := t.agent.tools[tool]
	if !ok {
		return &Error{Code: "tool_not_found", Message: fmt.Sprintf("there is no tool %q", tool), Fix: "use one of the tools that were listed"}
	}
	if in == nil {
		in = struct{}{}
	}
	args, err := json.Marshal(in)
	if err != nil {
		return &Error{Code: "tool_input_invalid", Message: "the arguments are not JSON", cause: err}
	}
	if args[0] != '{' {
		return &Error{Code: "tool_input_invalid", Message: "the arguments are not a JSON object", Fix: "follow the tool's parameters"}
	}
	id := "call-" + newUUID()
	t.out.call(adkFunctionCall{id, tool, json.RawMessage(args)})
	result, err := t.run(ctx, built, id, args)
	if err != nil {
		t.out.done(id, tool, map[string]string{"status": "error", "code": errorCode(err)})
		return err
	}
	// The result itself stays here: it may be a whole document, and the user asked for an answer.
	t.out.done(id, tool, map[string]string{"status": "ok"})
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(result, out); err != nil {
		return fmt.Errorf("deputy: result of tool %q: %w", tool, err)
	}
	return nil
}

// run runs a tool, and once more after [ErrRefused].
func (t *Turn) run(ctx context.Context, b builtTool, callID string, args json.RawMessage) (json.RawMessage, error) {
	client := newHTTPClient(&injector{base: t.agent.transport, creds: b.creds, holder: t.wallet, callID: callID})
	call := &Call{HTTP: client, Session: t.Session, turn: t, id: callID}
	result, err := b.tool.run(ctx, call, args)
	if !errors.Is(err, ErrRefused) || ctx.Err() != nil {
		return result, err
	}
	seen := map[string]bool{}
	for _, cred := range b.tool.Credentials {
		if seen[cred.key()] {
			continue // what was refused is noted already
		}
		seen[cred.key()] = true
		lockErr := t.wallet.with(ctx, cred, func(h *heldToken) error {
			h.refused, h.token = h.token.Value, AccessToken{}
			return nil
		})
		if lockErr != nil {
			return nil, lockErr
		}
	}
	return b.tool.run(ctx, call, args)
}

// HTTP returns a client like [Call.HTTP] for the whole turn, outside of tools:
// for a library that keeps its connections while the turn lasts, such as one that
// speaks MCP and lists another's tools.
func (t *Turn) HTTP(creds ...Credential) (*http.Client, error) {
	return boundClient(t.agent.transport, t.wallet, "turn-"+newUUID(), creds)
}

// Authorize gets what the turn will need before it begins: the user sees the links
// of all providers that he has to agree to side by side, and answers them in
// whatever order. It returns when each is decided. The error joins those that came
// to nothing; the others can be used.
func (t *Turn) Authorize(ctx context.Context, creds ...Credential) error {
	errs := make([]error, len(creds))
	var all sync.WaitGroup
	for i, cred := range creds {
		all.Go(func() { _, errs[i] = t.wallet.token(ctx, cred, "turn-"+newUUID()) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// AskAgain makes the next use of the credential in this turn ask the user, even
// if Deputy holds a good one: for a user who wants to choose another account.
func (t *Turn) AskAgain(ctx context.Context, cred Credential) error {
	return t.wallet.with(ctx, cred, func(h *heldToken) error {
		h.token, h.force = AccessToken{}, true
		return nil
	})
}

func (t *Turn) clear(ctx context.Context, cred Credential) error {
	return t.wallet.with(ctx, cred, func(h *heldToken) error {
		h.token = AccessToken{}
		return t.agent.deputy.Clear(ctx, t.wat, cred.Provider)
	})
}

// consent shows the link and waits for what the user makes of it.
func (t *Turn) consent(ctx context.Context, wat Secret, cred Credential, callID string, a Authorization) error {
	if !t.out.live() {
		return &ConsentRequired{a}
	}
	id := "adk-" + newUUID()
	key := "oauth_access_token:" + t.agent.name + ":" + t.Session.User.Subject + ":" + cred.Provider
	t.out.call(adkFunctionCall{id, consentFunction, consentArgs(callID, key, a)})
	t.agent.log.InfoContext(ctx, "waiting for the user's consent", "request", t.RequestID, "provider", cred.Provider, "authorization", a.ID)
	tell := func(a Authorization) { t.agent.progress(ctx, t, a) }
	tell(a)
	err := t.agent.deputy.Follow(ctx, wat, a, tell)
	outcome := map[string]string{"status": string(Completed)}
	if err != nil {
		outcome = map[string]string{"status": string(Failed), "code": errorCode(err)}
	}
	t.out.done(id, consentFunction, outcome)
	t.agent.log.InfoContext(ctx, "consent is over", "request", t.RequestID, "authorization", a.ID, "outcome", outcome["status"], "code", outcome["code"])
	return err
}

// errorCode is the stable code of an error, for a stream that a program reads.
func errorCode(err error) string {
	var (
		refusal *Error
		consent *AuthorizationError
		need    *ConsentRequired
	)
	switch {
	case errors.As(err, &need):
		return "authorization_required"
	case errors.As(err, &consent):
		return consent.Reason
	case errors.As(err, &refusal):
		return refusal.Code
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, ErrRefused):
		return "credential_refused"
	}
	return "failed"
}

// errorMessage is what a stranger may read of an error: the words of errors made
// for people, and of others only that they happened.
func errorMessage(err error) string {
	var (
		refusal *Error
		consent *AuthorizationError
		need    *ConsentRequired
	)
	switch {
	case errors.As(err, &need):
		return "the user has to agree first"
	case errors.As(err, &consent):
		return consent.Message
	case errors.As(err, &refusal):
		if refusal.Fix != "" {
			return refusal.Message + "; " + refusal.Fix
		}
		return refusal.Message
	case errors.Is(err, context.DeadlineExceeded):
		return "the request took too long"
	case errors.Is(err, context.Canceled):
		return "the request was cancelled"
	}
	return "the agent could not finish this request"
}

type requestKey struct{}

// requestID returns the id of the request that ctx belongs to, or "".
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
