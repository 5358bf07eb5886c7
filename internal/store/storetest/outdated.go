package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/workload"
)

// question is asked all the time, while its answer changes.
type question struct {
	ask  func(ctx context.Context, db *store.DB) (string, error)
	look func(ctx context.Context, db *store.DB) (string, error) // the same, of a function that remembers nothing

	answers     []string // number n holds after n changes
	begun, done atomic.Int64
}

// sight is an answer that a reader was given.
type sight struct {
	question  *question
	from, to  int64 // the changes that were done before, and begun until after
	answer    string
	onReplica int
}

// testNothingOutdated changes grants, delegations, providers, pools and clients
// in every way, at random and many at once, while others ask for them all the
// time. Nobody may be given an answer that was outdated when he asked: no grant
// that had been revoked, no tokens that had been replaced.
func testNothingOutdated(t *testing.T, open Open) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	first, second := open(t)
	l := newLively(t, first, second)
	var writers, readers sync.WaitGroup
	var sights [4][]sight
	stop := make(chan struct{})
	for i := range sights {
		readers.Go(func() { sights[i] = l.read(t, i, stop) })
	}
	for i, p := range l.people {
		writers.Go(func() { l.write(t, rand.New(rand.NewPCG(seed, uint64(i))), p.questions, p.change) })
	}
	writers.Go(func() { l.write(t, rand.New(rand.NewPCG(seed, 100)), l.logins, l.changeLogins) })
	writers.Wait()
	close(stop)
	readers.Wait()
	all := slices.Concat(sights[:]...)
	for _, s := range all {
		if !slices.Contains(s.question.answers[s.from:s.to+1], s.answer) {
			t.Fatalf("replica %d answered, after change %d and before change %d was done:\n%s\nthe answers then were:\n%q", s.onReplica, s.from, s.to, s.answer, s.question.answers[s.from:s.to+1])
		}
	}
	if len(all) < 100 {
		t.Errorf("only %d answers were given", len(all))
	}
}

// lively is two replicas and those who change what is in them.
type lively struct {
	replicas [2]*store.DB
	people   []*granting
	logins   []*question // of pool and client

	// Who changes what belongs to many holds it, everybody else reads it.
	many sync.RWMutex
}

// granting is a person and his grant.
type granting struct {
	stores
	pools     store.UserPools
	user      name.User
	questions []*question // for each agent
}

func newLively(t *testing.T, first, second *store.DB) *lively {
	t.Helper()
	l := &lively{replicas: [2]*store.DB{first, second}}
	s := setUp(t, first)
	must(t, store.Keys{DB: first}.AddDataKey(t.Context(), Permit(t, keys.ActionCreateDataKey, keys.DataKeyResource("p", 1)), keys.DataKey{Pool: "p", Version: 1, Wrapped: []byte{1}}))
	pools := store.UserPools{DB: first, PublicURL: "https://id.example"}
	must(t, pools.CreatePool(t.Context(), Permit(t, userpool.ActionCreatePool, userpool.Resource("u")), userpool.Pool{Name: "u", CreatedAt: moment}))
	client := userpool.Client{Pool: "u", ID: "cli_1", Name: "chat", CreatedAt: moment}
	must(t, pools.CreateClient(t.Context(), Permit(t, userpool.ActionCreateClient, client.Resource()), client))
	l.logins = []*question{{
		ask: func(ctx context.Context, db *store.DB) (string, error) {
			p, err := (store.UserPools{DB: db}).Pool(ctx, "u")
			return fmt.Sprint(p.Version, p.DisplayName), err
		},
		look: func(ctx context.Context, db *store.DB) (string, error) {
			list, err := (store.UserPools{DB: db}).Pools(ctx)
			return fmt.Sprint(list[0].Version, list[0].DisplayName), err
		},
	}, {
		ask: func(ctx context.Context, db *store.DB) (string, error) {
			c, err := (store.UserPools{DB: db}).Client(ctx, "u", "cli_1")
			return fmt.Sprint(c.Version, c.Name), err
		},
		look: func(ctx context.Context, db *store.DB) (string, error) {
			list, err := (store.UserPools{DB: db}).Clients(ctx, "u")
			return fmt.Sprint(list[0].Version, list[0].Name), err
		},
	}}
	for i := range 4 {
		p := &granting{stores: s, pools: pools, user: name.User{Issuer: zhang.Issuer, Subject: fmt.Sprintf("usr_%d", i)}}
		if i%2 == 1 {
			p.stores, p.pools.DB = stores{store.Workloads{DB: second}, store.Providers{DB: second}, store.Vault{DB: second}, store.Authorizations{DB: second}}, second
		}
		p.create(t)
		for _, w := range []name.Workload{agentA, agentB} {
			p.questions = append(p.questions, p.question(w))
		}
		l.people = append(l.people, p)
	}
	for _, q := range l.questions() {
		q.settle(t, first)
	}
	return l
}

