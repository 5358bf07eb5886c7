package operator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
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

var root = name.Caller{Kind: name.Operator, Operator: "root"}

func newRegistry(t *testing.T) *operator.Registry {
	t.Helper()
	db := storetest.SQLite(t)
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	return &operator.Registry{Store: store.Operators{DB: db}, Guard: &guard.Guard{Log: log}, Now: time.Now}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRolesGrow(t *testing.T) {
	for i, role := range operator.Roles() {
		for j, least := range operator.Roles() {
			if got := role.AtLeast(least); got != (i >= j) {
				t.Errorf("%s as %s: %v", role, least, got)
			}
		}
	}
	for _, stranger := range []operator.Role{"", "root", "Owner"} {
		if stranger.AtLeast(operator.Auditor) || stranger.AtLeast(stranger) || operator.Owner.AtLeast(stranger) {
			t.Errorf("%q is a role", stranger)
		}
	}
}

func TestLimitsToPools(t *testing.T) {
	none, some := operator.Pools{}, operator.Pools{Workload: []string{"default"}}
	if none.Limited() || !none.HasUser("people") || !none.HasWorkload("default") {
		t.Error("no limit is one")
	}
	// Pools of the two sorts may have one name.
	if !some.Limited() || !some.HasWorkload("default") || some.HasWorkload("other") || some.HasUser("default") || some.HasUser("people") {
		t.Error("the limit is another one")
	}
}

func TestTheFirstToken(t *testing.T) {
	r := newRegistry(t)
	token, made, err := r.First(t.Context())
	if err != nil || !made || !strings.HasPrefix(token.RevealString(), operator.TokenPrefix+"_") {
		t.Fatalf("made %v, %v", made, err)
	}
	got, err := r.Verify(t.Context(), token)
	if c := got.Caller(); err != nil || c.Kind != name.Operator || c.Operator != "root" || c.Token != got.ID || got.ID == "" || got.Role != operator.Owner || got.Pools.Limited() || !got.ExpiresAt.IsZero() {
		t.Errorf("it proves %+v, %v", got, err)
	}
	if _, made, err := r.First(t.Context()); made || err != nil {
		t.Errorf("a second first token: %v, %v", made, err)
	}
	for _, bad := range []string{"", "dop_", "dop_x", token.RevealString() + "x", strings.ToUpper(token.RevealString()), strings.TrimPrefix(token.RevealString(), "dop_"), " " + token.RevealString()} {
		if got, err := r.Verify(t.Context(), secret.FromString(bad)); !fault.HasCode(err, "operator_token_unknown") || got.Name != "" {
			t.Errorf("%q proves %v, %v", bad, got, err)
		}
	}
}

// TestNobodyIsLockedOutForGood: when no owner's token is good any more, a start
// makes the first one again.
func TestNobodyIsLockedOutForGood(t *testing.T) {
	r := newRegistry(t)
	token, _, err := r.First(t.Context())
	must(t, err)
	first, err := r.Verify(t.Context(), token)
	must(t, err)
	if err := r.Revoke(t.Context(), root, first.ID); !fault.HasCode(err, "operator_last_owner") {
		t.Fatalf("the last owner was revoked: %v", err)
	}
	_, _, err = r.Create(t.Context(), root, "boss", operator.Owner, operator.Pools{}, time.Hour)
	must(t, err)
	must(t, r.Revoke(t.Context(), root, first.ID))
	if _, made, err := r.First(t.Context()); made || err != nil {
		t.Fatalf("with an owner: %v, %v", made, err)
	}
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	again, made, err := r.First(t.Context())
	if err != nil || !made {
		t.Fatalf("without an owner: %v, %v", made, err)
	}
	if got, err := r.Verify(t.Context(), again); err != nil || got.Name != "root" || got.ID == first.ID {
		t.Errorf("it proves %+v, %v", got, err)
	}
}

func TestTokensExpireAndEnd(t *testing.T) {
	r := newRegistry(t)
	_, _, err := r.First(t.Context())
	must(t, err)
	now := time.Now()
	r.Now = func() time.Time { return now }
	made, token, err := r.Create(t.Context(), root, "night", operator.Operator, operator.Pools{Workload: []string{"mail", "default", "mail"}}, time.Hour)
	must(t, err)
	got, err := r.Verify(t.Context(), token)
	if err != nil || got.ID != made.ID || !slices.Equal(got.Pools.Workload, []string{"default", "mail"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	now = now.Add(time.Hour - time.Minute)
	_, err = r.Verify(t.Context(), token)
	must(t, err)
	all, err := r.Store.Tokens(t.Context())
	must(t, err)
	if all[0].Name != "night" || all[0].UsedAt.UnixMilli() != now.UnixMilli() || !all[1].UsedAt.IsZero() {
		t.Errorf("last uses: %+v", all)
	}
	now = now.Add(time.Minute)
	if _, err := r.Verify(t.Context(), token); !fault.HasCode(err, "operator_token_expired") || !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("at its end: %v", err)
	}
	must(t, r.Revoke(t.Context(), root, made.ID))
	if _, err := r.Verify(t.Context(), token); !fault.HasCode(err, "operator_token_unknown") {
		t.Errorf("revoked: %v", err)
	}
}

func TestWhatNoTokenIs(t *testing.T) {
	r := newRegistry(t)
	many := make([]string, operator.MaxPools+1)
	for i := range many {
		many[i] = "pool-" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	for what, c := range map[string]struct {
		name  string
		role  operator.Role
		pools operator.Pools
		life  time.Duration
		code  string
	}{
		"nobody's":          {"", operator.Auditor, operator.Pools{}, 0, "name_invalid"},
		"the first one":     {"root", operator.Auditor, operator.Pools{}, 0, "operator-token_name"},
		"of no role":        {"a", "", operator.Pools{}, 0, "operator-token_role"},
		"of a strange role": {"a", "admin", operator.Pools{}, 0, "operator-token_role"},
		"a limited owner":   {"a", operator.Owner, operator.Pools{User: []string{"people"}}, 0, "operator-token_pools"},
		"of a strange pool": {"a", operator.Operator, operator.Pools{User: []string{"a/b"}}, 0, "name_invalid"},
		"of too many pools": {"a", operator.Operator, operator.Pools{User: many}, 0, "operator-token_pools"},
		"ended":             {"a", operator.Operator, operator.Pools{}, -1, "operator-token_life"},
		"for a moment":      {"a", operator.Operator, operator.Pools{}, time.Second, "operator-token_life"},
		"for ever":          {"a", operator.Operator, operator.Pools{}, operator.MaxTokenLife + 1, "operator-token_life"},
	} {
		if _, _, err := r.Create(t.Context(), root, c.name, c.role, c.pools, c.life); !fault.HasCode(err, c.code) || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if all, err := r.Store.Tokens(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept %v, %v", all, err)
	}
}

// broken is a store that does not work, or takes no writes.
type broken struct {
	operator.Store
	read, write error
}

func (b broken) Token(ctx context.Context, hash secret.Hash) (operator.Token, error) {
	if b.read != nil {
		return operator.Token{}, b.read
	}
	return b.Store.Token(ctx, hash)
}

func (b broken) NoteUse(context.Context, string, time.Time) error { return b.write }

func TestAStoreThatDoesNotWork(t *testing.T) {
	r := newRegistry(t)
	token, _, err := r.First(t.Context())
	must(t, err)
	down, works := errors.New("down"), r.Store
	r.Store = broken{works, nil, down}
	if _, err := r.Verify(t.Context(), token); err != nil {
		t.Errorf("nobody may read when nobody can write: %v", err)
	}
	// It is not a token that proves nothing.
	r.Store = broken{works, down, nil}
	if _, err := r.Verify(t.Context(), token); !errors.Is(err, down) || fault.Is(err, fault.Unauthenticated) {
		t.Errorf("with a broken store: %v", err)
	}
}
