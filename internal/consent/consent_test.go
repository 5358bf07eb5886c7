package consent_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
)

// TestEveryStep brings an authorization into each state and tries each step on
// it: only the arrows of the package's picture lead anywhere.
func TestEveryStep(t *testing.T) {
	w := newWorld(t) // each row has a user of its own
	grantIn := map[consent.State]func(w *world, zhang name.User) begun{
		consent.Pending:    func(w *world, zhang name.User) begun { return w.begin(agentA, zhang, consent.KindGrant, "read") },
		consent.Redirected: func(w *world, zhang name.User) begun { return w.opened(agentA, zhang, "read") },
		consent.Completed:  func(w *world, zhang name.User) begun { return w.given(agentA, zhang, "read") },
		consent.Failed: func(w *world, zhang name.User) begun {
			w.says(`{"error":"invalid_grant"}`)
			b := w.opened(agentA, zhang, "read")
			_, err := w.finish(w.t.Context(), b, zhang)
			must(w.t, err)
			return b
		},
		consent.Expired: func(w *world, zhang name.User) begun {
			b := w.begin(agentA, zhang, consent.KindGrant, "read")
			w.pass(consent.Life)
			return b
		},
	}
	delegationIn := map[consent.State]func(w *world, zhang name.User) begun{
		consent.Pending: func(w *world, zhang name.User) begun {
			w.given(agentA, zhang, "read")
			return w.begin(agentB, zhang, consent.KindDelegation, "read")
		},
	}
	open := func(w *world, zhang name.User, b begun) error { _, err := w.open(b, zhang); return err }
	agree := func(w *world, zhang name.User, b begun) error {
		_, err := w.flow.Decide(w.t.Context(), person(zhang), b.link, true)
		return err
	}
	decline := func(w *world, zhang name.User, b begun) error {
		_, err := w.flow.Decide(w.t.Context(), person(zhang), b.link, false)
		return err
	}
	code := func(w *world, zhang name.User, b begun) error {
		_, err := w.finish(w.t.Context(), b, zhang)
		return err
	}
	refusal := func(w *world, zhang name.User, b begun) error {
		_, err := w.flow.Finish(w.t.Context(), person(zhang), consent.Callback{State: b.state, Browser: b.browser, Error: "access_denied"})
		return err
	}
	for _, c := range []struct {
		what  string
		in    map[consent.State]func(w *world, zhang name.User) begun
		from  consent.State
		do    func(w *world, zhang name.User, b begun) error
		code  string
		state consent.State
	}{
		{"opened", grantIn, consent.Pending, open, "", consent.Redirected},
		{"opened again", grantIn, consent.Redirected, open, "link_used", consent.Redirected},
		{"opened when done", grantIn, consent.Completed, open, "link_used", consent.Completed},
		{"opened when failed", grantIn, consent.Failed, open, "link_used", consent.Failed},
		{"opened too late", grantIn, consent.Expired, open, "link_expired", consent.Expired},
		{"decided, a grant's", grantIn, consent.Pending, agree, "authorization_kind", consent.Pending},
		{"decided, a used one", grantIn, consent.Redirected, agree, "link_used", consent.Redirected},
		{"finished before it was opened", grantIn, consent.Pending, code, "state_unknown", consent.Pending},
		{"finished", grantIn, consent.Redirected, code, "", consent.Completed},
		{"finished again", grantIn, consent.Completed, code, "state_unknown", consent.Completed},
		{"finished when failed", grantIn, consent.Failed, code, "state_unknown", consent.Failed},
		{"refused", grantIn, consent.Redirected, refusal, "", consent.Failed},
		{"refused when done", grantIn, consent.Completed, refusal, "state_unknown", consent.Completed},
		{"a delegation shown", delegationIn, consent.Pending, open, "", consent.Pending},
		{"a delegation agreed to", delegationIn, consent.Pending, agree, "", consent.Completed},
		{"a delegation declined", delegationIn, consent.Pending, decline, "", consent.Failed},
		{"a delegation finished", delegationIn, consent.Pending, code, "state_unknown", consent.Pending},
		{"a delegation agreed to twice", delegationIn, consent.Pending, func(w *world, zhang name.User, b begun) error {
			must(w.t, agree(w, zhang, b))
			return agree(w, zhang, b)
		}, "link_used", consent.Completed},
		{"a delegation declined, then agreed to", delegationIn, consent.Pending, func(w *world, zhang name.User, b begun) error {
			must(w.t, decline(w, zhang, b))
			return agree(w, zhang, b)
		}, "link_used", consent.Failed},
		{"a delegation agreed to too late", delegationIn, consent.Pending, func(w *world, zhang name.User, b begun) error {
			w.pass(consent.Life)
			return agree(w, zhang, b)
		}, "link_expired", consent.Expired},
		{"a delegation of a grant that is gone", delegationIn, consent.Pending, func(w *world, zhang name.User, b begun) error {
			g, _ := w.found(agentA, zhang)
			must(w.t, w.flow.Vault.Delete(w.t.Context(), name.Caller{Kind: name.Operator, Operator: "root"}, g.Pool, g.ID))
			return agree(w, zhang, b)
		}, "", consent.Failed},
	} {
		t.Run(c.what, func(t *testing.T) {
			zhang := name.User{Issuer: zhang.Issuer, Subject: name.NewID("usr")}
			w.says(answered)
			b := c.in[c.from](w, zhang)
			wantCode(t, c.do(w, zhang, b), c.code)
			if got := w.read(b); got.State != c.state {
				t.Errorf("the state is %s, want %s", got.State, c.state)
			}
			_, d := w.found(agentB, zhang)
			if has := d.ID != ""; has != (c.from == consent.Pending && c.state == consent.Completed) {
				t.Errorf("agent b has a delegation: %v", has)
			}
		})
	}
}

