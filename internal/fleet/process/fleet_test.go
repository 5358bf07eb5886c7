package process_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/secret"
)

// A real agent in a real fleet: it is started, proves what it is by its launch
// file, is started again when it dies, and is gone when the fleet is.
func TestFleetOfProcesses(t *testing.T) {
	key, err := jwt.Generate(jwt.ES256)
	if err != nil {
		t.Fatal(err)
	}
	var f *fleet.Fleet
	launches, err := attest.NewLaunches(attest.LaunchesConfig{
		Issuer: "http://localhost:8080", TrustDomain: "deputy.test", Keys: []jwt.Key{key}, Live: func(_ context.Context, id string) (bool, error) { return f.Live(id), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	store, dir := &agenttest.Memory{}, t.TempDir()
	f = fleet.New(fleet.Config{
		Store: store, Driver: newDriver(t), Launches: launches, Register: alone{}, URL: "http://localhost:8080", TrustDomain: "deputy.test", Dir: dir,
		Log: slog.New(slog.DiscardHandler), BackoffMin: time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	if err := store.PutAgent(ctx, agenttest.Permit(t, agent.ActionPut, doc.Pool, doc.Name), withDesired(define("hello", "main.go", agent.Golang, nil))); err != nil {
		t.Fatal(err)
	}
	status := ready(t, f)
	file := filepath.Join(dir, "default/doc/launch.jwt")
	read := func() secret.Text {
		token, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return secret.FromString(strings.TrimSuffix(string(token), "\n"))
	}
	token := read()
	if launch, err := launches.Verify(t.Context(), token); err != nil || launch.Workload != doc {
		t.Errorf("launch %v, %v", launch, err)
	}
	if res, err := http.Post(status.URL+"/die", "", nil); err == nil {
		res.Body.Close()
		t.Error("the agent did not die")
	}
	again := status
	for again.Restarts == status.Restarts {
		again = ready(t, f)
	}
	if _, err := launches.Verify(t.Context(), token); err == nil {
		t.Error("the token outlives the launch")
	}
	if _, err := launches.Verify(t.Context(), read()); err != nil {
		t.Errorf("the token of the second launch: %v", err)
	}
	cancel()
	<-ended
	if res, err := http.Get(again.URL + "/ping"); err == nil {
		res.Body.Close()
		t.Error("the agent outlives the fleet")
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the launch file outlives the fleet: %v", err)
	}
}

func withDesired(a agent.Agent) agent.Agent {
	a.Desired = agent.Running
	return a
}

func ready(t *testing.T, f *fleet.Fleet) fleet.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := f.Wait(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// alone is a fleet.Register where there is no other replica.
type alone struct{}

func (alone) Begin(context.Context, attest.Launch, time.Time) error { return nil }
func (alone) Keep(context.Context, attest.Launch, time.Time) error  { return nil }
func (alone) End(context.Context, attest.Launch) error              { return nil }
