package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// chatServer answers each message with the events that a test gives.
func chatServer(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

func sayEvents(t *testing.T, w http.ResponseWriter, events ...string) {
	for _, e := range events {
		fmt.Fprintf(w, "data: %s\n\n", e)
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		t.Error(err)
	}
}

func TestAsk(t *testing.T) {
	agreed := make(chan struct{})
	chat := chatServer(t, func(w http.ResponseWriter, r *http.Request) {
		sayEvents(t, w, `{"type":"text","text":"one "}`, `{"type":"authorization","url":"http://localhost/authorize?request_uri=urn:x:secret","provider":"p"}`)
		<-agreed
		sayEvents(t, w, `{"type":"authorized"}`, `{"type":"text","text":"two"}`, `{"type":"done"}`)
	})
	p, err := newPerson("zhangsan")
	if err != nil {
		t.Fatal(err)
	}
	var consent time.Time
	got, err := p.ask(t.Context(), chat, "hello", func(_ context.Context, link string) error {
		if linkSecret(link) != "secret" {
			t.Errorf("link %s", link)
		}
		consent = time.Now()
		close(agreed)
		return nil
	})
	if err != nil || got.text != "one two" || !got.asked() || got.resume.Before(consent) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAskFails(t *testing.T) {
	mine := errors.New("mine")
	tests := map[string]struct {
		handle  http.HandlerFunc
		consent func(context.Context, string) error
		want    string
	}{
		"refused": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"code":"login_required"}}`)
		}, nil, "the chat answered 401 login_required"},
		"an error": {func(w http.ResponseWriter, r *http.Request) {
			sayEvents(t, w, `{"type":"error","code":"x","message":"why"}`)
		}, nil, "x: why"},
		"cut off": {func(w http.ResponseWriter, r *http.Request) { sayEvents(t, w, `{"type":"text","text":"a"}`) }, nil, "broke off"},
		"an unasked one": {func(w http.ResponseWriter, r *http.Request) {
			sayEvents(t, w, `{"type":"authorization"}`)
			<-r.Context().Done()
		}, nil, "asked for an authorization"},
		"no consent": {func(w http.ResponseWriter, r *http.Request) {
			sayEvents(t, w, `{"type":"authorization"}`)
			<-r.Context().Done()
		},
			func(context.Context, string) error { return mine }, "mine"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := newPerson("zhangsan")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.ask(t.Context(), chatServer(t, test.handle), "hello", test.consent); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestSteps(t *testing.T) {
	var out bytes.Buffer
	s := &steps{out: &out}
	s.do(t.Context(), "holds", func(context.Context) (string, error) { return "with a note", nil })
	s.do(t.Context(), "“张三” does not", func(context.Context) (string, error) { return "", errors.New("for this reason") })
	for _, want := range []string{"  1 ✓ holds ", "       with a note\n", "  2 ✗ “张三” does not", "       for this reason\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if s.count != 2 || s.failed != 1 {
		t.Errorf("%d steps, %d failed", s.count, s.failed)
	}
}

func TestForgeries(t *testing.T) {
	const token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	other := otherSignature(token)
	if other == token || len(other) != len(token) || other[:strings.LastIndexByte(token, '.')] != token[:strings.LastIndexByte(token, '.')] {
		t.Errorf("%s", other)
	}
	forged, err := forgedToken("iss", "client", "sub")
	if err != nil || strings.Count(forged, ".") != 2 {
		t.Errorf("%s, %v", forged, err)
	}
}
