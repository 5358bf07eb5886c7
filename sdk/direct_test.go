package deputy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// direct is an agent that no ingress stands before, and who its proof says it is:
// a file of that content.
func direct(t *testing.T, d *deputytest.Server, proof string) *deputy.Agent {
	t.Helper()
	a := echo(d)
	a.Deputy.Direct, a.Deputy.TokenFile = true, t.TempDir()+"/token"
	writeLaunch(t, a.Deputy.TokenFile, proof)
	return a
}

// come sends a prompt with these headers.
func come(t *testing.T, h http.Handler, headers http.Header) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequest("POST", "/invoke", strings.NewReader(`{"prompt":"hi"}`))
	for key, values := range headers {
		r.Header[http.CanonicalHeaderKey(key)] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

// Without an ingress, the bearer token of a request says who asks, and nothing
// else does; what is no such token never becomes a request for the workload
// itself.
func TestWhoComesDirectly(t *testing.T) {
	d := deputytest.Start(t)
	h := handler(t, direct(t, d, deputytest.LaunchToken))
	good := "Bearer " + d.UserToken(alice).Reveal()
	d.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	old := "Bearer " + d.UserToken(alice).Reveal()
	d.Now = nil
	exchanges := func() int { return d.Requests("POST /api/v1/workload-tokens") }
	for what, test := range map[string]struct {
		headers   http.Header
		status    int
		want      string
		exchanges int
	}{
		"a user":                       {http.Header{"Authorization": {good}}, 200, "hi|u_alice|", 1},
		"a user, in other letters":     {http.Header{"Authorization": {strings.Replace(good, "Bearer", "bearer", 1)}}, 200, "hi|u_alice|", 1},
		"nobody":                       {nil, 401, "token_missing", 0},
		"nobody, with a scheme":        {http.Header{"Authorization": {"Bearer"}}, 401, "token_missing", 0},
		"nobody, with a scheme, wide":  {http.Header{"Authorization": {"Bearer   "}}, 401, "token_missing", 0},
		"a password":                   {http.Header{"Authorization": {"Basic YTpi"}}, 401, "token_missing", 0},
		"two":                          {http.Header{"Authorization": {good, good}}, 401, "token_malformed", 0},
		"a flood":                      {http.Header{"Authorization": {"Bearer " + strings.Repeat("x", 17<<10)}}, 401, "token_malformed", 0},
		"nonsense":                     {http.Header{"Authorization": {"Bearer nonsense"}}, 401, "token_malformed", 1},
		"a token of yesterday":         {http.Header{"Authorization": {old}}, 401, "token_expired", 1},
		"a workload token, as bearer":  {http.Header{"Authorization": {"Bearer " + d.Mint(alice).Reveal()}}, 401, "token_signature", 1},
		"what an ingress would send":   {http.Header{"WorkloadAccessToken": {d.Mint(alice).Reveal()}}, 401, "token_missing", 0},
		"and a name beside the header": {http.Header{"WorkloadAccessToken": {d.Mint(bob).Reveal()}, "user_id": {"u_bob"}, "Authorization": {good}}, 200, "hi|u_alice|", 1},
	} {
		t.Run(what, func(t *testing.T) {
			before := exchanges()
			status, body, header := come(t, h, test.headers)
			if status != test.status || !strings.Contains(body, test.want) || exchanges()-before != test.exchanges {
				t.Errorf("%d %s, after %d exchanges", status, body, exchanges()-before)
			}
			if challenged := header.Get("WWW-Authenticate") != ""; challenged != (status == 401) {
				t.Errorf("challenged: %v", challenged)
			}
		})
	}
}

// What keeps an agent from verifying its caller is not the caller's fault: a proof
// of its own that ended, a Deputy that is gone. What Deputy says of the caller is.
func TestWhoseFaultItIs(t *testing.T) {
	bearer := func(d *deputytest.Server) http.Header {
		return http.Header{"Authorization": {"Bearer " + d.UserToken(alice).Reveal()}}
	}
	for what, test := range map[string]struct {
		proof  string
		fails  int
		status int
		code   string
	}{
		"the proof has ended": {"yesterday's", 0, 503, "exchange_failed"},
		"there is no proof":   {"", 0, 503, "exchange_failed"},
		"Deputy is broken":    {deputytest.LaunchToken, 500, 503, "exchange_failed"},
	} {
		t.Run(what, func(t *testing.T) {
			d := deputytest.Start(t)
			if test.fails != 0 {
				d.Fail(func(*http.Request) int { return test.fails })
			}
			if status, body, _ := come(t, handler(t, direct(t, d, test.proof)), bearer(d)); status != test.status || !strings.Contains(body, test.code) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	for status, want := range map[int]int{http.StatusForbidden: 403, http.StatusUnauthorized: 401, http.StatusBadRequest: 503} {
		says := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"code":"client_not_allowed","detail":"that client may not","source":"userToken"}`)
		}))
		d := deputytest.Start(t)
		a := direct(t, d, deputytest.LaunchToken)
		a.Deputy.URL = says.URL
		if got, body, _ := come(t, handler(t, a), bearer(d)); got != want || (want != 503) != strings.Contains(body, "client_not_allowed") {
			t.Errorf("%d of Deputy became %d %s", status, got, body)
		}
		says.Close()
	}
}

// A turn that came directly is a turn like any other: its user is asked for his
// consent, and the tool goes on.
func TestADirectTurn(t *testing.T) {
	d := deputytest.Start(t)
	third := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) }))
	t.Cleanup(third.Close)
	tokens := make(chan string, 1)
	d.WhenAsked(func(a deputy.Authorization) { tokens <- d.Agree(a.ID) })
	a := direct(t, d, deputytest.LaunchToken)
	a.Tools = []deputy.Tool{deputy.NewTool("fetch", "", func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
		return get(ctx, call.HTTP, third.URL)
	}, deputy.OAuth2("mail").At(third.URL))}
	a.Respond = respondWith("fetch", nil)
	answer, err := d.Invoke(a, alice, "go")
	if err != nil || answer.Code != "" || !strings.HasSuffix(answer.Text, <-tokens) || len(answer.Asked) != 1 {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestDirectFromTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{"DEPUTY_URL": "http://localhost:8080", "DEPUTY_WORKLOAD": "spiffe://d/default/a", "DEPUTY_WORKLOAD_TOKEN_FILE": "/nowhere"} {
		t.Setenv(name, value)
	}
	for ingress, want := range map[string]bool{"": false, "on": false, "off": true} {
		t.Setenv("DEPUTY_INGRESS", ingress)
		if c, err := deputy.FromEnvironment(); err != nil || c.Direct != want {
			t.Errorf("%q: %v", ingress, err)
		}
	}
}
