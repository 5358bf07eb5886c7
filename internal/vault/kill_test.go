package vault_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/vendortest"
)

// TestMain lets the test binary be a replica that can be killed.
func TestMain(m *testing.M) {
	if data := os.Getenv("REPLICA_DATA"); data != "" {
		if err := beReplica(context.Background(), data); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beReplica is a replica that starts, brings in what its journal has, and
// refreshes one grant. It kills itself at the step that it is told, if it comes
// to that.
func beReplica(ctx context.Context, data string) error {
	began, err := time.ParseDuration(os.Getenv("REPLICA_AHEAD"))
	if err != nil {
		return err
	}
	var ahead atomic.Int64
	ahead.Store(int64(began))
	dies, err := strconv.ParseInt(os.Getenv("REPLICA_DIES"), 10, 64)
	if err != nil {
		return err
	}
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	db, err := store.OpenSQLite(ctx, data)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	party, err := newAsking(os.Getenv("REPLICA_PARTY"), now)
	if err != nil {
		return err
	}
	v, stop, err := newReplica(ctx, db, filepath.Join(data, "journal"), party, now)
	if err != nil {
		return err
	}
	defer stop()
	steps := &mortal{left: dies}
	v.Store, v.Journal, v.Refresher = mortalStore{v.Store, steps}, mortalJournal{v.Journal, steps}, mortalParty{party, steps}
	if _, err := v.Replay(ctx); err != nil {
		return err
	}
	// Who is told to try again comes back a second later, within bounds.
	for range 100 {
		if _, err = fetch(ctx, v, os.Getenv("REPLICA_GRANT")); err == nil || fault.HasCode(err, "reauthorization_required") {
			return v.Drain(ctx)
		}
		ahead.Add(int64(time.Second))
	}
	return err
}

// mortal kills its process at a step.
type mortal struct {
	left int64 // steps to live; negative: for ever
	step atomic.Int64
}

func (m *mortal) at(what string) {
	if m.step.Add(1)-1 == m.left {
		fmt.Println(what)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

type mortalStore struct {
	vault.Store
	*mortal
}

func (m mortalStore) MoveLease(ctx context.Context, former, next vault.Lease) (bool, error) {
	m.at("before the lease is moved")
	moved, err := m.Store.MoveLease(ctx, former, next)
	m.at("after the lease was moved")
	return moved, err
}

func (m mortalStore) ReplaceTokens(ctx context.Context, p guard.Permit, g vault.Grant, l vault.Lease) error {
	m.at("before the tokens are stored")
	err := m.Store.ReplaceTokens(ctx, p, g, l)
	m.at("after the tokens were stored")
	return err
}

type mortalJournal struct {
	vault.Journal
	*mortal
}

func (m mortalJournal) Put(id string, content []byte) error {
	what := "the intent is journalled"
	if strings.Contains(string(content), `"Sealed":"`) {
		what = "the answer is journalled"
	}
	m.at("before " + what)
	err := m.Journal.Put(id, content)
	m.at("after " + what)
	return err
}

func (m mortalJournal) Remove(id string) error {
	m.at("before the journal forgets")
	err := m.Journal.Remove(id)
	m.at("after the journal forgot")
	return err
}

type mortalParty struct {
	vault.Refresher
	*mortal
}

func (m mortalParty) Refresh(ctx context.Context, p guard.Permit, pool, provider string, refresh secret.Text) (vendor.Tokens, error) {
	m.at("before the request is sent")
	got, err := m.Refresher.Refresh(ctx, p, pool, provider, refresh)
	m.at("after the answer came")
	return got, err
}

// TestKilledAtEveryStep kills a replica with SIGKILL at each step of a refresh,
// and while the third party is at work, and starts it again. The grant must be
// there as if nothing had happened, with the refresh token used once. Only where
// the answer was in the killed process alone may it be lost.
func TestKilledAtEveryStep(t *testing.T) {
	data := t.TempDir()
	s := &site{}
	s.party = vendortest.Start(t, s.now)
	s.pass(time.Minute)
	asking, err := newAsking(s.party.URL(), s.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(asking.client.Outbound.Close)
	s.asking = asking
	s.opened(t, data, func() { furnish(t, s.stores[0]) })

	var where []string
	for step := 0; ; step++ {
		killed, f, g := s.kill(t, data, step, nil)
		if killed == "" {
			break // the refresh has no more steps
		}
		where = append(where, killed)
		inMemory := killed == "after the answer came" || killed == "before the answer is journalled"
		if !inMemory && (f.UsedTwice > 0 || f.Rotations != 1 || g.State != vault.Active || g.Version != 2) {
			t.Errorf("killed %s: state %q (%s), version %d; the third party saw %+v", killed, g.State, g.Reason, g.Version, f)
		}
		if inMemory && g.State != vault.Reauthorize {
			t.Errorf("killed %s: state %q, version %d; the third party saw %+v", killed, g.State, g.Version, f)
		}
	}
	t.Logf("killed %q", where)
	if len(where) != 12 {
		t.Errorf("a refresh has %d steps: %q", len(where), where)
	}

	// While the third party is at work. Whether the token is spent is then for it alone to know.
	for fault, want := range map[vendortest.Fault]vault.State{vendortest.Dropped: vault.Active, vendortest.AnswerLost: vault.Reauthorize} {
		killed, f, g := s.kill(t, data, -1, func(process *os.Process) vendortest.Fault {
			if err := process.Kill(); err != nil {
				t.Error(err)
			}
			return fault
		})
		if killed != "" || g.State != want || f.UsedTwice > 0 || f.TooSoon > 0 {
			t.Errorf("killed while the request was %s: state %q (%s), want %q; the third party saw %+v", fault, g.State, g.Reason, want, f)
		}
	}
}

// opened opens the database for as long as do runs: SQLite is for one process.
func (s *site) opened(t *testing.T, data string, do func()) {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	v, stop, err := newReplica(t.Context(), db, filepath.Join(data, "other"), s.asking, s.now)
	if err != nil {
		t.Fatal(err)
	}
	s.stores[0], s.replicas = db, []*vault.Vault{v}
	do()
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// kill has a new grant expire, starts a replica that is killed at the step, or by
// the third party, and starts it again. It returns where it was killed, and what
// there is then.
func (s *site) kill(t *testing.T, data string, step int, atWork func(*os.Process) vendortest.Fault) (where string, f vendortest.Family, g vault.Grant) {
	t.Helper()
	var id, family string
	u := zhang
	u.Subject = fmt.Sprintf("usr_%d_%d", step, s.passed.Load())
	s.opened(t, data, func() { id, family = s.authorize(t, u, vault.Grant{}) })
	s.pass(3 * time.Hour)
	run := func(dies int, asked func(*os.Process) vendortest.Fault) string {
		replica := exec.Command(os.Args[0])
		replica.Env = append(os.Environ(), "REPLICA_DATA="+data, "REPLICA_PARTY="+s.party.URL(), "REPLICA_GRANT="+id,
			"REPLICA_AHEAD="+time.Duration(s.passed.Load()).String(), "REPLICA_DIES="+strconv.Itoa(dies))
		var out strings.Builder
		replica.Stdout, replica.Stderr = &out, os.Stderr
		started := make(chan struct{})
		s.party.Fail(nil)
		if asked != nil {
			s.party.Fail(func(string) vendortest.Fault {
				<-started
				return asked(replica.Process)
			})
		}
		if err := replica.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		err := replica.Wait()
		if (err == nil) != (out.Len() == 0 && asked == nil) {
			t.Errorf("the replica that dies at step %d ended with %v at %q", dies, err, out.String())
		}
		return strings.TrimSpace(out.String())
	}
	where = run(step, atWork)
	if where != "" || atWork != nil {
		run(-1, nil)
	}
	s.opened(t, data, func() {
		var err error
		if g, err = (store.Vault{DB: s.stores[0]}).Grant(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	})
	return where, s.party.Family(family), g
}
