package deputy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// wholeAnswer asks an agent with an Accept header and returns status, content type and body.
func wholeAnswer(t *testing.T, d *deputytest.Server, a *deputy.Agent, accept string) (int, string, string) {
	t.Helper()
	a.Log = quiet
	r := httptest.NewRequest("POST", "/invoke", strings.NewReader(`{"prompt":"hi"}`))
	r.Header.Set("WorkloadAccessToken", d.Mint(alice).Reveal())
	r.Header["Accept"] = strings.Split(accept, "|")
	w := httptest.NewRecorder()
	handler(t, a).ServeHTTP(w, r)
	return w.Code, w.Header().Get("Content-Type"), strings.TrimSpace(w.Body.String())
}

// Who takes JSON only gets the answer as one object; everybody else gets events.
func TestWhoGetsJSON(t *testing.T) {
	d := deputytest.Start(t)
	for accept, whole := range map[string]bool{
		"application/json": true, "Application/JSON;q=0.9": true, "application/json, text/plain": true, "text/plain|application/json": true,
		"": false, "*/*": false, "application/json, */*;q=0.1": false, "text/event-stream, application/json": false, "application/json|text/event-stream": false, "text/plain": false, "application/jsonp": false,
	} {
		say := deputy.NewTool("say", "", func(context.Context, *deputy.Call, struct{}) (string, error) { return "two", nil })
		a := &deputy.Agent{Name: "a", Deputy: d.Client(), Tools: []deputy.Tool{say}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
			turn.Say("one")
			return respondWith("say", nil)(ctx, turn)
		}}
		status, kind, body := wholeAnswer(t, d, a, accept)
		if status != 200 || (kind == "application/json") != whole || (body == `{"answer":"one\n\ntwo"}`) != whole {
			t.Errorf("%q: %d %s %s", accept, status, kind, body)
		}
	}
}

// What goes wrong has a status there, and a question to the user is an answer of
// its own.
func TestJSONThatIsNoAnswer(t *testing.T) {
	const link = `/authorize?request_uri=urn:deputy:authorization:auth_`
	asks := func(args string) http.HandlerFunc {
		return saying(text("wait", true), `{"content":{"parts":[{"functionCall":{"id":"adk-7","name":"adk_request_credential","args":{"authConfig":{"rawAuthCredential":{"resourceRef":"auth_9","oauth2":{"authUri":"`+args+`"}}}}}}]}}`)
	}
	for what, test := range map[string]struct {
		respond func(context.Context, *deputy.Turn) error
		maxTurn time.Duration
		status  int
		want    []string
	}{
		"a question": {respondWith("fetch", nil), 0, 403, []string{`"code":"authorization_required"`, `"type":"Forbidden"`, `"provider":"mail"`, link}},
		"two questions": {func(ctx context.Context, turn *deputy.Turn) error { return turn.Authorize(ctx, mail, drive) }, 0, 403,
			[]string{`"code":"authorization_required"`, link}},
		"a question of another agent": {func(ctx context.Context, turn *deputy.Turn) error {
			_, err := turn.Ask(ctx, "other", "hi")
			return err
		}, 0, 403, []string{`"code":"authorization_required"`, `"id":"auth_9"`, link}},
		"declined": {func(context.Context, *deputy.Turn) error {
			return &deputy.AuthorizationError{Reason: "access_denied", Message: "access was declined"}
		}, 0, 403, []string{`{"error":{"message":"access was declined","type":"Forbidden","code":"access_denied"}}`}},
		"too slow": {func(ctx context.Context, _ *deputy.Turn) error { <-ctx.Done(); return ctx.Err() }, time.Millisecond, 504, []string{`"code":"timeout"`}},
		"failure": {func(context.Context, *deputy.Turn) error { return errors.New("a secret of the house") }, 0, 500,
			[]string{`{"error":{"message":"the agent could not finish this request","type":"InternalError","code":"failed"}}`}},
		"panic":   {func(context.Context, *deputy.Turn) error { panic("a secret of the house") }, 0, 500, []string{`"code":"failed"`}},
		"no tool": {respondWith("nothing", nil), 0, 500, []string{`"code":"tool_not_found"`}},
	} {
		t.Run(what, func(t *testing.T) {
			d := deputytest.Start(t)
			d.Agent("other", asks(d.URL+link+"9"))
			client := d.Client()
			if _, err := client.Verify(t.Context(), d.Mint(alice)); err != nil { // the keys are there: a turn's time is the agent's
				t.Fatal(err)
			}
			a := &deputy.Agent{Name: "a", Deputy: client, Tools: []deputy.Tool{fetch(nil)}, Respond: test.respond, MaxTurn: test.maxTurn}
			status, kind, body := wholeAnswer(t, d, a, "application/json")
			if status != test.status || kind != "application/json" || !json.Valid([]byte(body)) || bytes.Contains([]byte(body), []byte("house")) {
				t.Errorf("%d %s %s", status, kind, body)
			}
			for _, want := range test.want {
				if !strings.Contains(body, want) {
					t.Errorf("want %s in %s", want, body)
				}
			}
		})
	}
}
