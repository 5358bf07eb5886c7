package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
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

// TestGroups has many callers wait behind one commit: they share the next one,
// and nobody is told before his own entry is durable.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{gate: make(chan struct{})}
		l := audit.NewLog(m)
		told := make(chan string, 100)
		add := func(id string) {
			go func() {
				if err := l.Append(t.Context(), audit.Entry{ID: id}); err != nil {
					t.Error(err)
				}
				told <- id
			}()
			synctest.Wait()
		}
		add("first")
		for i := range 30 {
			add(fmt.Sprint(i))
		}
		if len(told) != 0 {
			t.Error("somebody was told before the commit")
		}
		m.gate <- struct{}{}
		synctest.Wait()
		if len(told) != 1 || <-told != "first" {
			t.Error("not exactly the first caller was told after the first commit")
		}
		m.gate <- struct{}{}
		synctest.Wait()
		if len(told) != 30 {
			t.Errorf("%d callers were told after the second commit", len(told))
		}
		if diff := cmp.Diff([]int{1, 30}, m.sizes()); diff != "" {
			t.Error(diff)
		}
		for i, e := range m.groups[1] {
			if e.ID != fmt.Sprint(i) {
				t.Errorf("entry %d is %q", i, e.ID)
			}
		}
		l.Close()
	})
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

func TestAFailureIsToldToEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errors.New("disk full"), gate: make(chan struct{})}
		l := audit.NewLog(m)
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if err := l.Append(t.Context(), audit.Entry{}); !fault.HasCode(err, "audit_unavailable") || !errors.Is(err, m.err) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		close(m.gate)
		group.Wait()
		m.err = nil
		if err := l.Append(t.Context(), audit.Entry{}); err != nil {
			t.Errorf("after the failure: %v", err)
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

// TestTheChainShowsEveryChange alters, removes, moves and inserts.
func TestTheChainShowsEveryChange(t *testing.T) {
	leaves := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	end := func(leaves ...[]byte) audit.Hash {
		var h audit.Hash
		for i, leaf := range leaves {
			h = h.Next(int64(i+1), leaf)
		}
		return h
	}
	whole := end(leaves...)
	for what, h := range map[string]audit.Hash{
		"altered": end([]byte("a"), []byte("B"), []byte("c")), "removed": end([]byte("a"), []byte("c")), "cut off": end([]byte("a"), []byte("b")),
		"moved": end([]byte("b"), []byte("a"), []byte("c")), "inserted": end([]byte("a"), []byte("b"), nil, []byte("c")),
		"split elsewhere": end([]byte("ab"), nil, []byte("c")), "at another place": audit.Hash{}.Next(2, []byte("a")).Next(3, []byte("b")).Next(4, []byte("c")),
	} {
		if h == whole {
			t.Errorf("%s: the hash is the same", what)
		}
	}
	back, ok := audit.ParseHash(whole.String())
	if !ok || back != whole {
		t.Error("a hash does not survive its text")
	}
	for _, bad := range []string{"", "00", whole.String() + "00", "zz" + whole.String()[2:]} {
		if _, ok := audit.ParseHash(bad); ok {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
}

func TestEncodeIsCanonical(t *testing.T) {
	e := audit.Entry{
		ID: "aud_1", Time: time.Date(2026, 11, 22, 8, 30, 0, 1e6, time.UTC), RequestID: "req_1", Action: "credential.release", Outcome: audit.Allowed,
		Caller:   name.Caller{Kind: name.Agent, Workload: name.Workload{Pool: "p", Name: "a"}, User: name.User{Issuer: "https://i", Subject: "s"}},
		Resource: audit.Resource{Kind: "provider", Pool: "p", ID: "<x>&"}, Scopes: []string{"r"}, Detail: map[string]string{"z": "1", "a": "2"},
	}
	first, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, err := e.Encode(); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%v: %s and %s", err, first, again)
		}
	}
	if !bytes.Contains(first, []byte("<x>&")) || bytes.HasSuffix(first, []byte("\n")) {
		t.Errorf("encoded: %s", first)
	}
	back, err := audit.Record{Leaf: first}.Entry()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Error(diff)
	}
}
