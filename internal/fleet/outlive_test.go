package fleet_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fleet"
)

// Where agents outlive the fleet they are not stopped with it, nor for being idle,
// of which other fleets may think otherwise; and none has a launch file.
func TestAgentsThatOutliveTheFleet(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &driver{}
		w := &world{t: t, store: &agenttest.Memory{}, driver: d, dir: dir}
		w.fleet = fleet.New(fleet.Config{
			Store: w.store, Driver: d, Outlive: true, URL: "http://localhost:8080", TrustDomain: "deputy.test", Dir: dir, Log: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.fleet.Run(ctx) }()
		w.putIdling(1)
		w.pass(time.Hour)
		w.want(fleet.Ready, "")
		cancel()
		<-done
		if i := d.latest(); i.stopped() || i.run.Env["DEPUTY_WORKLOAD_TOKEN_FILE"] != "" {
			t.Errorf("stopped: %v; launch file %q", i.stopped(), i.run.Env["DEPUTY_WORKLOAD_TOKEN_FILE"])
		}
	})
}
