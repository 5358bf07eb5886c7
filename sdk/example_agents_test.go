package deputy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

type rawMessage = json.RawMessage

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// askReader hands a question on to another agent, for the same user.
func askReader(ctx context.Context, t *deputy.Turn) error {
	said, err := t.Ask(ctx, "reader", t.Prompt)
	if err != nil {
		return err
	}
	t.Say("The reader says: " + said)
	return nil
}

// An agent asks another one, which has credentials of its own.
func ExampleTurn_Ask() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Agent("reader", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", r.Header.Get("user_id"))
	}))

	answer, err := fake.Invoke(&deputy.Agent{Name: "front", Respond: askReader, Log: quiet}, zhang, "Are you there?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: The reader says: hello, zhang
}

var docs = deputy.OAuth2("docs", "docs.read").At("https://mcp.example")

// lookUp speaks MCP as the user. A library that does it for you takes the client:
// the official one as the HTTPClient of its StreamableClientTransport.
func lookUp(ctx context.Context, t *deputy.Turn) error {
	client, err := t.HTTP(docs)
	if err != nil {
		return err
	}
	body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":` + quote(t.Prompt) + `}}}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://mcp.example/mcp", body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Result struct {
			Content []struct{ Text string }
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return err
	}
	for _, part := range answer.Result.Content {
		t.Say(part.Text)
	}
	return nil
}

// An MCP server is asked with the user's identity.
func ExampleTurn_HTTP() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Grant(zhang, "docs")

	agent := &deputy.Agent{Name: "librarian", Respond: lookUp, Log: quiet}
	agent.Transport = thirdParties{"mcp.example": says(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"two pages"}]}}`)}
	answer, err := fake.Invoke(agent, zhang, "confused deputy")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: two pages
}

// inbox answers on a route of its own, beside those of an Agent.
func inbox(client *deputy.Client, transport http.RoundTripper) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wat, who, err := client.Authenticate(r)
		if err != nil {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		caller := &deputy.Caller{Deputy: client, Token: wat, Transport: transport}
		mail, err := caller.HTTP(mailbox)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		text, err := get(r.Context(), mail, "https://mail.example/unread")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "%s: %s", who.User.Subject, text)
	}
}

// A route that the Agent does not have: of a framework, of A2A, of a WebSocket.
func ExampleClient_Authenticate() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Grant(zhang, "mailbox")

	r := httptest.NewRequest("GET", "/inbox", nil)
	r.Header.Set("WorkloadAccessToken", fake.Mint(zhang).Reveal()) // the ingress does that
	w := httptest.NewRecorder()
	inbox(fake.Client(), thirdParties{"mail.example": says("3 unread")})(w, r)
	fmt.Println(w.Body)

	w = httptest.NewRecorder()
	inbox(fake.Client(), nil)(w, httptest.NewRequest("GET", "/inbox", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// zhang: 3 unread
	// 401 who are you?
}

// impatient gives the user a minute to decide, and goes on without his calendar.
func impatient(ctx context.Context, t *deputy.Turn, patience time.Duration) error {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := t.Authorize(soon, calendar); err != nil && ctx.Err() == nil {
		t.Say("I go on without your calendar.")
		return nil
	}
	return ctx.Err()
}

// Whatever waits for the user ends with its context, and nothing of it is left.
func ExampleTurn_cancellation() {
	fake, stop := deputytest.Serve()
	defer stop()
	agent := &deputy.Agent{Name: "secretary", Log: quiet, Respond: func(ctx context.Context, t *deputy.Turn) error {
		return impatient(ctx, t, 50*time.Millisecond)
	}}
	answer, err := fake.Invoke(agent, zhang, "What is on today?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: I go on without your calendar.
}