func (l *lively) questions() []*question {
	all := slices.Clone(l.logins)
	for _, p := range l.people {
		all = append(all, p.questions...)
	}
	return all
}

// settle notes what holds now.
func (q *question) settle(t *testing.T, db *store.DB) {
	answer, err := q.look(t.Context(), db)
	if err != nil {
		t.Error(err)
	}
	q.answers = append(q.answers, answer)
}

// question asks whether an agent may use the person's grant, and for the grant.
func (p *granting) question(w name.Workload) *question {
	answer := func(found bool, g vault.Grant, d vault.Delegation) string {
		if !found {
			return "nothing"
		}
		return fmt.Sprintf("%+v %+v", g, d)
	}
	return &question{
		ask: func(ctx context.Context, db *store.DB) (string, error) {
			g, d, ok, err := (store.Vault{DB: db}).FindDelegated(ctx, w, "feishu", p.user)
			return answer(ok, g, d), err
		},
		look: func(ctx context.Context, db *store.DB) (string, error) {
			f, err := (store.Vault{DB: db}).FindCredential(ctx, w, "feishu", p.user)
			if fault.Is(err, fault.NotFound) {
				err = nil
			}
			return answer(f.Delegation.ID != "" && f.Options.Allow(w.Name, "feishu") == nil, f.Grant, f.Delegation), err
		},
	}
}

// read asks at random until stop is closed, at least a hundred times.
func (l *lively) read(t *testing.T, i int, stop <-chan struct{}) (seen []sight) {
	questions := l.questions()
	for {
		select {
		case <-stop:
			if len(seen) >= 100 {
				return seen
			}
		default:
		}
		s := sight{question: questions[rand.IntN(len(questions))], onReplica: i % 2}
		s.from = s.question.done.Load()
		var err error
		if s.answer, err = s.question.ask(t.Context(), l.replicas[s.onReplica]); err != nil {
			t.Error(err)
			return seen
		}
		s.to = s.question.begun.Load()
		seen = append(seen, s)
	}
}

// write makes changes that matter to these questions, and now and then one that
// matters to all.
func (l *lively) write(t *testing.T, dice *rand.Rand, questions []*question, change func(t *testing.T, dice *rand.Rand)) {
	for range 60 {
		lock, unlock, to, do := l.many.RLock, l.many.RUnlock, questions, change
		if dice.IntN(15) == 0 {
			lock, unlock, to, do = l.many.Lock, l.many.Unlock, l.questions(), l.changeMany
		}
		if lock(); t.Failed() {
			unlock()
			return
		}
		for _, q := range to {
			q.begun.Add(1)
		}
		do(t, dice)
		for _, q := range to {
			q.settle(t, l.replicas[0])
			q.done.Add(1)
		}
		unlock()
	}
}

// create makes the person, who has no grant.
func (p *granting) create(t *testing.T) {
	u := userpool.User{Pool: "u", ID: p.user.Subject, UserName: p.user.Subject, CreatedAt: moment}
	check(t, p.pools.CreateUser(t.Context(), Permit(t, userpool.ActionCreateUser, u.Resource()), u))
}

// check is must for a goroutine that is not the test's own.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// change changes something about the person's grant.
func (p *granting) change(t *testing.T, dice *rand.Rand) {
	held, err := p.vault.Delegations(t.Context(), vault.Filter{Pool: "p", Limit: 10}.Of(p.user))
	check(t, err)
	if len(held) == 0 {
		g := grant(t, p.user)
		p.complete(t, consent.ActionFinish, agentA, g, g)
		return
	}
	g, err := p.vault.Grant(t.Context(), held[0].Grant.ID)
	check(t, err)
	later := moment.Add(time.Duration(dice.IntN(1e6)) * time.Second)
	switch dice.IntN(10) {
	case 0:
		p.complete(t, consent.ActionDecide, agentB, vault.Grant{}, g)
	case 1:
		p.refresh(t, g, later)
	case 2:
		check(t, p.vault.Postpone(t.Context(), g.ID, g.Version, later))
	case 3:
		check(t, p.vault.MarkUsed(t.Context(), []string{g.ID}, later))
	case 4:
		sealed := keys.Sealed{Column: "grants.sealed", Place: keys.Place{Record: g.ID}, Bytes: g.Sealed}
		_, err := store.Keys{DB: p.vault.DB}.Reseal(t.Context(), Permit(t, keys.ActionReseal, keys.DataKeyResource("p", 1)), "p", 1, []keys.Resealed{{Sealed: sealed, New: append(g.Sealed, 1)}})
		check(t, err)
	case 5:
		_, err := p.vault.RemoveDelegation(t.Context(), Permit(t, vault.ActionClear, provider.Resource("p", "feishu")), agentA, "feishu", p.user)
		check(t, err)
	case 6:
		d := held[len(held)-1].Delegation.ID
		check(t, p.vault.DeleteDelegation(t.Context(), Permit(t, vault.ActionWithdraw, vault.DelegationResource("p", d)), "p", d))
	case 7:
		check(t, p.vault.DeleteGrant(t.Context(), Permit(t, vault.ActionDelete, vault.GrantResource("p", g.ID)), "p", g.ID))
	case 8:
		check(t, p.pools.DeleteUser(t.Context(), Permit(t, userpool.ActionDeleteUser, userpool.UserResource("u", p.user.Subject)), "u", p.user.Subject))
		p.create(t)
	case 9: // at another account, which nobody else may use
		g.Version, g.Account.ID = g.Version+1, name.NewID("ou")
		p.complete(t, consent.ActionFinish, agentB, g, g)
	}
}

