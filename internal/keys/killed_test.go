package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
)

// TestMain lets the test binary play Deputy, so that one can be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PLAY_DEPUTY_IN"); dir != "" {
		if err := play(context.Background(), dir, os.Getenv("PLAY_JOB"), os.Getenv("PLAY_KILLED_AT")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killing is a store that has its process killed at a step of a change, before
// or after the step is committed.
type killing struct {
	store.Keys
	left  int
	after bool
}

func (k *killing) step(change func() error) error {
	k.left--
	if k.left >= 0 {
		return change()
	}
	var err error
	if k.after {
		err = change()
	}
	return errors.Join(err, syscall.Kill(os.Getpid(), syscall.SIGKILL))
}

func (k *killing) AddDataKey(ctx context.Context, p guard.Permit, key keys.DataKey) error {
	return k.step(func() error { return k.Keys.AddDataKey(ctx, p, key) })
}

func (k *killing) Reseal(ctx context.Context, p guard.Permit, pool string, version int64, changes []keys.Resealed) (n int, err error) {
	err = k.step(func() (err error) { n, err = k.Keys.Reseal(ctx, p, pool, version, changes); return err })
	return n, err
}

func (k *killing) RewrapDataKey(ctx context.Context, p guard.Permit, key keys.DataKey, former []byte) error {
	return k.step(func() error { return k.Keys.RewrapDataKey(ctx, p, key, former) })
}

// play does a job to its end, or is killed.
func play(ctx context.Context, dir, job, killedAt string) error {
	at, err := strconv.ParseFloat(killedAt, 64)
	if err != nil {
		return err
	}
	db, err := store.OpenSQLite(ctx, dir)
	if err != nil {
		return err
	}
	log := audit.NewLog(store.Audit{DB: db})
	var root keys.Root
	if root, err = keys.NewLocal(secret.New(bytes.Repeat([]byte{1}, keys.RootSize))); err != nil {
		return err
	}
	if job == "root" {
		next, err := keys.NewLocal(secret.New(bytes.Repeat([]byte{2}, keys.RootSize)))
		if err != nil {
			return err
		}
		root = keys.Change{New: next, Former: root}
	}
	kill := &killing{Keys: store.Keys{DB: db}, left: int(at), after: at != float64(int(at))}
	r, err := keys.NewRing(ctx, root, kill, &guard.Guard{Log: log}, nil)
	if err != nil {
		return err
	}
	if job == "root" {
		_, _, err = r.Rewrap(ctx, operator, 100)
		return err
	}
	if err := r.RotateDataKeys(ctx, operator); err != nil {
		return err
	}
	for {
		if got, err := r.Reseal(ctx, operator, 1); err != nil || got.Done == 0 {
			return err
		}
	}
}

// TestKilledInTheMidst kills a process with SIGKILL before and after every step
// of a change of the root key and of a rotation of the data keys. The next start
// opens everything, goes on, and ends where it would have.
func TestKilledInTheMidst(t *testing.T) {
	pools, owners := []string{"default", "p", "q"}, []string{"a", "b", "c"}
	for job, steps := range map[string]int{"root": len(pools), "data": len(pools) + len(owners)} {
		for at := 0.0; at < float64(steps); at += 0.5 {
			t.Run(fmt.Sprintf("%s at %.1f", job, at), func(t *testing.T) {
				dir := t.TempDir()
				sealed, signing := fill(t, dir, pools, owners)
				killed(t, dir, job, at)
				again := job == "root" // the next start is given both root keys
				r := reopen(t, dir, again)
				opens(t, r, sealed, signing)
				if again {
					if _, left, err := r.Rewrap(t.Context(), operator, 100); err != nil || left != 0 {
						t.Fatalf("%d left, %v", left, err)
					}
				}
				must(t, r.RotateDataKeys(t.Context(), operator))
				if _, err := r.Reseal(t.Context(), operator, 100); err != nil {
					t.Fatal(err)
				}
				list, err := r.DataKeys(t.Context())
				must(t, err)
				for _, k := range list {
					if k.Former || !k.Newest && k.Records > 0 {
						t.Errorf("at the end: %+v", k)
					}
				}
				opens(t, r, sealed, signing)
			})
		}
	}
}

// fill makes data keys, something sealed with each, and signing keys.
func fill(t *testing.T, dir string, pools, owners []string) (sealed map[string][]byte, signing map[string]string) {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), dir)
	must(t, err)
	r, err := ring(t, db, 1)
	must(t, err)
	sealed, signing = map[string][]byte{}, map[string]string{}
	for _, pool := range pools {
		sealed[pool], err = r.Seal(t.Context(), keys.Place{Kind: "x", Pool: pool}, secret.FromString(pool))
		must(t, err)
	}
	for _, owner := range owners {
		list, err := r.Signing(t.Context(), owner, jwt.ES256)
		must(t, err)
		signing[owner] = list[0].ID
	}
	must(t, db.Close())
	return sealed, signing
}

// killed runs the job in a process of its own, which must end by SIGKILL.
func killed(t *testing.T, dir, job string, at float64) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "PLAY_DEPUTY_IN="+dir, "PLAY_JOB="+job, fmt.Sprintf("PLAY_KILLED_AT=%.1f", at))
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v\n%s", err, out)
	}
}

func reopen(t *testing.T, dir string, changing bool) *keys.Ring {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	root := local(t, 1)
	if changing {
		root = keys.Change{New: local(t, 2), Former: root}
	}
	r, err := keys.NewRing(t.Context(), root, store.Keys{DB: db}, guardOf(t, db), nil)
	must(t, err)
	return r
}

func opens(t *testing.T, r *keys.Ring, sealed map[string][]byte, signing map[string]string) {
	t.Helper()
	for pool, b := range sealed {
		if plain, err := r.Open(t.Context(), keys.Place{Kind: "x", Pool: pool}, b); err != nil || plain.RevealString() != pool {
			t.Errorf("what was sealed for %s: %v", pool, err)
		}
	}
	for owner, id := range signing {
		if list, err := r.Signing(t.Context(), owner, jwt.ES256); err != nil || list[0].ID != id {
			t.Errorf("the key of %s: %v", owner, err)
		}
	}
}
