package recovery_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/mail"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

// outbox is a Sender that keeps messages, or fails.
type outbox struct {
	sent []mail.Message
	err  error
}

func (o *outbox) Send(_ context.Context, m mail.Message) error {
	if o.err != nil {
		return o.err
	}
	o.sent = append(o.sent, m)
	return nil
}

// scene is a pool with a user, and a Recovery whose letters go to an outbox.
type scene struct {
	*recovery.Recovery
	*outbox
	t      *testing.T
	stores storetest.Pools
	guard  *guard.Guard
	pool   userpool.Pool
	ahead  atomic.Int64
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, outbox: &outbox{}, stores: storetest.NewPools(t)}
	now := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.guard = &guard.Guard{Log: s.stores.Log, Now: now}
	breached, err := userpool.NewBreached("")
	s.must(err)
	s.Recovery = recovery.New(recovery.Config{
		PublicURL: "https://id.example", Pools: s.stores, Users: s.stores, Proofs: s.stores, Letters: s.stores, Guard: s.guard, Now: now,
		Passwords: &userpool.Passwords{Hasher: userpool.NewHasher(1), Breached: breached}, Mail: s.outbox, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Link: func(_ string, _ userpool.Purpose, token secret.Text) string {
			return "https://id.example/?" + token.RevealString()
		},
		Start: func(_ string, kind userpool.LetterKind) string { return "https://id.example/" + string(kind) },
	})
	s.pool = userpool.Pool{Name: "staff", DisplayName: "研发团队", Settings: userpool.DefaultSettings()}
	s.pool.Settings.Recovery, s.pool.Settings.SignUp = true, true
	s.must(s.stores.CreatePool(t.Context(), s.permit(userpool.ActionCreatePool, s.pool.Resource()), s.pool))
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) permit(action guard.Action, r guard.Resource) guard.Permit {
	s.t.Helper()
	p, err := s.guard.Allow(s.t.Context(), name.Caller{Kind: name.System}, action, r)
	s.must(err)
	return p
}

func (s *scene) addUser(userName, email string, change func(*userpool.User)) userpool.User {
	s.t.Helper()
	u := userpool.User{ID: "usr_" + userName, Pool: "staff", UserName: userName, Email: email, PasswordHash: secret.FromString("$argon2id$x")}
	if change != nil {
		change(&u)
	}
	s.must(s.stores.CreateUser(s.t.Context(), s.permit(userpool.ActionCreateUser, u.Resource()), u))
	return u
}

var from = netip.MustParseAddr("192.0.2.1")

func (s *scene) ask(kind userpool.LetterKind, email string) {
	s.t.Helper()
	s.must(s.Request(s.t.Context(), s.pool, kind, email, "zh", from))
}

// deliver tries the letter that is due and reports whether there was one.
func (s *scene) deliver() bool {
	s.t.Helper()
	did, err := s.Deliver(s.t.Context())
	s.must(err)
	return did
}

// tokens are those in the last message, in Chinese, which comes first.
func (s *scene) tokens() []secret.Text {
	s.t.Helper()
	first, _, _ := strings.Cut(s.sent[len(s.sent)-1].Text, "-----")
	var all []secret.Text
	for _, word := range strings.Fields(first) {
		if _, token, ok := strings.Cut(word, "https://id.example/?"); ok {
			all = append(all, secret.FromString(token))
		}
	}
	return all
}

func (s *scene) last() audit.Entry {
	s.t.Helper()
	all, err := s.stores.Entries(s.t.Context())
	s.must(err)
	return all[len(all)-1]
}

func TestTroubleThatPasses(t *testing.T) {
	s := newScene(t)
	s.addUser("zhang", "zhang@example.com", nil)
	s.ask(userpool.LetterReset, "zhang@example.com")
	s.err = fault.New(fault.Unavailable, "mail_unavailable", "no")
	if !s.deliver() || s.deliver() {
		t.Fatal("the letter was not tried once")
	}
	s.err = nil
	s.ahead.Add(int64(59 * time.Second))
	if s.deliver() {
		t.Error("the letter was tried too soon")
	}
	s.ahead.Add(int64(2 * time.Second))
	if !s.deliver() || s.deliver() || len(s.sent) != 1 || s.last().Detail["state"] != "sent" || s.last().Outcome != audit.Allowed {
		t.Errorf("%d sent; %+v", len(s.sent), s.last())
	}
}

func TestTroubleThatStays(t *testing.T) {
	for code, tries := range map[string]int{"mail_unavailable": 7, "mail_refused": 1} {
		s := newScene(t)
		s.addUser("zhang", "zhang@example.com", nil)
		s.ask(userpool.LetterReset, "zhang@example.com")
		s.err = fault.New(fault.Upstream, code, "no")
		if tries > 1 {
			s.err = fault.New(fault.Unavailable, code, "no")
		}
		n := 0
		for range 20 {
			if s.deliver() {
				n++
			}
			s.ahead.Add(int64(time.Hour))
		}
		if e := s.last(); n != tries || e.Outcome != audit.Failed || e.Reason != code || e.Action != string(userpool.ActionSettleLetter) {
			t.Errorf("%s: %d tries; %+v", code, n, e)
		}
	}
}

