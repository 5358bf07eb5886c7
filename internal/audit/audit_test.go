package audit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
)

// memory is a store whose commits wait to be let through, if gate is set.
type memory struct {
	audit.Store
	mu     sync.Mutex
	groups [][]audit.Entry
	err    error
	gate   chan struct{}
}

func (m *memory) AppendAudit(_ context.Context, entries []audit.Entry) error {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.groups = append(m.groups, entries)
	return nil
}

func (m *memory) sizes() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var sizes []int
	for _, g := range m.groups {
		sizes = append(sizes, len(g))
	}
	return sizes
}

func TestAGroupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{gate: make(chan struct{})}
		l := audit.NewLog(m)
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				if err := l.Append(t.Context(), audit.Entry{}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(m.gate)
		group.Wait()
		total := 0
		for _, n := range m.sizes() {
			if total += n; n > 256 {
				t.Errorf("a group of %d", n)
			}
		}
		if total != 1000 {
			t.Errorf("%d entries", total)
		}
		l.Close()
	})
}

func TestTheEndOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{gate: make(chan struct{})}
		l := audit.NewLog(m)
		gone, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for _, ctx := range []context.Context{t.Context(), t.Context(), gone} {
			group.Go(func() {
				if err := l.Append(ctx, audit.Entry{}); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		closed := make(chan struct{})
		go func() { l.Close(); close(closed) }()
		synctest.Wait()
		close(m.gate)
		group.Wait()
		<-closed
		// What was accepted is committed, also the entry whose caller left.
		if total := len(m.sizes()); total == 0 {
			t.Error("nothing was committed")
		}
		if err := l.Append(t.Context(), audit.Entry{}); !fault.HasCode(err, "audit_closed") {
			t.Errorf("after the end: %v", err)
		}
		l.Close() // again
	})
}
