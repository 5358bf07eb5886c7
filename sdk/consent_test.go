package deputy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

func TestConsentContinuesWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		var turns, steps atomic.Int64
		s.play(t, &deputy.Agent{Tools: []deputy.Tool{fetch(&steps)}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
			turns.Add(1)
			turn.Say("one moment.")
			return respondWith("fetch", nil)(ctx, turn)
		}})

		a := s.invoke(t.Context(), t, alice, "hello")
		e := a.until("adk_request_credential")
		call := e.Content.Parts[0].FunctionCall
		if len(e.LongRunning) != 1 || e.LongRunning[0] != call.ID || e.Content.Role != "user" {
			t.Errorf("the link is not a long-running call: %+v", e)
		}
		ids := s.deputy.Pending(alice)
		if len(ids) != 1 {
			t.Fatalf("pending: %v", ids)
		}
		checkConsentArgs(t, call.Args, ids[0])

		time.Sleep(4 * time.Minute) // the bubble's clock; the user reads the small print
		s.deputy.Step(ids[0], "redirected")
		synctest.Wait()
		began := time.Now()
		token := s.deputy.Agree(ids[0])
		if got, want := a.final(), "one moment.\n\n200 OK Bearer "+token; got != want {
			t.Errorf("answer = %q, want %q", got, want)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("resumed %v after consent; the push should take no time", waited)
		}
		if turns.Load() != 1 || steps.Load() != 1 {
			t.Errorf("the turn ran %d times and the tool %d times; want one of each", turns.Load(), steps.Load())
		}
		if n := s.deputy.Requests("GET /api/v1/authorizations/" + ids[0]); n != 0 {
			t.Errorf("%d polls although there is a stream", n)
		}

		second := s.invoke(t.Context(), t, alice, "again")
		if got := second.final(); !strings.HasSuffix(got, token) || len(s.deputy.Pending(alice)) != 0 {
			t.Errorf("the second time was not silent: %q", got)
		}
		other := s.invoke(t.Context(), t, bob, "hello")
		other.until("adk_request_credential") // bob is asked for his own
		s.deputy.Decline(s.deputy.Pending(bob)[0])
		if last := other.rest(); last.ErrorType != "access_denied" || strings.Contains(other.raw.String(), token) {
			t.Errorf("bob got %+v", last)
		}
	})
}

// checkConsentArgs checks the arguments against the event that ADK clients read.
func checkConsentArgs(t *testing.T, args json.RawMessage, id string) {
	t.Helper()
	type credential struct {
		AuthType    string            `json:"authType"`
		ResourceRef string            `json:"resourceRef"`
		OAuth2      map[string]string `json:"oauth2"`
	}
	var got struct {
		FunctionCallID string `json:"functionCallId"`
		AuthConfig     struct {
			AuthScheme                                 map[string]any `json:"authScheme"`
			RawAuthCredential, ExchangedAuthCredential credential
			CredentialKey                              string `json:"credentialKey"`
		} `json:"authConfig"`
	}
	d := json.NewDecoder(strings.NewReader(string(args)))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	link := "http://deputy.test/authorize?request_uri=urn:deputy:authorization:" + id
	for _, c := range []credential{got.AuthConfig.RawAuthCredential, got.AuthConfig.ExchangedAuthCredential} {
		if c.AuthType != "oauth2" || c.ResourceRef != id || c.OAuth2["authUri"] != link || len(c.OAuth2) != 1 {
			t.Errorf("credential = %+v", c)
		}
	}
	if got.FunctionCallID == "" || got.AuthConfig.CredentialKey != "oauth_access_token:tester:u_alice:mail" {
		t.Errorf("args = %s", args)
	}
	scheme, _ := json.Marshal(got.AuthConfig.AuthScheme)
	if want := `{"flows":{"authorizationCode":{"authorizationUrl":"__EMPTY__","scopes":{},"tokenUrl":"__EMPTY__"}},"type":"oauth2"}`; string(scheme) != want {
		t.Errorf("scheme = %s", scheme)
	}
}

