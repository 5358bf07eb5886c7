package signin

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestDelaysDoubleUpToABoundAndAreForgotten(t *testing.T) {
	c := newClock()
	th := NewThrottle(c.now)
	var waits []time.Duration
	for range 16 {
		if _, wait := th.try("staff/zhang", addr("192.0.2.1")); wait > 0 {
			waits = append(waits, wait)
			c.pass(wait)
			if _, again := th.try("staff/zhang", addr("192.0.2.1")); again > 0 {
				t.Fatalf("after waiting %s: another %s", wait, again)
			}
		}
	}
	if len(waits) < 10 || waits[0] != time.Second || waits[1] != 2*time.Second || waits[2] != 4*time.Second {
		t.Errorf("waits %v", waits)
	}
	for _, w := range waits {
		if w > 5*time.Minute {
			t.Errorf("a wait of %s: that is locking out", w)
		}
	}
	c.pass(24 * time.Hour)
	for i := range 5 {
		if _, wait := th.try("staff/zhang", addr("192.0.2.1")); wait > 0 {
			t.Errorf("a day later, attempt %d waits %s", i, wait)
		}
	}
}

func TestSuccessForgivesThePair(t *testing.T) {
	c := newClock()
	th := NewThrottle(c.now)
	for i := range 100 {
		a, wait := th.try("staff/zhang", addr("192.0.2.1"))
		if wait > 0 {
			t.Fatalf("attempt %d waits %s", i, wait)
		}
		if i%5 == 4 { // four typing errors, then the right password
			a.succeeded()
		}
		c.pass(20 * time.Second)
	}
}

// TestAnAttackerSlowsHimselfDown: many addresses try one account; its owner,
// who has logged in before, does not notice.
func TestAnAttackerSlowsHimselfDown(t *testing.T) {
	c := newClock()
	th := NewThrottle(c.now)
	a, _ := th.try("staff/zhang", addr("198.51.100.7"))
	a.succeeded()
	let := 0
	for i := range 3600 { // an hour, one attempt a second, each from an address of its own
		if _, wait := th.try("staff/zhang", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})); wait == 0 {
			let++
		}
		c.pass(time.Second)
	}
	if let > 500 {
		t.Errorf("%d of 3600 attempts were let through", let)
	}
	if _, wait := th.try("staff/zhang", addr("198.51.100.7")); wait > 0 {
		t.Errorf("the owner waits %s", wait)
	}
	if _, wait := th.try("staff/zhang", addr("203.0.113.9")); wait > 10*time.Second {
		t.Errorf("the owner, elsewhere, waits %s", wait)
	}
	if _, wait := th.try("staff/li", addr("203.0.113.9")); wait > 0 {
		t.Errorf("another account waits %s", wait)
	}
}

func TestOneAddressManyAccounts(t *testing.T) {
	c := newClock()
	th := NewThrottle(c.now)
	let := 0
	for i := range 600 {
		// One subscriber's IPv6 addresses are one.
		if _, wait := th.try("staff/u"+strconv.Itoa(i), addr("2001:db8:1:2::"+strconv.FormatInt(int64(i+1), 16))); wait == 0 {
			let++
		}
		c.pass(time.Second)
	}
	if let > 120 {
		t.Errorf("%d of 600 accounts were tried in ten minutes", let)
	}
	if _, wait := th.try("staff/u1", addr("2001:db8:9:9::1")); wait > 0 {
		t.Errorf("another network waits %s", wait)
	}
}

func TestAttemptsMadeAtOnceCount(t *testing.T) {
	th := NewThrottle(newClock().now)
	let := 0
	for range 100 { // none has failed yet
		if _, wait := th.try("staff/zhang", addr("192.0.2.1")); wait == 0 {
			let++
		}
	}
	if let > 6 {
		t.Errorf("%d attempts at once", let)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	th := NewThrottle(newClock().now)
	th.bound = 100
	for i := range 1000 {
		th.try("staff/u"+strconv.Itoa(i), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if th.order.Len() != 100 || len(th.byKey) != 100 {
		t.Errorf("%d counts, %d keys", th.order.Len(), len(th.byKey))
	}
}

func TestNetworks(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(addr(s)).String(); got != want {
			t.Errorf("%s is in %s, want %s", s, got, want)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("no address is in a network")
	}
}
