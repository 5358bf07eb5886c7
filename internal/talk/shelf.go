package talk

import (
	"crypto/sha256"
	"sync"
	"time"
)

// shelf keeps values under secret keys, each until its own time, and never more
// than limit of them: when it is full, the value that was put first goes. Keys are
// kept as digests, so that a lookup takes no time that depends on them.
type shelf[V any] struct {
	limit int
	now   func() time.Time

	mu    sync.Mutex
	items map[[sha256.Size]byte]shelved[V]
	count uint64
}

type shelved[V any] struct {
	value V
	ends  time.Time
	order uint64
}

func newShelf[V any](limit int, now func() time.Time) *shelf[V] {
	return &shelf[V]{limit: limit, now: now, items: map[[sha256.Size]byte]shelved[V]{}}
}

func (s *shelf[V]) put(key string, v V, ends time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) >= s.limit {
		s.makeRoom()
	}
	s.count++
	s.items[sha256.Sum256([]byte(key))] = shelved[V]{v, ends, s.count}
}

// makeRoom drops what has ended and, if that is not enough, the oldest value.
func (s *shelf[V]) makeRoom() {
	var oldest [sha256.Size]byte
	var order uint64
	now := s.now()
	for key, item := range s.items {
		if !now.Before(item.ends) {
			delete(s.items, key)
		} else if order == 0 || item.order < order {
			oldest, order = key, item.order
		}
	}
	if len(s.items) >= s.limit {
		delete(s.items, oldest)
	}
}

// get returns the live value under key, and whether there is one.
func (s *shelf[V]) get(key string) (V, bool) { return s.find(key, false) }

// take is get for a value that is good once: it is gone afterwards.
func (s *shelf[V]) take(key string) (V, bool) { return s.find(key, true) }

func (s *shelf[V]) find(key string, remove bool) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sha256.Sum256([]byte(key))
	item, ok := s.items[id]
	live := ok && s.now().Before(item.ends)
	if ok && (remove || !live) {
		delete(s.items, id)
	}
	if !live {
		var zero V
		return zero, false
	}
	return item.value, true
}
