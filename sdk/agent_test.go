package deputy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// What is wrong with a declaration is said before the first request.
func TestDeclarations(t *testing.T) {
	d := deputytest.New("http://deputy.test")
	respond := func(context.Context, *deputy.Turn) error { return nil }
	tool := func(name string, c ...deputy.Credential) deputy.Tool {
		return deputy.NewTool(name, "", func(context.Context, *deputy.Call, struct{}) (string, error) { return "", nil }, c...)
	}
	at := func(origins ...string) deputy.Credential { return deputy.OAuth2("p").At(origins...) }
	bad := map[string]struct {
		agent deputy.Agent
		want  string
	}{
		"no name":             {deputy.Agent{Respond: respond}, "Name and Respond"},
		"no respond":          {deputy.Agent{Name: "a"}, "Name and Respond"},
		"tool without make":   {deputy.Agent{Tools: []deputy.Tool{{Name: "x"}}}, "NewTool"},
		"tool name":           {deputy.Agent{Tools: []deputy.Tool{tool("read a document")}}, "must match"},
		"two tools":           {deputy.Agent{Tools: []deputy.Tool{tool("x"), tool("x")}}, "two tools"},
		"no provider":         {deputy.Agent{Tools: []deputy.Tool{tool("x", deputy.OAuth2("").At("https://a.test"))}}, "provider name"},
		"no origin":           {deputy.Agent{Tools: []deputy.Tool{tool("x", at())}}, "may be sent nowhere"},
		"clear text":          {deputy.Agent{Tools: []deputy.Tool{tool("x", at("http://a.test"))}}, "clear text"},
		"origin with path":    {deputy.Agent{Tools: []deputy.Tool{tool("x", at("https://a.test/v1"))}}, "origin"},
		"origin with user":    {deputy.Agent{Tools: []deputy.Tool{tool("x", at("https://a@b.test"))}}, "origin"},
		"no scheme":           {deputy.Agent{Tools: []deputy.Tool{tool("x", at("a.test"))}}, "origin"},
		"two for one origin":  {deputy.Agent{Tools: []deputy.Tool{tool("x", at("https://a.test"), deputy.OAuth2("q").At("https://A.test:443"))}}, "two credentials"},
		"input is no struct":  {deputy.Agent{Tools: []deputy.Tool{deputy.NewTool("x", "", func(context.Context, *deputy.Call, string) (int, error) { return 0, nil })}}, "not a struct"},
		"input has a channel": {deputy.Agent{Tools: []deputy.Tool{deputy.NewTool("x", "", func(context.Context, *deputy.Call, struct{ C chan int }) (int, error) { return 0, nil })}}, "field C"},
	}
	for name, test := range bad {
		t.Run(name, func(t *testing.T) {
			a := test.agent
			a.Deputy = d.Client()
			if a.Tools != nil {
				a.Name, a.Respond = "a", respond
			}
			if _, err := a.Handler(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want %q in it", err, test.want)
			}
		})
	}
}

type order struct {
	Item  string   `json:"item" jsonschema:"what to order"`
	Count int      `json:"count,omitempty"`
	Notes []string `json:"notes,omitempty"`
	Price float64  `json:"-"`
	To    struct {
		City string `json:"city"`
	} `json:"to,omitzero"`
}

func TestToolInput(t *testing.T) {
	tool := deputy.NewTool("order", "Orders something.", func(_ context.Context, _ *deputy.Call, in order) (string, error) {
		return fmt.Sprint(in.Count, in.Item, in.To.City), nil
	})
	const schema = `{"type":"object","properties":{"count":{"type":"integer"},"item":{"type":"string","description":"what to order"},` +
		`"notes":{"type":"array","items":{"type":"string"}},"to":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}},` +
		`"required":["item"],"additionalProperties":false}`
	if got := string(tool.Parameters); got != schema {
		t.Errorf("schema = %s", got)
	}
	d := deputytest.Start(t)
	srv := startAgent(t, &deputy.Agent{Name: "a", Deputy: d.Client(), Tools: []deputy.Tool{tool}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
		var out string
		if err := turn.Call(ctx, "order", rawJSON(turn.Prompt), &out); err != nil {
			return err
		}
		turn.Say(out)
		return nil
	}})
	for args, want := range map[string]string{
		`{"item":"tea","count":2,"to":{"city":"Bonn"}}`: "2teaBonn",
		`{"item":"tea"} `:            "0tea",
		`{}`:                         `argument \"item\" is missing`,
		`{"item":null}`:              `argument \"item\" is missing`,
		`{"item":7}`:                 `argument \"item\" must not be a number`,
		`{"item":"tea","gift":true}`: "unknown or of the wrong type",
		`["tea"]`:                    "not a JSON object",
		`"tea"`:                      "not a JSON object",
		`{"item":"tea"`:              "not JSON",
		`{"item":"tea"}{}`:           "not JSON",
		`{"item":"` + strings.Repeat("x", 70_000) + `"}`: "larger than 65536 bytes",
	} {
		if got := prompt(t, srv, d.Mint(alice), args); !strings.Contains(got, want) {
			t.Errorf("%.50s: want %q in %s", args, want, got)
		}
	}
}

func TestServe(t *testing.T) {
	d := deputytest.Start(t)
	a := echo(d)
	for _, port := range []string{"", "0", "http", "70000"} {
		t.Setenv("PORT", port)
		if err := a.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "PORT") {
			t.Errorf("PORT=%q: %v", port, err)
		}
	}
	// A port that is free now; the window in which another process may take it is a
	// risk of this test only.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	t.Setenv("PORT", strconv.Itoa(port))
	if err := a.Serve(t.Context()); err == nil {
		t.Error("served on a port that is taken")
	}
	_ = l.Close()
	// In a pod it listens where others reach it: the address is taken from the environment.
	t.Setenv("DEPUTY_HOST", "192.0.2.1") // of documentation (RFC 5737), so nobody's
	if err := a.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("at an address that is not there: %v", err)
	}
	t.Setenv("DEPUTY_HOST", "")

	started := make(chan struct{})
	a.Respond = func(ctx context.Context, turn *deputy.Turn) error {
		turn.Say("waiting")
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	waitUntilUp(t, base)
	answered := make(chan string, 1)
	go func() { answered <- prompt(t, base, d.Mint(alice), "hi") }()
	<-started
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if got := <-answered; !strings.Contains(got, "the request was cancelled") {
		t.Errorf("a running answer ended with %q", got)
	}
}

func waitUntilUp(t *testing.T, base string) {
	t.Helper()
	for {
		resp, err := http.Get(base + "/ping")
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
