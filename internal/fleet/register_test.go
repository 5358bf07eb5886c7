package fleet_test

import (
	"errors"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fleet"
)

// TestOtherReplicasKnowOfALaunch follows what they are told, from its beginning
// to its end, and through a time in which they cannot be told anything.
func TestOtherReplicasKnowOfALaunch(t *testing.T) {
	inWorld(t, &driver{}, func(t *testing.T, w *world) {
		w.put(1, agent.Running)
		first := w.mint.last()
		if until := w.register.of(first); !until.Equal(time.Now().Add(attest.MaxLaunchLife)) {
			t.Errorf("at first it goes on until %v", until)
		}
		w.pass(5 * time.Minute)
		if until := w.register.of(first); until.Before(time.Now().Add(5 * time.Minute)) {
			t.Errorf("with a new token it goes on until %v", until)
		}
		w.register.fail(errors.New("the database is away"))
		w.pass(10 * time.Minute)
		w.want(fleet.Ready, "")
		if !w.fleet.Live(first.ID) {
			t.Error("here it is over, because others could not be told that it goes on")
		}
		// No agent begins that the others do not know of.
		w.driver.latest().end("crashed")
		w.pass(time.Second)
		w.want(fleet.Backoff, "the database is away")
		w.register.fail(nil)
		w.pass(time.Minute)
		w.want(fleet.Ready, "")
		second := w.mint.last()
		w.put(2, agent.Stopped)
		w.want(fleet.Stopped, "")
		if !w.register.of(second).IsZero() {
			t.Error("the others were not told that it has ended")
		}
	})
}
