package vault_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/spool"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

var (
	agent = name.Workload{Pool: "default", Name: "a"}
	zhang = name.User{Issuer: "https://id.example/userpool/u", Subject: "usr_zhang"}
	asks  = name.Caller{Kind: name.Agent, Workload: agent, User: zhang}
)

// thirdParty rotates refresh tokens and kills the family when one is used
// twice, as real ones do.
type thirdParty struct {
	mu      sync.Mutex
	current string // the refresh token that is good
	dead    bool
	calls   int
	revoked []string                                   // "access refresh"
	refusal error                                      // of revocations
	one     bool                                       // an authorization takes the place of the former one
	answer  func(vendor.Tokens) (vendor.Tokens, error) // nil: as it is
	now     func() time.Time
}

func (p *thirdParty) Refresh(_ context.Context, _ guard.Permit, _, _ string, refresh secret.Text) (vendor.Tokens, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.dead || refresh.RevealString() != p.current {
		p.dead = true
		return vendor.Tokens{}, fault.Wrap(&vendor.Failure{Class: vendor.ClassReauthorize, Explanation: "the refresh token was used already"}, fault.Upstream, "vendor_refused", "refused")
	}
	p.current = name.NewToken("rt")
	t := vendor.Tokens{Access: secret.FromString(name.NewToken("at")), Refresh: secret.FromString(p.current), TokenType: "Bearer", ExpiresAt: p.now().Add(2 * time.Hour)}
	if p.answer != nil {
		return p.answer(t)
	}
	return t, nil
}

// world is a vault on a real store with one grant that expires in two hours.
type world struct {
	db    *store.DB
	vault *vault.Vault
	party *thirdParty
	grant vault.Grant
	clock atomic.Int64
}

func (w *world) now() time.Time { return time.UnixMilli(w.clock.Load()) }

func newWorld(t *testing.T) *world { return newWorldOn(t, storetest.SQLite(t)) }

func newWorldOn(t testing.TB, db *store.DB) *world {
	w := &world{db: db}
	w.clock.Store(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).UnixMilli())
	w.party = &thirdParty{current: "rt_first", now: w.now}
	w.vault = w.replica(t)
	t.Cleanup(func() { drained(t, w.vault) })
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(store.Workloads{DB: w.db}.CreatePool(ctx, storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}))
	must(store.Workloads{DB: w.db}.CreateWorkload(ctx, storetest.Permit(t, workload.ActionCreate, workload.Resource(agent)), workload.Workload{Identity: agent}))
	must(store.Providers{DB: w.db}.CreateProvider(ctx, storetest.Permit(t, provider.ActionCreate, provider.Resource("default", "feishu")),
		provider.Provider{ID: "prv_1", Pool: "default", Name: "feishu", SealedSecret: []byte{1}, Version: 1}))
	read, err := name.NewScopes("read")
	must(err)
	w.grant, err = w.vault.NewGrant(ctx, "default", "feishu", zhang, vault.Grant{}, vendor.Account{}, vendor.Tokens{
		Access: secret.FromString("at_first"), Refresh: secret.FromString("rt_first"), TokenType: "Bearer", ExpiresAt: w.now().Add(2 * time.Hour)}, read)
	must(err)
	w.authorize(t, "auth_1", w.grant)
	return w
}

// authorize completes an authorization of zhang's with that id, by which the
// agent may use g.
func (w *world) authorize(t testing.TB, id string, g vault.Grant) {
	t.Helper()
	complete(t, w.db, id, zhang, g)
}

// complete completes an authorization of u's with that id, by which the agent may
// use g.
func complete(t testing.TB, db *store.DB, id string, u name.User, g vault.Grant) {
	t.Helper()
	a := consent.Authorization{ID: id, Pool: "default", Provider: "feishu", Workload: agent, User: u, State: consent.Pending, LinkHash: id, Sealed: []byte{1}, Version: 1}
	if err := (store.Authorizations{DB: db}).BeginAuthorization(t.Context(), storetest.Permit(t, consent.ActionBegin, a.Resource()), a); err != nil {
		t.Fatal(err)
	}
	a.State, a.Version, a.ProviderVersion = consent.Completed, 2, 1
	err := store.Authorizations{DB: db}.Complete(t.Context(), storetest.Permit(t, consent.ActionFinish, a.Resource()), consent.ActionFinish, a, g,
		vault.Delegation{ID: delegationID(id), GrantID: g.ID, Workload: agent, Scopes: g.Scopes})
	if err != nil {
		t.Fatal(err)
	}
}

