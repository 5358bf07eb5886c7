package signin_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
	"golang.org/x/crypto/argon2"
)

const issuer = "https://id.example/userpool/staff"

func newSignIn(t *testing.T) (*signin.SignIn, storetest.Pools) {
	t.Helper()
	stores := storetest.NewPools(t)
	g := &guard.Guard{Log: stores.Log}
	s := stores.SignIn(t, "https://id.example", g, nil)
	permit := func(a guard.Action, r guard.Resource) guard.Permit {
		p, err := g.Allow(t.Context(), name.Caller{Kind: name.System}, a, r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	pool := staff()
	if err := stores.CreatePool(t.Context(), permit(userpool.ActionCreatePool, pool.Resource()), pool); err != nil {
		t.Fatal(err)
	}
	good, err := s.Passwords.Hasher.Hash(t.Context(), secret.FromString("password1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []userpool.User{
		{ID: "usr_zhang", UserName: "Zhang", PasswordHash: good},
		{ID: "usr_off", UserName: "off", PasswordHash: good, Disabled: true},
		{ID: "usr_bare", UserName: "bare"},
		{ID: "usr_old", UserName: "old", PasswordHash: weakHash("password1")},
		{ID: "usr_broken", UserName: "broken", PasswordHash: secret.FromString("$2y$10$x")},
	} {
		u.Pool = "staff"
		if err := stores.CreateUser(t.Context(), permit(userpool.ActionCreateUser, u.Resource()), u); err != nil {
			t.Fatal(err)
		}
	}
	return s, stores
}

func staff() userpool.Pool {
	return userpool.Pool{Name: "staff", Settings: userpool.DefaultSettings()}
}

func guests() userpool.Pool {
	return userpool.Pool{Name: "guests", Settings: userpool.DefaultSettings()}
}

func from(address string) signin.Origin {
	return signin.Origin{Address: netip.MustParseAddr(address), Agent: "test"}
}

// weakHash is a hash as an earlier version would have stored it.
func weakHash(password string) secret.Text {
	salt := []byte("saltsaltsaltsalt")
	b64 := base64.RawStdEncoding.EncodeToString
	return secret.FromString("$argon2id$v=19$m=1024,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(password), salt, 1, 1024, 1, 32)))
}

func last(t *testing.T, m storetest.Pools) audit.Entry {
	t.Helper()
	all, err := m.Entries(context.Background())
	if err != nil || len(all) == 0 {
		t.Fatal("no audit entry", err)
	}
	return all[len(all)-1]
}

func TestPassword(t *testing.T) {
	s, stores := newSignIn(t)
	r, err := s.Password(t.Context(), staff(), "zhang", secret.FromString("password1"), from("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := stores.Session(t.Context(), "staff", userpool.HashSession(r.Token)); err != nil || kept.UserID != "usr_zhang" || !kept.Alive(r.User, time.Now()) {
		t.Errorf("session %+v, %v", kept, err)
	}
	e := last(t, stores)
	if e.Action != "session.create" || e.Outcome != audit.Allowed || e.Caller.User != (name.User{Issuer: issuer, Subject: "usr_zhang"}) || e.Detail["address"] != "192.0.2.1" {
		t.Errorf("entry %+v", e)
	}
}

func TestRefusalsAreAlikeOutsideAndToldApartInside(t *testing.T) {
	s, stores := newSignIn(t)
	const typed = "hunter2-typed-into-the-wrong-field"
	var answers []string
	for what, c := range map[string]struct {
		pool                   userpool.Pool
		user, password, reason string
	}{
		"unknown user": {staff(), typed, "password1", "unknown user"},
		"other pool":   {guests(), "zhang", "password1", "unknown user"},
		"wrong":        {staff(), "zhang", typed, "wrong password"},
		"disabled":     {staff(), "off", "password1", "the user is disabled"},
		"no password":  {staff(), "bare", "", "the user has no password"},
		"nothing":      {staff(), "", "", "unknown user"},
	} {
		_, err := s.Password(t.Context(), c.pool, c.user, secret.FromString(c.password), from("192.0.2.1"))
		if !fault.HasCode(err, "login_failed") || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		answers = append(answers, err.Error())
		e := last(t, stores)
		if e.Outcome != audit.Refused || e.Reason != c.reason {
			t.Errorf("%s: entry %+v", what, e)
		}
		if b, err := e.Encode(); err != nil || strings.Contains(string(b), "hunter2") {
			t.Errorf("%s: the entry has what was typed: %s", what, b)
		}
	}
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("answers differ: %q and %q", a, answers[0])
		}
	}
}

func TestOldHashesAreUpgraded(t *testing.T) {
	s, stores := newSignIn(t)
	for range 2 {
		if _, err := s.Password(t.Context(), staff(), "old", secret.FromString("password1"), signin.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	u, err := stores.User(t.Context(), "staff", "usr_old")
	if err != nil || u.Version != 2 || !strings.HasPrefix(u.PasswordHash.RevealString(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("user %+v, %v", u, err)
	}
}

func TestTooMany(t *testing.T) {
	s, stores := newSignIn(t)
	var err error
	for range 20 {
		if _, err = s.Password(t.Context(), staff(), "zhang", secret.FromString("wrong"), from("192.0.2.1")); fault.Is(err, fault.Throttled) {
			break
		}
	}
	var wait *signin.TooMany
	if !fault.HasCode(err, "login_throttled") || !errors.As(err, &wait) || wait.Wait < time.Second {
		t.Fatalf("twenty failures: %v", err)
	}
	before, err := stores.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Password(t.Context(), staff(), "zhang", secret.FromString("password1"), from("192.0.2.1")); !fault.Is(err, fault.Throttled) {
		t.Errorf("the right password is told apart: %v", err)
	}
	if after, err := stores.Entries(t.Context()); err != nil || len(after) != len(before) {
		t.Errorf("attempts that were not let through grow the log: %d, %v", len(after)-len(before), err)
	}
	if _, err := s.Password(t.Context(), staff(), "zhang", secret.FromString("password1"), from("198.51.100.7")); err != nil {
		t.Errorf("the owner, elsewhere: %v", err)
	}
}

func TestTroubleIsNotAWrongPassword(t *testing.T) {
	s, _ := newSignIn(t)
	if _, err := s.Password(t.Context(), staff(), "broken", secret.FromString("x"), signin.Origin{}); !fault.HasCode(err, "password_hash_invalid") {
		t.Errorf("a broken hash: %v", err)
	}
	s.Guard = &guard.Guard{Log: deaf{}}
	if _, err := s.Password(t.Context(), staff(), "zhang", secret.FromString("wrong"), signin.Origin{}); err == nil || fault.HasCode(err, "login_failed") {
		t.Errorf("a failure that cannot be recorded: %v", err)
	}
}

type deaf struct{}

func (deaf) Append(context.Context, audit.Entry) error {
	return fault.New(fault.Unavailable, "audit_unavailable", "the audit log cannot be written")
}
