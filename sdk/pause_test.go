package deputy_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

// onTheWay puts h before Deputy; h reports whether it answered.
func (s *stage) onTheWay(h func(w http.ResponseWriter, r *http.Request) bool) {
	s.stops[0]()
	s.stops[0] = s.net.serve(deputyAddr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h(w, r) {
			s.deputy.ServeHTTP(w, r)
		}
	}))
}

// What Deputy says about when to come back is heeded, if it is soon; a longer
// wait is the caller's decision.
func TestRetryAfter(t *testing.T) {
	for said, test := range map[string]struct {
		tries   int
		atLeast time.Duration
		says    time.Duration // in the error
	}{
		"":     {4, 0, 0},
		"2":    {4, 6 * time.Second, 2 * time.Second},
		"10":   {4, 30 * time.Second, 10 * time.Second},
		"11":   {1, 0, 11 * time.Second},
		"soon": {4, 0, 0},
		"-1":   {4, 0, 0},
		"date": {1, 0, time.Minute},
		"past": {4, 0, 0},
	} {
		t.Run(said, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				tries := 0
				s.onTheWay(func(w http.ResponseWriter, _ *http.Request) bool {
					tries++
					after := map[string]string{
						"date": time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), "past": time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat),
					}[said]
					if after == "" {
						after = said
					}
					w.Header().Set("Retry-After", after)
					w.WriteHeader(http.StatusTooManyRequests)
					return true
				})
				began := time.Now()
				_, err := s.client().Token(t.Context(), s.deputy.Mint(alice), mail, false)
				var e *deputy.Error
				if !errors.As(err, &e) || e.Status != 429 || e.RetryAfter != test.says {
					t.Errorf("error = %#v", err)
				}
				if took := time.Since(began); tries != test.tries || took < test.atLeast || took > test.atLeast+10*time.Second {
					t.Errorf("%d tries in %v", tries, took)
				}
			})
		})
	}
}

// Somebody who waits for a consent is told to come back later, and does.
func TestWaitIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c, wat := s.client(), s.deputy.Mint(alice)
		a := begin(t, c, wat)
		asked := 0
		s.onTheWay(func(w http.ResponseWriter, _ *http.Request) bool {
			if asked++; asked > 3 {
				return false
			}
			w.Header().Set("Retry-After", "3600") // nobody believes that
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		began := time.Now()
		s.deputy.Agree(a.ID)
		if err := c.Wait(t.Context(), wat, a); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 40*time.Second || asked != 4 {
			t.Errorf("heard of it after %v and %d requests", took, asked)
		}
	})
}

// Whatever Deputy's place answers, it is an error with a code, within bounds of
// time and size.
func TestAnswersThatAreNone(t *testing.T) {
	for what, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		code   string
		within time.Duration
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, "answer_malformed", 0},
		"HTML":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<h1>It works!</h1>")) }, "answer_malformed", 0},
		"null":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("null")) }, "answer_malformed", 0},
		"no token": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"ready","credential":{"type":"oauth2"}}`))
		}, "answer_malformed", 0},
		"no link": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"authorization_required","authorization":{"id":"a","url":"javascript:alert(1)"}}`))
		}, "answer_malformed", 0},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"` + strings.Repeat("x", 1<<20) + `"}`))
		}, "answer_malformed", 0},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"status":`))
		}, "deputy_unreachable", 10 * time.Second},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.test/", http.StatusTemporaryRedirect)
		}, "unexpected_answer", 0},
		"a teapot":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "unexpected_answer", 0},
		"hanging up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "deputy_unreachable", 10 * time.Second},
		"silence":    {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deputy_unreachable", 20 * time.Second},
		"half, then silence": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"status":`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "deputy_unreachable", 20 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				s.onTheWay(func(w http.ResponseWriter, r *http.Request) bool {
					_, _ = io.Copy(io.Discard, r.Body) // until then a server does not hear that its client hung up
					test.answer(w, r)
					return true
				})
				began := time.Now()
				_, err := s.client().Token(t.Context(), s.deputy.Mint(alice), mail, false)
				var e *deputy.Error
				if !errors.As(err, &e) || e.Code != test.code || e.Message == "" || strings.Contains(err.Error(), "eyJ") {
					t.Errorf("error = %v, want %s", err, test.code)
				}
				if took := time.Since(began); took > test.within {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