// delegationID is the id of the delegation that an authorization led to.
func delegationID(authorization string) string {
	return "dlg" + strings.TrimPrefix(authorization, "auth")
}

// replica returns another process's vault on the same store.
func (w *world) replica(t testing.TB) *vault.Vault {
	t.Helper()
	v, stop, err := newReplica(t.Context(), w.db, t.TempDir(), w.party, w.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return v
}

// newReplica returns a vault with a journal of its own in dir.
func newReplica(ctx context.Context, db *store.DB, dir string, party vault.Refresher, now func() time.Time) (v *vault.Vault, stop func(), err error) {
	log := audit.NewLog(store.Audit{DB: db})
	g := &guard.Guard{Log: log, Now: now}
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	if err != nil {
		return nil, nil, err
	}
	ring, err := keys.NewRing(ctx, root, store.Keys{DB: db}, g, now)
	if err != nil {
		return nil, nil, err
	}
	journal, err := spool.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	revoker, _ := party.(vault.Revoker) // nil: nothing is revoked
	return &vault.Vault{Store: store.Vault{DB: db}, Held: store.Vault{DB: db}, Revocations: store.Vault{DB: db}, Sealer: ring, Guard: g, Refresher: party, Revoker: revoker,
		Journal: journal, Owner: name.NewID("rep"), Logger: slog.New(slog.DiscardHandler), Now: now}, log.Close, nil
}

// drained returns when v's refreshes have ended.
func drained(t testing.TB, v *vault.Vault) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := v.Drain(ctx); err != nil {
		t.Error("a refresh does not end:", err)
	}
}

func (w *world) permit(t testing.TB) guard.Permit {
	t.Helper()
	p, err := w.vault.Guard.Allow(t.Context(), asks, "credential.release", provider.Resource("default", "feishu"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) stored(t testing.TB) vault.Grant {
	t.Helper()
	g, err := store.Vault{DB: w.db}.Grant(t.Context(), w.grant.ID)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (w *world) pass(d time.Duration) { w.clock.Add(d.Milliseconds()) }

func TestAFreshTokenIsReturnedAsItIs(t *testing.T) {
	w := newWorld(t)
	got, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t))
	if err != nil || got.Access.RevealString() != "at_first" || w.party.calls != 0 {
		t.Errorf("got %q, %v after %d calls", got.Access.RevealString(), err, w.party.calls)
	}
}

func TestInsideTheMarginTheTokenIsReturnedAndRefreshedBehind(t *testing.T) {
	w := newWorld(t)
	w.pass(2*time.Hour - time.Minute)
	got, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t))
	if err != nil || got.Access.RevealString() != "at_first" {
		t.Fatalf("got %q, %v", got.Access.RevealString(), err)
	}
	drained(t, w.vault)
	if g := w.stored(t); g.Version != 2 || w.party.calls != 1 {
		t.Errorf("version %d after %d calls", g.Version, w.party.calls)
	}
}

// TestOneRefreshForEverybody has many callers in several replicas want an
// expired token at once: the refresh token may be spent only once.
func TestOneRefreshForEverybody(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	old, p := w.stored(t), w.permit(t)
	replicas := []*vault.Vault{w.vault, w.replica(t), w.replica(t)}
	var group sync.WaitGroup
	var mu sync.Mutex
	tokens := map[string]int{}
	for i := range 30 {
		group.Go(func() {
			got, err := replicas[i%len(replicas)].Fresh(t.Context(), p, old)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			tokens[got.Access.RevealString()]++
		})
	}
	group.Wait()
	if len(tokens) != 1 || w.party.calls != 1 || w.party.dead {
		t.Errorf("%d different tokens, %d calls, family dead: %v", len(tokens), w.party.calls, w.party.dead)
	}
}

func TestAFinalRefusalIsRememberedWithItsReason(t *testing.T) {
	w := newWorld(t)
	w.party.dead = true
	w.pass(3 * time.Hour)
	_, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t))
	if !fault.HasCode(err, "reauthorization_required") {
		t.Fatal(err)
	}
	g := w.stored(t)
	if g.State != vault.Reauthorize || g.Reason != "the refresh token was used already" {
		t.Errorf("got %q, %q", g.State, g.Reason)
	}
	if _, err = w.vault.Fresh(t.Context(), w.permit(t), g); !fault.HasCode(err, "reauthorization_required") || w.party.calls != 1 {
		t.Errorf("the second time: %v, %d calls", err, w.party.calls)
	}
}

