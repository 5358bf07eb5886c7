package fleet_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// driver is a fleet.Driver whose agents exist in memory only.
type driver struct {
	mu        sync.Mutex
	build     error
	slowBuild time.Duration
	start     error
	health    error
	stubborn  bool
	begin     func(*instance)
	instances []*instance
	removed   int
}

func (d *driver) set(change func(*driver)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *driver) latest() *instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.instances[len(d.instances)-1]
}

func (d *driver) starts() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.instances)
}

func (d *driver) Build(ctx context.Context, _ agent.Agent) error {
	d.mu.Lock()
	slow, err := d.slowBuild, d.build
	d.mu.Unlock()
	select {
	case <-time.After(slow):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *driver) Start(_ context.Context, r fleet.Run) (fleet.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.start != nil {
		return nil, d.start
	}
	i := &instance{driver: d, run: r, number: len(d.instances) + 1, done: make(chan struct{})}
	d.instances = append(d.instances, i)
	if d.begin != nil {
		d.begin(i)
	}
	return i, nil
}

func (d *driver) Logs(context.Context, name.Workload, int) ([]string, error) {
	return []string{"hello"}, nil
}

func (d *driver) Follow(_ context.Context, _ name.Workload, place string, _ int) ([]string, string, error) {
	return []string{"after " + place}, "here", nil
}

func (d *driver) Remove(context.Context, name.Workload) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removed++
	return nil
}

type instance struct {
	driver *driver
	run    fleet.Run
	number int
	once   sync.Once
	done   chan struct{}
	reason string
}

func (i *instance) end(reason string) {
	i.once.Do(func() { i.reason = reason; close(i.done) })
}

func (i *instance) stopped() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

func (i *instance) URL() string { return fmt.Sprintf("http://agent.%d", i.number) }

func (i *instance) Probe(context.Context) error {
	i.driver.mu.Lock()
	defer i.driver.mu.Unlock()
	return i.driver.health
}

func (i *instance) Done() <-chan struct{} { return i.done }
func (i *instance) Reason() string        { return i.reason }

func (i *instance) Stop(ctx context.Context) {
	if i.driver.stubborn {
		<-ctx.Done()
	}
	i.end("stopped")
}

// mint makes tokens that count.
type mint struct {
	mu     sync.Mutex
	count  int
	launch attest.Launch
	broken error
}

func (m *mint) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

func (m *mint) last() attest.Launch {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.launch
}

func (m *mint) Mint(l attest.Launch, ttl time.Duration) (secret.Text, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return secret.Text{}, time.Time{}, m.broken
	}
	m.count++
	m.launch = l
	return secret.FromString(fmt.Sprintf("token %d of %s", m.count, l.ID)), time.Now().Add(ttl), nil
}

// register is a fleet.Register in memory.
type register struct {
	mu     sync.Mutex
	until  map[string]time.Time // of the launches that go on
	broken error
}

func (r *register) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = err
}

// of returns until when a launch goes on; zero is over.
func (r *register) of(l attest.Launch) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.until[l.ID]
}

func (r *register) Begin(ctx context.Context, l attest.Launch, until time.Time) error {
	return r.Keep(ctx, l, until)
}

func (r *register) Keep(_ context.Context, l attest.Launch, until time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		r.until[l.ID] = until
	}
	return r.broken
}

func (r *register) End(_ context.Context, l attest.Launch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		delete(r.until, l.ID)
	}
	return r.broken
}
