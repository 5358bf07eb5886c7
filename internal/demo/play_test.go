package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// TestPersonWalks: cookies, redirects, and a stop before the last one.
func TestPersonWalks(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "s", Value: "cookie-value", Path: "/"})
		http.Redirect(w, r, "/form?x=1", http.StatusFound)
	})
	mux.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `<form method="post" action="/send"><input type="hidden" name="csrf" value="t"><input name="username"></form>`)
	})
	mux.HandleFunc("POST /send", func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("s")
		if err != nil || c.Value != "cookie-value" || r.FormValue("csrf") != "t" || r.FormValue("username") != "li" {
			http.Error(w, "wrong", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "/callback?code=1", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) { t.Error("the walk did not stop") })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	p, err := newPerson("lisi")
	if err != nil {
		t.Fatal(err)
	}
	at, err := p.get(t.Context(), server.URL+"/start", nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := at.find("username")
	if err != nil {
		t.Fatal(err)
	}
	at, err = p.submit(t.Context(), at, f, url.Values{"username": {"li"}}, "", "", func(next *url.URL) bool { return next.Path != "/callback" })
	if err != nil || at.status != http.StatusSeeOther {
		t.Fatal(at.status, err)
	}
	if _, ok := at.toward(server.URL + "/callback"); !ok {
		t.Error("the walk does not remember where it led")
	}
	if len(p.jar.seen) != 1 || p.jar.seen[0] != "cookie-value" {
		t.Errorf("cookies seen: %q", p.jar.seen)
	}
	if _, err := at.find("password"); !errors.Is(err, errNoForm) {
		t.Errorf("error %v", err)
	}
	server.Close()
	if _, err := p.get(t.Context(), server.URL+"/start?code=secret", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
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
