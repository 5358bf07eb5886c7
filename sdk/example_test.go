package deputy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// What the examples have in common: a person, and third parties in memory.
var zhang = deputy.User{Issuer: "https://login.example", Subject: "zhang"}

// thirdParties answer requests by their host.
type thirdParties map[string]http.HandlerFunc

func (p thirdParties) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p[r.URL.Host](w, r)
	return w.Result(), nil
}

// says answers whoever brings a credential.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, text)
	}
}

var quiet = slog.New(slog.DiscardHandler)

// The credential that the tool needs, and the only place where it may be sent.
var calendar = deputy.OAuth2("calendar", "events:read").At("https://calendar.example")

var today = deputy.NewTool("today", "Lists today's appointments.", listToday, calendar)

func listToday(ctx context.Context, call *deputy.Call, in struct {
	Room string `json:"room,omitempty" jsonschema:"only appointments in this room"`
}) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://calendar.example/today?room="+in.Room, nil)
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
}

func secretary() *deputy.Agent {
	return &deputy.Agent{Name: "secretary", Tools: []deputy.Tool{today}, Respond: func(ctx context.Context, t *deputy.Turn) error {
		var appointments string
		if err := t.Call(ctx, "today", nil, &appointments); err != nil {
			return err
		}
		t.Say("Today: " + appointments)
		return nil
	}}
}

// An agent that reads a user's calendar. In an agent of your own, main calls
// agent.Serve(ctx); here it answers one prompt of a user who has to agree first,
// and does.
func Example() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.WhenAsked(func(a deputy.Authorization) { fake.Agree(a.ID) })

	agent := secretary()
	agent.Transport, agent.Log = thirdParties{"calendar.example": says("9:30 stand-up")}, quiet
	answer, err := fake.Invoke(agent, zhang, "What is on today?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	fmt.Println("links shown:", len(answer.Asked))
	// Output:
	// Today: 9:30 stand-up
	// links shown: 1
}

// The user's way from the link to the answer, told as it happens.
func ExampleAgent_progress() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.WhenAsked(func(a deputy.Authorization) { fake.Agree(a.ID) })

	agent := secretary()
	agent.Progress = func(_ context.Context, t *deputy.Turn, a deputy.Authorization) {
		switch a.State {
		case deputy.Pending:
			t.Say("I need your permission for " + a.Provider + ". ")
		case deputy.Completed:
			t.Say("Thank you. ")
		}
	}
	agent.Transport, agent.Log = thirdParties{"calendar.example": says("9:30 stand-up")}, quiet
	answer, err := fake.Invoke(agent, zhang, "What is on today?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: I need your permission for calendar. Thank you. Today: 9:30 stand-up
}

// What an agent says when its user declines.
func ExampleAuthorizationError() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.WhenAsked(func(a deputy.Authorization) { fake.Decline(a.ID) })

	agent := secretary()
	agent.Respond = func(ctx context.Context, t *deputy.Turn) error {
		var appointments string
		err := t.Call(ctx, "today", nil, &appointments)
		var declined *deputy.AuthorizationError
		if errors.As(err, &declined) && declined.Reason == "access_denied" {
			t.Say("Then I cannot tell you what is on.")
			return nil
		}
		t.Say(appointments)
		return err
	}
	agent.Log = quiet
	answer, err := fake.Invoke(agent, zhang, "What is on today?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: Then I cannot tell you what is on.
}

// A tool list for a language model, and the model's choice carried out.
func ExampleTurn_Tools() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Grant(zhang, "calendar")

	agent := secretary()
	agent.Respond = func(ctx context.Context, t *deputy.Turn) error {
		for _, tool := range t.Tools() {
			fmt.Println(tool.Name, string(tool.Parameters))
		}
		name, arguments := "today", rawJSON(`{"room":"Bonn"}`) // what the model chose
		var result rawMessage
		if err := t.Call(ctx, name, arguments, &result); err != nil {
			result = rawJSON(`{"error":` + quote(err.Error()) + `}`) // the model may try something else
		}
		t.Say(string(result))
		return nil
	}
	agent.Transport, agent.Log = thirdParties{"calendar.example": says("14:00 review")}, quiet
	answer, err := fake.Invoke(agent, zhang, "What is on in Bonn?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output:
	// today {"type":"object","properties":{"room":{"type":"string","description":"only appointments in this room"}},"additionalProperties":false}
	// "14:00 review"
}