// TestEndsWithAReason lets time pass in each state that waits.
func TestEndsWithAReason(t *testing.T) {
	w := newWorld(t)
	pending, redirected := w.begin(agentA, zhang, consent.KindGrant, "read"), w.opened(agentB, zhang, "read")
	exchanging := w.opened(agentA, li, "read")
	w.flow.Store = &broken{Store: w.flow.Store, complete: errors.New("the machine went away"), fail: errors.New("for good")}
	if _, err := w.finish(t.Context(), exchanging, li); err == nil {
		t.Fatal("it was stored")
	}
	w.pass(consent.Life)
	for reason, c := range map[string]struct {
		b      begun
		caller name.Caller
	}{
		"link_not_opened": {pending, asks(agentA, zhang)}, "consent_not_finished": {redirected, asks(agentB, zhang)}, "exchange_interrupted": {exchanging, asks(agentA, li)},
	} {
		got, err := w.flow.Read(t.Context(), c.caller, c.b.id)
		must(t, err)
		if got.State != consent.Expired || got.Reason != reason || got.Message == "" {
			t.Errorf("got %s %q %q, want %s", got.State, got.Reason, got.Message, reason)
		}
	}
	// The callback of one that has expired finds nothing any more.
	_, err := w.finish(t.Context(), redirected, zhang)
	wantCode(t, err, "state_unknown")
	if diff := cmp.Diff([]string{"begin allowed", "open allowed", "expire failed"}, w.entries(redirected)); diff != "" {
		t.Error(diff)
	}
}

// broken is a store that fails to complete, and to write that down.
type broken struct {
	consent.Store
	complete error
	fail     error // nil: that works
	times    int   // 0: always
	calls    atomic.Int64
}

func (s *broken) Complete(ctx context.Context, p guard.Permit, action guard.Action, a consent.Authorization, g vault.Grant, d vault.Delegation) error {
	if n := s.calls.Add(1); s.times == 0 || int(n) <= s.times {
		return s.complete
	}
	return s.Store.Complete(ctx, p, action, a, g, d)
}

func (s *broken) Advance(ctx context.Context, p guard.Permit, action guard.Action, a consent.Authorization) error {
	if a.State == consent.Failed && s.fail != nil {
		return s.fail
	}
	return s.Store.Advance(ctx, p, action, a)
}

