package operator_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

func newRegistry(t *testing.T) *operator.Registry {
	t.Helper()
	db := storetest.SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	return &operator.Registry{Store: store.Operators{DB: db}, Guard: &guard.Guard{Log: log}, Now: time.Now}
}

func TestTheFirstToken(t *testing.T) {
	r := newRegistry(t)
	token, made, err := r.First(t.Context())
	if err != nil || !made || !strings.HasPrefix(token.RevealString(), operator.TokenPrefix+"_") {
		t.Fatalf("made %v, %v", made, err)
	}
	c, err := r.Verify(t.Context(), token)
	if want := (name.Caller{Kind: name.Operator, Operator: "root"}); err != nil || c.String() != want.String() || c.Kind != want.Kind {
		t.Errorf("it proves %v, %v", c, err)
	}
	if _, made, err := r.First(t.Context()); made || err != nil {
		t.Errorf("a second first token: %v, %v", made, err)
	}
	for _, bad := range []string{"", "dop_", "dop_x", token.RevealString() + "x", strings.ToUpper(token.RevealString()), strings.TrimPrefix(token.RevealString(), "dop_"), " " + token.RevealString()} {
		if c, err := r.Verify(t.Context(), secret.FromString(bad)); !fault.HasCode(err, "operator_token_unknown") || c.Kind != name.Nobody {
			t.Errorf("%q proves %v, %v", bad, c, err)
		}
	}
}

// hashes shows what is stored.
type hashes struct {
	operator.Store
	mu   sync.Mutex
	seen []string
	err  error
}

func (h *hashes) AddOperatorToken(ctx context.Context, p guard.Permit, who, hash string, created time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, hash)
	return h.Store.AddOperatorToken(ctx, p, who, hash, created)
}

func (h *hashes) OperatorByToken(ctx context.Context, hash string) (string, error) {
	if h.err != nil {
		return "", h.err
	}
	return h.Store.OperatorByToken(ctx, hash)
}

func TestOnlyTheHashIsStored(t *testing.T) {
	r := newRegistry(t)
	h := &hashes{Store: r.Store}
	r.Store = h
	token, _, err := r.First(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.seen) != 1 || strings.Contains(h.seen[0], strings.TrimPrefix(token.RevealString(), "dop_")) {
		t.Errorf("stored %q", h.seen)
	}
	// A store that does not work is not a token that proves nothing.
	h.err = errors.New("down")
	if _, err := r.Verify(t.Context(), token); !errors.Is(err, h.err) || fault.Is(err, fault.Unauthenticated) {
		t.Errorf("with a broken store: %v", err)
	}
}