// complete has the person allow w the grant of, and puts g if it is not zero.
func (p *granting) complete(t *testing.T, action guard.Action, w name.Workload, g, of vault.Grant) {
	a := pending(w, p.user)
	check(t, p.authorizations.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
	d := vault.Delegation{ID: name.NewID("dlg"), GrantID: of.ID, Workload: w, Scopes: of.Scopes, Created: moment, Updated: moment}
	check(t, p.authorizations.Complete(t.Context(), Permit(t, action, a.Resource()), action, p.completed(t, a), g, d))
}

func (p *granting) refresh(t *testing.T, g vault.Grant, until time.Time) {
	lease := vault.Lease{GrantID: g.ID, Version: g.Version, Owner: "me", Until: until}
	moved, err := p.vault.MoveLease(t.Context(), vault.Lease{GrantID: g.ID, Version: g.Version}, lease)
	if err != nil || !moved {
		t.Errorf("the lease of %+v: %v, %v", g, moved, err)
	}
	g.Version, g.Sealed, g.Expires = g.Version+1, append(g.Sealed, 2), until
	check(t, p.vault.ReplaceTokens(t.Context(), Permit(t, vault.ActionRefresh, vault.GrantResource("p", g.ID)), g, lease))
}

// changeLogins changes the pool or the client.
func (l *lively) changeLogins(t *testing.T, dice *rand.Rand) {
	pools := store.UserPools{DB: l.replicas[dice.IntN(2)]}
	if dice.IntN(2) == 0 {
		p, err := pools.Pool(t.Context(), "u")
		check(t, err)
		p.DisplayName = name.NewID("pool")
		check(t, pools.UpdatePool(t.Context(), Permit(t, userpool.ActionUpdatePool, p.Resource()), p))
		return
	}
	c, err := pools.Client(t.Context(), "u", "cli_1")
	check(t, err)
	c.Name = name.NewID("client")
	check(t, pools.UpdateClient(t.Context(), Permit(t, userpool.ActionUpdateClient, c.Resource()), c))
}

// changeMany changes what the grants of all people depend on.
func (l *lively) changeMany(t *testing.T, dice *rand.Rand) {
	db := l.replicas[dice.IntN(2)]
	providers := store.Providers{DB: db}
	v, err := providers.Provider(t.Context(), "p", "feishu")
	check(t, err)
	switch dice.IntN(3) {
	case 0:
		check(t, providers.DeleteProvider(t.Context(), Permit(t, provider.ActionDelete, provider.Resource("p", "feishu")), "p", "feishu"))
		v.ID, v.Version, v.Options = name.NewID("prv"), 1, provider.Options{}
		check(t, providers.CreateProvider(t.Context(), Permit(t, provider.ActionCreate, provider.Resource("p", "feishu")), v))
	case 1:
		v.Version, v.Options.Workloads = v.Version+1, [][]string{nil, {"a"}, {"b"}}[dice.IntN(3)]
		check(t, providers.UpdateProvider(t.Context(), Permit(t, provider.ActionUpdate, provider.Resource("p", "feishu")), v))
	case 2:
		workloads := store.Workloads{DB: db}
		check(t, workloads.DeleteWorkload(t.Context(), Permit(t, workload.ActionDelete, workload.Resource(agentB)), agentB))
		check(t, workloads.CreateWorkload(t.Context(), Permit(t, workload.ActionCreate, workload.Resource(agentB)), workload.Workload{Identity: agentB, Created: moment}))
	}
}
