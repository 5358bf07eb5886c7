package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
)

// invokeCommand is deputy invoke.
type invokeCommand struct {
	oneAgent
	Prompt    string `help:"What to say to the agent." short:"p" xor:"what" required:"" placeholder:"TEXT"`
	Body      string `help:"File with the request's JSON, in place of a prompt; - is standard input." xor:"what" required:"" placeholder:"FILE"`
	UserToken string `help:"File with the access token of the user who asks, or a key of the agent; deputy login-test --show-token shows a token." required:"" placeholder:"FILE"`
	Session   string `help:"Name of the conversation, to go on with it." placeholder:"NAME"`
	Raw       bool   `help:"Show the answer as it comes over the wire."`
}

// Run implements kong's command.
func (i invokeCommand) Run(ctx context.Context, o output) error {
	body, err := i.body()
	if err != nil {
		return err
	}
	token, err := readSecret(i.UserToken, "--user-token")
	if err != nil {
		return err
	}
	api, agent, err := i.find()
	if err != nil {
		return err
	}
	a, err := api.Agent(ctx, i.Pool, agent)
	if err != nil {
		return err
	}
	if a.Endpoint == "" {
		return fault.New(fault.Unavailable, "runtime_off", "this Deputy runs no agents").WithFix("start it with --ingress-listen")
	}
	answer, err := apiclient.Invoke(ctx, a.Endpoint, token, i.Session, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // read to the end, or given up
	if i.Raw || o.json || !answer.Events {
		_, err := io.Copy(o.out, answer.Body)
		return err
	}
	return say(o.out, apiclient.NewEvents(answer.Body))
}

// maxInvokeBody bounds what is sent to an agent, in bytes.
const maxInvokeBody = 4 << 20

func (i invokeCommand) body() ([]byte, error) {
	if i.Body == "" {
		return json.Marshal(map[string]string{"prompt": i.Prompt})
	}
	in := io.ReadCloser(os.Stdin)
	if i.Body != "-" {
		var err error
		if in, err = os.Open(i.Body); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "body_unreadable", "the request's body cannot be read").WithSource("--body")
		}
		defer in.Close() // only read
	}
	b, err := wire.ReadAll(in, maxInvokeBody)
	if err != nil || !json.Valid(b) {
		return nil, fault.Wrap(err, fault.Invalid, "body_malformed", "the request's body is not JSON of at most %d bytes", maxInvokeBody).WithSource("--body")
	}
	return bytes.TrimSpace(b), nil
}

// turnEvent is what people see of an event of the Agent Development Kit.
type turnEvent struct {
	Content struct {
		Parts []struct {
			Text string `json:"text"`
			Call *struct {
				Name string         `json:"name"`
				Args map[string]any `json:"args"`
			} `json:"functionCall"`
		} `json:"parts"`
	} `json:"content"`
	Partial *bool  `json:"partial"`
	Error   string `json:"error"`
}

// say writes what an agent says as it says it. A stream that tells of an error
// is one.
func say(w io.Writer, events *apiclient.Events) error {
	var said strings.Builder
	for {
		next, err := events.Next()
		if errors.Is(err, io.EOF) {
			_, err := fmt.Fprintln(w)
			return err
		}
		if err != nil {
			return err
		}
		var e turnEvent
		if err := json.Unmarshal(next.Data, &e); err != nil {
			return fault.Wrap(err, fault.Upstream, "event_malformed", "the agent's stream has something that is not JSON").WithFix("look at it with --raw")
		}
		if e.Error != "" {
			return fault.New(fault.Upstream, "agent_failed", "the agent gave up: %s", e.Error)
		}
		if err := e.say(w, &said); err != nil {
			return err
		}
	}
}

// say writes the event. An event that is not partial repeats what partial ones
// before it said.
func (e turnEvent) say(w io.Writer, said *strings.Builder) error {
	for _, p := range e.Content.Parts {
		text := p.Text
		if e.Partial != nil && *e.Partial {
			said.WriteString(text)
		} else if strings.HasSuffix(said.String(), text) {
			text = ""
		}
		if p.Call != nil {
			text += "\n[the agent calls " + p.Call.Name + "]\n"
			if link := linkIn(p.Call.Args); link != "" {
				text = "\nThe agent may do this only with your consent. Open:\n  " + link + "\n"
			}
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// linkIn returns the authorization link in the arguments of a call for consent.
func linkIn(args map[string]any) string {
	for _, key := range []string{"authConfig", "exchangedAuthCredential", "oauth2"} {
		inner, ok := args[key].(map[string]any)
		if !ok {
			return ""
		}
		args = inner
	}
	link, _ := args["authUri"].(string)
	return link
}
