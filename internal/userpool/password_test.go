package userpool

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

func TestPasswords(t *testing.T) {
	ctx, h := t.Context(), NewHasher(2)
	right := secret.FromString("correct horse battery staple")
	hash, err := h.Hash(ctx, right)
	if err != nil {
		t.Fatal(err)
	}
	if s := hash.RevealString(); !strings.HasPrefix(s, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("not the promised parameters: %s", s)
	}
	again, err := h.Hash(ctx, right)
	if err != nil || secret.Equal(hash, again) {
		t.Errorf("two hashes of one password are equal (%v): the salt is not random", err)
	}
	for what, c := range map[string]struct {
		hash, password secret.Text
		ok, stale      bool
	}{
		"right":           {hash, right, true, false},
		"wrong":           {hash, secret.FromString("correct horse battery stapl"), false, false},
		"empty":           {hash, secret.Text{}, false, false},
		"no hash":         {secret.Text{}, right, false, false},
		"nothing at all":  {secret.Text{}, secret.Text{}, false, false},
		"over the bound":  {hash, secret.FromString(strings.Repeat("x", 1<<20)), false, false},
		"old parameters":  {oldHash(t, h, "pässword"), secret.FromString("pässword"), true, true},
		"old, wrong word": {oldHash(t, h, "pässword"), secret.FromString("passwort"), false, false},
	} {
		ok, stale, err := h.Verify(ctx, c.hash, c.password)
		if ok != c.ok || stale != c.stale || err != nil {
			t.Errorf("%s: %v, %v, %v", what, ok, stale, err)
		}
	}
	if _, _, err := h.Verify(ctx, secret.FromString("$2y$10$bcrypt"), right); !fault.HasCode(err, "password_hash_invalid") {
		t.Errorf("a foreign hash: %v", err)
	}
}

// oldHash returns a hash with weaker parameters, as an earlier version would have stored.
func oldHash(t *testing.T, h *Hasher, password string) secret.Text {
	t.Helper()
	p := newPHC()
	p.memory, p.passes = 1024, 1
	key, err := h.derive(t.Context(), p, secret.FromString(password))
	if err != nil {
		t.Fatal(err)
	}
	p.key = key
	return secret.FromString(p.String())
}

func TestHashesAreBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(1)
		h.slots <- struct{}{} // somebody is hashing
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := h.Hash(ctx, secret.FromString("password"))
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("did not wait for a slot: %v", err)
		default:
		}
		cancel()
		if err := <-done; !fault.HasCode(err, "login_busy") {
			t.Errorf("cancelled while waiting: %v", err)
		}
	})
}

func FuzzPHC(f *testing.F) {
	f.Add(newPHC().String())
	f.Add("$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAA$AAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=2,p=255$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q parses and prints as %q", s, p)
		}
		if p.memory > 1<<20 {
			t.Errorf("%q would take %d KiB", s, p.memory)
		}
	})
}
