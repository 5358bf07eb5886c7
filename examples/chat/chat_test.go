package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// refused reads an error answer and returns its code.
func refused(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body.Error.Message == "" {
		t.Error("an error without words")
	}
	return body.Error.Code
}

func TestNoChatBeforeLogin(t *testing.T) {
	r := newRig(t, func(*pool, http.ResponseWriter, *http.Request) { t.Error("the agent was called") })
	b := r.browser(t)
	for _, path := range []string{"/api/chat", "/api/conversation"} {
		resp := b.post(t.Context(), path, `{"message":"hello"}`)
		if code := refused(t, resp); resp.StatusCode != 401 || code != "login_required" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, code)
		}
	}
	req, _ := http.NewRequest(http.MethodPost, r.URL+"/api/chat", strings.NewReader(`{"message":"hello"}`))
	req.Header.Set("Content-Type", "application/json")
	req.AddCookie(&http.Cookie{Name: sessionCookie, Value: randomToken().reveal()})
	req.Header.Set("Authorization", "Bearer something")
	resp, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if code := refused(t, resp); resp.StatusCode != 401 || code != "login_required" {
		t.Errorf("with a made-up cookie: %d %s", resp.StatusCode, code)
	}
}

// The main flow: the link arrives while the agent waits, and the same answer
// goes on after consent.
func TestAuthorizationThenAnswer(t *testing.T) {
	consent := make(chan struct{})
	r := newRig(t, func(p *pool, w http.ResponseWriter, r *http.Request) {
		var body struct{ Prompt string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || p.userOf(r) != "zhang" {
			t.Errorf("agent called by %q: %v", p.userOf(r), err)
		}
		send := stream(w)
		send(piece("Let me look. "), needs(p.URL+"/authorize?request_uri=urn:deputy:authorization:abc"))
		<-consent
		send(piece("It is "), piece("about plans."), whole("Let me look. It is about plans."))
	})
	resp := r.browser(t).login("zhang").post(t.Context(), "/api/chat", `{"message":"请为我总结 https://bytedance.larkoffice.com/docx/ABC"}`)
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream; charset=utf-8" {
		t.Errorf("content type %q", kind)
	}
	got := readMessages(t, resp.Body, func(m message) {
		if m.Type == "authorization" {
			close(consent) // it was not held back
		}
	})
	want := []message{
		{Type: "text", Text: "Let me look. "},
		{Type: "authorization", URL: r.pool.URL + "/authorize?request_uri=urn:deputy:authorization:abc", Provider: "feishu_oauth"},
		{Type: "authorized"},
		{Type: "text", Text: "It is "}, {Type: "text", Text: "about plans."},
		{Type: "done"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHostileLinksAreRefused(t *testing.T) {
	for name, link := range map[string]string{
		"script":        "javascript:alert(document.cookie)",
		"data":          "data:text/html,<script>alert(1)</script>",
		"foreign":       "https://evil.example/authorize",
		"other port":    "http://127.0.0.1:1/authorize",
		"other scheme":  "https://POOL/authorize",
		"prefix":        "http://POOL.evil.example/",
		"user info":     "http://POOL@evil.example/",
		"own user info": "http://user:pw@POOL/",
		"backslash":     `http://POOL\@evil.example/`,
		"no scheme":     "//POOL/authorize",
		"relative":      "/authorize",
		"control":       "java\nscript:alert(1)",
		"space":         " http://POOL/",
		"empty":         "",
		"huge":          "http://POOL/" + strings.Repeat("a", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			r := newRig(t, func(p *pool, w http.ResponseWriter, r *http.Request) {
				stream(w)(needs(strings.ReplaceAll(link, "POOL", strings.TrimPrefix(p.URL, "http://"))))
				<-r.Context().Done() // the agent waits for a consent that cannot come
				close(gone)
			})
			got := r.browser(t).login("zhang").say("x")
			if len(got) != 2 || got[0].Type != "error" || got[0].Code != "authorization_url_refused" || got[1].Type != "done" {
				t.Errorf("got %v", got)
			}
			if text := mustJSON(t, got); strings.Contains(text, "alert") || strings.Contains(text, "evil") {
				t.Errorf("the link reached the page: %s", text)
			}
			<-gone
		})
	}
}

func TestAgentErrorsInWords(t *testing.T) {
	answer := func(status int, kind, body string) func(*pool, http.ResponseWriter, *http.Request) {
		return func(_ *pool, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	events := func(list ...string) func(*pool, http.ResponseWriter, *http.Request) {
		return func(_ *pool, w http.ResponseWriter, _ *http.Request) { stream(w)(list...) }
	}
	for name, test := range map[string]struct {
		agent func(*pool, http.ResponseWriter, *http.Request)
		code  string
		words string
	}{
		"403":         {answer(403, "application/json", `{"error":{"message":"Consumer authentication failed: client not allowed","type":"Forbidden"}}`), "agent_forbidden", "client not allowed"},
		"404":         {answer(404, "text/plain", "no"), "agent_not_found", ""},
		"413":         {answer(413, "application/json", `{}`), "message_too_long", ""},
		"429":         {answer(429, "application/json", `{}`), "agent_busy", ""},
		"500":         {answer(500, "text/html", "<h1>panic: token=abc</h1>"), "agent_error", ""},
		"503":         {answer(503, "application/json", `[`), "agent_unavailable", ""},
		"redirect":    {answer(307, "text/plain", ""), "agent_error", ""},
		"not events":  {answer(200, "application/json", `"hello"`), "agent_answer_unexpected", ""},
		"in stream":   {events(`{"error":"the document does not exist","error_type":"document_not_found","message":"An error occurred during streaming"}`), "document_not_found", "the document does not exist"},
		"odd type":    {events(`{"error":"bad \u0007 value","error_type":"ValueError"}`), "agent_error", "bad   value"},
		"ADK error":   {events(`{"author":"a","errorCode":"SAFETY","errorMessage":"blocked"}`), "agent_error", "blocked"},
		"not JSON":    {events(`{"error": "it "broke""}`), "agent_answer_unexpected", ""},
		"empty":       {events(), "empty_answer", ""},
		"giant line":  {events(piece(strings.Repeat("x", maxEventLine))), "agent_answer_unexpected", ""},
		"giant event": {events(strings.Repeat(strings.Repeat("x", 1<<19)+"\ndata: ", 6)), "agent_answer_unexpected", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, test.agent)
			b := r.browser(t).login("zhang")
			got := b.say("x")
			if len(got) != 2 || got[0].Type != "error" || got[1].Type != "done" {
				t.Fatalf("got %.500v", got)
			}
			if got[0].Code != test.code || !strings.Contains(got[0].Message, test.words) || strings.Contains(got[0].Message, "panic") {
				t.Errorf("got %v", got[0])
			}
			if b.whoAmI() != "zhang" {
				t.Error("the error logged the user out")
			}
		})
	}
}

func TestAgentThatBreaksOff(t *testing.T) {
	r := newRig(t, func(_ *pool, w http.ResponseWriter, _ *http.Request) {
		stream(w)(piece("half an "))
		panic(http.ErrAbortHandler)
	})
	got := r.browser(t).login("zhang").say("x")
	if len(got) != 3 || got[0].Text != "half an " || got[1].Code != "agent_disconnected" || got[2].Type != "done" {
		t.Errorf("got %v", got)
	}
}

func TestAgentUnreachable(t *testing.T) {
	r := newRig(t, echo)
	r.app.agent.endpoint = "http://127.0.0.1:1"
	if got := r.browser(t).login("zhang").say("x"); got[0].Code != "agent_unreachable" {
		t.Errorf("got %v", got)
	}
	if log := r.log.String(); strings.Contains(log, "access-") {
		t.Errorf("a token in the log: %s", log)
	}
}

func TestAgentThatDoesNotAcceptTheLogin(t *testing.T) {
	r := newRig(t, func(_ *pool, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="deputy", error="invalid_token"`)
		writeJSON(w, 401, map[string]any{"error": map[string]string{"message": "Consumer authentication failed: token is expired", "type": "Unauthorized"}})
	})
	b := r.browser(t).login("zhang")
	other := r.browser(t).login("li")
	resp := b.post(t.Context(), "/api/chat", `{"message":"x"}`)
	if code := refused(t, resp); resp.StatusCode != 401 || code != "session_expired" {
		t.Errorf("%d %s", resp.StatusCode, code)
	}
	if b.whoAmI() != "" || other.whoAmI() != "li" {
		t.Error("want this session over and the other one alive")
	}
	if !strings.Contains(r.log.String(), "token is expired") {
		t.Error("the log does not repeat the gate's reason")
	}
}

func TestCancelReachesTheAgent(t *testing.T) {
	for _, how := range []string{"browser gone", "logout"} {
		t.Run(how, func(t *testing.T) {
			gone := make(chan struct{})
			r := newRig(t, func(_ *pool, w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				stream(w)(piece("hello"))
				<-r.Context().Done()
				close(gone)
			})
			b := r.browser(t).login("zhang")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp := b.post(ctx, "/api/chat", `{"message":"x"}`)
			defer resp.Body.Close()
			if how == "browser gone" {
				cancel()
				<-gone
				return
			}
			got := readMessages(t, resp.Body, func(m message) {
				if m.Type == "text" {
					b.post(t.Context(), "/logout", "").Body.Close()
				}
			})
			<-gone
			if len(got) != 3 || got[1].Code != "login_required" || got[2].Type != "done" {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	r := newRig(t, echo)
	b := r.browser(t).login("zhang")
	for name, test := range map[string]struct {
		kind, body string
		status     int
		code       string
	}{
		"form":          {"application/x-www-form-urlencoded", "message=x", 415, "bad_request"},
		"no type":       {"", `{"message":"x"}`, 415, "bad_request"},
		"not JSON":      {"application/json", `message`, 400, "bad_request"},
		"unknown field": {"application/json", `{"message":"x","user_id":"li"}`, 400, "bad_request"},
		"two values":    {"application/json", `{"message":"x"}{}`, 400, "bad_request"},
		"wrong type":    {"application/json", `{"message":["x"]}`, 400, "bad_request"},
		"empty":         {"application/json", `{"message":" \n\t"}`, 400, "message_empty"},
		"no message":    {"application/json", `{}`, 400, "message_empty"},
		"too long":      {"application/json", `{"message":"` + strings.Repeat("长", maxMessage+1) + `"}`, 413, "message_too_long"},
		"too large":     {"application/json", `{"message":"` + strings.Repeat("x", maxChatBody) + `"}`, 413, "message_too_long"},
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := http.NewRequest(http.MethodPost, r.URL+"/api/chat", strings.NewReader(test.body))
			if test.kind != "" {
				req.Header.Set("Content-Type", test.kind)
			}
			resp, err := b.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if code := refused(t, resp); resp.StatusCode != test.status || code != test.code {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, code, test.status, test.code)
			}
		})
	}
	if got := b.say(strings.Repeat("长", maxMessage)); got[0].Type != "text" {
		t.Errorf("the longest message: %v", got)
	}
}

func TestChatsPerSessionAreBounded(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, func(_ *pool, w http.ResponseWriter, _ *http.Request) {
		stream(w)(piece("hello"))
		<-release
	})
	b := r.browser(t).login("zhang")
	var running []*http.Response
	for range chatsPerSession {
		running = append(running, b.post(t.Context(), "/api/chat", `{"message":"x"}`))
	}
	resp := b.post(t.Context(), "/api/chat", `{"message":"x"}`)
	if code := refused(t, resp); resp.StatusCode != 429 || code != "too_many_chats" {
		t.Errorf("%d %s", resp.StatusCode, code)
	}
	close(release)
	for _, resp := range running {
		readMessages(t, resp.Body, nil)
		resp.Body.Close()
	}
	if got := b.say("x"); got[0].Text != "hello" {
		t.Errorf("after they ended: %v", got)
	}
}

// nothing is a page that takes everything.
type nothing struct{ strings.Builder }

func (*nothing) Header() http.Header { return http.Header{} }
func (*nothing) WriteHeader(int)     {}
func (*nothing) Flush()              {}

func TestChatTimeIsBoundedAndProxiesKeptAwake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), maxChatTime, errChatTime)
		defer cancel()
		silent, hold := io.Pipe()
		page := &nothing{}
		began := time.Now()
		(&app{}).relay(ctx, newPageStream(page), silent)
		hold.Close()
		if took := time.Since(began); took != maxChatTime {
			t.Errorf("ended after %v", took)
		}
		got := readMessages(t, strings.NewReader(page.String()), nil)
		if len(got) != 2 || got[0].Code != "timed_out" || got[1].Type != "done" {
			t.Errorf("got %v", got)
		}
		if beats := strings.Count(page.String(), ":\n\n"); beats < int(maxChatTime/heartbeat)-1 {
			t.Errorf("%d heartbeats in %v", beats, maxChatTime)
		}
	})
}

// Whatever an agent says reaches the page as JSON strings and nothing else.
func TestHostileTextStaysText(t *testing.T) {
	hostile := "</script><img src=x onerror=alert(1)>\u2028\r\n\r\ndata: {\"type\":\"authorization\",\"url\":\"javascript:1\"}\n\n\x00"
	r := newRig(t, func(_ *pool, w http.ResponseWriter, _ *http.Request) {
		stream(w)(piece(hostile), whole(hostile))
	})
	got := r.browser(t).login("zhang").say("x")
	if diff := cmp.Diff([]message{{Type: "text", Text: hostile}, {Type: "done"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoSecretInTheLog(t *testing.T) {
	r := newRig(t, func(p *pool, w http.ResponseWriter, r *http.Request) {
		writeJSON(w, 503, map[string]any{"error": map[string]string{"message": "starting"}})
	})
	b := r.browser(t).login("zhang")
	b.say("a private question")
	b.get("/callback?code=the-code&state=the-state")
	log := r.log.String()
	for token := range r.pool.tokens {
		if strings.Contains(log, token) {
			t.Error("the access token is in the log")
		}
	}
	for _, secret := range []string{testSecret, "a private question", "the-code", "the-state"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log: %s", secret, log)
		}
	}
	if !strings.Contains(log, "starting") {
		t.Error("the log does not say what the agent said")
	}
}

func TestAnswerIsBounded(t *testing.T) {
	tr := &translator{}
	chunk := piece(strings.Repeat("x", 1000))
	for i := range maxAnswer {
		out, stop := tr.event([]byte(chunk))
		if stop {
			if i < maxAnswer/1000 || out[0].Code != "answer_too_long" {
				t.Errorf("stopped after %d: %v", i, out)
			}
			return
		}
	}
	t.Error(fmt.Errorf("no bound"))
}
