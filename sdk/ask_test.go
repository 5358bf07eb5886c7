package deputy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// asking is an agent that asks another one and says what that said.
func asking(other string) *deputy.Agent {
	return &deputy.Agent{Respond: func(ctx context.Context, turn *deputy.Turn) error {
		said, err := turn.Ask(ctx, other, turn.Prompt)
		if err != nil {
			return err
		}
		turn.Say("it said: " + said)
		return nil
	}}
}

// saying is an agent that answers with these events.
func saying(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, e := range events {
			_, _ = io.WriteString(w, "data: "+e+"\n\n")
		}
	}
}

func text(s string, partial bool) string {
	return fmt.Sprintf(`{"content":{"role":"model","parts":[{"text":%q}]},"partial":%v}`, s, partial)
}

func consentAt(link string) string {
	return `{"content":{"parts":[{"functionCall":{"id":"adk-7","name":"adk_request_credential","args":{"functionCallId":"c","authConfig":{"credentialKey":"oauth_access_token:other:u_alice:mail",` +
		`"rawAuthCredential":{"authType":"oauth2","resourceRef":"auth_1","oauth2":{"authUri":"` + link + `"}}}}}}]}}`
}

// TestAnAgentAsksAnother has the other one answer in all the ways that agents do,
// and in those that they should not.
func TestAnAgentAsksAnother(t *testing.T) {
	whole := strings.Repeat("long ", 20_000) // longer than what Deputy itself sends at once
	for what, c := range map[string]struct {
		other http.HandlerFunc
		want  string // "": an error
		code  string
	}{
		"in parts, and then in whole": {saying(text("he", true), text("llo", true), text("hello", false)), "hello", ""},
		"in parts only":               {saying(text("he", true), text("llo", true)), "hello", ""},
		"twice in whole":              {saying(text("one ", true), text("one ", false), text("two", false)), "one two", ""},
		"something long":              {saying(text(whole, false)), whole, ""},
		"with tools of its own": {saying(`{"content":{"parts":[{"functionCall":{"id":"1","name":"read","args":[7]}}]}}`, `{"content":{"parts":[{"functionResponse":{"id":"1","name":"read","response":{"n":7}}}]}}`,
			text("done", false)), "done", ""},
		"as JSON": {func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"to":%q,"session":%q,"prompt":%s}`, r.Header.Get("user_id"), r.Header.Get("Session_id"), b)
		}, `{"to":"u_alice","session":"s1","prompt":{"prompt":"what?"}}`, ""},
		"that it cannot":   {saying(text("he", true), `{"error":"no more tokens","error_type":"quota","message":"x"}`), "", "agent_failed"},
		"what is no event": {saying("hello"), "", "answer_malformed"},
		"endlessly":        {saying(strings.Repeat("x", 2<<20)), "", "answer_malformed"},
		"too much":         {saying(text(strings.Repeat("x", 1<<19), false), text(strings.Repeat("x", 1<<19), false), text("!", false)), "", "answer_too_large"},
		"with a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"message":"slower","type":"x","code":"rate_limited"}}`)
		}, "", "rate_limited"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				s.deputy.Agent("other", c.other)
				s.play(t, asking("other"))
				last := s.invoke(t.Context(), t, alice, "what?").rest()
				switch {
				case c.want == "" && last.ErrorType != c.code:
					t.Errorf("got %+v, want %s", last, c.code)
				case c.want != "" && (last.Content == nil || *last.Content.Parts[0].Text != "it said: "+c.want):
					t.Errorf("got %+v", last)
				}
			})
		})
	}
}

func TestAnAgentAsksWhomItMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		s.play(t, asking("nobody"))
		if last := s.invoke(t.Context(), t, alice, "what?").rest(); last.ErrorType != "workload_not_found" {
			t.Errorf("got %+v", last)
		}
	})
}

// TestTheUserIsAskedThroughTheChain has the other agent need the user's consent,
// and try to send him elsewhere.
func TestTheUserIsAskedThroughTheChain(t *testing.T) {
	const done = `{"content":{"parts":[{"functionResponse":{"id":"adk-7","name":"adk_request_credential","response":{"status":"failed","code":"access_denied"}}}]}}`
	for link, shown := range map[string]bool{
		"http://deputy.test/authorize?request_uri=urn:x": true, "https://evil.example/authorize": false, "http://deputy.test.evil.example/": false, "javascript:alert(1)": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage()
			defer s.close()
			s.deputy.Agent("other", saying(text("wait. ", true), consentAt(link), done, text("wait. no.", false)))
			s.play(t, asking("other"))
			a := s.invoke(t.Context(), t, alice, "what?")
			if shown {
				e := a.until("adk_request_credential")
				checkConsent := string(e.Content.Parts[0].FunctionCall.Args)
				if len(e.LongRunning) != 1 || !strings.Contains(checkConsent, link) || !strings.Contains(checkConsent, "auth_1") {
					t.Errorf("%s: %s", link, checkConsent)
				}
				if r := a.next().Content.Parts[0].FunctionResponse; r == nil || r.ID != "adk-7" || r.Response["code"] != "access_denied" {
					t.Errorf("the end of it: %+v", r)
				}
			}
			if got := a.final(); !strings.HasSuffix(got, "it said: wait. no.") || !shown && strings.Contains(a.raw.String(), "adk_request_credential") {
				t.Errorf("%s: %s", link, a.raw.String())
			}
		})
	}
}

// TestALaunchFileIsOneProcesss looks at what the exchange is asked with.
func TestALaunchFileIsOneProcesss(t *testing.T) {
	d := deputytest.Start(t)
	file := filepath.Join(t.TempDir(), "launch.jwt")
	if err := os.WriteFile(file, []byte(deputytest.LaunchToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	d.Fail(func(r *http.Request) int {
		b := bufio.NewReader(r.Body)
		line, _ := b.ReadString(0)
		bodies = append(bodies, line)
		r.Body = io.NopCloser(strings.NewReader(line))
		return 0
	})
	t.Setenv("DEPUTY_URL", d.URL)
	t.Setenv("DEPUTY_WORKLOAD", deputytest.Workload)
	t.Setenv("DEPUTY_WORKLOAD_TOKEN_FILE", file)
	for _, binding := range []string{"", "", "off"} {
		t.Setenv("DEPUTY_WORKLOAD_BINDING", binding)
		c, err := deputy.FromEnvironment()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.WorkloadTokenFor(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	if len(bodies) != 3 || !strings.Contains(bodies[0], `"binding":"`) || bodies[0] != bodies[1] || strings.Contains(bodies[2], "binding") || !strings.Contains(bodies[2], `"subject":"u_alice"`) {
		t.Errorf("asked with %q", bodies)
	}
}
