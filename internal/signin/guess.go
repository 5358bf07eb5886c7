package signin

import (
	"net/netip"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
)

// Guess counts an attempt to guess a short secret as a failure until right is
// called, by the same rules as an attempt to log in. subject says who guesses, and
// what. Too many are the fault login_throttled with a [TooMany].
//
// A right guess forgives no wrong ones: whoever guesses may have a secret of his
// own to be right with in between.
func (t *Throttle) Guess(subject string, address netip.Addr) (right func(), err error) {
	a, wait := t.try(subject, address)
	if wait > 0 {
		e := &TooMany{Wait: wait.Truncate(time.Second) + time.Second}
		return nil, fault.Wrap(e, fault.Throttled, "login_throttled", "too many wrong codes").WithFix("wait %s and try again", e.Wait)
	}
	return a.takeBack, nil
}

// takeBack makes the attempt one that was never made.
func (a attempt) takeBack() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	now := a.t.now()
	for _, k := range a.counted {
		c := a.t.count(k, now)
		c.failures = max(0, c.failures-1)
	}
}
