// Package main is an agent that reads channels of a user's Slack and writes there, as the user.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	deputy "github.com/deputy-id/deputy/sdk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newAgent(os.Getenv).Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "slack-agent:", err)
		stop()
		os.Exit(1)
	}
}

var (
	say  = regexp.MustCompile(`(?i)say "(.+)" in (#[\w-]+)`)
	read = regexp.MustCompile(`(?i)read (#[\w-]+)`)
)

// newAgent returns the agent. Its credential provider is of the vendor slack-user:
// what it writes is from the user, not from a bot.
func newAgent(env func(string) string) *deputy.Agent {
	provider, api := cmp.Or(env("SLACK_CREDENTIAL_PROVIDER"), "slack"), cmp.Or(env("SLACK_API_BASE"), "https://slack.com")
	s := slack{api + "/api/"}
	return &deputy.Agent{
		Name: "slack-agent",
		Tools: []deputy.Tool{
			deputy.NewTool("read", "Reads the last messages of a channel.", s.read, deputy.OAuth2(provider, "channels:read", "channels:history").At(api)),
			deputy.NewTool("say", "Writes a message into a channel.", s.say, deputy.OAuth2(provider, "chat:write").At(api)),
		},
		Respond: respond,
	}
}

// respond understands two sentences. A language model would choose among the tools
// instead: they describe themselves.
func respond(ctx context.Context, turn *deputy.Turn) error {
	var said string
	if m := say.FindStringSubmatch(turn.Prompt); m != nil {
		if err := turn.Call(ctx, "say", message{channel{m[2]}, m[1]}, &said); err != nil {
			return err
		}
	} else if m := read.FindStringSubmatch(turn.Prompt); m != nil {
		if err := turn.Call(ctx, "read", channel{m[1]}, &said); err != nil {
			return err
		}
	} else {
		said = `Ask me to read #CHANNEL, or to say "SOMETHING" in #CHANNEL.`
	}
	turn.Say(said)
	return nil
}

// slack is the API at an address. All its answers have status 200.
type slack struct{ api string }

type channel struct {
	Channel string `json:"channel" jsonschema:"#general"`
}

type message struct {
	channel
	Text string `json:"text"`
}

// outcome is what every answer of Slack's begins with.
type outcome struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

// problem returns the error of an answer, if it is one: that the token is refused
// has Deputy get another one.
func (o outcome) problem() error {
	switch {
	case o.OK:
		return nil
	case o.Error == "invalid_auth" || o.Error == "token_revoked" || o.Error == "token_expired":
		return fmt.Errorf("slack answers %s: %w", o.Error, deputy.ErrRefused)
	default:
		return fmt.Errorf("slack answers %s", o.Error)
	}
}

func (s slack) say(ctx context.Context, c *deputy.Call, in message) (string, error) {
	var answer outcome
	if err := send(ctx, c.HTTP, http.MethodPost, s.api+"chat.postMessage", in, &answer); err != nil {
		return "", err
	}
	return "I said so in " + in.Channel + ".", answer.problem()
}

func (s slack) read(ctx context.Context, c *deputy.Call, in channel) (string, error) {
	id, err := s.id(ctx, c.HTTP, strings.TrimPrefix(in.Channel, "#"))
	if err != nil {
		return "", err
	}
	var answer struct {
		outcome
		Messages []struct{ User, Text string }
	}
	if err := send(ctx, c.HTTP, http.MethodGet, s.api+"conversations.history?limit=5&channel="+url.QueryEscape(id), nil, &answer); err != nil {
		return "", err
	}
	if err := answer.problem(); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The last in %s:\n", in.Channel)
	for _, m := range answer.Messages {
		fmt.Fprintf(&b, "- %s: %s\n", m.User, m.Text)
	}
	return b.String(), nil
}

// id finds a channel by its name.
func (s slack) id(ctx context.Context, c *http.Client, name string) (string, error) {
	var answer struct {
		outcome
		Channels []struct{ ID, Name string }
	}
	if err := send(ctx, c, http.MethodGet, s.api+"conversations.list?limit=200", nil, &answer); err != nil {
		return "", err
	}
	if err := answer.problem(); err != nil {
		return "", err
	}
	for _, found := range answer.Channels {
		if found.Name == name {
			return found.ID, nil
		}
	}
	return "", fmt.Errorf("there is no channel #%s", name)
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// send sends a request, with a body of JSON if there is one, and decodes the answer.
func send(ctx context.Context, c *http.Client, method, address string, body, into any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req) // waits here if the user has to agree first
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("Slack answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
