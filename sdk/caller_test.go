package deputy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// machine returns a client of s with a launch file, and where that is.
func (s *stage) machine(t *testing.T) (*deputy.Client, string) {
	t.Helper()
	c := s.client()
	c.TokenFile = filepath.Join(t.TempDir(), "launch")
	writeLaunch(t, c.TokenFile, deputytest.LaunchToken)
	return c, c.TokenFile
}

func writeLaunch(t *testing.T, file, token string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request to the third party and returns what it says.
func ask(t *testing.T, client *http.Client) (string, error) {
	t.Helper()
	resp, err := client.Get(thirdURL)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + " " + string(b), nil
}

func machineToken(value string) map[string]string {
	return map[string]string{"type": "oauth2", "accessToken": value, "tokenType": "Bearer"}
}

// A workload that acts for itself asks Deputy once a minute for the credential and
// once a quarter of an hour for its own token, and reads its launch file anew each
// time: the runtime has replaced it meanwhile.
func TestAJobActsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		c, file := s.machine(t)
		s.deputy.Keep("mail", machineToken("m2m-1"))
		caller := &deputy.Caller{Deputy: c, Transport: s.net.tr}
		client, err := caller.HTTP(mail)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if got, err := ask(t, client); err != nil || got != "200 OK Bearer m2m-1" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		exchanges := func() int { return s.deputy.Requests("POST /api/v1/workload-tokens") }
		if n := s.deputy.Requests("POST /api/v1/credentials"); n != 1 || exchanges() != 1 {
			t.Errorf("100 requests cost %d credentials and %d tokens", n, exchanges())
		}
		// What an operator replaced is used a minute later.
		s.deputy.Keep("mail", machineToken("m2m-2"))
		time.Sleep(time.Minute)
		if got, _ := ask(t, client); got != "200 OK Bearer m2m-2" {
			t.Errorf("after a minute: %q", got)
		}
		// The launch file was replaced, and the old one's content is worth nothing any more.
		writeLaunch(t, file, "yesterday's")
		if got, err := ask(t, client); err != nil {
			t.Errorf("with a token in hand: %q, %v", got, err)
		}
		time.Sleep(14 * time.Minute)
		var e *deputy.Error
		if _, err := ask(t, client); !errors.As(err, &e) || e.Code != "proof_unknown" {
			t.Errorf("with a launch token that Deputy does not believe: %v", err)
		}
		writeLaunch(t, file, deputytest.LaunchToken)
		if got, err := ask(t, client); err != nil || exchanges() != 3 {
			t.Errorf("with the new file: %q, %v, %d exchanges", got, err, exchanges())
		}
	})
}

// A token of its own that Deputy takes no more is replaced once, and not again.
func TestAJobWhoseTokenWasRevoked(t *testing.T) {
	for name, test := range map[string]struct {
		refusals int
		want     string
	}{"the old one": {1, ""}, "the new one, too": {2, "injected"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				defer s.close()
				c, _ := s.machine(t)
				s.deputy.Keep("mail", machineToken("m2m"))
				refusals := test.refusals
				s.deputy.Fail(func(r *http.Request) int {
					if r.URL.Path == "/api/v1/credentials" && refusals > 0 {
						refusals--
						return http.StatusUnauthorized
					}
					return 0
				})
				client, err := (&deputy.Caller{Deputy: c, Transport: s.net.tr}).HTTP(mail)
				if err != nil {
					t.Fatal(err)
				}
				var e *deputy.Error
				if _, err := ask(t, client); test.want == "" && err != nil || test.want != "" && (!errors.As(err, &e) || e.Code != test.want) {
					t.Errorf("error = %v", err)
				}
				if n := s.deputy.Requests("POST /api/v1/workload-tokens"); n != 2 {
					t.Errorf("%d tokens were asked for", n)
				}
			})
		})
	}
}

// Under a framework of somebody else's, the link goes where that wants it.
func TestACallerAsksTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		wat := s.deputy.Mint(alice)
		silent := &deputy.Caller{Deputy: s.client(), Token: wat, Transport: s.net.tr}
		client, err := silent.HTTP(mail)
		if err != nil {
			t.Fatal(err)
		}
		var need *deputy.ConsentRequired
		if _, err := ask(t, client); !errors.As(err, &need) || need.Authorization.URL == "" {
			t.Fatalf("nobody was there to ask: %v", err)
		}
		s.deputy.Decline(need.Authorization.ID)

		var states []deputy.State
		var mu sync.Mutex
		asking := &deputy.Caller{Deputy: s.client(), Token: wat, Transport: s.net.tr, Ask: func(_ context.Context, a deputy.Authorization) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, a.State)
			if a.URL == "" || a.Provider != "mail" {
				t.Errorf("told of %+v", a)
			}
		}}
		s.deputy.WhenAsked(func(a deputy.Authorization) {
			for _, state := range []string{"redirected", "exchanging"} {
				time.Sleep(time.Second) // the bubble's clock
				s.deputy.Step(a.ID, state)
			}
			time.Sleep(time.Second)
			s.deputy.Agree(a.ID)
		})
		if client, err = asking.HTTP(mail); err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t, client); err != nil || !strings.HasPrefix(got, "200 OK Bearer access-") {
			t.Errorf("%q, %v", got, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []deputy.State{deputy.Pending, deputy.Redirected, deputy.Exchanging, deputy.Completed}; !slices.Equal(states, want) {
			t.Errorf("told of %v, want %v", states, want)
		}
	})
}

// The states are told when there is only the long poll, too, each once.
func TestProgressByPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		s.deputy.Fail(func(r *http.Request) int {
			if strings.HasSuffix(r.URL.Path, "/events") {
				return http.StatusServiceUnavailable
			}
			return 0
		})
		c, wat := s.client(), s.deputy.Mint(alice)
		a := begin(t, c, wat)
		go func() {
			time.Sleep(time.Minute)
			s.deputy.Step(a.ID, "redirected")
			time.Sleep(time.Minute)
			s.deputy.Fails(a.ID, "vendor_scope", "the app lacks a permission")
		}()
		var told []deputy.Authorization
		err := c.Follow(t.Context(), wat, a, func(a deputy.Authorization) { told = append(told, a) })
		var failed *deputy.AuthorizationError
		if !errors.As(err, &failed) || failed.Reason != "vendor_scope" {
			t.Errorf("error = %v", err)
		}
		if len(told) != 2 || told[0].State != deputy.Redirected || told[1].State != deputy.Failed || told[1].Reason != "vendor_scope" || told[1].URL != a.URL {
			t.Errorf("told of %+v", told)
		}
	})
}

func TestCallersThatCannot(t *testing.T) {
	for _, name := range []string{"DEPUTY_URL", "DEPUTY_WORKLOAD", "DEPUTY_WORKLOAD_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	var e *deputy.Error
	if _, err := (&deputy.Caller{}).HTTP(mail); !errors.As(err, &e) || e.Code != "environment_incomplete" {
		t.Errorf("without an environment: %v", err)
	}
	c := deputytest.New("http://deputy.test").Client()
	for what, creds := range map[string][]deputy.Credential{
		"nowhere": {deputy.OAuth2("p")}, "two for one origin": {deputy.OAuth2("p").At("https://a.test"), deputy.OAuth2("q").At("https://a.test")}, "clear text": {deputy.OAuth2("p").At("http://a.test")},
	} {
		if _, err := (&deputy.Caller{Deputy: c}).HTTP(creds...); !errors.As(err, &e) || e.Code != "credential_invalid" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
