package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/trial"
)

// Trials keeps trials of credential providers; it implements [trial.Store].
type Trials struct{ DB *DB }

const trialColumns = `id, pool, provider, provider_id, state, results, link_hash, state_hash, browser_hash, sealed, version, created, expires`

// BeginTrial implements [trial.Store].
func (s Trials) BeginTrial(ctx context.Context, p guard.Permit, t trial.Trial) error {
	return s.DB.change(ctx, p, trial.ActionBegin, t.Resource(), func(ctx context.Context, tx *txn) error {
		results, err := toJSON(t.Results)
		if err != nil {
			return err
		}
		return must(ctx, tx, fault.New(fault.Conflict, "trial_exists", "this trial exists"),
			`INSERT INTO trials (`+trialColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`,
			t.ID, t.Pool, t.Provider, t.ProviderID, string(t.State), results, t.LinkHash, t.StateHash, t.BrowserHash, t.Sealed, t.Version, ms(t.Created), ms(t.Expires))
	})
}

func (s Trials) find(ctx context.Context, id, where, arg string) (trial.Trial, error) {
	var t trial.Trial
	err := row(ctx, s.DB.read, trial.NotFound(id), func(sc scanner) error {
		return sc.Scan(&t.ID, &t.Pool, &t.Provider, &t.ProviderID, &t.State, jsonText{&t.Results}, &t.LinkHash, &t.StateHash, &t.BrowserHash, &t.Sealed, &t.Version,
			timeMS{&t.Created}, timeMS{&t.Expires})
	}, `SELECT `+trialColumns+` FROM trials WHERE `+where, arg)
	return t, err
}

// Trial implements [trial.Store].
func (s Trials) Trial(ctx context.Context, id string) (trial.Trial, error) {
	return s.find(ctx, id, `id = $1`, id)
}

// TrialByLink implements [trial.Store].
func (s Trials) TrialByLink(ctx context.Context, linkHash string) (trial.Trial, error) {
	return s.find(ctx, "", `link_hash = $1`, linkHash)
}

// TrialByState implements [trial.Store].
func (s Trials) TrialByState(ctx context.Context, stateHash string) (trial.Trial, error) {
	return s.find(ctx, "", `state_hash = $1 AND state_hash <> ''`, stateHash)
}

// AdvanceTrial implements [trial.Store].
func (s Trials) AdvanceTrial(ctx context.Context, p guard.Permit, action guard.Action, t trial.Trial) error {
	return s.DB.change(ctx, p, action, t.Resource(), func(ctx context.Context, tx *txn) error {
		results, err := toJSON(t.Results)
		if err != nil {
			return err
		}
		tx.topics = append(tx.topics, t.ID)
		return must(ctx, tx, trial.Changed(t.ID), `UPDATE trials SET state = $1, results = $2, state_hash = $3, browser_hash = $4, version = $5 WHERE id = $6 AND version = $7`,
			string(t.State), results, t.StateHash, t.BrowserHash, t.Version, t.ID, t.Version-1)
	})
}

// SweepTrials implements [trial.Store].
func (s Trials) SweepTrials(ctx context.Context, p guard.Permit, before time.Time) (int, error) {
	return s.DB.sweep(ctx, p, trial.ActionSweep, trial.SweepResource(), func(ctx context.Context, tx *txn) (int64, error) {
		return exec(ctx, tx, `DELETE FROM trials WHERE expires < $1`, ms(before))
	})
}
