// Package main is an agent that reads a user's Google calendar and writes into it, in his name.
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
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newAgent(os.Getenv).Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "calendar-agent:", err)
		stop()
		os.Exit(1)
	}
}

var add = regexp.MustCompile(`(?i)add (.+) from (\d\d:\d\d) to (\d\d:\d\d)`)

// newAgent returns the agent. Reading and writing are two scopes: who only asks what
// is on is not asked for more.
func newAgent(env func(string) string) *deputy.Agent {
	provider, api := cmp.Or(env("GOOGLE_CREDENTIAL_PROVIDER"), "google"), cmp.Or(env("GOOGLE_API_BASE"), "https://www.googleapis.com")
	google := calendar{api + "/calendar/v3/calendars/primary/events", time.Now}
	return &deputy.Agent{
		Name: "calendar-agent",
		Tools: []deputy.Tool{
			deputy.NewTool("today", "Lists today's events.", google.today, deputy.OAuth2(provider, "https://www.googleapis.com/auth/calendar.readonly").At(api)),
			deputy.NewTool("add", "Puts an event into today's calendar.", google.add, deputy.OAuth2(provider, "https://www.googleapis.com/auth/calendar.events").At(api)),
		},
		Respond: respond,
	}
}

// respond understands two sentences. A language model would choose among the tools
// instead: they describe themselves.
func respond(ctx context.Context, turn *deputy.Turn) error {
	var said string
	if m := add.FindStringSubmatch(turn.Prompt); m != nil {
		if err := turn.Call(ctx, "add", entry{m[1], m[2], m[3]}, &said); err != nil {
			return err
		}
	} else if strings.Contains(strings.ToLower(turn.Prompt), "today") {
		if err := turn.Call(ctx, "today", nil, &said); err != nil {
			return err
		}
	} else {
		said = "Ask me what is on today, or to add SOMETHING from 12:00 to 13:00."
	}
	turn.Say(said)
	return nil
}

// calendar is the events of a calendar. Days and hours are those of UTC.
type calendar struct {
	events string
	now    func() time.Time
}

type entry struct {
	What string `json:"what"`
	From string `json:"from" jsonschema:"12:00"`
	To   string `json:"to" jsonschema:"13:00"`
}

type moment struct {
	At time.Time `json:"dateTime"`
}

type event struct {
	Summary string `json:"summary"`
	Start   moment `json:"start"`
	End     moment `json:"end"`
}

func (g calendar) today(ctx context.Context, c *deputy.Call, _ struct{}) (string, error) {
	day := g.now().UTC().Truncate(24 * time.Hour)
	query := url.Values{"timeMin": {day.Format(time.RFC3339)}, "timeMax": {day.AddDate(0, 0, 1).Format(time.RFC3339)}, "singleEvents": {"true"}, "orderBy": {"startTime"}}
	var found struct{ Items []event }
	if err := send(ctx, c.HTTP, http.MethodGet, g.events+"?"+query.Encode(), nil, &found); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d events today:\n", len(found.Items))
	for _, e := range found.Items {
		fmt.Fprintf(&b, "- %s to %s %s\n", e.Start.At.UTC().Format("15:04"), e.End.At.UTC().Format("15:04"), e.Summary)
	}
	return b.String(), nil
}

func (g calendar) add(ctx context.Context, c *deputy.Call, in entry) (string, error) {
	made := event{Summary: in.What}
	for text, into := range map[string]*time.Time{in.From: &made.Start.At, in.To: &made.End.At} {
		clock, err := time.Parse("15:04", text)
		if err != nil {
			return "", fmt.Errorf("%q is not a time such as 12:00", text)
		}
		*into = g.now().UTC().Truncate(24 * time.Hour).Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute)
	}
	if err := send(ctx, c.HTTP, http.MethodPost, g.events, made, &made); err != nil {
		return "", err
	}
	return fmt.Sprintf("I added %q from %s to %s.", made.Summary, in.From, in.To), nil
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
		return fmt.Errorf("Google answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
