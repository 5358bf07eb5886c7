package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Revoke implements vault.Revoker: it notes what it was given and answers as it
// was told.
func (p *thirdParty) Revoke(_ context.Context, _ guard.Permit, _ vault.Revocation, access, refresh secret.Text) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = append(p.revoked, access.RevealString()+" "+refresh.RevealString())
	return p.refusal
}

// Supersedes implements vault.Revoker.
func (p *thirdParty) Supersedes(context.Context, guard.Permit, vault.Revocation) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.one, nil
}

var root = name.Caller{Kind: name.Operator, Operator: "root"}

// revoke works off what is due.
func (w *world) revoke(t *testing.T) {
	t.Helper()
	if err := w.vault.Revoking(store.Bell{DB: w.db}).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) pending(t *testing.T) []vault.Revocation {
	t.Helper()
	list, err := w.vault.Revocations.Pending(t.Context(), "default", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// entries returns what the audit log has of an action.
func (w *world) entries(t *testing.T, action guard.Action) []audit.Entry {
	t.Helper()
	all, err := storetest.Entries(t.Context(), w.db)
	if err != nil {
		t.Fatal(err)
	}
	var list []audit.Entry
	for _, e := range all {
		if e.Action == string(action) {
			list = append(list, e)
		}
	}
	return list
}

func (w *world) delete(t *testing.T) {
	t.Helper()
	if err := w.vault.Delete(t.Context(), root, "default", w.grant.ID); err != nil {
		t.Fatal(err)
	}
}

func TestADeletedGrantIsRevokedAtTheThirdParty(t *testing.T) {
	w := newWorld(t)
	w.delete(t)
	if _, err := w.vault.Store.Grant(t.Context(), w.grant.ID); !fault.HasCode(err, "grant_not_found") {
		t.Errorf("the grant is still there: %v", err)
	}
	if list := w.entries(t, vault.ActionRevoked); len(list) != 1 || list[0].Detail["cause"] != "grant.delete" || list[0].Detail["subject"] != zhang.Subject || list[0].Caller.Operator != "root" {
		t.Errorf("recorded: %+v", list)
	}
	w.revoke(t)
	if len(w.party.revoked) != 1 || w.party.revoked[0] != "at_first rt_first" {
		t.Errorf("revoked: %q", w.party.revoked)
	}
	if list := w.entries(t, vault.ActionRevokeUpstream); len(list) != 1 || list[0].Outcome != audit.Allowed || list[0].Detail["outcome"] != "revoked" || list[0].Detail["cause"] != "grant.delete" {
		t.Errorf("recorded: %+v", list)
	}
	if list := w.pending(t); len(list) != 0 {
		t.Errorf("still pending: %+v", list)
	}
}

func TestAThirdPartyWithoutRevocationIsNotAskedAgain(t *testing.T) {
	w := newWorld(t)
	w.party.refusal = fault.New(fault.Invalid, "vendor_endpoint_missing", "none")
	w.delete(t)
	w.revoke(t)
	if list := w.entries(t, vault.ActionRevokeUpstream); len(list) != 1 || list[0].Detail["outcome"] != "the third party has no revocation" {
		t.Errorf("recorded: %+v", list)
	}
	if list := w.pending(t); len(list) != 0 {
		t.Errorf("still pending: %+v", list)
	}
}

// TestAFailedRevocationIsTriedForAWeek lets a third party be down for longer
// than that: what was tried and why it failed can be seen all the time, and the
// end is recorded as a failure.
func TestAFailedRevocationIsTriedForAWeek(t *testing.T) {
	w := newWorld(t)
	w.party.refusal = fault.Wrap(errors.New("connection refused"), fault.Unavailable, "vendor_unavailable", "no answer from the third party")
	w.delete(t)
	w.revoke(t)
	list := w.pending(t)
	if len(list) != 1 || list[0].Attempts != 1 || list[0].LastError != "vendor_unavailable: no answer from the third party" || list[0].Cause != "grant.delete" {
		t.Fatalf("pending: %+v", list)
	}
	if wait := list[0].Due.Sub(w.now()); wait < 30*time.Second || wait > 38*time.Second {
		t.Errorf("tried again in %v", wait)
	}
	for range 8 * 24 {
		w.pass(time.Hour)
		w.revoke(t)
	}
	if n := len(w.party.revoked); n < 25 || n > 45 {
		t.Errorf("asked %d times in a week", n)
	}
	if list := w.pending(t); len(list) != 0 {
		t.Errorf("never given up: %+v", list)
	}
	if list := w.entries(t, vault.ActionRevokeUpstream); len(list) != 1 || list[0].Outcome != audit.Failed || list[0].Detail["outcome"] != "given up" || list[0].Reason == "" {
		t.Errorf("recorded: %+v", list)
	}
}

// TestTheResultOfARefreshThatTheEndOvertookIsRevoked deletes the grant while the
// third party is answering: what it answers is what has to be revoked.
func TestTheResultOfARefreshThatTheEndOvertookIsRevoked(t *testing.T) {
	w := newWorld(t)
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		if err := w.vault.Delete(context.Background(), root, "default", w.grant.ID); err != nil {
			t.Error(err)
		}
		w.revoke(t) // not before the refresh has had its time
		return got, nil
	}
	w.pass(3 * time.Hour)
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.grant); err == nil {
		t.Error("a token of a deleted grant was given away")
	}
	if _, err := w.vault.Replay(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.revoke(t)
	if len(w.party.revoked) != 1 || w.party.revoked[0] == "at_first rt_first" {
		t.Errorf("revoked: %q", w.party.revoked)
	}
	if list := w.pending(t); len(list) != 0 {
		t.Errorf("still pending: %+v", list)
	}
}

func TestTokensThatWereDeadBeforeAreNotRevoked(t *testing.T) {
	w := newWorld(t)
	w.party.dead = true
	w.pass(3 * time.Hour)
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.grant); !fault.HasCode(err, "reauthorization_required") {
		t.Fatal(err)
	}
	w.delete(t)
	w.revoke(t)
	if list := w.entries(t, vault.ActionRevokeUpstream); len(w.party.revoked) != 0 || len(list) != 1 || list[0].Detail["outcome"] != "dead before" {
		t.Errorf("revoked %q, recorded %+v", w.party.revoked, list)
	}
}

