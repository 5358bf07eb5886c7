package vault_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/measure"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

const fetchers = 64

// BenchmarkFetch measures a credential, from the broker's question for the grant
// to the durable audit entry, where a thousand, a hundred thousand and a million
// people have granted one, in turns, and reports
//
//	hot-x      processor time among the most grants over that among the fewest, when a thousand people ask again and again (median of the turns)
//	hot-us     processor time of that among the most
//	middle-x   as hot-x, of the hundred thousand
//	cold-x     as hot-x, when one among all asks at random, compared with the thousand, whom the process remembers
//	stranger-x as cold-x, compared with one at random among the hundred thousand, who is read from the database, too
//
// Making the grants takes about a minute, and 1 GB of the disk. Run it with -benchtime 5x.
func BenchmarkFetch(b *testing.B) {
	sizes := []int{1e3, 1e5, 1e6}
	const asking = 1000
	hot, cold := make([]func(int) error, len(sizes)), make([]func(int) error, len(sizes))
	for i, size := range sizes {
		w := newPopulated(b, size, nil)
		hot[i] = w.fetcher(b, func() int { return rand.IntN(asking) * (size / asking) }) // they lie far apart
		cold[i] = w.fetcher(b, func() int { return rand.IntN(size) })
	}
	var largest, middle, times, strangers, growth []float64
	for b.Loop() {
		var cost [3]float64
		for i, fetch := range hot {
			load(b, 5*asking, fetch) // whoever is remembered by now is one of them
			cost[i] = load(b, 5000, fetch)
		}
		middle, largest, times = append(middle, cost[1]/cost[0]), append(largest, cost[2]/cost[0]), append(times, cost[2])
		among := [...]float64{load(b, 5000, cold[1]), load(b, 5000, cold[2])}
		strangers, growth = append(strangers, among[1]/cost[0]), append(growth, among[1]/among[0])
	}
	b.ReportMetric(measure.Median(largest), "hot-x")
	b.ReportMetric(measure.Median(times), "hot-us")
	b.ReportMetric(measure.Median(middle), "middle-x")
	b.ReportMetric(measure.Median(strangers), "cold-x")
	b.ReportMetric(measure.Median(growth), "stranger-x")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// load returns the microseconds of processor time that one of n requests took.
func load(b *testing.B, n int, request func(int) error) float64 {
	b.Helper()
	l, err := measure.Run(fetchers, n, request)
	if err != nil {
		b.Fatal(err)
	}
	return float64(l.CPU) / float64(time.Microsecond)
}

// fetcher returns a function that fetches the credential of the user that who
// says.
func (w *world) fetcher(b *testing.B, who func() int) func(int) error {
	b.Helper()
	asked, err := name.NewScopes("read")
	if err != nil {
		b.Fatal(err)
	}
	br := &broker.Broker{Store: store.Vault{DB: w.db}, Guard: w.vault.Guard, Vault: w.vault}
	return func(int) error {
		caller := name.Caller{Kind: name.Agent, Workload: agent, User: numbered(who())}
		answer, err := br.Credential(b.Context(), caller, broker.Request{Provider: "feishu", Scopes: asked})
		if err == nil && answer.Credential == nil {
			err = fmt.Errorf("no credential for %s", caller.User.Subject)
		}
		return err
	}
}

func numbered(i int) name.User {
	return name.User{Issuer: zhang.Issuer, Subject: fmt.Sprintf("usr_%07d", i)}
}

// newPopulated returns a world in whose vault n users more have grants, which the
// agent may use. change may alter each before it is written.
func newPopulated(b *testing.B, n int, change func(i int, g *vault.Grant)) *world {
	b.Helper()
	dir := b.TempDir()
	db, err := store.OpenSQLite(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	w := newWorldOn(b, db)
	tokens := vendor.Tokens{Access: secret.FromString(name.NewToken("at")), Refresh: secret.FromString(name.NewToken("rt")), TokenType: "Bearer", ExpiresAt: w.now().Add(2 * time.Hour)}
	storetest.Fill(b, dir, agent, n, func(i int) (vault.Grant, error) {
		g, err := w.vault.NewGrant(b.Context(), "default", "feishu", numbered(i), vault.Grant{}, vendor.Account{}, tokens, w.grant.Scopes)
		if err == nil && change != nil {
			change(i, &g)
		}
		return g, err
	})
	return w
}

// willing is a third party that refreshes whatever it is given.
type willing struct {
	calls  atomic.Int64
	before func() // nil: nothing
	now    func() time.Time
}

// Refresh implements [vault.Refresher].
func (p *willing) Refresh(context.Context, guard.Permit, string, string, secret.Text) (vendor.Tokens, error) {
	p.calls.Add(1)
	if p.before != nil {
		p.before()
	}
	return vendor.Tokens{Access: secret.FromString(name.NewToken("at")), Refresh: secret.FromString(name.NewToken("rt")), TokenType: "Bearer", ExpiresAt: p.now().Add(2 * time.Hour)}, nil
}

// BenchmarkWaiting has a thousand callers want one expired grant at once, whose
// third party answers when all of them are there, and reports
//
//	calls       of the third party for one expiry (the most of the turns)
//	caller-us   processor time for one caller, the refresh included (median of the turns)
func BenchmarkWaiting(b *testing.B) {
	const waiting = 1000
	w := newPopulated(b, 0, nil)
	var there sync.WaitGroup
	party := &willing{now: w.now, before: func() { there.Wait() }}
	w.vault.Refresher = party
	p := w.permit(b)
	var calls int64
	var costs []float64
	for b.Loop() {
		w.pass(3 * time.Hour)
		old, before := w.stored(b), party.calls.Load()
		there.Add(waiting)
		l, err := measure.Run(waiting, waiting, func(int) error {
			there.Done()
			_, err := w.vault.Fresh(b.Context(), p, old)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		calls, costs = max(calls, party.calls.Load()-before), append(costs, float64(l.CPU)/float64(time.Microsecond))
	}
	b.ReportMetric(float64(calls), "calls")
	b.ReportMetric(measure.Median(costs), "caller-us")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// BenchmarkSweeper lets half a minute pass in each turn, by the vault's clock, for
// a hundred thousand grants of two hours, evenly due, and sweeps. It reports
//
//	refresh/core   how many grants one core can refresh in a second, journal and audit included
//	needed/s       how many become due in a second
//	late-s         how long a grant has been due, at most, when its turn has come
//
// Run it with -benchtime 20x.
func BenchmarkSweeper(b *testing.B) {
	const grants, life, turn = 100_000, 2 * time.Hour, 30 * time.Second
	margin := life / 10
	w := newPopulated(b, grants, func(i int, g *vault.Grant) {
		g.Due = g.Created.Add(time.Duration(i) * (life - margin) / grants)
		g.Expires = g.Due.Add(margin)
	})
	party := &willing{now: w.now}
	w.vault.Refresher = party
	var used, late time.Duration
	for b.Loop() {
		w.pass(turn)
		due, err := (store.Vault{DB: w.db}).DueGrants(b.Context(), w.now(), time.Time{}, 1)
		if err != nil || len(due) == 0 {
			b.Fatal("nothing is due", err)
		}
		late = max(late, w.now().Sub(due[0].Due))
		l, err := measure.Run(1, 1, func(int) error {
			_, err := w.vault.Sweep(b.Context())
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		used += l.CPU
	}
	b.ReportMetric(float64(party.calls.Load())/used.Seconds(), "refresh/core")
	b.ReportMetric(grants/(life-margin).Seconds(), "needed/s")
	b.ReportMetric(late.Seconds(), "late-s")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}
