package deputy

import (
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readEvents(r io.Reader) ([]serverEvent, error) {
	var all []serverEvent
	for e := newEventReader(r); ; {
		event, err := e.next()
		if err != nil {
			return all, err
		}
		all = append(all, event)
	}
}

func TestEventReader(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []serverEvent
	}{
		"one":              {"event: state\ndata: {}\n\n", []serverEvent{{"state", "{}"}}},
		"no name":          {"data:x\n\n", []serverEvent{{"message", "x"}}},
		"two lines":        {"data: a\ndata:  b\n\n", []serverEvent{{"message", "a\n b"}}},
		"CRLF":             {"event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", []serverEvent{{"a", "1"}, {"message", "2"}}},
		"CR":               {"event: a\rdata: 1\r\r", []serverEvent{{"a", "1"}}},
		"heartbeats":       {": x\n\n:\n\ndata: 1\n\n", []serverEvent{{"message", "1"}}},
		"a name alone":     {"event: a\n\ndata: 1\n\n", []serverEvent{{"message", "1"}}},
		"empty data":       {"data\n\n", []serverEvent{{"message", ""}}},
		"unknown fields":   {"id: 7\nretry: 1\nx: y\ndata: 1\n\n", []serverEvent{{"message", "1"}}},
		"byte order mark":  {"\ufeffdata: 1\n\n", []serverEvent{{"message", "1"}}},
		"cut off":          {"data: 1\n", nil},
		"many heartbeats":  {strings.Repeat(": heartbeat\n\n", 100_000) + "data: 1\n\n", []serverEvent{{"message", "1"}}},
		"comments in data": {"data: 1\n" + strings.Repeat(": heartbeat\n", 100_000) + "data: 2\n\n", []serverEvent{{"message", "1\n2"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readEvents(strings.NewReader(test.in))
			if !errors.Is(err, io.EOF) || len(got) != len(test.want) {
				t.Fatalf("got %q, %v", got, err)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	for _, endless := range []string{"data: " + strings.Repeat("x", maxEventSize), strings.Repeat("data: x\n", maxEventSize), strings.Repeat(":", 2*maxEventSize)} {
		if _, err := readEvents(strings.NewReader(endless)); !errors.Is(err, errEventTooLarge) {
			t.Errorf("error = %v", err)
		}
	}
}

// What is read does not depend on how it arrives, and what is written again
// reads the same.
func FuzzEventReader(f *testing.F) {
	f.Add([]byte("event: state\r\ndata: {\"state\":\"pending\"}\r\n\r\n: heartbeat\n\ndata: x\rdata: y\r\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := readEvents(strings.NewReader(string(b)))
		slow, slowErr := readEvents(iotest.OneByteReader(strings.NewReader(string(b))))
		if !errors.Is(err, slowErr) || len(events) != len(slow) {
			t.Fatalf("%v and %v; %q and %q", err, slowErr, events, slow)
		}
		var again strings.Builder
		for i, e := range events {
			if e != slow[i] {
				t.Fatalf("%q and %q", e, slow[i])
			}
			again.WriteString("event: " + e.name + "\ndata: " + strings.ReplaceAll(e.data, "\n", "\ndata: ") + "\n\n")
		}
		reread, err := readEvents(strings.NewReader(again.String()))
		if errors.Is(err, errEventTooLarge) {
			return // spelled out, it is a little longer
		}
		if len(reread) != len(events) {
			t.Fatalf("%q read again is %q", events, reread)
		}
		for i := range reread {
			if reread[i] != events[i] {
				t.Fatalf("%q read again is %q", events[i], reread[i])
			}
		}
	})
}

// A token that parses has one spelling, and neither its header nor its claims
// can make the checks panic.
func FuzzJWT(f *testing.F) {
	enc := base64.RawURLEncoding.EncodeToString
	f.Add(enc([]byte(`{"alg":"ES256","typ":"wat+jwt","kid":"k"}`)) + "." +
		enc([]byte(`{"iss":"i","aud":["i"],"sub":"u","iat":1,"exp":2e9,"sub_id":{"format":"iss_sub","iss":"i","sub":"u"},"act":{"sub":"w","act":{"sub":"v"}}}`)) + "." + enc(make([]byte, 64)))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		j, err := parseJWT(token)
		if err != nil {
			return
		}
		if again := enc(j.header) + "." + enc(j.payload) + "." + enc(j.signature); again != token {
			t.Fatalf("%q is spelled %q", token, again)
		}
		_, _ = j.keyID()
		id, err := j.identity("i", time.Unix(1_000_000_000, 0))
		if err == nil && (id.Workload == "" && id.User == (User{}) || len(id.Chain) > maxChain) {
			t.Fatalf("believed %+v", id)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := parseKeys(b); err == nil && len(keys) == 0 {
			t.Fatal("an empty key set was believed")
		}
	})
}

// Whatever another agent says, the user is sent to no page but Deputy's, and no
// more is kept of it than is bounded.
func FuzzAnotherAgent(f *testing.F) {
	f.Add("data: {\"content\":{\"parts\":[{\"text\":\"hello\"}]},\"partial\":true}\n\n")
	f.Add("data: {\"content\":{\"parts\":[{\"functionCall\":{\"id\":\"1\",\"name\":\"adk_request_credential\",\"args\":" +
		"{\"authConfig\":{\"rawAuthCredential\":{\"oauth2\":{\"authUri\":\"https://evil.example/\"}}}}}}]}}\n\n")
	f.Add("data: {\"error\":[]}\n\n")
	f.Fuzz(func(t *testing.T, answer string) {
		shown := httptest.NewRecorder()
		turn := &Turn{
			agent: &builtAgent{deputy: &Client{base: "https://id.example"}, log: slog.New(slog.DiscardHandler)},
			out:   &stream{w: shown, now: time.Now, gone: func() {}},
		}
		said, err := (&hearing{turn: turn, waiting: map[string]bool{}}).listen(t.Context(), strings.NewReader(answer))
		if err == nil && len(said) > maxAnswerSize {
			t.Fatalf("%d bytes are kept", len(said))
		}
		for _, link := range strings.Split(shown.Body.String(), `"authUri":"`)[1:] {
			if !strings.HasPrefix(link, "https://id.example/") {
				t.Fatalf("the user is sent to %s", link)
			}
		}
	})
}
