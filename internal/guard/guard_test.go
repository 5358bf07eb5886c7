package guard_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

type notes struct {
	entries []audit.Entry
	err     error
}

func (n *notes) Append(_ context.Context, e audit.Entry) error {
	if n.err == nil {
		n.entries = append(n.entries, e)
	}
	return n.err
}

var (
	root  = name.Caller{Kind: name.Operator, Operator: "root"}
	agent = name.Caller{Kind: name.Agent, Workload: name.Workload{Pool: "p", Name: "a"}, User: name.User{Issuer: "i", Subject: "s"}}
	thing = guard.Resource{Kind: "provider", Pool: "p", ID: "x"}
)

func TestAllowedIsNotRecordedYetAndRefusedIsAtOnce(t *testing.T) {
	n := &notes{}
	g := &guard.Guard{Log: n, Now: func() time.Time { return time.UnixMilli(1_700_000_000_123) }}
	ctx := audit.WithRequestID(t.Context(), "req_1")
	p, err := g.Allow(ctx, root, "provider.create", thing)
	if err != nil || len(n.entries) != 0 {
		t.Fatalf("%v, %d entries", err, len(n.entries))
	}
	if e := p.Entry(); e.Outcome != audit.Allowed || e.RequestID != "req_1" || e.Time.UnixMilli() != 1_700_000_000_123 || e.Caller.Operator != "root" || e.Reason == "" {
		t.Errorf("entry %+v", e)
	}
	if _, err = g.Allow(ctx, agent, "provider.create", thing); !fault.HasCode(err, "not_allowed") || !fault.Is(err, fault.Forbidden) {
		t.Fatalf("got %v", err)
	}
	if len(n.entries) != 1 || n.entries[0].Outcome != audit.Refused || n.entries[0].Caller.Workload.Name != "a" {
		t.Errorf("entries %+v", n.entries)
	}
}

func TestARefusalThatCannotBeRecordedIsAnError(t *testing.T) {
	broken := errors.New("disk full")
	g := &guard.Guard{Log: &notes{err: broken}}
	if _, err := g.Allow(t.Context(), agent, "provider.create", thing); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAPermitIsForOneActionOnOneResource(t *testing.T) {
	g := &guard.Guard{Log: &notes{}}
	p, err := g.Allow(t.Context(), root, "provider.create", thing)
	if err != nil {
		t.Fatal(err)
	}
	other := thing
	other.ID = "y"
	for what, c := range map[string]struct {
		p      guard.Permit
		action guard.Action
		r      guard.Resource
		code   string
	}{
		"right":          {p, "provider.create", thing, ""},
		"other action":   {p, "provider.delete", thing, "permit_mismatch"},
		"other resource": {p, "provider.create", other, "permit_mismatch"},
		"zero":           {guard.Permit{}, "provider.create", thing, "permit_missing"},
		"zero for zero":  {guard.Permit{}, "", guard.Resource{}, "permit_missing"},
	} {
		err := c.p.Check(c.action, c.r)
		if (c.code == "") != (err == nil) || (c.code != "" && !fault.HasCode(err, c.code)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := g.Record(t.Context(), guard.Permit{}); !fault.HasCode(err, "permit_missing") {
		t.Errorf("the zero permit was recorded: %v", err)
	}
}

// TestDetailsDoNotLeakBetweenPermits: a permit is a value, so that what one path
// adds to it must not show on another.
func TestDetailsDoNotLeakBetweenPermits(t *testing.T) {
	g := &guard.Guard{Log: &notes{}}
	p, err := g.Allow(t.Context(), root, "provider.create", thing)
	if err != nil {
		t.Fatal(err)
	}
	p = p.Detail(map[string]string{"a": "1"})
	q := p.Detail(map[string]string{"b": "2"}).Failed("because")
	if e := p.Entry(); len(e.Detail) != 1 || e.Outcome != audit.Allowed {
		t.Errorf("the first permit was changed: %+v", e)
	}
	if e := q.Entry(); len(e.Detail) != 2 || e.Outcome != audit.Failed || e.Reason != "because" {
		t.Errorf("the second permit: %+v", e)
	}
}
