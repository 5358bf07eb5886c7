package recovery

import (
	"sync"
	"time"
)

// How much is let through in a window. Other replicas count for themselves; what
// an address gets in all, the database counts (see perHour).
const (
	window     = 10 * time.Minute
	perNetwork = 20 // requests for letters
	perAddress = 3  // letters
	perProof   = 10 // attempts to use it, each of which may cost a password hash
)

// maxKeys bounds the memory of limits.
const maxKeys = 1 << 16

// limits counts by key. It looks back for one window at least and two at most.
type limits struct {
	now func() time.Time

	mu              sync.Mutex
	begin           time.Time // of current
	current, former map[string]int
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, begin: now(), current: map[string]int{}, former: map[string]int{}}
}

// allow counts key and reports whether that is still within most. What is
// refused is not counted, so that waiting helps.
func (l *limits) allow(key string, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if passed := now.Sub(l.begin); passed >= window || len(l.current) >= maxKeys {
		l.former, l.current, l.begin = l.current, map[string]int{}, now
		if passed >= 2*window {
			l.former = map[string]int{}
		}
	}
	if l.current[key]+l.former[key] >= most {
		return false
	}
	l.current[key]++
	return true
}
