package store

import (
	"fmt"
	"testing"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/workload"
)

// TestOnlyWhatChangedIsReadAgain asks for two answers, around commits that change
// one of them, both or none. That nothing outdated is answered is tested in
// storetest.
func TestOnlyWhatChangedIsReadAgain(t *testing.T) {
	c := newRemembered(100, func(k string, _ int) string { return k })
	one, other := "one", "other"
	for i := 0; c.changed(one) == c.changed(other); i++ {
		other = fmt.Sprint("other", i)
	}
	reads := 0
	asked := func(subject string) (read bool) {
		before := reads
		if _, err := c.find(subject, func() (int, error) { reads++; return reads, nil }); err != nil {
			t.Fatal(err)
		}
		return reads > before
	}
	for _, step := range []struct {
		what       string
		do         func()
		one, other bool // whether it is read
	}{
		{"nothing", func() {}, true, true},
		{"nothing again", func() {}, false, false},
		{"a commit that changes none", func() { c.begin(stale{}); c.end(stale{}) }, false, false},
		{"a commit that begins to change one", func() { c.begin(stale{some: []string{one}}) }, true, false},
		{"while it goes on", func() {}, true, false},
		{"its end", func() { c.end(stale{some: []string{one}}) }, true, false},
		{"after it", func() {}, false, false},
		{"a commit that begins to change all", func() { c.begin(stale{all: true}) }, true, true},
		{"its end", func() { c.end(stale{all: true}) }, true, true},
		{"after it", func() {}, false, false},
	} {
		step.do()
		if read := asked(one); read != step.one {
			t.Errorf("%s: one was read: %v", step.what, read)
		}
		if read := asked(other); read != step.other {
			t.Errorf("%s: the other was read: %v", step.what, read)
		}
	}
}

// TestLoginsLeaveGrantsAlone lists what the changes that happen most make useless.
func TestLoginsLeaveGrantsAlone(t *testing.T) {
	for _, c := range []struct {
		action                 guard.Action
		resource               guard.Resource
		grants, pools, clients bool
		some                   int // clients
	}{
		{userpool.ActionCreateCode, userpool.CodeResource("u", "1"), false, false, false, 0},
		{userpool.ActionAdvanceFamily, userpool.FamilyResource("u", "1"), false, false, false, 0},
		{userpool.ActionCreateSession, userpool.SessionResource("u", "1"), false, false, false, 0},
		{userpool.ActionUpdateUser, userpool.UserResource("u", "1"), false, false, false, 0},
		{userpool.ActionUseAssertion, userpool.ClientResource("u", "1"), false, false, false, 0},
		{userpool.ActionUpdateClient, userpool.ClientResource("u", "1"), false, false, false, 1},
		{vault.ActionRefresh, vault.GrantResource("p", "1"), false, false, false, 0},
		{vault.ActionClear, provider.Resource("p", "feishu"), false, false, false, 0},
		{provider.ActionUpdate, provider.Resource("p", "feishu"), true, false, false, 0},
		{userpool.ActionUpdatePool, userpool.Resource("u"), true, true, true, 0},
		{workload.ActionCreatePool, workload.PoolResource("p"), true, true, true, 0},
		{"something.new", guard.Resource{Kind: "something new"}, true, true, true, 0},
	} {
		tx := &txn{}
		tx.touch(c.action, c.resource)
		s := tx.stale
		if s.grants.all != c.grants || s.pools.all != c.pools || s.clients.all != c.clients || len(s.clients.some) != c.some || len(s.grants.some)+len(s.pools.some) > 0 {
			t.Errorf("%s: %+v", c.action, s)
		}
	}
}
