package vault_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/vendortest"
	"github.com/deputy-id/deputy/internal/workload"
)

var (
	manyFaults = flag.Int("faults", 300, "how many faults TestFaults injects for each database")
	faultSeed  = flag.Uint64("fault-seed", 1, "what TestFaults does in which order")
)

// asking asks a third party over the network, with the client that is used in production.
type asking struct {
	client *vendor.Client
	entry  vendor.Entry
}

func newAsking(url string, now func() time.Time) (asking, error) {
	out, err := outbound.New(outbound.Config{Allow: []string{strings.TrimPrefix(url, "http://")}})
	if err != nil {
		return asking{}, err
	}
	entry, err := vendortest.Entry(url)
	return asking{&vendor.Client{Outbound: out, Now: now}, entry}, err
}

func (a asking) Refresh(ctx context.Context, _ guard.Permit, _, _ string, refresh secret.Text) (vendor.Tokens, error) {
	return a.client.Refresh(ctx, a.entry, vendor.App{ClientID: vendortest.ClientID, ClientSecret: secret.FromString(vendortest.ClientSecret)}, refresh, name.Scopes{})
}

// site is several replicas on one store, and a third party.
type site struct {
	passed   atomic.Int64 // what the test has let pass, in addition to real time
	party    *vendortest.Party
	asking   asking
	stores   [2]*store.DB
	replicas []*vault.Vault
}

func (s *site) now() time.Time       { return time.Now().Add(time.Duration(s.passed.Load())) }
func (s *site) pass(d time.Duration) { s.passed.Add(int64(d)) }

func newSite(t *testing.T, open storetest.Open, replicas int) *site {
	t.Helper()
	s := &site{}
	s.party = vendortest.Start(t, s.now)
	var err error
	if s.asking, err = newAsking(s.party.URL(), s.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.asking.client.Outbound.Close)
	s.stores[0], s.stores[1] = open(t)
	furnish(t, s.stores[0])
	for i := range replicas {
		s.replicas = append(s.replicas, s.replica(t, s.stores[i%2]))
	}
	return s
}

// furnish makes what a grant needs: pool, workload and provider.
func furnish(t *testing.T, db *store.DB) {
	t.Helper()
	ctx := t.Context()
	for _, err := range []error{
		store.Workloads{DB: db}.CreatePool(ctx, storetest.Permit(t, workload.ActionCreatePool, workload.PoolResource("default")), workload.Pool{Name: "default"}),
		store.Workloads{DB: db}.CreateWorkload(ctx, storetest.Permit(t, workload.ActionCreate, workload.Resource(agent)), workload.Workload{Identity: agent}),
		store.Providers{DB: db}.CreateProvider(ctx, storetest.Permit(t, provider.ActionCreate, provider.Resource("default", "feishu")),
			provider.Provider{ID: "prv_1", Pool: "default", Name: "feishu", SealedSecret: []byte{1}, Version: 1}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *site) replica(t *testing.T, db *store.DB) *vault.Vault {
	t.Helper()
	v, stop, err := newReplica(t.Context(), db, t.TempDir(), s.asking, s.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	v.Patience = hasty()
	return v
}

// hasty is the patience of tests.
func hasty() vault.Patience {
	return vault.Patience{Lease: 300 * time.Millisecond, Look: 5 * time.Millisecond, Skew: time.Millisecond, Return: 20 * time.Second}
}

// authorize has a user authorize, as the next version of old, and returns the
// grant's id and the family at the third party.
func (s *site) authorize(t *testing.T, u name.User, old vault.Grant) (id, family string) {
	t.Helper()
	family, access, refresh, expires := s.party.Authorize()
	v := s.replicas[0]
	g, err := v.NewGrant(t.Context(), "default", "feishu", u, old, vendor.Account{}, vendor.Tokens{
		Access: secret.FromString(access), Refresh: secret.FromString(refresh), TokenType: "Bearer", ExpiresAt: expires}, name.Scopes{})
	if err != nil {
		t.Fatal(err)
	}
	complete(t, s.stores[0], name.NewID("auth"), u, g)
	return g.ID, family
}

// fetch has somebody ask a replica for a credential, as the broker does.
func fetch(ctx context.Context, v *vault.Vault, id string) (vault.Token, error) {
	g, err := v.Store.Grant(ctx, id)
	if err != nil {
		return vault.Token{}, err
	}
	p, err := v.Guard.Allow(ctx, name.Caller{Kind: name.Agent, Workload: agent, User: g.User}, "credential.release", provider.Resource("default", "feishu"))
	if err != nil {
		return vault.Token{}, err
	}
	return v.Fresh(ctx, p, g)
}

// TestFourReplicasAndManyCallers has 200 callers in each of four replicas want
// one expired grant at once, of a third party that is slower than a lease.
func TestFourReplicasAndManyCallers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := newSite(t, open, 4)
		s.party.Slow = 2500 * time.Millisecond
		for _, v := range s.replicas {
			v.Patience.Lease = time.Second // a busy machine must have the time to extend it
		}
		s.party.Fail(func(string) vendortest.Fault { return vendortest.Slow })
		id, family := s.authorize(t, zhang, vault.Grant{})
		s.pass(3 * time.Hour)
		var group sync.WaitGroup
		for i := range 4 * 200 {
			group.Go(func() {
				got, err := fetch(t.Context(), s.replicas[i%4], id)
				if err != nil || got.Access.RevealString() != "at."+family+".2" {
					t.Errorf("got %q, %v", got.Access.RevealString(), err)
				}
			})
		}
		group.Wait()
		if f := s.party.Family(family); f.Requests != 1 || f.Rotations != 1 || f.UsedTwice != 0 {
			t.Errorf("the third party saw %+v", f)
		}
	})
}

