package deputy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	maxAsks     = 3                // how often a user is asked for one credential in one turn
	nearlyStale = 10 * time.Second // a token this close to its end is not used any more
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
	stream *stream

	mu     sync.Mutex
	tokens map[string]*heldToken // by [Credential.key]
}

// heldToken is a credential in use during one turn. turn is a lock that can be
// waited for with a context: whoever holds it may be waiting for the user, and the
// others then get the same answer instead of a second link.
type heldToken struct {
	turn  chan struct{}
	token AccessToken
	// refused is a token that a tool said was refused; if Deputy has no other one,
	// only the user can help.
	refused Secret
	force   bool // ask the user, whatever Deputy has
}

// Say sends a piece of the answer to the user.
func (t *Turn) Say(text string) { t.stream.say(text) }

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
	t.stream.call(adkFunctionCall{id, tool, json.RawMessage(args)})
	result, err := t.run(ctx, built, id, args)
	if err != nil {
		t.stream.done(id, tool, map[string]string{"status": "error", "code": errorCode(err)})
		return err
	}
	// The result itself stays here: it may be a whole document, and the user asked for an answer.
	t.stream.done(id, tool, map[string]string{"status": "ok"})
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
	client := newHTTPClient(&injector{base: t.agent.transport, creds: b.creds, holder: t, callID: callID})
	call := &Call{HTTP: client, Session: t.Session, turn: t}
	result, err := b.tool.run(ctx, call, args)
	if !errors.Is(err, ErrRefused) || ctx.Err() != nil {
		return result, err
	}
	for _, cred := range b.creds {
		h, lockErr := t.hold(ctx, cred)
		if lockErr != nil {
			return nil, lockErr
		}
		h.refused, h.token = h.token.Value, AccessToken{}
		h.release()
	}
	return b.tool.run(ctx, call, args)
}

// AskAgain makes the next use of the credential in this turn ask the user, even
// if Deputy holds a good one: for a user who wants to choose another account.
func (t *Turn) AskAgain(ctx context.Context, cred Credential) error {
	h, err := t.hold(ctx, cred)
	if err != nil {
		return err
	}
	defer h.release()
	h.token, h.force = AccessToken{}, true
	return nil
}

func (t *Turn) clear(ctx context.Context, cred Credential) error {
	h, err := t.hold(ctx, cred)
	if err != nil {
		return err
	}
	defer h.release()
	h.token = AccessToken{}
	return t.agent.deputy.Clear(ctx, t.wat, cred.Provider)
}

// hold returns the held token of a credential, locked.
func (t *Turn) hold(ctx context.Context, cred Credential) (*heldToken, error) {
	t.mu.Lock()
	h := t.tokens[cred.key()]
	if h == nil {
		h = &heldToken{turn: make(chan struct{}, 1)}
		t.tokens[cred.key()] = h
	}
	t.mu.Unlock()
	select {
	case h.turn <- struct{}{}:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *heldToken) release() { <-h.turn }

// token implements holder.
func (t *Turn) token(ctx context.Context, cred Credential, callID string) (AccessToken, error) {
	h, err := t.hold(ctx, cred)
	if err != nil {
		return AccessToken{}, err
	}
	defer h.release()
	if !h.token.Value.Empty() && (h.token.Expires.IsZero() || t.agent.now().Add(nearlyStale).Before(h.token.Expires)) {
		return h.token, nil
	}
	got, err := t.ask(ctx, cred, callID, h.force, h.refused)
	if err == nil && got.Value.equal(h.refused) {
		got, err = t.ask(ctx, cred, callID, true, Secret{})
	}
	if err != nil {
		return AccessToken{}, err
	}
	h.token, h.refused, h.force = got, Secret{}, false
	return got, nil
}

// renew implements holder.
func (t *Turn) renew(ctx context.Context, cred Credential, callID string, refused AccessToken) (AccessToken, error) {
	h, err := t.hold(ctx, cred)
	if err != nil {
		return AccessToken{}, err
	}
	defer h.release()
	if !h.token.Value.Empty() && !h.token.Value.equal(refused.Value) {
		return h.token, nil // another request of this turn was here first
	}
	got, err := t.ask(ctx, cred, callID, false, refused.Value)
	if err != nil {
		return AccessToken{}, err
	}
	h.token = got
	return got, nil
}

// ask gets a credential from Deputy, and asks the user for as long as Deputy
// wants that: the second time is for a user who did not grant all scopes.
func (t *Turn) ask(ctx context.Context, cred Credential, callID string, force bool, refused Secret) (AccessToken, error) {
	for range maxAsks {
		token, err := t.agent.deputy.token(ctx, t.wat, cred, force, refused)
		var need *ConsentRequired
		if !errors.As(err, &need) {
			return token, err
		}
		if err := t.consent(ctx, cred, callID, need.Authorization); err != nil {
			return AccessToken{}, err
		}
		force = false
	}
	return AccessToken{}, &Error{Code: "consent_incomplete", Message: "the user agreed, but not to all that " + cred.Provider + " was asked for",
		Fix: "try again and grant every permission on the list"}
}

// consent shows the link and waits for what the user makes of it.
func (t *Turn) consent(ctx context.Context, cred Credential, callID string, a Authorization) error {
	id := "adk-" + newUUID()
	key := "oauth_access_token:" + t.agent.name + ":" + t.Session.User.Subject + ":" + cred.Provider
	t.stream.call(adkFunctionCall{id, consentFunction, consentArgs(callID, key, a)})
	t.agent.log.InfoContext(ctx, "waiting for the user's consent", "request", t.RequestID, "provider", cred.Provider, "authorization", a.ID)
	err := t.agent.deputy.Wait(ctx, t.wat, a)
	outcome := map[string]string{"status": string(Completed)}
	if err != nil {
		outcome = map[string]string{"status": string(Failed), "code": errorCode(err)}
	}
	t.stream.done(id, consentFunction, outcome)
	t.agent.log.InfoContext(ctx, "consent is over", "request", t.RequestID, "authorization", a.ID, "outcome", outcome["status"], "code", outcome["code"])
	return err
}

// errorCode is the stable code of an error, for a stream that a program reads.
func errorCode(err error) string {
	var (
		refusal *Error
		consent *AuthorizationError
	)
	switch {
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
	)
	switch {
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
