package deputy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// An agent that reads a user's calendar. In an agent of your own, the last line
// of main is agent.Serve(ctx); here the agent answers one prompt of a user who has
// agreed already.
func Example() {
	calendarServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "9:30 stand-up (%s)", strings.Fields(r.Header.Get("Authorization"))[0])
	}))
	defer calendarServer.Close()
	fake := deputytest.New("http://deputy.example")
	fake.Grant(deputy.User{Issuer: "https://login.example", Subject: "alice"}, "calendar")
	front := httptest.NewServer(fake)
	defer front.Close()
	fake.URL = front.URL

	calendar := deputy.OAuth2("calendar", "events:read").At(calendarServer.URL)

	today := deputy.NewTool("today", "Lists today's appointments.",
		func(ctx context.Context, call *deputy.Call, in struct {
			Room string `json:"room,omitempty" jsonschema:"only appointments in this room"`
		}) (string, error) {
			req, err := http.NewRequestWithContext(ctx, "GET", calendarServer.URL+"/today?room="+in.Room, nil)
			if err != nil {
				return "", err
			}
			resp, err := call.HTTP.Do(req) // waits here if the user has to agree first
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			return string(text), err
		}, calendar)

	agent := &deputy.Agent{
		Name:   "secretary",
		Tools:  []deputy.Tool{today},
		Deputy: fake.Client(), // left out in an agent of your own
		Respond: func(ctx context.Context, t *deputy.Turn) error {
			var appointments string
			if err := t.Call(ctx, "today", nil, &appointments); err != nil {
				return err
			}
			t.Say("Today: " + appointments)
			return nil
		},
	}

	handler, err := agent.Handler()
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest("POST", "/invoke", strings.NewReader(`{"prompt":"What is on today?"}`))
	r.Header.Set("WorkloadAccessToken", fake.Mint(deputy.User{Issuer: "https://login.example", Subject: "alice"}).Reveal())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	for line := range strings.Lines(w.Body.String()) {
		var e struct {
			Partial bool
			Content struct{ Parts []struct{ Text string } }
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &e) == nil && e.Partial {
			fmt.Println(e.Content.Parts[0].Text)
		}
	}
	// Output: Today: 9:30 stand-up (Bearer)
}

func rawJSON(s string) json.RawMessage { return json.RawMessage(s) }

// startAgent serves an agent on loopback and returns its address.
func startAgent(t *testing.T, a *deputy.Agent) string {
	t.Helper()
	a.Log = slog.New(slog.DiscardHandler)
	srv := httptest.NewServer(handler(t, a))
	t.Cleanup(srv.Close)
	return srv.URL
}

// prompt sends a prompt and returns the whole stream.
func prompt(t *testing.T, base string, wat deputy.Secret, text string) string {
	body, _ := json.Marshal(map[string]string{"prompt": text})
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/invoke", strings.NewReader(string(body)))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("WorkloadAccessToken", wat.Reveal())
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