// TestPeopleEndWhatIsTheirsAndNothingElse also asks with the ids of another
// user, of another issuer's user of the same name, and of another pool.
func TestPeopleEndWhatIsTheirsAndNothingElse(t *testing.T) {
	w := newWorld(t)
	for what, c := range map[string]name.Caller{
		"another user":   {Kind: name.Person, User: name.User{Issuer: zhang.Issuer, Subject: "usr_li"}},
		"another issuer": {Kind: name.Person, User: name.User{Issuer: "https://other.example", Subject: zhang.Subject}},
	} {
		if err := w.vault.Delete(t.Context(), c, "default", w.grant.ID); !fault.HasCode(err, "grant_not_found") {
			t.Errorf("%s deletes the grant: %v", what, err)
		}
		if err := w.vault.Withdraw(t.Context(), c, "default", "dlg_1"); !fault.HasCode(err, "delegation_not_found") {
			t.Errorf("%s withdraws the delegation: %v", what, err)
		}
	}
	owner := name.Caller{Kind: name.Person, User: zhang}
	for what, err := range map[string]error{
		"a grant of another pool":      w.vault.Delete(t.Context(), owner, "other", w.grant.ID),
		"a delegation of another pool": w.vault.Withdraw(t.Context(), owner, "other", "dlg_1"),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.vault.Delete(t.Context(), asks, "default", w.grant.ID); !fault.HasCode(err, "not_allowed") {
		t.Errorf("an agent deletes a grant: %v", err)
	}
	if err := w.vault.Withdraw(t.Context(), owner, "default", "dlg_1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.vault.Store.Grant(t.Context(), w.grant.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("the grant outlives its last delegation: %v", err)
	}
	w.revoke(t)
	if len(w.party.revoked) != 1 {
		t.Errorf("revoked: %q", w.party.revoked)
	}
}

// TestADeletedProvidersSecretIsKeptUntilItsTokensAreRevoked and not longer.
func TestADeletedProvidersSecretIsKeptUntilItsTokensAreRevoked(t *testing.T) {
	w := newWorld(t)
	providers := store.Providers{DB: w.db}
	p, err := w.vault.Guard.Allow(t.Context(), root, provider.ActionDelete, provider.Resource("default", "feishu"))
	if err != nil {
		t.Fatal(err)
	}
	if err := providers.DeleteProvider(t.Context(), p, "default", "feishu"); err != nil {
		t.Fatal(err)
	}
	if v, err := providers.FormerProvider(t.Context(), "prv_1"); err != nil || v.Name != "feishu" || len(v.SealedSecret) != 1 {
		t.Errorf("the former provider: %+v, %v", v, err)
	}
	if list := w.pending(t); len(list) != 1 || list[0].ProviderID != "prv_1" || list[0].Cause != "provider.delete" {
		t.Errorf("pending: %+v", list)
	}
	w.revoke(t)
	if len(w.party.revoked) != 1 || w.party.revoked[0] != "at_first rt_first" {
		t.Errorf("revoked: %q", w.party.revoked)
	}
	if _, err := providers.FormerProvider(t.Context(), "prv_1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("the former provider is still there: %v", err)
	}
}

// TestALateRevocationSparesWhatCameAfterIt ends a grant while the third party is
// down, has the user authorize again, and lets the third party come back: one
// that keeps a single authorization of him would end the new one too.
func TestALateRevocationSparesWhatCameAfterIt(t *testing.T) {
	for what, c := range map[string]struct {
		one           bool
		before, after string // accounts
		again         bool
		want          string // outcome
	}{
		"one at a time":                      {true, "acc_1", "acc_1", true, "superseded"},
		"one at a time, accounts unknown":    {true, "", "", true, "superseded"},
		"one at a time, an account unknown":  {true, "acc_1", "", true, "superseded"},
		"one at a time, at another account":  {true, "acc_1", "acc_2", true, "revoked"},
		"one at a time, and not again":       {true, "acc_1", "", false, "revoked"},
		"each for itself, at the same place": {false, "acc_1", "acc_1", true, "revoked"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			give := func(id, account string, old vault.Grant) vault.Grant {
				g, err := w.vault.NewGrant(t.Context(), "default", "feishu", zhang, old, vendor.Account{ID: account}, vendor.Tokens{
					Access: secret.FromString("at_" + id), Refresh: secret.FromString("rt_" + id), TokenType: "Bearer", ExpiresAt: w.now().Add(time.Hour)}, w.grant.Scopes)
				if err != nil {
					t.Fatal(err)
				}
				w.authorize(t, "auth_"+id, g)
				return g
			}
			w.grant = give("former", c.before, w.grant)
			w.party.refusal, w.party.one = errors.New("down"), c.one
			w.delete(t)
			w.revoke(t)
			if c.again {
				give("new", c.after, vault.Grant{})
			}
			w.party.refusal, w.party.revoked = nil, nil
			w.pass(time.Minute)
			w.revoke(t)
			if n := len(w.party.revoked); (n == 1) != (c.want == "revoked") {
				t.Errorf("%d were revoked", n)
			}
			if list := w.entries(t, vault.ActionRevokeUpstream); len(list) != 1 || list[0].Outcome != audit.Allowed || list[0].Detail["outcome"] != c.want {
				t.Errorf("recorded: %+v", list)
			}
			if list := w.pending(t); len(list) != 0 {
				t.Errorf("still pending: %+v", list)
			}
		})
	}
}
