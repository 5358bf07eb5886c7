package signin

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Throttle slows guessing down. It counts failures in three places, each of
// which forgets them as time passes:
//
//   - per account and address: what a person's own typing errors look like
//   - per address: one machine that tries many accounts
//   - per account: many machines that try one account; an address from which
//     that account has logged in lately is exempt, so that an attacker slows
//     himself down and not the owner
//
// Second factors are counted apart from passwords, else whoever knows the
// password would clear the count between his guesses.
//
// Nothing is ever locked: each count has a longest delay. An attempt counts as a
// failure until it has succeeded, so that attempts made at once do not slip
// through together. The counts are in memory, bounded, and per process: with n
// replicas an attacker gets n times the pace.
type Throttle struct {
	now   func() time.Time
	mu    sync.Mutex
	order *list.List // of *count, the one used last in front
	byKey map[countKey]*list.Element
	bound int
}

// maxCounts bounds the memory of a Throttle (about 200 bytes per count).
const maxCounts = 1 << 16

// rule says how failures of one place turn into delay.
type rule struct {
	free   int           // failures that cost nothing
	first  time.Duration // delay after one more; it doubles with each
	most   time.Duration
	forget time.Duration // after which one failure is forgotten
}

type place int

const (
	pairPlace place = iota
	addressPlace
	accountPlace
	factorPlace // an account's second factor, from anywhere
	knownPlace  // not a count: this pair has logged in lately
)

func ruleOf(p place) rule {
	switch p {
	case pairPlace:
		return rule{free: 5, first: time.Second, most: 5 * time.Minute, forget: 10 * time.Minute}
	case addressPlace:
		return rule{free: 50, first: time.Second, most: 30 * time.Second, forget: time.Minute}
	case factorPlace:
		// A code has six digits, and three of them are right at a time: slower than for passwords.
		return rule{free: 10, first: time.Second, most: 5 * time.Minute, forget: 10 * time.Minute}
	case accountPlace:
		return rule{free: 20, first: time.Second, most: 10 * time.Second, forget: time.Minute}
	default:
		return rule{forget: 30 * 24 * time.Hour}
	}
}

type countKey struct {
	place   place
	account string
	address netip.Prefix
}

type count struct {
	key      countKey
	failures int
	since    time.Time // of the last failure, or forgetting
	last     time.Time // of the last attempt
}

// NewThrottle returns an empty Throttle; now may be nil, for time.Now.
func NewThrottle(now func() time.Time) *Throttle {
	if now == nil {
		now = time.Now
	}
	return &Throttle{now: now, order: list.New(), byKey: map[countKey]*list.Element{}, bound: maxCounts}
}

// attempt is one login attempt that was let through.
type attempt struct {
	t       *Throttle
	pair    countKey
	counted []countKey
}

// try reports whether an attempt on account from address may be made now. If
// so, it is counted as a failure until attempt.succeeded; if not, it says how
// long to wait.
func (t *Throttle) try(account string, address netip.Addr) (attempt, time.Duration) {
	return t.tryAt(accountPlace, account, address)
}

// tryFactor is try for the second factor of an account. For the account "",
// while it is not known whose passkey it will be, only the address is counted.
func (t *Throttle) tryFactor(account string, address netip.Addr) (attempt, time.Duration) {
	return t.tryAt(factorPlace, account, address)
}

func (t *Throttle) tryAt(anywhere place, account string, address netip.Addr) (attempt, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, net := t.now(), Network(address)
	a := attempt{t: t, pair: countKey{pairPlace, account, net}, counted: []countKey{{place: addressPlace, address: net}}}
	if account != "" {
		a.counted = append(a.counted, a.pair)
		if t.failures(countKey{knownPlace, account, net}, now) == 0 {
			a.counted = append(a.counted, countKey{place: anywhere, account: account})
		}
	}
	var wait time.Duration
	for _, k := range a.counted {
		wait = max(wait, t.wait(k, now))
	}
	if wait > 0 {
		return attempt{}, wait
	}
	for _, k := range a.counted {
		c := t.count(k, now)
		c.failures++
		c.last = now
	}
	return a, 0
}

// succeeded takes the attempt back, forgives the pair everything, and
// remembers that the account logs in from there.
func (a attempt) succeeded() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	now := a.t.now()
	for _, k := range a.counted {
		c := a.t.count(k, now)
		c.failures = max(0, c.failures-1)
	}
	if a.pair.account == "" {
		return
	}
	a.t.count(a.pair, now).failures = 0
	known := a.t.count(countKey{knownPlace, a.pair.account, a.pair.address}, now)
	known.failures, known.since = 1, now
}

// forgive takes one failure of an address back.
func (t *Throttle) forgive(address netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.count(countKey{place: addressPlace, address: Network(address)}, t.now())
	c.failures = max(0, c.failures-1)
}

// failures returns what k has now, without making it.
func (t *Throttle) failures(k countKey, now time.Time) int {
	if _, ok := t.byKey[k]; !ok {
		return 0
	}
	return t.count(k, now).failures
}

func (t *Throttle) wait(k countKey, now time.Time) time.Duration {
	e, ok := t.byKey[k]
	if !ok {
		return 0
	}
	r, over := ruleOf(k.place), t.failures(k, now)-ruleOf(k.place).free
	if over <= 0 {
		return 0
	}
	delay := r.most
	if over < 20 { // beyond, the shift would reach the bound anyway
		delay = min(r.most, r.first<<(over-1))
	}
	return max(0, e.Value.(*count).last.Add(delay).Sub(now))
}

// count returns the count of k after forgetting, making it if there is none,
// and marks it as used. Over the bound, the one unused for longest goes.
func (t *Throttle) count(k countKey, now time.Time) *count {
	if e, ok := t.byKey[k]; ok {
		t.order.MoveToFront(e)
		c := e.Value.(*count)
		if n := int(now.Sub(c.since) / ruleOf(k.place).forget); n > 0 {
			c.failures = max(0, c.failures-n)
			c.since = now
		}
		return c
	}
	c := &count{key: k, since: now}
	t.byKey[k] = t.order.PushFront(c)
	if t.order.Len() > t.bound {
		oldest := t.order.Back()
		t.order.Remove(oldest)
		delete(t.byKey, oldest.Value.(*count).key)
	}
	return c
}

// Network returns what counts as one address: an IPv6 subscriber has a /64.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // all unknown addresses are one
	}
	return p
}