// A process that ended while it was sending: another takes the letter over.
func TestLettersSurviveTheirSender(t *testing.T) {
	s := newScene(t)
	s.addUser("zhang", "zhang@example.com", nil)
	s.ask(userpool.LetterReset, "zhang@example.com")
	ctx, end := context.WithCancel(t.Context())
	s.err = fault.New(fault.Unavailable, "mail_timeout", "no")
	end()
	if _, err := s.Deliver(ctx); err == nil {
		t.Error("the end was not told")
	}
	s.err = nil
	if s.deliver() {
		t.Error("the letter was taken over at once")
	}
	s.ahead.Add(int64(2*time.Minute + time.Second))
	if !s.deliver() || len(s.sent) != 1 {
		t.Errorf("%d sent", len(s.sent))
	}
}

func TestALetterNamesEachUser(t *testing.T) {
	s := newScene(t)
	first, second := s.addUser("zhang", "team@example.com", nil), s.addUser("li", "Team@example.com", nil)
	s.addUser("off", "team@example.com", func(u *userpool.User) { u.Disabled = true })
	s.addUser("bare", "team@example.com", func(u *userpool.User) { u.PasswordHash = secret.Text{} })
	s.ask(userpool.LetterReset, "team@example.com")
	s.deliver()
	text := s.sent[0].Text
	if !strings.HasPrefix(text, "有人在 研发团队") || !strings.Contains(text, "Somebody asked") || strings.Contains(text, "off") || strings.Contains(text, "bare") {
		t.Errorf("the letter says\n%s", text)
	}
	tokens := s.tokens()
	if len(tokens) != 2 {
		t.Fatalf("%d links", len(tokens))
	}
	for i, want := range []userpool.User{second, first} { // in order of name
		o, err := s.Open(t.Context(), s.pool, userpool.ResetPassword, tokens[i])
		if err != nil || o.User.ID != want.ID {
			t.Errorf("link %d is for %s, %v", i, o.User.ID, err)
		}
	}
}

func TestAnAddressGetsFiveLettersAnHour(t *testing.T) {
	s := newScene(t)
	s.addUser("zhang", "zhang@example.com", nil)
	for range 8 {
		s.ask(userpool.LetterReset, "zhang@example.com")
		s.deliver()
		s.ahead.Add(int64(5 * time.Minute))
	}
	if len(s.sent) > 5 {
		t.Errorf("%d letters within an hour", len(s.sent))
	}
	s.ahead.Add(int64(2 * time.Hour))
	before := len(s.sent)
	s.ask(userpool.LetterReset, "zhang@example.com")
	if s.deliver(); len(s.sent) != before+1 {
		t.Error("an hour later there is no letter")
	}
}

func TestAProofIsNotForGuessing(t *testing.T) {
	s := newScene(t)
	s.ask(userpool.LetterSignUp, "wang@example.com")
	s.deliver()
	token := s.tokens()[0]
	var err error
	for range 11 {
		_, err = s.SignUp(t.Context(), s.pool, token, recovery.NewUser{UserName: "not a name"}, from)
	}
	if !fault.HasCode(err, "recovery_throttled") {
		t.Errorf("after eleven attempts: %v", err)
	}
}

func TestSettingsCount(t *testing.T) {
	s := newScene(t)
	s.addUser("zhang", "zhang@example.com", nil)
	s.ask(userpool.LetterReset, "zhang@example.com")
	s.deliver()
	token := s.tokens()[0]
	s.ask(userpool.LetterReset, "zhang@example.com")
	off := s.pool
	off.Version, off.Settings.Recovery = 1, false
	s.must(s.stores.UpdatePool(t.Context(), s.permit(userpool.ActionUpdatePool, off.Resource()), off))
	if s.deliver(); len(s.sent) != 1 || s.last().Detail["state"] != "dropped" {
		t.Errorf("%d sent after it was turned off; %+v", len(s.sent), s.last())
	}
	if _, err := s.Reset(t.Context(), off, token, secret.FromString("another horse staple"), from); !fault.HasCode(err, "recovery_off") {
		t.Error(err)
	}
	if err := s.Request(t.Context(), off, userpool.LetterReset, "zhang@example.com", "en", from); !fault.HasCode(err, "recovery_off") {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	s := newScene(t)
	s.ask(userpool.LetterSignUp, "wang@example.com")
	s.deliver()
	s.ahead.Add(int64(25 * time.Hour))
	s.must(s.Sweep(t.Context()))
	if e := s.last(); e.Action != string(userpool.ActionSweepLetters) {
		t.Errorf("the last entry is %+v", e)
	}
	if _, err := s.stores.Proof(t.Context(), "staff", userpool.HashProof(s.tokens()[0])); !fault.Is(err, fault.NotFound) {
		t.Errorf("the proof is still there: %v", err)
	}
}