// TestALostRaceIsWaitedOut has the third party say "used already" while the one
// who used it, whose lease has ended, is about to store the result.
func TestALostRaceIsWaitedOut(t *testing.T) {
	for what, stores := range map[string]bool{"the winner stores": true, "nobody stores": false} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.pass(3 * time.Hour)
			if !stores {
				w.vault.Patience.Race = 10 * time.Millisecond
			}
			w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
				if stores {
					g, ours, err := store.Vault{DB: w.db}.Leased(t.Context(), w.grant.ID)
					if err != nil {
						t.Error(err)
					}
					lease := vault.Lease{GrantID: g.ID, Version: 1, Owner: "winner", Until: w.now().Add(time.Hour)}
					if taken, err := (store.Vault{DB: w.db}).MoveLease(t.Context(), ours, lease); err != nil || !taken {
						t.Errorf("the winner's lease: %v, %v", taken, err)
					}
					next, err := w.vault.NewGrant(t.Context(), "default", "feishu", zhang, g, vendor.Account{}, got, g.Scopes)
					if err != nil {
						t.Error(err)
					}
					p := storetest.Permit(t, vault.ActionRefresh, vault.GrantResource("default", g.ID))
					if err := (store.Vault{DB: w.db}).ReplaceTokens(t.Context(), p, next, lease); err != nil {
						t.Error(err)
					}
				}
				return vendor.Tokens{}, fault.Wrap(&vendor.Failure{Class: vendor.ClassRace, Explanation: "used already"}, fault.Upstream, "vendor_race", "refused")
			}
			_, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t))
			if g := w.stored(t); stores && (err != nil || g.State != vault.Active) || !stores && (!fault.HasCode(err, "reauthorization_required") || g.State != vault.Reauthorize) {
				t.Errorf("got %v, state %q", err, g.State)
			}
		})
	}
}

func TestAnUnclearAnswerChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.party.answer = func(vendor.Tokens) (vendor.Tokens, error) {
		return vendor.Tokens{}, fault.Wrap(errors.New("connection reset"), fault.Unavailable, "vendor_unavailable", "no answer")
	}
	w.party.current = "rt_first"
	w.pass(3 * time.Hour)
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); !fault.HasCode(err, "vendor_unavailable") {
		t.Fatal(err)
	}
	if g := w.stored(t); g.State != vault.Active || g.Version != 1 {
		t.Errorf("got %q, version %d", g.State, g.Version)
	}
	// The lease was given back: the next caller does not have to wait for its end.
	w.party.mu.Lock()
	w.party.answer, w.party.current = nil, "rt_first"
	w.party.mu.Unlock()
	if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
		t.Error(err)
	}
}

func TestTheOldRefreshTokenStaysWhenTheAnswerHasNone(t *testing.T) {
	w := newWorld(t)
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		got.Refresh = secret.Text{}
		return got, nil
	}
	w.pass(3 * time.Hour)
	for range 2 {
		w.party.current = "rt_first" // it does not rotate
		if _, err := w.vault.Fresh(t.Context(), w.permit(t), w.stored(t)); err != nil {
			t.Fatal(err)
		}
		w.pass(3 * time.Hour)
	}
}