func TestAGrantThatChangesIsSealedAgain(t *testing.T) {
	for times, reason := range map[int]string{1: "", 4: "", 0: "grant_busy"} {
		w := newWorld(t)
		b := w.opened(agentA, zhang, "read")
		w.flow.Store = &broken{Store: w.flow.Store, complete: vault.Changed("x"), times: times}
		got, err := w.finish(t.Context(), b, zhang)
		must(t, err)
		if got.Reason != reason || (got.State == consent.Completed) != (reason == "") {
			t.Errorf("after %d conflicts: %s %q", times, got.State, got.Reason)
		}
		if g, _ := w.found(agentA, zhang); (g.ID != "") != (reason == "") {
			t.Errorf("after %d conflicts there is the grant %q", times, g.ID)
		}
		if w.calls.Load() != 1 {
			t.Errorf("%d exchanges", w.calls.Load())
		}
	}
}

// TestTimeIsOverWhileTheThirdPartyAnswers: what came too late is not stored.
func TestTimeIsOverWhileTheThirdPartyAnswers(t *testing.T) {
	w := newWorld(t)
	b := w.opened(agentA, zhang, "read")
	store := w.flow.Store
	w.flow.Store = &broken{Store: store, complete: consent.Changed(b.id)}
	got, err := w.finish(t.Context(), b, zhang)
	must(t, err)
	if got.State == consent.Completed {
		t.Errorf("the state is %s", got.State)
	}
	if g, _ := w.found(agentA, zhang); g.ID != "" {
		t.Errorf("there is a grant %q", g.ID)
	}
}

// TestBeginAnswersTheSameLink as long as it is of use.
func TestBeginAnswersTheSameLink(t *testing.T) {
	w := newWorld(t)
	first := w.begin(agentA, zhang, consent.KindGrant, "read", "write")
	same := func(b begun) bool { return b.id == first.id && secret.Equal(b.link, first.link) }
	if !same(w.begin(agentA, zhang, consent.KindGrant, "write", "read")) {
		t.Error("the same request got another link")
	}
	for what, other := range map[string]begun{
		"agent": w.begin(agentB, zhang, consent.KindGrant, "read", "write"), "user": w.begin(agentA, li, consent.KindGrant, "read", "write"),
		"scopes": w.begin(agentA, zhang, consent.KindGrant, "read"), "kind": w.begin(agentA, zhang, consent.KindDelegation, "read", "write"),
	} {
		if same(other) || secret.Equal(other.link, first.link) {
			t.Errorf("another %s got the same link", what)
		}
	}
	w.pass(consent.Life/2 - time.Second)
	if !same(w.begin(agentA, zhang, consent.KindGrant, "read", "write")) {
		t.Error("a link of use was replaced")
	}
	w.pass(2 * time.Second)
	second := w.begin(agentA, zhang, consent.KindGrant, "read", "write")
	if same(second) {
		t.Error("a link about to expire was offered again")
	}
	_, err := w.open(second, zhang)
	must(t, err)
	if third := w.begin(agentA, zhang, consent.KindGrant, "read", "write"); third.id == second.id || same(third) {
		t.Error("a used link was offered again")
	}
}

// TestOnlyTheUserInHisBrowser tries each step of a person as everybody else.
func TestOnlyTheUserInHisBrowser(t *testing.T) {
	w := newWorld(t)
	b := w.begin(agentA, zhang, consent.KindGrant, "read")
	elsewhere := name.User{Issuer: "https://evil.example", Subject: zhang.Subject}
	for what, c := range map[string]name.Caller{
		"li": person(li), "the same subject elsewhere": person(elsewhere), "nobody": {}, "his agent": asks(agentA, zhang), "an operator": {Kind: name.Operator, Operator: "root"},
		"the system": {Kind: name.System}, "a person without a name": {Kind: name.Person},
	} {
		_, _, _, err := w.flow.Open(t.Context(), c, b.link)
		if !fault.HasCode(err, "link_not_yours") {
			t.Errorf("%s opened it: %v", what, err)
		}
	}
	opened, err := w.open(b, zhang)
	must(t, err)
	_, err = w.finish(t.Context(), opened, li)
	wantCode(t, err, "link_not_yours")
	for _, mark := range []secret.Text{{}, secret.FromString("br_other")} {
		other := opened
		other.browser = mark
		_, err = w.finish(t.Context(), other, zhang)
		wantCode(t, err, "browser_changed")
	}
	if w.calls.Load() != 0 {
		t.Error("the code was redeemed")
	}
	for what, c := range map[string]name.Caller{"agent b": asks(agentB, zhang), "another user's agent": asks(agentA, li), "the agent itself": asks(agentA, name.User{}), "the person": person(zhang)} {
		if _, err := w.flow.Read(t.Context(), c, b.id); !fault.HasCode(err, "authorization_not_found") {
			t.Errorf("%s read it: %v", what, err)
		}
	}
	refused := 0
	for _, e := range w.entries(b) {
		if e == "open refused" || e == "exchange refused" || e == "read refused" {
			refused++
		}
	}
	if refused != 7+3+4 {
		t.Errorf("%d refusals are recorded: %v", refused, w.entries(b))
	}
	got, err := w.finish(t.Context(), opened, zhang) // all of which used nothing up
	must(t, err)
	if got.State != consent.Completed {
		t.Errorf("in the end it is %s", got.State)
	}
	if _, err := w.flow.Result(t.Context(), b.id, func(string) name.Caller { return person(li) }); !fault.HasCode(err, "authorization_not_found") {
		t.Errorf("li saw the result: %v", err)
	}
}

