package deputy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// restart has Deputy's place empty for so long: connections are cut, and refused.
func (s *stage) restart(down time.Duration) {
	s.stops[0]()
	s.net.tr.CloseIdleConnections()
	time.Sleep(down) // the bubble's clock
	s.stops[0] = s.net.serve(deputyAddr, s.deputy)
}

// Deputy restarts while a user is at two links. He notices nothing of it: no state
// is told twice, no link is shown again and no tool runs again.
func TestRestartDuringAConsent(t *testing.T) {
	for _, down := range []time.Duration{time.Second, 2 * time.Minute} {
		t.Run(down.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				var mu sync.Mutex
				told := map[string][]deputy.State{}
				var steps atomic.Int64
				s.play(t, &deputy.Agent{
					Tools: []deputy.Tool{fetch(&steps)},
					Progress: func(_ context.Context, _ *deputy.Turn, a deputy.Authorization) {
						mu.Lock()
						defer mu.Unlock()
						told[a.Provider] = append(told[a.Provider], a.State)
					},
					Respond: func(ctx context.Context, turn *deputy.Turn) error {
						failed := make(chan error, 1)
						go func() { failed <- turn.Authorize(ctx, drive) }()
						err := respondWith("fetch", nil)(ctx, turn)
						return errors.Join(err, <-failed)
					},
				})
				a := s.invoke(t.Context(), t, alice, "go")
				for range 2 {
					a.until("adk_request_credential")
				}
				answered := make(chan string, 1)
				go func() { answered <- a.final() }()
				ids := map[string]string{}
				for _, id := range s.deputy.Pending(alice) {
					ids[s.deputy.Provider(id)] = id
				}
				synctest.Wait()
				s.deputy.Step(ids["mail"], "redirected")
				synctest.Wait()
				s.restart(down)
				time.Sleep(20 * time.Second)
				s.restart(down)
				s.deputy.Agree(ids["drive"])
				time.Sleep(20 * time.Second)
				agreed := time.Now()
				token := s.deputy.Agree(ids["mail"])
				if got := <-answered; !strings.HasSuffix(got, "Bearer "+token) || time.Since(agreed) > 0 {
					t.Errorf("answer %v after consent: %q", time.Since(agreed), got)
				}
				if strings.Count(a.raw.String(), "adk_request_credential") != 4 || steps.Load() != 1 { // each link, and its end
					t.Errorf("the tool ran %d times, and the stream was %s", steps.Load(), a.raw.String())
				}
				mu.Lock()
				defer mu.Unlock()
				if want := []deputy.State{deputy.Pending, deputy.Redirected, deputy.Completed}; !slices.Equal(told["mail"], want) {
					t.Errorf("of the one: %v", told["mail"])
				}
				if want := []deputy.State{deputy.Pending, deputy.Completed}; !slices.Equal(told["drive"], want) {
					t.Errorf("of the other: %v", told["drive"])
				}
			})
		})
	}
}

// A page that stays in Deputy's place is an error soon, and not after the ten
// minutes that a link is good for.
func TestWaitAtAPlaceThatIsNotDeputys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c, wat := s.client(), s.deputy.Mint(alice)
		a := begin(t, c, wat)
		asked := 0
		s.onTheWay(func(w http.ResponseWriter, _ *http.Request) bool {
			asked++
			fmt.Fprint(w, "<h1>It works!</h1>")
			return true
		})
		began := time.Now()
		var e *deputy.Error
		if err := c.Wait(t.Context(), wat, a); !errors.As(err, &e) || e.Code != "answer_malformed" || time.Since(began) > 30*time.Second || asked > 6 {
			t.Errorf("error after %v and %d requests = %v", time.Since(began), asked, err)
		}
	})
}

// A turn that outlives its token keeps what it has in hand, and gets nothing else:
// not a credential, not another try, not a question to the user.
func TestTurnThatOutlivesItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		token := s.deputy.Grant(alice, "mail")
		s.deputy.Grant(alice, "drive")
		ended := make(chan error, 1)
		s.play(t, &deputy.Agent{MaxTurn: time.Hour, Tools: []deputy.Tool{fetch(nil)}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
			if err := turn.Authorize(ctx, mail); err != nil {
				return err
			}
			time.Sleep(20 * time.Minute) // the bubble's clock: the model thinks
			var said string
			if err := turn.Call(ctx, "fetch", nil, &said); err != nil || !strings.HasSuffix(said, token) {
				t.Errorf("with the credential in hand: %q, %v", said, err)
			}
			began := time.Now()
			err := turn.Authorize(ctx, drive)
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %v to find out", took)
			}
			ended <- err
			return err
		}})
		last := s.invoke(t.Context(), t, alice, "go").rest()
		var e *deputy.Error
		if err := <-ended; !errors.As(err, &e) || e.Code != "token_expired" || last.ErrorType != "token_expired" || len(s.deputy.Pending(alice)) != 0 {
			t.Errorf("ended with %v, the stream with %+v", err, last)
		}
		if n := s.deputy.Requests("POST /api/v1/credentials"); n != 2 {
			t.Errorf("Deputy was asked %d times", n)
		}
	})
}

