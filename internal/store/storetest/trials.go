package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/trial"
	"github.com/deputy-id/deputy/internal/vendor"
)

func testTrials(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first)
	trials, elsewhere := store.Trials{DB: first}, store.Trials{DB: second}
	made := trial.Trial{
		ID: "trl_1", Pool: "p", Provider: "feishu", ProviderID: "prv_1", State: trial.Begun, LinkHash: "link", Sealed: []byte{1, 0, 2}, Version: 1, Created: moment, Expires: moment.Add(trial.Life),
		Results: []trial.Result{{Step: trial.StepClient, Outcome: trial.Failed, Text: vendor.Words{EN: "no", ZH: "不"}, Code: "20002"}},
	}
	must(t, trials.BeginTrial(t.Context(), Permit(t, trial.ActionBegin, made.Resource()), made))
	wantCode(t, trials.BeginTrial(t.Context(), Permit(t, trial.ActionBegin, made.Resource()), made), "trial_exists")
	got, err := elsewhere.TrialByLink(t.Context(), "link")
	must(t, err)
	if diff := cmp.Diff(made, got); diff != "" {
		t.Error(diff)
	}
	_, err = trials.TrialByState(t.Context(), "")
	wantCode(t, err, "trial_not_found")
	_, err = trials.Trial(t.Context(), "trl_\x00")
	wantCode(t, err, "trial_not_found")

	// Of steps made at once, one is made.
	var steps atomic.Int64
	var group sync.WaitGroup
	next := made
	next.State, next.StateHash, next.Version = trial.Redirected, "state", 2
	for i := range 8 {
		to := []store.Trials{trials, elsewhere}[i%2]
		group.Go(func() {
			err := to.AdvanceTrial(t.Context(), Permit(t, trial.ActionOpen, made.Resource()), trial.ActionOpen, next)
			if err == nil {
				steps.Add(1)
			} else if !fault.HasCode(err, "trial_changed") {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if steps.Load() != 1 {
		t.Errorf("the step was made %d times", steps.Load())
	}
	got, err = trials.TrialByState(t.Context(), "state")
	must(t, err)
	if diff := cmp.Diff(next, got); diff != "" {
		t.Error(diff)
	}

	// What is over goes, and what belongs to a provider goes with it.
	for want, when := range []time.Time{moment, moment.Add(time.Hour)} {
		n, err := trials.SweepTrials(t.Context(), Permit(t, trial.ActionSweep, trial.SweepResource()), when)
		must(t, err)
		if n != want {
			t.Errorf("%d trials were swept at %s", n, when)
		}
	}
	_, err = trials.Trial(t.Context(), "trl_1")
	wantCode(t, err, "trial_not_found")
	must(t, trials.BeginTrial(t.Context(), Permit(t, trial.ActionBegin, made.Resource()), made))
	must(t, s.providers.DeleteProvider(t.Context(), Permit(t, provider.ActionDelete, provider.Resource("p", "feishu")), "p", "feishu"))
	_, err = trials.Trial(t.Context(), "trl_1")
	wantCode(t, err, "trial_not_found")
}
