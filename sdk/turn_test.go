package deputy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

var drive = deputy.OAuth2("drive", "read").At("http://127.0.0.1:9001")

// Both links are on the stream before one of them is decided; what is declined
// leaves the other.
func TestLinksSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		s.play(t, &deputy.Agent{Respond: func(ctx context.Context, turn *deputy.Turn) error {
			err := turn.Authorize(ctx, mail, drive, mail)
			var declined *deputy.AuthorizationError
			if !errors.As(err, &declined) || declined.Provider != "drive" || strings.Count(err.Error(), "authorization of") != 1 {
				return fmt.Errorf("authorize: %w", err)
			}
			client, err := turn.HTTP(mail, drive)
			if err != nil {
				return err
			}
			resp, err := client.Get(thirdURL)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			turn.Say(string(b))
			return err
		}})
		a := s.invoke(t.Context(), t, alice, "go")
		for range 2 {
			a.until("adk_request_credential")
		}
		ids := s.deputy.Pending(alice)
		if len(ids) != 2 {
			t.Fatalf("pending: %v", ids)
		}
		providers := map[string]string{}
		for _, id := range ids {
			providers[s.deputy.Provider(id)] = id
		}
		s.deputy.Decline(providers["drive"])
		token := s.deputy.Agree(providers["mail"])
		if got := a.final(); !strings.HasSuffix(got, "Bearer "+token) {
			t.Errorf("answer = %q", got)
		}
	})
}

// A user who goes away while two links wait leaves nothing of either.
func TestLinksSideBySideCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		ended := make(chan error, 1)
		s.play(t, &deputy.Agent{Respond: func(ctx context.Context, turn *deputy.Turn) error {
			err := turn.Authorize(ctx, mail, drive)
			ended <- err
			return err
		}})
		synctest.Wait()
		before := len(inBubble())
		ctx, cancel := context.WithCancel(t.Context())
		a := s.invoke(ctx, t, alice, "go")
		for range 2 {
			a.until("adk_request_credential")
		}
		synctest.Wait()
		if n := s.active.Load(); n != 2 {
			t.Errorf("%d requests wait at Deputy, want 2", n)
		}
		cancel()
		if err := <-ended; !isCancelled(err) {
			t.Errorf("error = %v", err)
		}
		_ = a.body.Close()
		s.net.tr.CloseIdleConnections()
		synctest.Wait()
		if left := inBubble(); s.active.Load() != 0 || len(left) > before {
			t.Errorf("%d requests are left at Deputy, and %d goroutines of %d:\n%s", s.active.Load(), len(left), before, strings.Join(left, "\n\n"))
		}
	})
}

// A tool that is handed the token gets another one after it was refused, and the
// user is asked only if Deputy has no other.
func TestATokenInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		old := s.deputy.Grant(alice, "warehouse")
		s.deputy.Renew(alice, "warehouse")
		tool := deputy.NewTokenTool("count", "", func(_ context.Context, _ *deputy.Call, token deputy.AccessToken, _ struct{}) (string, error) {
			if token.Value.Reveal() == old {
				return "", fmt.Errorf("expired: %w", deputy.ErrRefused)
			}
			return token.Type + " " + token.Value.Reveal(), nil
		}, sales)
		s.play(t, &deputy.Agent{Tools: []deputy.Tool{tool}, Respond: respondWith("count", nil)})
		if got := s.invoke(t.Context(), t, alice, "go").final(); !strings.HasPrefix(got, "Bearer access-") || strings.Contains(got, old) {
			t.Errorf("answer = %q", got)
		}
		a := s.invoke(t.Context(), t, bob, "go")
		a.until("adk_request_credential")
		s.deputy.Decline(s.deputy.Pending(bob)[0])
		if last := a.rest(); last.ErrorType != "access_denied" {
			t.Errorf("stream ended with %+v", last)
		}
	})
}

// A credential for two origins that was refused in a body is refreshed as one for
// one origin is.
func TestRefusedAtOneOfTwoOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		old := s.deputy.Grant(alice, "mail")
		s.deputy.Renew(alice, "mail")
		s.third = func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		}
		tool := deputy.NewTool("fetch", "", func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
			said, err := get(ctx, call.HTTP, thirdURL)
			if said == "Bearer "+old {
				return "", fmt.Errorf("code 99: %w", deputy.ErrRefused)
			}
			return said, err
		}, mail.At("http://127.0.0.1:9001"), mail)
		s.play(t, &deputy.Agent{Tools: []deputy.Tool{tool}, Respond: respondWith("fetch", nil)})
		if got := s.invoke(t.Context(), t, alice, "go").final(); !strings.HasPrefix(got, "Bearer access-") || strings.Contains(got, old) || len(s.deputy.Pending(alice)) != 0 {
			t.Errorf("answer = %q", got)
		}
	})
}

// A token that expires in the middle of a turn is replaced before it does.
func TestTokenThatExpiresMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		defer s.close()
		keep := func(value string) {
			k := machineToken(value)
			k["expiresAt"] = time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
			s.deputy.Keep("mail", k)
		}
		keep("first")
		s.play(t, &deputy.Agent{Tools: []deputy.Tool{fetch(nil)}, Respond: func(ctx context.Context, turn *deputy.Turn) error {
			for range 4 {
				var out string
				if err := turn.Call(ctx, "fetch", nil, &out); err != nil {
					return err
				}
				turn.Say(out + "\n")
				time.Sleep(25 * time.Second) // the bubble's clock: the model thinks
				keep("second")
			}
			return nil
		}})
		got := s.invoke(t.Context(), t, alice, "go").final()
		if strings.Count(got, "Bearer first") != 2 || strings.Count(got, "Bearer second") != 2 {
			t.Errorf("answer = %q", got)
		}
	})
}

// Requests that act for nobody are refused, unless the agent lets them in. It has
// no user then, whatever the headers say.
func TestRequestsOfNobody(t *testing.T) {
	for _, unattended := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage()
			defer s.close()
			var turns atomic.Int64
			a := &deputy.Agent{Unattended: unattended, Respond: func(_ context.Context, turn *deputy.Turn) error {
				turns.Add(1)
				turn.Say(fmt.Sprintf("%+v", turn.Session.User))
				return nil
			}}
			s.play(t, a)
			answer, err := s.deputy.Invoke(a, deputy.User{}, "hi")
			if unattended && (err != nil || answer.Text != "{Issuer: Subject:}") || !unattended && (err == nil || !strings.Contains(err.Error(), "token_without_user") || turns.Load() != 0) {
				t.Errorf("unattended %v: %+v, %v", unattended, answer, err)
			}
		})
	}
}