// faulty is a store that fails now and then: before it did what it was asked for,
// or after.
type faulty struct {
	vault.Store
	fails    func() (before, after bool)
	injected *atomic.Int64
}

func (f faulty) do(act func() error) error {
	before, after := f.fails()
	if before || after {
		f.injected.Add(1)
	}
	if before {
		return fault.New(fault.Unavailable, "store_unavailable", "the store fails before it did anything")
	}
	if err := act(); err != nil || !after {
		return err
	}
	return fault.New(fault.Unavailable, "store_unavailable", "the store fails after it did it")
}

func (f faulty) MoveLease(ctx context.Context, former, next vault.Lease) (moved bool, err error) {
	err = f.do(func() (err error) {
		moved, err = f.Store.MoveLease(ctx, former, next)
		return err
	})
	return moved && err == nil, err
}

func (f faulty) ReplaceTokens(ctx context.Context, p guard.Permit, g vault.Grant, l vault.Lease) error {
	return f.do(func() error { return f.Store.ReplaceTokens(ctx, p, g, l) })
}

func (f faulty) Postpone(ctx context.Context, id string, version int64, due time.Time) error {
	return f.do(func() error { return f.Store.Postpone(ctx, id, version, due) })
}

// full is a journal on a disk that is full now and then.
type full struct {
	vault.Journal
	fails    func() bool
	injected *atomic.Int64
}

func (f full) Put(id string, content []byte) error {
	if f.fails() {
		f.injected.Add(1)
		return errors.New("no space left on device")
	}
	return f.Journal.Put(id, content)
}

// subject is one user's grant, as the test knows it.
type subject struct {
	user       name.User
	id, family string
	former     []string // families that the third party has lost
}

// TestFaults has a third party and a store that fail in every known way, at
// random, while callers in four replicas want the tokens of many users. Whatever
// happens, no grant is lost that the third party has not lost itself, no refresh
// token is used twice, there is one refresh per expiry, and whoever asks while the
// token is valid gets it.
//
//	go test ./internal/vault -run TestFaults -faults 10000 -timeout 60m
func TestFaults(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := newSite(t, open, 4)
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(*faultSeed, 0))
		roll := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return dice.IntN(n)
		}
		s.party.Fail(func(string) vendortest.Fault {
			if roll(3) == 0 {
				return vendortest.None
			}
			return vendortest.Faults()[roll(len(vendortest.Faults()))]
		})
		var storeFaults atomic.Int64
		for _, v := range s.replicas {
			v.Store = faulty{v.Store, func() (bool, bool) { return roll(12) == 0, roll(12) == 0 }, &storeFaults}
			v.Journal = full{v.Journal, func() bool { return roll(12) == 0 }, &storeFaults}
		}
		var users []*subject
		for i := range 24 {
			u := &subject{user: name.User{Issuer: zhang.Issuer, Subject: fmt.Sprintf("usr_%d", i)}}
			u.id, u.family = s.authorize(t, u.user, vault.Grant{})
			users = append(users, u)
		}
		injected := func() (n int) {
			for f, times := range s.party.Injected() {
				if f != vendortest.None {
					n += times
				}
			}
			return n + int(storeFaults.Load())
		}
		for injected() < *manyFaults && !t.Failed() {
			s.pass(2*time.Hour - 10*time.Minute)
			for range 3 {
				s.everybody(t, users)
			}
			s.pass(15 * time.Minute)
			s.untilServed(t, users)
			for _, u := range users {
				s.judge(t, u)
			}
		}
		t.Logf("%d faults (%v, store and journal %d): %s", injected(), s.party.Injected(), storeFaults.Load(), s.seen(users))
	})
}