func TestAuthorizationThatComesToNothing(t *testing.T) {
	tests := map[string]struct {
		end            func(s *stage, id string)
		reason, inText string
	}{
		"declined": {func(s *stage, id string) { s.deputy.Decline(id) }, "access_denied", "declined"},
		"failed":   {func(s *stage, id string) { s.deputy.Fails(id, "vendor_scope", "the app lacks a permission") }, "vendor_scope", "lacks a permission"},
		"expired":  {func(s *stage, id string) { s.deputy.Expire(id) }, "expired", "in time"},
		"nobody answers and Deputy never says so": {func(*stage, string) {}, "expired", "in time"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				seen := make(chan error, 1)
				s.play(t, &deputy.Agent{Tools: []deputy.Tool{fetch(nil)}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
					err := turn.Call(ctx, "fetch", nil, nil)
					seen <- err
					return err
				}})
				a := s.invoke(t.Context(), t, alice, "hello")
				a.until("adk_request_credential")
				go func() { test.end(s, s.deputy.Pending(alice)[0]) }()
				last := a.rest()
				if last.ErrorType != test.reason || !strings.Contains(last.Error, test.inText) || last.Message != "An error occurred during streaming" {
					t.Errorf("stream ended with %+v", last)
				}
				var typed *deputy.AuthorizationError
				if err := <-seen; !asError(err, &typed) || typed.Reason != test.reason || typed.Provider != "mail" {
					t.Errorf("error = %#v", err)
				}
			})
		})
	}
}

// A user who goes away, at whatever moment, leaves nothing running: no request
// at Deputy, no goroutine.
func TestCancelledRequestLeavesNothingRunning(t *testing.T) {
	for _, way := range []string{"stream", "poll", "deputy is down"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				ended := make(chan error, 1)
				s.play(t, &deputy.Agent{Tools: []deputy.Tool{fetch(nil)}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
					err := turn.Call(ctx, "fetch", nil, nil)
					ended <- err
					return err
				}})
				s.deputy.Fail(func(r *http.Request) int {
					if way == "poll" && strings.HasSuffix(r.URL.Path, "/events") || way == "deputy is down" && strings.Contains(r.URL.Path, "/authorizations/") {
						return http.StatusServiceUnavailable
					}
					return 0
				})
				synctest.Wait()
				before := len(inBubble())
				ctx, cancel := context.WithCancel(t.Context())
				a := s.invoke(ctx, t, alice, "hello")
				a.until("adk_request_credential")
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if way != "deputy is down" && s.active.Load() != 1 {
					t.Errorf("%d requests wait at Deputy, want 1", s.active.Load())
				}
				cancel()
				synctest.Wait()
				if err := <-ended; !isCancelled(err) {
					t.Errorf("the tool call ended with %v", err)
				}
				_ = a.body.Close()
				s.net.tr.CloseIdleConnections()
				synctest.Wait()
				if n := s.active.Load(); n != 0 {
					t.Errorf("%d requests are left at Deputy", n)
				}
				if left := inBubble(); len(left) > before {
					t.Errorf("%d goroutines, %d before:\n%s", len(left), before, strings.Join(left, "\n\n"))
				}
			})
		})
	}
}

// inBubble returns the stacks of the goroutines of the caller's synctest
// bubble. [runtime.NumGoroutine] would count what the runtime itself has
// running at that moment, too.
func inBubble() []string {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	own := regexp.MustCompile(`synctest bubble \d+\]`).FindString(all[0]) // the caller's stack comes first
	return slices.DeleteFunc(all, func(stack string) bool { return !strings.Contains(stack, own) })
}

func TestTurnThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		s.play(t, &deputy.Agent{MaxTurn: time.Minute, Tools: []deputy.Tool{fetch(nil)}, Respond: respondWith("fetch", nil)})
		began := time.Now()
		a := s.invoke(t.Context(), t, alice, "hello")
		if last := a.rest(); last.ErrorType != "timeout" || !strings.Contains(last.Error, "too long") {
			t.Errorf("stream ended with %+v", last)
		}
		synctest.Wait()
		if took := time.Since(began); took != time.Minute || s.active.Load() != 0 {
			t.Errorf("took %v; %d requests are left at Deputy", took, s.active.Load())
		}
	})
}

