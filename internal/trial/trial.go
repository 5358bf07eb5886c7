// Package trial tries a credential provider out, step by step: alone as far as that tells, then with the operator's own browser.
//
//	begun ──▶ redirected ──▶ done
//
// Nothing of a trial gets into the vault: its tokens are used once and
// forgotten. It is not bound to a person, because it gives nothing to anybody;
// whoever has the link may go through it, in one browser.
package trial

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// The actions that permits are given for, on [Trial.Resource] if nothing else is
// said.
const (
	ActionCheck guard.Action = "trial.check" // an operator asks for what needs no person, on provider.Resource
	ActionBegin guard.Action = "trial.begin" // an operator asks for everything
	ActionOpen  guard.Action = "trial.open"  // a browser follows the link
	ActionEnd   guard.Action = "trial.end"   // the third party answered, or nobody did
	ActionSweep guard.Action = "trial.sweep" // on SweepResource
)

// SweepResource is what the permit for sweeping names.
func SweepResource() guard.Resource { return guard.Resource{Kind: "trial"} }

// NotFound is the fault for a trial that does not exist.
func NotFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "trial_not_found", "there is no trial %q", name.Clip(id, 60)).WithFix("begin a new one")
}

// Changed is the fault for a step that lost against another one.
func Changed(id string) *fault.Error {
	return fault.New(fault.Conflict, "trial_changed", "trial %q was changed in between", id)
}

// State is how far a trial has come.
type State string

// The states.
const (
	Begun      State = "begun"      // the link waits to be opened
	Redirected State = "redirected" // a browser was sent to the third party
	Exchanging State = "exchanging" // it came back, and the rest is being tried
	Done       State = "done"       // whether it worked is said by the steps
)

// Step is one thing that is tried.
type Step string

// The steps, in their order.
const (
	StepDiscovery     Step = "discovery"     // the MCP server still says what it said
	StepEndpoints     Step = "endpoints"     // the third party answers
	StepClient        Step = "client"        // it knows the client id and the secret
	StepScopes        Step = "scopes"        // the catalogue knows the scopes
	StepAuthorization Step = "authorization" // its page is reached, and it sends people back here
	StepConsent       Step = "consent"       // the person agreed, to all scopes
	StepExchange      Step = "exchange"      // the code became tokens
	StepAccount       Step = "account"       // the token tells whose account it opens
	StepRefresh       Step = "refresh"       // the refresh token works
	StepRequest       Step = "request"       // a call with the token works
)

// Outcome is how a step went.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped" // it cannot be tried here, which says nothing against the provider
)

// Result is how one step went, in words for people.
type Result struct {
	Step    Step         `json:"step"`
	Outcome Outcome      `json:"outcome"`
	Text    vendor.Words `json:"text"`
	Fix     vendor.Words `json:"fix,omitzero"`
	Code    string       `json:"code,omitempty"`  // the third party's own, if it failed there
	Paste   string       `json:"paste,omitempty"` // the exact value that the fix speaks of
}

// Trial is one run.
type Trial struct {
	ID          string
	Pool        string
	Provider    string
	ProviderID  string // so that another provider made under the name inherits no trial
	State       State
	Results     []Result
	LinkHash    string // unique
	StateHash   string // "" before and after the third party's turn
	BrowserHash string
	Sealed      []byte // the PKCE verifier
	Version     int64  // from 1; compare-and-swap
	Created     time.Time
	Expires     time.Time
}

// Life is how long an operator has from the beginning to the end.
const Life = 10 * time.Minute

// Resource is what permits for a trial name.
func (t Trial) Resource() guard.Resource {
	return guard.Resource{Kind: "trial", Pool: t.Pool, ID: t.ID}
}

func (t Trial) place() keys.Place {
	return keys.Place{Kind: "trial", Pool: t.Pool, Provider: t.Provider, Record: t.ID}
}

// Worked reports whether t is done and no step failed.
func (t Trial) Worked() bool {
	if t.State != Done {
		return false
	}
	for _, r := range t.Results {
		if r.Outcome == Failed {
			return false
		}
	}
	return true
}

// Store keeps trials. One not found is the fault of [NotFound].
type Store interface {
	// BeginTrial needs a permit for ActionBegin.
	BeginTrial(ctx context.Context, p guard.Permit, t Trial) error
	Trial(ctx context.Context, id string) (Trial, error)
	TrialByLink(ctx context.Context, linkHash string) (Trial, error)
	TrialByState(ctx context.Context, stateHash string) (Trial, error)
	// AdvanceTrial writes t over the trial with version t.Version-1, else it returns the fault of [Changed];
	// afterwards everybody who listens for t.ID is woken, on every replica. It needs a permit for action.
	AdvanceTrial(ctx context.Context, p guard.Permit, action guard.Action, t Trial) error
	// SweepTrials removes the trials that expired before the given time, with a permit for ActionSweep, and
	// returns how many. The entry is committed only when something was removed.
	SweepTrials(ctx context.Context, p guard.Permit, before time.Time) (int, error)
}

// Bell wakes those who wait for a trial.
type Bell interface {
	// Listen returns a channel that receives after every ring for topic from now
	// on (rings may be merged). stop ends it and must be called.
	Listen(topic string) (rings <-chan struct{}, stop func())
}

// Sealer seals verifiers; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}