// seen tells what the third party has seen of all families there were.
func (s *site) seen(users []*subject) string {
	var all vendortest.Family
	lost, wrongly := 0, 0
	for _, u := range users {
		lost += len(u.former)
		for _, id := range append(u.former, u.family) {
			f := s.party.Family(id)
			all.Requests, all.Rotations, all.TooEarly = all.Requests+f.Requests, all.Rotations+f.Rotations, all.TooEarly+f.TooEarly
			all.UsedTwice += f.UsedTwice + f.TooSoon
			if id != u.family && !f.Lost {
				wrongly++
			}
		}
	}
	return fmt.Sprintf("%d requests for refreshes, %d rotations; grants lost: %d by the third party, %d by Deputy; refresh tokens used twice: %d; refreshes beyond one per expiry: %d",
		all.Requests, all.Rotations, lost-wrongly, wrongly, all.UsedTwice, all.TooEarly)
}

// everybody has two callers in different replicas ask for each grant, all at
// once, and then waits until nothing goes on. Nobody may be turned away whose
// token is valid. It returns those who did not get a token.
func (s *site) everybody(t *testing.T, users []*subject) (unserved []*subject) {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	for i, u := range users {
		for j := range 2 {
			group.Go(func() {
				g := s.stored(t, u)
				got, err := fetch(t.Context(), s.replicas[(i+j)%4], u.id)
				switch {
				case err == nil && !s.party.Good(got.Access.RevealString()):
					t.Errorf("%s got %q, which is not good at the third party: %+v", u.id, got.Access.RevealString(), s.party.Family(u.family))
				case err != nil && g.State == vault.Active && s.now().Before(g.Expires):
					t.Errorf("%s was turned away with a token that is valid until %v: %v", u.id, g.Expires, err)
				case err != nil:
					mu.Lock()
					defer mu.Unlock()
					unserved = append(unserved, u)
				}
			})
		}
	}
	group.Wait()
	for _, v := range s.replicas {
		drained(t, v)
	}
	return unserved
}

func (s *site) stored(t *testing.T, u *subject) vault.Grant {
	t.Helper()
	g, err := store.Vault{DB: s.stores[0]}.Grant(t.Context(), u.id)
	if err != nil {
		t.Error(err)
	}
	return g
}

// untilServed has those ask again who did not get a token, until everybody has
// one or is told to authorize again.
func (s *site) untilServed(t *testing.T, users []*subject) {
	t.Helper()
	for range 200 {
		var waiting []*subject
		for _, u := range s.everybody(t, users) {
			if s.stored(t, u).State == vault.Active && !slices.Contains(waiting, u) {
				waiting = append(waiting, u)
			}
		}
		if users = waiting; len(users) == 0 {
			return
		}
		s.pass(time.Second)
	}
	t.Errorf("%d grants could not be refreshed in 200 rounds", len(users))
}

// judge looks at what became of a user's grant, and has the user authorize again
// if he has to.
func (s *site) judge(t *testing.T, u *subject) {
	t.Helper()
	f, g := s.party.Family(u.family), s.stored(t, u)
	if f.UsedTwice > 0 || f.TooSoon > 0 {
		t.Errorf("%s: a refresh token was used twice: %+v", u.id, f)
	}
	if f.TooEarly > 0 {
		t.Errorf("%s: there was more than one refresh in one life of a token: %+v", u.id, f)
	}
	if g.State == vault.Active {
		return
	}
	if !f.Lost {
		t.Errorf("%s was lost (%s), although the third party had delivered everything: %+v", u.id, g.Reason, f)
	}
	u.former = append(u.former, u.family)
	u.id, u.family = s.authorize(t, u.user, g)
}