// TestTogether makes the same step many times at once: it is made once.
func TestTogether(t *testing.T) {
	together := func(do func() error) (made int, others map[string]int) {
		var mu sync.Mutex
		var group sync.WaitGroup
		others = map[string]int{}
		for range 10 {
			group.Go(func() {
				err := do()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made++
				} else {
					others[fault.As(err).Code]++
				}
			})
		}
		group.Wait()
		return made, others
	}
	w := newWorld(t)
	b := w.begin(agentA, zhang, consent.KindGrant, "read")
	var winner atomic.Pointer[begun]
	made, others := together(func() error {
		opened, err := w.open(b, zhang)
		if err == nil {
			winner.Store(&opened)
		}
		return err
	})
	if made != 1 || others["link_used"] != 9 {
		t.Fatalf("opened %d times: %v", made, others)
	}
	made, others = together(func() error { _, err := w.finish(t.Context(), *winner.Load(), zhang); return err })
	if made != 1 || others["link_used"]+others["state_unknown"] != 9 || w.calls.Load() != 1 {
		t.Errorf("finished %d times with %d exchanges: %v", made, w.calls.Load(), others)
	}
	b = w.begin(agentB, zhang, consent.KindDelegation, "read")
	made, others = together(func() error { _, err := w.flow.Decide(t.Context(), person(zhang), b.link, true); return err })
	if _, d := w.found(agentB, zhang); d.ID == "" || made != 1 {
		t.Errorf("decided %d times: %v", made, others)
	}
}

// TestWaiting covers the ways in which a wait ends.
func TestWaiting(t *testing.T) {
	w := newWorld(t)
	caller := asks(agentA, zhang)
	b := w.opened(agentA, zhang, "read")
	got, err := w.flow.Await(t.Context(), caller, b.id, 0)
	if must(t, err); got.State != consent.Redirected {
		t.Errorf("at the end of the wait it is %s", got.State)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.flow.Await(ctx, caller, b.id, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
	var seen []consent.State
	watched := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		watched <- w.flow.Watch(t.Context(), caller, b.id, func(a consent.Authorization) error {
			if seen = append(seen, a.State); len(seen) == 1 {
				close(first)
			}
			return nil
		})
	}()
	<-first
	release := make(chan struct{})
	w.does(func(rw http.ResponseWriter) {
		<-release
		_, _ = rw.Write([]byte(`{"access_token":"at","scope":"read"}`))
	})
	awaited := make(chan consent.Authorization, 1)
	go func() {
		a, err := w.flow.Await(t.Context(), caller, b.id, time.Minute)
		if err != nil {
			t.Error(err)
		}
		awaited <- a
	}()
	go close(release)
	_, err = w.finish(t.Context(), b, zhang)
	must(t, err)
	if a := <-awaited; a.State != consent.Completed {
		t.Errorf("awaited %s", a.State)
	}
	must(t, <-watched)
	if seen[0] != consent.Redirected || seen[len(seen)-1] != consent.Completed {
		t.Errorf("seen %v", seen)
	}
	// A wait that outlasts the authorization ends with it.
	late := w.begin(agentA, zhang, consent.KindGrant, "write")
	w.pass(consent.Life - 20*time.Millisecond)
	got, err = w.flow.Await(t.Context(), caller, late.id, time.Minute)
	if must(t, err); got.State != consent.Expired {
		t.Errorf("after its life it is %s", got.State)
	}
}
