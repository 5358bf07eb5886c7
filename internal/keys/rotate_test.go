package keys_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

// clock is the time of all replicas of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)} }

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// replicas are two rings on one database under one clock.
func replicas(t *testing.T, open storetest.Open) (one, two *keys.Ring, c *clock) {
	t.Helper()
	c = newClock()
	first, second := open(t)
	one, err := ringAt(t, first, 1, c.read)
	if err != nil {
		t.Fatal(err)
	}
	if two, err = ringAt(t, second, 1, c.read); err != nil {
		t.Fatal(err)
	}
	return one, two, c
}

var owner = userpool.KeyOwner("staff")

var root = name.Caller{Kind: name.Operator, Operator: "root"}

// signing returns the ids of the published keys, sorted, and of the one that signs.
func signing(t *testing.T, r *keys.Ring, algorithm string) (published []string, signer string) {
	t.Helper()
	list, err := r.Signing(t.Context(), owner, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1]
	if last.Algorithm != algorithm {
		t.Fatalf("a key for %s signs where %s was asked for", last.Algorithm, algorithm)
	}
	for _, k := range list {
		published = append(published, k.ID)
	}
	slices.Sort(published)
	return published, last.ID
}

func rotate(t *testing.T, r *keys.Ring, algorithm string) keys.KeyStatus {
	t.Helper()
	made, err := r.Rotate(t.Context(), root, owner, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestRotation follows a key from its publication to its end on two replicas.
func TestRotation(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		one, two, clock := replicas(t, open)
		check := func(when string, signer string, published ...string) {
			t.Helper()
			slices.Sort(published)
			for i, r := range []*keys.Ring{one, two} {
				got, signs := signing(t, r, jwt.ES256)
				if signs != signer || !slices.Equal(got, published) {
					t.Errorf("%s, replica %d: %s signs of %v; want %s of %v", when, i, signs, got, signer, published)
				}
				if err := r.Sweep(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		_, first := signing(t, one, jwt.ES256)
		next := rotate(t, two, jwt.ES256)
		if next.State != keys.Waiting || !next.SignsFrom.Equal(clock.read().Add(keys.Lead)) || next.ID == first {
			t.Errorf("the new key: %+v", next)
		}
		check("at once", first, first, next.ID)
		if again := rotate(t, one, jwt.ES256); again != next {
			t.Errorf("rotated twice: %+v, %+v", next, again)
		}
		clock.pass(keys.Lead - time.Second)
		check("just before", first, first, next.ID)
		clock.pass(time.Second)
		check("from then on", next.ID, first, next.ID)
		clock.pass(keys.Overlap - time.Second)
		check("while old tokens live", next.ID, first, next.ID)
		clock.pass(time.Second)
		check("at the end", next.ID, next.ID)
		clock.pass(time.Second)
		check("after the sweep", next.ID, next.ID)
		if list, err := two.SigningKeys(t.Context(), owner); err != nil || len(list) != 1 || list[0].State != keys.Signs || !list[0].PublishedUntil.IsZero() {
			t.Errorf("left are %+v, %v", list, err)
		}
	})
}

// TestAlgorithmsAreApart has keys of three algorithms, of which one is rotated.
func TestAlgorithmsAreApart(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		one, two, clock := replicas(t, open)
		before := map[string]string{}
		for _, algorithm := range []string{jwt.ES256, jwt.EdDSA, jwt.RS256} {
			_, before[algorithm] = signing(t, one, algorithm)
		}
		next := rotate(t, two, jwt.EdDSA)
		clock.pass(keys.Lead)
		for algorithm, id := range before {
			want := id
			if algorithm == jwt.EdDSA {
				want = next.ID
			}
			if published, signer := signing(t, two, algorithm); signer != want || len(published) != 4 {
				t.Errorf("%s: %s signs of %v, want %s", algorithm, signer, published, want)
			}
		}
		clock.pass(keys.Overlap)
		if published, _ := signing(t, one, jwt.RS256); len(published) != 3 || slices.Contains(published, before[jwt.EdDSA]) {
			t.Errorf("at the end there are %v", published)
		}
		if _, err := one.Rotate(t.Context(), root, owner, "HS256"); !fault.HasCode(err, "signing_algorithm") {
			t.Errorf("a key for HS256: %v", err)
		}
		if _, err := one.Rotate(t.Context(), name.Caller{Kind: name.Agent}, owner, jwt.ES256); !fault.HasCode(err, "not_allowed") {
			t.Errorf("an agent rotated: %v", err)
		}
	})
}

// TestReplicasRotateOnce has replicas rotate at once, on demand and by
// schedule, while first keys of other algorithms are made in between.
func TestReplicasRotateOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		one, two, clock := replicas(t, open)
		_, first := signing(t, one, jwt.ES256)
		clock.pass(keys.DefaultLifetime)
		var group sync.WaitGroup
		for i := range 8 {
			r := []*keys.Ring{one, two}[i%2]
			group.Go(func() {
				var err error
				switch i / 2 {
				case 0:
					_, err = r.Rotate(t.Context(), root, owner, jwt.ES256)
				case 1:
					_, err = r.Signing(t.Context(), owner, jwt.EdDSA)
				default:
					err = r.RotateDue(t.Context(), owner, keys.DefaultLifetime)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		published, signer := signing(t, two, jwt.ES256)
		if len(published) != 3 || signer != first {
			t.Errorf("%s signs of %v; want %s of one former, one new and one for EdDSA", signer, published, first)
		}
	})
}

func TestRotationBySchedule(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		one, two, clock := replicas(t, open)
		_, first := signing(t, one, jwt.ES256)
		due := func(want int) {
			t.Helper()
			for _, r := range []*keys.Ring{one, two} {
				if err := r.RotateDue(t.Context(), owner, keys.DefaultLifetime); err != nil {
					t.Error(err)
				}
			}
			if published, _ := signing(t, two, jwt.ES256); len(published) != want {
				t.Errorf("%d keys, want %d", len(published), want)
			}
		}
		clock.pass(keys.DefaultLifetime - time.Second)
		due(1)
		clock.pass(time.Second)
		due(2)
		clock.pass(keys.Lead)
		due(2)
		if _, signer := signing(t, one, jwt.ES256); signer == first {
			t.Error("the first key signs for ever")
		}
		clock.pass(keys.Overlap)
		due(1)
	})
}

// TestAPoolTakesItsKeysAlong deletes a pool and makes one of its name.
func TestAPoolTakesItsKeysAlong(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		r, err := ring(t, db, 1)
		if err != nil {
			t.Fatal(err)
		}
		pools := store.UserPools{DB: db}
		pool := userpool.Pool{Name: "staff", Settings: userpool.DefaultSettings()}
		if err := pools.CreatePool(t.Context(), storetest.Permit(t, userpool.ActionCreatePool, pool.Resource()), pool); err != nil {
			t.Fatal(err)
		}
		_, before := signing(t, r, jwt.ES256)
		if err := pools.DeletePool(t.Context(), storetest.Permit(t, userpool.ActionDeletePool, pool.Resource()), "staff"); err != nil {
			t.Fatal(err)
		}
		if published, after := signing(t, r, jwt.ES256); len(published) != 1 || after == before {
			t.Errorf("%s signs of %v; the deleted pool had %s", after, published, before)
		}
	})
}