// Two calls at once for the same credential show one link.
func TestOneLinkForConcurrentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		s.play(t, &deputy.Agent{Tools: []deputy.Tool{fetch(nil)}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
			results := make(chan string, 5)
			for range cap(results) {
				go func() {
					var out string
					if err := turn.Call(ctx, "fetch", nil, &out); err != nil {
						out = err.Error()
					}
					results <- out
				}()
			}
			for range cap(results) {
				turn.Say(<-results + "\n")
			}
			return nil
		}})
		a := s.invoke(t.Context(), t, alice, "hello")
		a.until("adk_request_credential")
		// No synctest.Wait: the other calls may be waiting to announce themselves on a stream that is not being read.
		token := s.deputy.Agree(s.deputy.Pending(alice)[0])
		if got := a.final(); strings.Count(got, "200 OK Bearer "+token+"\n") != 5 {
			t.Errorf("answer = %q", got)
		}
		if n := s.deputy.Requests("POST /api/v1/credentials"); n != 2 || len(s.deputy.Pending(alice)) != 0 {
			t.Errorf("Deputy was asked %d times; want once before and once after consent", n)
		}
	})
}

func TestRefusedCredential(t *testing.T) {
	const stale = "401 and Deputy has a newer token"
	tests := map[string]struct {
		grantAgain bool // Deputy has another token by the time it is asked again
		code       int  // what the third party answers to the old token
		renews     bool // Deputy can refresh the old token
		asks       int  // how often the user is asked
		want       string
	}{
		stale:                          {true, 401, false, 0, "200 OK ok"},
		"401 and Deputy refreshes":     {false, 401, true, 0, "200 OK ok"},
		"401 and Deputy has the same":  {false, 401, false, 0, "401 Unauthorized refused"},
		"in the body, newer token":     {true, 400, false, 0, "200 OK ok"},
		"in the body, refreshed":       {false, 400, true, 0, "200 OK ok"},
		"in the body, same token: ask": {false, 400, false, 1, "200 OK ok"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				old := s.deputy.Grant(alice, "mail")
				if test.renews {
					s.deputy.Renew(alice, "mail")
				}
				s.third = func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if string(body) != "payload" {
						t.Errorf("the request came with %q", body)
					}
					if r.Header.Get("Authorization") == "Bearer "+old {
						if test.grantAgain {
							s.deputy.Grant(alice, "mail")
						}
						w.WriteHeader(test.code)
						_, _ = io.WriteString(w, "refused")
						return
					}
					_, _ = io.WriteString(w, "ok")
				}
				post := deputy.NewTool("post", "", func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
					resp, err := call.HTTP.Post(thirdURL, "text/plain", strings.NewReader("payload"))
					if err != nil {
						return "", err
					}
					defer resp.Body.Close()
					b, _ := io.ReadAll(resp.Body)
					if resp.StatusCode == 400 {
						return "", fmt.Errorf("code 99: %w", deputy.ErrRefused)
					}
					return resp.Status + " " + string(b), nil
				}, mail)
				s.play(t, &deputy.Agent{Tools: []deputy.Tool{post}, Respond: respondWith("post", nil)})
				a := s.invoke(t.Context(), t, alice, "go")
				for range test.asks {
					a.until("adk_request_credential")
					s.deputy.Agree(s.deputy.Pending(alice)[0])
				}
				if got := a.final(); got != test.want {
					t.Errorf("answer = %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestClearAndAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		forget := deputy.NewTool("forget", "", func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
			return "forgotten", call.Clear(ctx, mail)
		})
		s.play(t, &deputy.Agent{Tools: []deputy.Tool{fetch(nil), forget}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
			if turn.Prompt == "afresh" {
				if err := turn.AskAgain(ctx, mail); err != nil {
					return err
				}
				return respondWith("fetch", nil)(ctx, turn)
			}
			return respondWith(turn.Prompt, nil)(ctx, turn)
		}})
		s.deputy.Grant(alice, "mail")
		bobs := s.deputy.Grant(bob, "mail")
		if got := s.invoke(t.Context(), t, alice, "forget").final(); got != "forgotten" {
			t.Errorf("answer = %q", got)
		}
		a := s.invoke(t.Context(), t, alice, "fetch")
		a.until("adk_request_credential")
		s.deputy.Agree(s.deputy.Pending(alice)[0])
		a.final()
		if got := s.invoke(t.Context(), t, bob, "fetch").final(); got != "200 OK Bearer "+bobs {
			t.Errorf("bob lost his credential: %q", got)
		}
		b := s.invoke(t.Context(), t, bob, "afresh")
		b.until("adk_request_credential")
		if fresh := s.deputy.Agree(s.deputy.Pending(bob)[0]); b.final() != "200 OK Bearer "+fresh || fresh == bobs {
			t.Error("bob was not given a fresh credential")
		}
	})
}
