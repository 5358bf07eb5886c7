package deputy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

func asError[T error](err error, into *T) bool { return errors.As(err, into) }

func isCancelled(err error) bool { return errors.Is(err, context.Canceled) }

// begin asks for a credential that needs consent.
func begin(t *testing.T, c *deputy.Client, wat deputy.Secret) deputy.Authorization {
	t.Helper()
	_, err := c.Token(t.Context(), wat, mail, false)
	var need *deputy.ConsentRequired
	if !errors.As(err, &need) {
		t.Fatalf("error = %v", err)
	}
	if strings.Contains(err.Error(), "http") {
		t.Errorf("the error shows the link: %v", err)
	}
	return need.Authorization
}

// Wait hears of the end whatever lies between it and Deputy.
func TestWaitOnBadRoads(t *testing.T) {
	isEvents := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/events") }
	tests := map[string]struct {
		road  func(n int, w http.ResponseWriter, r *http.Request) bool // reports whether it answered itself
		delay time.Duration                                            // at most so long after the end
		polls bool
	}{
		"good": {func(int, http.ResponseWriter, *http.Request) bool { return false }, 0, false},
		"no streams here": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if isEvents(r) {
				http.NotFound(w, r)
			}
			return isEvents(r)
		}, 0, true},
		"a proxy that answers in HTML": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if isEvents(r) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, "<h1>It works!</h1>")
			}
			return isEvents(r)
		}, 0, true},
		"streams that are cut at once": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if isEvents(r) {
				panic(http.ErrAbortHandler)
			}
			return isEvents(r)
		}, 0, true},
		"events that are garbled": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if isEvents(r) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "event: state\ndata: {\"state\":\"pen\n\n")
			}
			return isEvents(r)
		}, 0, true},
		"polls that are cut in the middle": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if !isEvents(r) && n%2 == 0 {
				w.Header().Set("Content-Length", "100")
				fmt.Fprint(w, `{"state":`)
			}
			if isEvents(r) {
				http.NotFound(w, r)
			}
			return isEvents(r) || n%2 == 0
		}, 5 * time.Second, true},
		"a page about maintenance now and then": {func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n%4 != 0 {
				fmt.Fprint(w, "<h1>Back soon</h1>")
			}
			return n%4 != 0
		}, 15 * time.Second, true},
		"a stream that falls silent": {func(n int, w http.ResponseWriter, r *http.Request) bool {
			if isEvents(r) && n == 1 {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "event: state\ndata: {\"state\":\"pending\"}\n\n")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return true
			}
			return false
		}, 0, false},
		"streams that end in good order, early": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if isEvents(r) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, ": hello\n\n")
			}
			return isEvents(r) && r.Context().Err() == nil && w.Header().Get("X-Through") == ""
		}, 5 * time.Minute, false},
		"an outage of two minutes": {nil, 5 * time.Second, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				began, n := time.Now(), 0
				over := began.Add(3 * time.Minute)
				s.stops[0]()
				s.stops[0] = s.net.serve(deputyAddr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n++
					switch {
					case !strings.Contains(r.URL.Path, "/authorizations/"):
						n = 0
					case test.road == nil && time.Since(began) < 2*time.Minute:
						w.WriteHeader(http.StatusBadGateway)
						return
					case name == "streams that end in good order, early" && time.Now().After(over):
					case test.road != nil && test.road(n, w, r):
						return
					}
					s.deputy.ServeHTTP(w, r)
				}))
				c, wat := s.client(), s.deputy.Mint(alice)
				a := begin(t, c, wat)
				go func() {
					time.Sleep(3 * time.Minute)
					s.deputy.Agree(a.ID)
				}()
				if err := c.Wait(t.Context(), wat, a); err != nil {
					t.Fatal(err)
				}
				if late := time.Since(over); late < 0 || late > test.delay {
					t.Errorf("heard of the end %v after it", late)
				}
				if polled := s.deputy.Requests("GET /api/v1/authorizations/"+a.ID) > 0; polled != test.polls {
					t.Errorf("polled = %v, want %v", polled, test.polls)
				}
				if n > 100 {
					t.Errorf("%d requests in three minutes", n)
				}
			})
		})
	}
}

// What Deputy itself refuses is not tried again.
func TestWaitThatDeputyRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c := s.client()
		a := begin(t, c, s.deputy.Mint(alice))
		var e *deputy.Error
		if err := c.Wait(t.Context(), s.deputy.Mint(bob), a); !errors.As(err, &e) || e.Code != "authorization_not_found" || e.RequestID != "req_test" {
			t.Errorf("bob waits for alice's authorization: %v", err)
		}
		if err := c.Wait(t.Context(), deputy.NewSecret("nonsense"), a); !errors.As(err, &e) || e.Status != 401 {
			t.Errorf("error = %v", err)
		}
	})
}

func TestCallsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c, wat := s.client(), s.deputy.Mint(alice)
		want := s.deputy.Grant(alice, "mail")
		failures := 2
		s.deputy.Fail(func(*http.Request) int {
			if failures--; failures >= 0 {
				return http.StatusServiceUnavailable
			}
			return 0
		})
		token, err := c.Token(t.Context(), wat, mail, false)
		if err != nil || token.Value.Reveal() != want || token.Type != "Bearer" || token.Expires.IsZero() || len(token.Scopes) != 1 {
			t.Errorf("token = %+v, error = %v", token, err)
		}
		s.stops[0]() // Deputy is gone for good
		began := time.Now()
		var e *deputy.Error
		if err := c.Clear(t.Context(), wat, "mail"); !errors.As(err, &e) || e.Code != "deputy_unreachable" || time.Since(began) > 10*time.Second {
			t.Errorf("error after %v = %v", time.Since(began), err)
		}
	})
}

func TestProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		_, err := s.client().Token(t.Context(), s.deputy.Mint(alice), deputy.OAuth2("no-such-provider"), false)
		const want = `deputy: there is no credential provider "no-such-provider"; create it, or correct the name (provider_not_found, request req_test)`
		if err == nil || err.Error() != want {
			t.Errorf("error = %v", err)
		}
		s.deputy.Fail(func(*http.Request) int { return http.StatusTeapot })
		if _, err := s.client().Token(t.Context(), s.deputy.Mint(alice), mail, false); err == nil {
			t.Error("a teapot gave a token")
		}
	})
}