// A token that ends while its user makes up his mind: what he decides is still
// heard on the stream that is open, and after a restart the wait is refused.
func TestConsentThatOutlivesItsToken(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage()
			defer s.close()
			c, wat := s.client(), s.deputy.Mint(alice)
			time.Sleep(14 * time.Minute)
			a := begin(t, c, wat)
			ended := make(chan error, 1)
			go func() { ended <- c.Wait(t.Context(), wat, a) }()
			time.Sleep(2 * time.Minute)
			if restarts {
				s.restart(time.Second)
				var e *deputy.Error
				if err := <-ended; !errors.As(err, &e) || e.Code != "token_expired" {
					t.Errorf("after a restart: %v", err)
				}
				return
			}
			s.deputy.Agree(a.ID)
			if err := <-ended; err != nil {
				t.Errorf("on an open stream: %v", err)
			}
		})
	}
}

// The runtime replaces the launch file while a hundred requests of a job are on
// their way, Deputy restarts, and the file's content is of another launch for a
// moment: the job has one token at a time, and none of its requests is lost.
func TestLaunchFileReplacedUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c, file := s.machine(t)
		s.deputy.Keep("mail", machineToken("m2m"))
		client, err := (&deputy.Caller{Deputy: c, Transport: s.net.tr}).HTTP(mail)
		if err != nil {
			t.Fatal(err)
		}
		round := func() (failed int) {
			results := make(chan error, 100)
			for range cap(results) {
				go func() {
					_, err := ask(t, client)
					results <- err
				}()
			}
			for range cap(results) {
				if err := <-results; err != nil {
					failed++
				}
			}
			return failed
		}
		exchanges := func() int { return s.deputy.Requests("POST /api/v1/workload-tokens") }
		if failed := round(); failed != 0 || exchanges() != 1 {
			t.Errorf("%d of 100 failed, and %d tokens were asked for", failed, exchanges())
		}
		time.Sleep(14 * time.Minute) // the token is to be renewed
		writeLaunch(t, file, "")
		if failed := round(); failed != 100 {
			t.Errorf("%d of 100 noticed that the file was empty", failed)
		}
		writeLaunch(t, file, deputytest.LaunchToken)
		began := time.Now()
		go s.restart(500 * time.Millisecond)
		synctest.Wait()
		if failed := round(); failed != 0 || exchanges() != 2 {
			t.Errorf("%d of 100 failed, and %d tokens were asked for", failed, exchanges())
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a restart of half a second cost %v", took)
		}
	})
}

// What one of many requests was told is the answer for those that waited for it,
// too: a user who declines is not asked once more for each of them, and a Deputy
// that is gone is not waited for by each in turn. The next one asks again.
func TestAFailureIsForAllWhoWait(t *testing.T) {
	const many = 50
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		asked := make(chan string, many)
		caller := &deputy.Caller{Deputy: s.client(), Token: s.deputy.Mint(alice), Transport: s.net.tr, Ask: func(_ context.Context, a deputy.Authorization) {
			if a.State == deputy.Pending {
				asked <- a.ID
			}
		}}
		client, err := caller.HTTP(mail)
		if err != nil {
			t.Fatal(err)
		}
		all := func() chan error {
			results := make(chan error, many)
			for range many {
				go func() {
					_, err := ask(t, client)
					results <- err
				}()
			}
			synctest.Wait()
			return results
		}
		results := all()
		s.deputy.Decline(<-asked)
		var declined *deputy.AuthorizationError
		for range many {
			if err := <-results; !errors.As(err, &declined) || declined.Reason != "access_denied" {
				t.Errorf("error = %v", err)
			}
		}
		results = all()
		token := s.deputy.Agree(<-asked) // one link, again
		for range many {
			if err := <-results; err != nil {
				t.Errorf("error = %v", err)
			}
		}
		if got, err := ask(t, client); err != nil || !strings.HasSuffix(got, token) || len(asked) != 0 {
			t.Errorf("%q, %v, and %d links more", got, err, len(asked))
		}
		time.Sleep(2 * time.Minute) // what is in hand is not used without a word from Deputy
		s.stops[0]()
		began := time.Now()
		results = all()
		var e *deputy.Error
		for range many {
			if err := <-results; !errors.As(err, &e) || e.Code != "deputy_unreachable" {
				t.Errorf("error = %v", err)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%d requests needed %v to find Deputy gone", many, took)
		}
	})
}
