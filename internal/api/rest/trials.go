package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/trial"
)

type trialJSON struct {
	ID        string         `json:"id"`
	Provider  string         `json:"provider"`
	State     trial.State    `json:"state" enum:"begun,redirected,exchanging,done"`
	Works     bool           `json:"works" doc:"It is done, and no step failed"`
	URL       string         `json:"url,omitempty" doc:"To open in a browser for the rest; shown once, and missing if there is no rest"`
	Steps     []trial.Result `json:"steps"`
	ExpiresAt time.Time      `json:"expiresAt"`
}

func trialOf(t trial.Trial) trialJSON {
	return trialJSON{ID: t.ID, Provider: t.Provider, State: t.State, Works: t.Worked(), Steps: t.Results, ExpiresAt: t.Expires}
}

func (a *API) beginTrial(c *call) (any, error) {
	t, link, err := a.Trials.Begin(c.ctx, c.caller, c.path("pool"), c.path("provider"))
	shown := trialOf(t)
	shown.URL = link.RevealString()
	return shown, err
}

func (a *API) getTrial(c *call) (any, error) {
	wait, err := c.wait()
	if err != nil {
		return nil, err
	}
	t, err := a.Trials.Await(c.ctx, c.path("pool"), c.path("trial"), wait)
	if err == nil && t.Provider != c.path("provider") {
		err = trial.NotFound(c.path("trial"))
	}
	return trialOf(t), err
}

// maxWait bounds a long poll.
const maxWait = 60 * time.Second

// waiting is the parameter of what can be waited for.
var waiting = []parameter{{"wait", "string", "Wait at most so long for its end, such as 25s; at most 60s"}}

// wait reads that parameter; without it, nothing is waited for.
func (c *call) wait() (time.Duration, error) {
	text, ok := c.query["wait"]
	if !ok {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, fault.New(fault.Invalid, "parameter_invalid", "wait=%s is not valid", name.Clip(text, 40)).WithSource("wait").WithFix("use a duration up to %s, such as 25s", maxWait)
	}
	return wait, nil
}