// TestACallerWhoLeavesDoesNotLoseTheTokens cancels the only caller while the
// third party is answering.
func TestACallerWhoLeavesDoesNotLoseTheTokens(t *testing.T) {
	w := newWorld(t)
	w.pass(3 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	asked, answer := make(chan struct{}), make(chan struct{})
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		close(asked)
		<-answer
		return got, nil
	}
	p, old := w.permit(t), w.stored(t)
	done := make(chan error, 1)
	go func() {
		_, err := w.vault.Fresh(ctx, p, old)
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !fault.HasCode(err, "refresh_in_progress") {
		t.Fatal(err)
	}
	close(answer)
	// Whoever comes next joins the refresh that is still under way, or finds its result.
	if _, err := w.vault.Fresh(t.Context(), p, old); err != nil {
		t.Fatal(err)
	}
	if g := w.stored(t); g.Version != 2 || w.party.calls != 1 {
		t.Errorf("version %d after %d calls", g.Version, w.party.calls)
	}
}

// TestATokenThatTheThirdPartyRefusesIsReplaced has a third party that does not
// tell when its tokens expire: that they have, the agent is told by a 401.
func TestATokenThatTheThirdPartyRefusesIsReplaced(t *testing.T) {
	w := newWorld(t)
	newer, err := w.vault.NewGrant(t.Context(), "default", "feishu", zhang, w.stored(t), vendor.Account{}, vendor.Tokens{
		Access: secret.FromString("at_first"), Refresh: secret.FromString("rt_first"), TokenType: "Bearer"}, w.grant.Scopes)
	if err != nil {
		t.Fatal(err)
	}
	w.authorize(t, "auth_2", newer)
	w.party.answer = func(got vendor.Tokens) (vendor.Tokens, error) {
		got.ExpiresAt = time.Time{}
		return got, nil
	}
	instead := func(refused string) string {
		t.Helper()
		got, err := w.vault.Instead(t.Context(), w.permit(t), w.stored(t), secret.FromString(refused))
		if err != nil {
			t.Fatal(err)
		}
		return got.Access.RevealString()
	}
	w.pass(30 * time.Second)
	if got := instead("at_first"); got != "at_first" || w.party.calls != 0 {
		t.Errorf("half a minute old: %q after %d calls", got, w.party.calls)
	}
	w.pass(30 * 24 * time.Hour)
	if got := instead("at_of_another_time"); got != "at_first" || w.party.calls != 0 {
		t.Errorf("another token was refused: %q after %d calls", got, w.party.calls)
	}
	// Many report the same refusal: one refresh.
	var group sync.WaitGroup
	p, old := w.permit(t), w.stored(t)
	for range 20 {
		group.Go(func() {
			got, err := w.vault.Instead(t.Context(), p, old, secret.FromString("at_first"))
			if err != nil || got.Access.RevealString() == "at_first" {
				t.Errorf("got %q, %v", got.Access.RevealString(), err)
			}
		})
	}
	group.Wait()
	now := instead("at_first")
	if again := instead(now); again != now || w.party.calls != 1 {
		t.Errorf("%d calls", w.party.calls)
	}
}

// TestARefusedTokenWithoutARefreshTokenStays, since an agent's word ends nobody's
// grant.
func TestARefusedTokenWithoutARefreshTokenStays(t *testing.T) {
	w := newWorld(t)
	newer, err := w.vault.NewGrant(t.Context(), "default", "feishu", zhang, w.stored(t), vendor.Account{}, vendor.Tokens{Access: secret.FromString("at_only"), TokenType: "Bearer"}, w.grant.Scopes)
	if err != nil {
		t.Fatal(err)
	}
	w.authorize(t, "auth_2", newer)
	w.pass(time.Hour)
	got, err := w.vault.Instead(t.Context(), w.permit(t), w.stored(t), secret.FromString("at_only"))
	if err != nil || got.Access.RevealString() != "at_only" || w.stored(t).State != vault.Active || w.party.calls != 0 {
		t.Errorf("got %q, state %q, %v", got.Access.RevealString(), w.stored(t).State, err)
	}
}

func TestASealedTokenOpensNowhereElse(t *testing.T) {
	w := newWorld(t)
	good := w.stored(t)
	for what, move := range map[string]func(*vault.Grant){
		"user":     func(g *vault.Grant) { g.User.Subject = "usr_li" },
		"issuer":   func(g *vault.Grant) { g.User.Issuer = "https://other.example" },
		"provider": func(g *vault.Grant) { g.Provider = "other" },
		"record":   func(g *vault.Grant) { g.ID = "grt_other" },
		"version":  func(g *vault.Grant) { g.Version++ },
		"pool":     func(g *vault.Grant) { g.Pool = "other" },
		"one bit":  func(g *vault.Grant) { g.Sealed = append([]byte{}, g.Sealed...); g.Sealed[len(g.Sealed)-1] ^= 1 },
		"cut":      func(g *vault.Grant) { g.Sealed = g.Sealed[:10] },
		"empty":    func(g *vault.Grant) { g.Sealed = nil },
	} {
		g := good
		move(&g)
		if _, err := w.vault.Fresh(t.Context(), w.permit(t), g); !fault.HasCode(err, "seal_broken") {
			t.Errorf("moved to another %s: %v", what, err)
		}
	}
}
