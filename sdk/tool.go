package deputy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
)

// maxToolInput bounds a tool's arguments, in bytes.
const maxToolInput = 64 << 10

// Tool is one thing that an agent can do. Make it with [NewTool].
type Tool struct {
	Name        string
	Description string          // what it does, for a language model
	Parameters  json.RawMessage // JSON Schema of the input, for a language model
	Credentials []Credential

	run    func(context.Context, *Call, json.RawMessage) (json.RawMessage, error)
	handed bool  // the function is handed the first credential
	err    error // what is wrong with the tool; reported when the agent is built
}

// Call is what a tool function has besides its input. For a unit test of the
// function, &Call{HTTP: server.Client()} is enough.
type Call struct {
	// HTTP sends requests to the origins of the tool's credentials, each with the
	// user's credential for it. The first request may wait minutes for the user to
	// agree, so a deadline shorter than a user's patience does not belong on it.
	HTTP *http.Client
	// Session says who is asking, and in which conversation.
	Session Session

	turn *Turn
	id   string
}

// Clear withdraws this agent's permission to use the user's credential. The next
// use asks the user again.
func (c *Call) Clear(ctx context.Context, cred Credential) error {
	if c.turn == nil {
		return refuse("call_detached", "this call has no turn")
	}
	return c.turn.clear(ctx, cred)
}

// Keys returns temporary keys from the provider of that name, of type sts, for
// this agent; see [Client.Keys].
func (c *Call) Keys(ctx context.Context, provider string) (Keys, error) {
	if c.turn == nil {
		return Keys{}, refuse("call_detached", "this call has no turn")
	}
	return c.turn.agent.deputy.Keys(ctx, c.turn.wat, provider)
}

// NewTool makes a function into a tool. In is a struct of strings, numbers,
// booleans, structs and slices of these; its JSON tags name the arguments, and
// a tag `jsonschema:"…"` describes one to a language model. Out is anything that
// encodes to JSON.
//
// The function runs once per call; the exception is an error that wraps
// [ErrRefused]. Its errors are shown to the model, so they should say what to do.
func NewTool[In, Out any](name, description string, f func(context.Context, *Call, In) (Out, error), needs ...Credential) Tool {
	t := Tool{Name: name, Description: description, Credentials: needs}
	s, err := schemaOf(reflect.TypeFor[In]())
	if err != nil {
		t.err = err
		return t
	}
	t.Parameters, t.err = json.Marshal(s)
	t.run = func(ctx context.Context, c *Call, raw json.RawMessage) (json.RawMessage, error) {
		var in In
		if err := decodeInput(raw, s, &in); err != nil {
			return nil, err
		}
		out, err := f(ctx, c, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
	return t
}

// NewTokenTool is [NewTool] for a function that must have the credential itself:
// to give it to a library that takes a token and no [http.Client], or to put it
// where no header is. The credential is there before the function begins; it
// needs no origin, because where it goes is the function's own responsibility. The
// function must not keep, print or return it.
func NewTokenTool[In, Out any](name, description string, f func(context.Context, *Call, AccessToken, In) (Out, error), cred Credential, needs ...Credential) Tool {
	t := NewTool(name, description, func(ctx context.Context, c *Call, in In) (Out, error) {
		token, err := c.turn.wallet.token(ctx, cred, c.id)
		if err != nil {
			var none Out
			return none, err
		}
		return f(ctx, c, token, in)
	}, append([]Credential{cred}, needs...)...)
	t.handed = true
	return t
}

// toolName is what model interfaces accept as the name of a function.
var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// check reports what is wrong with t, and returns its credentials by origin.
func (t Tool) check() (map[string]Credential, error) {
	bad := func(format string, args ...any) error {
		return &Error{Code: "tool_invalid", Message: fmt.Sprintf("tool %q: ", t.Name) + fmt.Sprintf(format, args...)}
	}
	switch {
	case !toolName.MatchString(t.Name):
		return nil, bad("the name must match %s", toolName)
	case t.err != nil:
		return nil, bad("%v", t.err)
	case t.run == nil:
		return nil, bad("it was not made by NewTool")
	}
	if t.handed {
		return byOrigin(t.Credentials[1:], t.Credentials[0])
	}
	return byOrigin(t.Credentials)
}
