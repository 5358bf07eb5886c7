package rest

import (
	"time"

	"github.com/deputy-id/deputy/internal/factor"
)

type factorJSON struct {
	ID         string      `json:"id"`
	Kind       factor.Kind `json:"kind" enum:"totp,passkey"`
	Name       string      `json:"name" doc:"The user's own"`
	CreatedAt  time.Time   `json:"createdAt"`
	LastUsedAt time.Time   `json:"lastUsedAt,omitzero" doc:"Left out if it was never used after the enrolment"`
}

type factorsJSON struct {
	Items         []factorJSON `json:"items" nullable:"false"`
	RecoveryCodes int          `json:"recoveryCodes" doc:"How many are left"`
}

// owner returns the user whose factors the path names; he must exist.
func (a *API) owner(c *call) (factor.Owner, error) {
	u, err := a.Users.User(c.ctx, c.path("pool"), c.path("user"))
	return factor.Owner{Pool: u.Pool, UserID: u.ID}, err
}

func (a *API) listFactors(c *call) (any, error) {
	o, err := a.owner(c)
	if err != nil {
		return nil, err
	}
	set, err := a.Factors.Set(c.ctx, o)
	items := listOf(set.Factors, func(f factor.Factor) factorJSON {
		return factorJSON{f.ID, f.Kind, f.Name, f.CreatedAt, f.LastUsedAt}
	}).Items
	return factorsJSON{items, set.Recovery}, err
}

func (a *API) removeFactor(c *call) (any, error) {
	o, err := a.owner(c)
	if err != nil {
		return nil, err
	}
	return nil, a.Factors.Remove(c.ctx, c.caller, o, c.path("factor"))
}

func (a *API) resetFactors(c *call) (any, error) {
	o, err := a.owner(c)
	if err != nil {
		return nil, err
	}
	return nil, a.Factors.Reset(c.ctx, c.caller, o)
}
