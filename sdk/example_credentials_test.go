package deputy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// get is what the examples do at third parties.
func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(b), err
}

// warehouse is a library that takes a token and has a client of its own.
type warehouse struct{ token string }

func (w warehouse) count(_ context.Context, table string) (int, error) {
	return len(table + w.token[:6]), nil
}

var sales = deputy.OAuth2("warehouse", "sales:read")

var count = deputy.NewTokenTool("count", "Counts the rows of a table.", countRows, sales)

func countRows(ctx context.Context, _ *deputy.Call, token deputy.AccessToken, in struct {
	Table string `json:"table"`
}) (int, error) {
	return warehouse{token.Value.Reveal()}.count(ctx, in.Table)
}

// A library that wants the token itself gets it as a parameter.
func ExampleNewTokenTool() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Grant(zhang, "warehouse")

	agent := &deputy.Agent{Name: "analyst", Tools: []deputy.Tool{count}, Log: quiet, Respond: func(ctx context.Context, t *deputy.Turn) error {
		var rows int
		if err := t.Call(ctx, "count", map[string]string{"table": "orders"}, &rows); err != nil {
			return err
		}
		t.Say(fmt.Sprint(rows, " rows"))
		return nil
	}}
	answer, err := fake.Invoke(agent, zhang, "How many orders are there?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: 12 rows
}

var weather = deputy.APIKey("weather").At("https://weather.example")

var forecast = deputy.NewTool("forecast", "Says what the weather will be.",
	func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
		return get(ctx, call.HTTP, "https://weather.example/tomorrow")
	}, weather)

// An API key is declared like a user's token. Nobody is asked, and its operator
// decides which header carries it.
func ExampleAPIKey() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Keep("weather", map[string]string{"type": "api_key", "apiKey": "k-1", "header": "X-Api-Key"})

	agent := &deputy.Agent{Name: "meteorologist", Tools: []deputy.Tool{forecast}, Log: quiet, Respond: func(ctx context.Context, t *deputy.Turn) error {
		var text string
		err := t.Call(ctx, "forecast", nil, &text)
		t.Say(text)
		return err
	}}
	agent.Transport = thirdParties{"weather.example": func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "rain, for key %s", r.Header.Get("X-Api-Key"))
	}}
	answer, err := fake.Invoke(agent, zhang, "Do I need an umbrella?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text)
	// Output: rain, for key k-1
}

var ledger = deputy.OAuth2("ledger", "entries:read").At("https://ledger.example") // of flow M2M: no user agrees to anything

// nightly is a job that runs by the clock: it acts for the workload itself.
func nightly(ctx context.Context, caller *deputy.Caller) (string, error) {
	client, err := caller.HTTP(ledger)
	if err != nil {
		return "", err
	}
	return get(ctx, client, "https://ledger.example/balance")
}

// A job without a user. In an agent of your own, the caller is &deputy.Caller{}.
func ExampleCaller() {
	fake, stop := deputytest.Serve()
	defer stop()
	fake.Keep("ledger", map[string]string{"type": "oauth2", "accessToken": "m2m-1", "tokenType": "Bearer"})
	dir, err := os.MkdirTemp("", "launch")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	client := fake.Client()
	client.TokenFile = filepath.Join(dir, "token")
	if err := os.WriteFile(client.TokenFile, []byte(deputytest.LaunchToken), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	balance, err := nightly(context.Background(), &deputy.Caller{Deputy: client, Transport: thirdParties{"ledger.example": says("1,024.00")}})
	fmt.Println(balance, err)
	// Output: 1,024.00 <nil>
}

var mailbox = deputy.OAuth2("mailbox", "read").At("https://mail.example")

// prepare gets all that the turn needs: its user sees both links at once.
func prepare(ctx context.Context, t *deputy.Turn) error {
	if err := t.Authorize(ctx, calendar, mailbox); err != nil {
		return err
	}
	client, err := t.HTTP(calendar, mailbox)
	if err != nil {
		return err
	}
	for _, url := range []string{"https://calendar.example/today", "https://mail.example/unread"} {
		text, err := get(ctx, client, url)
		if err != nil {
			return err
		}
		t.Say(text + "; ")
	}
	return nil
}

// Two providers in one turn: the links are shown side by side, and the answer goes
// on when both are decided.
func ExampleTurn_Authorize() {
	fake, stop := deputytest.Serve()
	defer stop()
	asked := make(chan string)
	fake.WhenAsked(func(a deputy.Authorization) { asked <- a.ID })
	go func() { // the user answers none before he has seen both
		one, other := <-asked, <-asked
		fake.Agree(other)
		fake.Agree(one)
	}()

	agent := &deputy.Agent{Name: "secretary", Respond: prepare, Log: quiet}
	agent.Transport = thirdParties{"calendar.example": says("9:30 stand-up"), "mail.example": says("3 unread")}
	answer, err := fake.Invoke(agent, zhang, "What have I missed?")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.TrimSuffix(answer.Text, "; "))
	// Output:
	// 9:30 stand-up; 3 unread
}
